// The C entry points beside attention itself: merging, and masks from maps.
#include "attention/device_mask.h"
#include "attention/device_merge.h"
#include "attention_merge/check.h"
#include "base/check.h"
#include "base/runtime.h"
#include "base/status.h"
#include "gatun/cuda_attention.h"

using namespace gatun;
using namespace gatun::cuda;
using namespace gatun::cuda::attention;

namespace {

// A warp has a row, a block four: so many are a grid.
int32_t check_rows(int64_t rows, const char* name) {
  constexpr int64_t kMostRows = int64_t{INT32_MAX} * 4;
  if (rows <= kMostRows) return GATUN_OK;
  return fail(GATUN_UNSUPPORTED, "%s = %lld; allowed: up to 2^33 - 4", name, static_cast<long long>(rows));
}

}  // namespace

int32_t gatun_cuda_attention_merge(const gatun_attention_merge_params* params, const void* a, const float* a_lse,
                                   const void* b, const float* b_lse, void* out, float* lse, void* stream) {
  MergeJob job = {{}, a, b, a_lse, b_lse, out, lse, 0, 0, 0};
  GATUN_TRY(attention_merge::read_params(params, &job.p));
  GATUN_TRY(attention_merge::count_rows(job.p, &job.rows));
  GATUN_TRY(check_rows(job.rows, "params.batch * heads * length"));
  Buffer buffers[attention_merge::kArguments];
  GATUN_TRY(attention_merge::check(job.p, job.rows, a, a_lse, b, b_lse, out, lse, buffers));
  DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  GATUN_TRY(check_device_memory(scope.device().index, buffers));
  return job.rows == 0 || (job.p.value_size == 0 && lse == nullptr) ? GATUN_OK : run_merge(job, stream);
}

int32_t gatun_cuda_block_mask_from_map(int64_t rows, int64_t key_blocks, const uint8_t* map, int64_t* full_offsets,
                                       int32_t* full_blocks, int64_t full_count, int64_t* partial_offsets,
                                       int32_t* partial_blocks, int64_t partial_count, void* stream) {
  GATUN_TRY(check_range(rows, 0, INT64_MAX, "rows"));
  GATUN_TRY(check_rows(rows, "rows"));
  GATUN_TRY(check_range(key_blocks, 0, INT32_MAX - 32, "key_blocks"));
  GATUN_TRY(check_range(full_count, 0, INT64_MAX, "full_count"));
  GATUN_TRY(check_range(partial_count, 0, INT64_MAX, "partial_count"));
  Buffer buffers[] = {{"full_offsets", full_offsets, 1, rows + 1, 0, 8, true},
                      {"full_blocks", full_blocks, 1, full_count, 0, 4, true},
                      {"partial_offsets", partial_offsets, 1, rows + 1, 0, 8, true},
                      {"partial_blocks", partial_blocks, 1, partial_count, 0, 4, true},
                      {"map", map, rows, key_blocks, key_blocks, 1, false}};
  GATUN_TRY(check_buffers(buffers));
  DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  GATUN_TRY(check_device_memory(scope.device().index, buffers));
  return run_from_map({map,
                       rows,
                       static_cast<int32_t>(key_blocks),
                       {full_offsets, partial_offsets},
                       {full_blocks, partial_blocks},
                       {full_count, partial_count}},
                      stream);
}
