// The C entry points: check, select, put on the stream.
#include "gatun/cuda_decode.h"

#include <algorithm>

#include "base/check.h"
#include "base/runtime.h"
#include "base/status.h"
#include "base/text.h"
#include "decode/check.h"
#include "decode/choose.h"
#include "decode/select.h"
#include "decode_choose/check.h"
#include "kv_cache/on_device.h"

namespace gatun::cuda::decode {
namespace {

using gatun::decode::Inputs;
using kv_cache::pool_on_device;

DevicePool pool_of(const gatun_kv_layout& layout, const void* rows, const void* scales, const void* zeros) {
  return pool_on_device({layout, static_cast<uint8_t*>(const_cast<void*>(rows)),
                         static_cast<uint16_t*>(const_cast<void*>(scales)),
                         static_cast<uint16_t*>(const_cast<void*>(zeros))});
}

// A window that hides nothing, of which positions can be taken off.
constexpr int64_t kMostWindow = int64_t{1} << 61;

Job job_of(const Call& call, const Inputs& in, const KernelRow& kernel) {
  Job job = {};
  job.params = call.p;
  job.params.window_left = std::min(call.p.window_left, kMostWindow);
  job.k = pool_of(call.k, in.k, in.k_scales, in.k_zeros);
  job.v = pool_of(call.v, in.v, in.v_scales, in.v_zeros);
  job.q = in.q;
  job.table = in.table;
  job.lengths = in.lengths;
  job.slopes = in.slopes;
  job.sinks = in.sinks;
  const Parts parts = parts_of(call);
  job.most_keys = parts.most_keys;
  job.part_keys = parts.keys;
  job.parts = parts.count;
  job.ratio = static_cast<int32_t>(call.p.query_heads / call.k.heads);
  job.rows = job.ratio * static_cast<int32_t>(call.p.query_length);
  job.row_tiles = static_cast<int32_t>(blocks_of(job.rows, kernel.tile_rows));
  return job;
}

}  // namespace

int32_t run(const KernelRow* forced, const gatun_decode_params* params, const gatun_kv_layout* k_layout,
            const gatun_kv_layout* v_layout, const Inputs& in, void* out, float* lse, float* logits, void* workspace,
            int64_t given_bytes, void* stream) {
  Call call;
  GATUN_TRY(gatun::decode::read(params, k_layout, v_layout, &call));
  Buffer buffers[gatun::decode::kBuffers];
  int count;
  GATUN_TRY(gatun::decode::check_arrays(call, in, out, lse, logits, buffers, &count));
  GATUN_TRY(gatun::decode::check_logits(call, logits, gatun::decode::most_keys(call), buffers, &count));
  int64_t needed;
  GATUN_TRY(workspace_bytes(call, &needed));
  DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  const int32_t device = scope.device().index;
  GATUN_TRY(check_workspace(device, workspace, given_bytes, needed));
  for (int i = 0; i < count; ++i) {
    GATUN_TRY(check_device_memory(device, buffers[i].address, buffers[i].bytes, buffers[i].name));
    GATUN_TRY(check_disjoint(workspace, needed, "workspace", buffers[i].address, buffers[i].bytes, buffers[i].name));
  }
  if (needed == 0) return GATUN_OK;
  gatun::decode::settle(&call.p);
  const KernelRow& kernel = forced != nullptr ? *forced : select(call, in.k, in.v);
  Job job = job_of(call, in, kernel);
  job.out = out;
  job.lse = lse;
  job.logits = logits;
  job.partial = static_cast<float*>(workspace);
  GATUN_TRY(kernel.run(job, stream));
  return out == nullptr && lse == nullptr ? int32_t{GATUN_OK} : run_merge(job, stream);
}

}  // namespace gatun::cuda::decode

using namespace gatun;
using namespace gatun::cuda;

