// The C entry points: check, put on the stream.
#include "gatun/cuda_nm_format.h"

#include "base/check.h"
#include "base/dtype.h"
#include "base/runtime.h"
#include "base/status.h"
#include "base/text.h"
#include "nm_format/check.h"
#include "nm_format/format_job.h"
#include "prune/params.h"

namespace gatun::cuda::nm_format {
namespace {

using namespace gatun::nm_format;
using LongLong = long long;

FormatJob job_of(const gatun_nm_format& format, const Layout& l, const void* dense, const ZeroPoints& zeros,
                 void* values, uint8_t* indices, gatun_cuda_nm_format_faults* faults) {
  FormatJob job = {};
  job.n = l.n;
  job.m = l.m;
  job.index_bits = l.index_bits;
  job.value_dtype = format.value_dtype;
  job.columns = l.columns;
  job.depth = l.depth;
  job.vector = l.vector;
  job.vectors = l.vectors;
  job.groups = l.groups;
  job.slots = l.slots;
  job.dense_row = l.dense_row;
  job.values_row = l.values_row;
  job.indices_row = l.indices_row;
  job.mask_row = l.mask_row;
  job.zero_group = zeros.group();
  job.zero_groups = zeros.groups();
  job.dense = static_cast<const uint8_t*>(dense);
  job.zero_points = zeros.codes();
  job.values = static_cast<uint8_t*>(values);
  job.indices = indices;
  job.faults = faults;
  return job;
}

Buffer faults_buffer(const gatun_cuda_nm_format_faults* faults) {
  constexpr int64_t kCount = sizeof(*faults) / 8;
  return {"faults", faults, 1, kCount, kCount, 8, true};
}

// Checks the memory of a call and makes its stream's device current.
template <int count>
int32_t enter(Buffer (&buffers)[count], void* stream, DeviceScope* scope) {
  GATUN_TRY(check_buffers(buffers));
  GATUN_TRY(scope->enter(stream));
  return check_device_memory(scope->device().index, buffers);
}

}  // namespace
}  // namespace gatun::cuda::nm_format

using namespace gatun;
using namespace gatun::cuda;
using namespace gatun::cuda::nm_format;

int32_t gatun_cuda_nm_compress(const gatun_nm_format* format, const void* dense, const uint8_t* mask,
                               const uint8_t* zero_points, void* values, uint8_t* indices,
                               gatun_cuda_nm_format_faults* faults, void* stream) {
  Layout l;
  GATUN_TRY(layout_of(format, &l));
  const ZeroPoints zeros(*format, zero_points);
  GATUN_TRY(zeros.check_format(*format));
  if (format->value_dtype == GATUN_U4 && l.mask_bytes > 0) GATUN_TRY(check_not_null(mask, "mask (with U4)"));
  GATUN_TRY(check_not_null(faults, "faults"));
  Layout masked = l;
  if (mask == nullptr) masked.mask_row = 0;
  Buffer buffers[] = {values_buffer(l, values, true),
                      indices_buffer(l, indices, true),
                      dense_buffer(l, "dense", dense, false),
                      mask_buffer(masked, mask, false),
                      zeros.buffer(),
                      faults_buffer(faults)};
  DeviceScope scope;
  GATUN_TRY(enter(buffers, stream, &scope));
  GATUN_TRY(fill_async(faults, 0xff, sizeof(*faults), stream));
  if (l.dense_bytes == 0) return GATUN_OK;
  FormatJob job = job_of(*format, l, dense, zeros, values, indices, faults);
  job.mask = mask;
  return run_compress(job, stream);
}

int32_t gatun_cuda_nm_decompress(const gatun_nm_format* format, const void* values, const uint8_t* indices,
                                 const uint8_t* zero_points, void* dense, void* stream) {
  Layout l;
  GATUN_TRY(layout_of(format, &l));
  const ZeroPoints zeros(*format, zero_points);
  GATUN_TRY(zeros.check_format(*format));
  Buffer buffers[] = {dense_buffer(l, "dense", dense, true), values_buffer(l, values, false),
                      indices_buffer(l, indices, false), zeros.buffer()};
  DeviceScope scope;
  GATUN_TRY(enter(buffers, stream, &scope));
  if (l.dense_bytes == 0) return GATUN_OK;
  // Kernels that decompress write nothing to values and indices.
  const FormatJob job =
      job_of(*format, l, nullptr, zeros, const_cast<void*>(values), const_cast<uint8_t*>(indices), nullptr);
  return run_decompress(job, static_cast<uint8_t*>(dense), stream);
}

int32_t gatun_cuda_nm_prune(const gatun_nm_format* format, const gatun_prune_params* prune, const void* w,
                            const float* norms, const float* scores, void* values, uint8_t* indices,
                            gatun_cuda_nm_format_faults* faults, void* stream) {
  Layout l;
  GATUN_TRY(layout_of(format, &l));
  GATUN_TRY(gatun::prune::check_params(prune));
  const gatun_prune_params p = *prune;
  GATUN_TRY(check_prune(*format, p));
  if (p.score == GATUN_SCORE_LAMP) {
    return fail(GATUN_UNSUPPORTED, "prune.score = LAMP (2); allowed on a device: MAGNITUDE (0), WANDA (1), GIVEN (3)");
  }
  const bool given = p.score == GATUN_SCORE_GIVEN, wanda = p.score == GATUN_SCORE_WANDA && p.columns > 0;
  GATUN_TRY(check_absent(p.score == GATUN_SCORE_WANDA, norms, "norms", "prune.score is not WANDA"));
  GATUN_TRY(check_absent(given, scores, "scores", "prune.score is not GIVEN"));
  GATUN_TRY(check_not_null(faults, "faults"));
  Buffer buffers[] = {values_buffer(l, values, true),
                      indices_buffer(l, indices, true),
                      dense_buffer(l, "w", w, false),
                      {"norms", norms, wanda, p.depth, p.depth, 4, false},
                      {"scores", scores, given ? p.columns : 0, p.depth, p.depth, 4, false},
                      faults_buffer(faults)};
  DeviceScope scope;
  GATUN_TRY(enter(buffers, stream, &scope));
  GATUN_TRY(fill_async(faults, 0xff, sizeof(*faults), stream));
  if (l.dense_bytes == 0) return GATUN_OK;
  FormatJob job = job_of(*format, l, w, ZeroPoints(*format, nullptr), values, indices, faults);
  job.score = p.score;
  job.norms = norms;
  job.scores = scores;
  return p.pattern == GATUN_PATTERN_TRANSPOSABLE ? run_prune_transposable(job, stream) : run_prune(job, stream);
}

int32_t gatun_cuda_nm_explain(const gatun_nm_format* format, int32_t device, char* text, int64_t capacity) {
  Layout l;
  GATUN_TRY(layout_of(format, &l));
  Device known;
  GATUN_TRY(describe_supported(device, &known));
  Text out;
  out.add("%d:%d of %s, %lld rows of %lld groups, vectors of %lld, on compute capability %d.%d\n", l.n, l.m,
          dtype_name(format->value_dtype), LongLong{l.columns}, LongLong{l.groups}, LongLong{l.vector}, known.major,
          known.minor);
  if (l.dense_bytes == 0) {
    out.add("  nothing to do\n");
  } else {
    out.add("  kernels nm_compress, nm_prune, nm_decompress: a thread for each group%s; no workspace\n",
            l.vector > 1 ? " of a vector of rows" : "");
  }
  return out.copy_to(text, capacity);
}
