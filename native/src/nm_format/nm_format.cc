// The C entry points of compress and prune: check, select, call.
#include "gatun/nm_format.h"

#include <algorithm>
#include <atomic>

#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/scratch.h"
#include "base/status.h"
#include "nm_format/check.h"
#include "nm_format/layout.h"
#include "nm_format/table.h"
#include "prune/pattern.h"

namespace gatun::nm_format {
namespace {

using LongLong = long long;

// Bytes of weights for which waking another thread pays.
constexpr int64_t kGrainBytes = 128 * 1024;
// Bytes of values from which on they bypass the caches, as in quantize.
constexpr int64_t kStreamBytes = int64_t{16} << 20;

Job job_of(const Layout& l, const void* dense, const ZeroPoints& zeros, void* values, uint8_t* indices) {
  Job job{};
  job.dense = static_cast<const uint8_t*>(dense);
  job.zero_points = zeros.codes();
  job.values = static_cast<uint8_t*>(values);
  job.indices = indices;
  job.columns = l.columns;
  job.depth = l.depth;
  job.vector = l.vector;
  job.groups = l.groups;
  job.dense_row = l.dense_row;
  job.values_row = l.values_row;
  job.indices_row = l.indices_row;
  job.mask_row = l.mask_row;
  job.zero_group = zeros.group();
  job.zero_groups = zeros.groups();
  job.n = l.n;
  job.m = l.m;
  job.stream = l.values_bytes >= kStreamBytes;
  return job;
}

const KernelRow<Kernel>& kernel_of(const gatun_nm_format& format, Tier limit) {
  return table().select(format.value_dtype, format.value_dtype, limit);
}

int32_t threads_of(const gatun_nm_format& format, const Layout& l, int64_t parts) {
  return useful_threads(format.threads, parts, l.dense_bytes, kGrainBytes);
}

// Runs work(begin, end), which returns whether it succeeded, for all of `parts` parts of the rows.
template <class Work>
bool for_parts(const gatun_nm_format& format, const Layout& l, int64_t parts, Work work) {
  std::atomic<bool> failed{false};
  parallel_for(parts, threads_of(format, l, parts), [&](int64_t begin, int64_t end) {
    if (!failed && !work(begin, end)) failed = true;
  });
  return !failed;
}

}  // namespace

int32_t run_compress(Tier limit, const gatun_nm_format* format, const void* dense, const uint8_t* mask,
                     const uint8_t* zero_points, void* values, uint8_t* indices) {
  Layout l;
  GATUN_TRY(layout_of(format, &l));
  const ZeroPoints zeros(*format, zero_points);
  GATUN_TRY(zeros.check_format(*format));
  if (format->value_dtype == GATUN_U4 && l.mask_bytes > 0) GATUN_TRY(check_not_null(mask, "mask (with U4)"));
  Layout masked = l;
  if (mask == nullptr) masked.mask_row = 0;
  Buffer buffers[] = {values_buffer(l, values, true), indices_buffer(l, indices, true),
                      dense_buffer(l, "dense", dense, false), mask_buffer(masked, mask, false), zeros.buffer()};
  GATUN_TRY(check_buffers(buffers));
  GATUN_TRY(zeros.check_codes());
  if (mask != nullptr) GATUN_TRY(check_mask(l, mask, format->threads));
  if (l.dense_bytes == 0) return GATUN_OK;
  Job job = job_of(l, dense, zeros, values, indices);
  job.mask = mask;
  const Kernel& kernel = *kernel_of(*format, limit).kernel;
  const auto compress = [&](int64_t begin, int64_t end) { return kernel.compress(job, begin, end); };
  return for_parts(*format, l, l.vectors, compress) ? GATUN_OK : fail_overfull(*format, l, dense, mask);
}

namespace {

// Rows that are kept or pruned together: their mask first, then their values and indices. A status without a message.
int32_t prune_together(const prune::Job& pruning, const Kernel& kernel, const Job& whole, int64_t begin, int64_t end) {
  thread_local Scratch scratch;
  uint8_t* const mask = scratch.get((end - begin) * whole.mask_row);
  if (mask == nullptr) return GATUN_OUT_OF_RESOURCES;
  prune::prune_rows(pruning, begin, end, mask);
  Job part = whole;
  part.mask = mask;
  part.columns = end - begin;
  part.dense += begin * whole.dense_row;
  part.values += begin * whole.values_row;
  part.indices += begin / whole.vector * whole.indices_row;
  return kernel.compress(part, 0, blocks_of(part.columns, part.vector)) ? GATUN_OK : GATUN_INTERNAL;
}

}  // namespace

int32_t run_prune(Tier limit, const gatun_nm_format* format, const gatun_prune_params* prune, const void* w,
                  const float* norms, const float* scores, void* values, uint8_t* indices) {
  Layout l;
  GATUN_TRY(layout_of(format, &l));
  GATUN_TRY(prune::check_params(prune));
  gatun_prune_params p = *prune;
  GATUN_TRY(check_prune(*format, p));
  p.threads = format->threads;
  const bool given = p.score == GATUN_SCORE_GIVEN, wanda = p.score == GATUN_SCORE_WANDA && p.columns > 0;
  GATUN_TRY(check_absent(p.score == GATUN_SCORE_WANDA, norms, "norms", "prune.score is not WANDA"));
  GATUN_TRY(check_absent(given, scores, "scores", "prune.score is not GIVEN"));
  Buffer buffers[] = {values_buffer(l, values, true),
                      indices_buffer(l, indices, true),
                      dense_buffer(l, "w", w, false),
                      {"norms", norms, wanda, p.depth, p.depth, 4, false},
                      {"scores", scores, given ? p.columns : 0, p.depth, p.depth, 4, false}};
  GATUN_TRY(check_buffers(buffers));
  if (wanda) GATUN_TRY(prune::check_nonnegative(norms, p.depth, "norms"));
  if (l.dense_bytes == 0) return GATUN_OK;
  const Kernel& kernel = *kernel_of(*format, limit).kernel;
  Job job = job_of(l, w, ZeroPoints(*format, nullptr), values, indices);
  prune::Job pruning;
  if (p.pattern == GATUN_PATTERN_NM && p.vector == 1 && p.score != GATUN_SCORE_LAMP) {
    job.norms = norms;
    job.scores = scores;
    const auto fused = [&](int64_t begin, int64_t end) { return kernel.prune(job, begin, end); };
    if (for_parts(*format, l, l.columns, fused)) return GATUN_OK;
    GATUN_TRY(prune::prepare(p, w, norms, scores, limit, &pruning));
    return fail(GATUN_INTERNAL, "a kernel found a score that is NaN, its check found none");
  }
  GATUN_TRY(prune::prepare(p, w, norms, scores, limit, &pruning));
  const int64_t together = prune::rows_together(p), parts = blocks_of(l.columns, together);
  std::atomic<int32_t> status{GATUN_OK};
  const auto banded = [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t first = part * together;
      const int32_t one = prune_together(pruning, kernel, job, first, first + std::min(together, l.columns - first));
      if (one == GATUN_OK) continue;
      status = one;
      return false;
    }
    return true;
  };
  if (for_parts(*format, l, parts, banded)) return GATUN_OK;
  if (status == GATUN_INTERNAL) return fail(GATUN_INTERNAL, "pruning keeps too much of a group");
  return fail(GATUN_OUT_OF_RESOURCES, "no memory for the mask of %lld rows of %lld bytes", LongLong{together},
              LongLong{l.mask_row});
}

}  // namespace gatun::nm_format