int32_t gatun_cuda_decode_workspace_bytes(const gatun_decode_params* params, const gatun_kv_layout* k_layout,
                                          const gatun_kv_layout* v_layout, int32_t device, int64_t* bytes) {
  cuda::decode::Call call;
  GATUN_TRY(gatun::decode::read(params, k_layout, v_layout, &call));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  Device known;
  GATUN_TRY(describe_supported(device, &known));
  return cuda::decode::workspace_bytes(call, bytes);
}

int32_t gatun_cuda_decode(const gatun_decode_params* params, const gatun_kv_layout* k_layout,
                          const gatun_kv_layout* v_layout, const void* q, const void* k, const void* k_scales,
                          const void* k_zeros, const void* v, const void* v_scales, const void* v_zeros,
                          const int32_t* table, const int64_t* lengths, const float* slopes, const float* sinks,
                          void* out, float* lse, float* logits, void* workspace, int64_t workspace_bytes,
                          void* stream) {
  return cuda::decode::run(nullptr, params, k_layout, v_layout,
                           {q, k, k_scales, k_zeros, v, v_scales, v_zeros, table, lengths, slopes, sinks}, out, lse,
                           logits, workspace, workspace_bytes, stream);
}

int32_t gatun_cuda_decode_explain(const gatun_decode_params* params, const gatun_kv_layout* k_layout,
                                  const gatun_kv_layout* v_layout, int32_t device, char* text, int64_t capacity) {
  cuda::decode::Call call;
  GATUN_TRY(gatun::decode::read(params, k_layout, v_layout, &call));
  Device known;
  GATUN_TRY(describe_supported(device, &known));
  Text out;
  cuda::decode::explain(call, known, out);
  return out.copy_to(text, capacity);
}

int32_t gatun_cuda_decode_scores(const gatun_decode_scores_params* params, const float* logits, const float* lse,
                                 const int64_t* lengths, float* scores, void* stream) {
  cuda::decode::ScoresJob job = {{}, 0, logits, lse, lengths, scores};
  GATUN_TRY(decode_choose::read_scores(params, &job.params));
  job.most_keys = std::min(job.params.scores_head_stride, job.params.logits_row_stride);
  GATUN_TRY(check_range(job.most_keys, 0, INT64_MAX, "the least of scores_head_stride and logits_row_stride"));
  Buffer buffers[decode_choose::kScoresBuffers];
  GATUN_TRY(decode_choose::check_scores_arrays(job.params, job.most_keys, logits, lse, lengths, scores, buffers));
  GATUN_TRY(check_buffers(buffers));
  DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  GATUN_TRY(check_device_memory(scope.device().index, buffers));
  if (job.params.heads == 0 || job.params.batch == 0 || job.most_keys == 0) return GATUN_OK;
  return cuda::decode::run_scores(job, stream);
}

int32_t gatun_cuda_decode_choose(const gatun_decode_choose_params* params, const float* scores, const int32_t* table,
                                 const int64_t* lengths, int32_t* chosen, int64_t* chosen_lengths, void* stream) {
  cuda::decode::ChooseJob job = {{}, 0, scores, table, lengths, chosen, chosen_lengths};
  GATUN_TRY(decode_choose::read_choose(params, &job.params));
  if (job.params.batch * job.params.heads > INT32_MAX) {  // blocks of threads
    return fail(GATUN_UNSUPPORTED, "params.batch * heads = %lld; allowed: up to 2^31 - 1",
                static_cast<long long>(job.params.batch * job.params.heads));
  }
  job.most_keys = decode_choose::most_tokens(job.params);
  Buffer buffers[decode_choose::kChooseBuffers];
  GATUN_TRY(decode_choose::check_choose_arrays(job.params, job.most_keys, scores, table, lengths, chosen,
                                               chosen_lengths, buffers));
  GATUN_TRY(check_buffers(buffers));
  DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  GATUN_TRY(check_device_memory(scope.device().index, buffers));
  return cuda::decode::run_choose(job, stream);
}