using namespace gatun;
using namespace gatun::nm_format;

int32_t gatun_nm_compress(const gatun_nm_format* format, const void* dense, const uint8_t* mask,
                          const uint8_t* zero_points, void* values, uint8_t* indices) {
  return run_compress(active_tier(), format, dense, mask, zero_points, values, indices);
}

int32_t gatun_nm_prune(const gatun_nm_format* format, const gatun_prune_params* prune, const void* w,
                       const float* norms, const float* scores, void* values, uint8_t* indices) {
  return run_prune(active_tier(), format, prune, w, norms, scores, values, indices);
}

int32_t gatun_nm_explain(const gatun_nm_format* format, char* text, int64_t capacity) {
  Layout l;
  GATUN_TRY(layout_of(format, &l));
  Text out;
  table().explain("weights", format->value_dtype, "values", format->value_dtype, out);
  const int32_t threads = threads_of(*format, l, l.vectors);
  out.add("  %d:%d of %lld rows of %lld groups, vectors of %lld, on %d thread%s\n", l.n, l.m, LongLong{l.columns},
          LongLong{l.groups}, LongLong{l.vector}, threads, threads == 1 ? "" : "s");
  if (job_of(l, nullptr, ZeroPoints(*format, nullptr), nullptr, nullptr).stream) {
    out.add("  writes past the caches, which the values exceed\n");
  }
  return out.copy_to(text, capacity);
}
