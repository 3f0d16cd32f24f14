// Checks of the memory and the scores that select the weights to keep.
#include "base/check.h"

#include <atomic>
#include <cmath>

#include "base/dtype.h"
#include "base/parallel.h"
#include "prune/pattern.h"
#include "prune/table.h"
#include "simd/float_mode.h"

namespace gatun::prune {
namespace {

bool adds_up_scores(const gatun_prune_params& p) {
  return p.pattern == GATUN_PATTERN_NM ? p.vector > 1
                                       : p.pattern != GATUN_PATTERN_UNSTRUCTURED && p.pattern != GATUN_PATTERN_ROW;
}

// The first row with a score whose magnitude is refused, or the number of rows. The others get their N:M masks if there
// is memory for them.
int64_t first_refused(const Job& job, uint32_t allowed, uint8_t* nm_masks) {
  const gatun_prune_params& p = job.p;
  std::atomic<int64_t> first(p.columns);
  parallel_for(p.columns, threads_of(p, p.columns), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end && row < first.load(std::memory_order_relaxed); ++row) {
      if (job.kernel->largest(job.weights, row, 0, p.depth) <= allowed) {
        if (nm_masks == nullptr) continue;
        job.kernel->nm(job.weights, p.n, p.m, row, row + 1, nm_masks + row * mask_bytes(p.depth));
      } else {
        int64_t known = first.load();
        while (row < known && !first.compare_exchange_weak(known, row)) {
        }
      }
    }
  });
  return first;
}

int32_t refuse(const Job& job, int64_t row, int64_t k, float score, const char* why) {
  const LongLong at = row, in = k;
  const double value = static_cast<double>(score);
  if (job.p.score == GATUN_SCORE_GIVEN) {
    return fail(GATUN_INVALID_ARGUMENT, "scores[%lld][%lld] = %g; allowed: %s", at, in, value, why);
  }
  Weights plain = job.weights;
  plain.norms = nullptr;
  float magnitude;
  job.kernel->score(plain, row, k, 1, &magnitude);
  if (job.weights.norms == nullptr || std::isnan(magnitude)) {
    return fail(GATUN_INVALID_ARGUMENT, "w[%lld][%lld] = %s; allowed: %s", at, in,
                std::isnan(magnitude) ? "NaN" : "infinity", why);
  }
  return fail(GATUN_INVALID_ARGUMENT, "|w[%lld][%lld]| * norms[%lld] = %g * %g is the score %g; allowed: %s", at, in,
              in, static_cast<double>(magnitude), static_cast<double>(job.weights.norms[k]), value, why);
}

}  // namespace

int32_t check_nonnegative(const float* values, int64_t count, const char* name) {
  const DefaultFloatMode mode;
  for (int64_t k = 0; k < count; ++k) {
    if (!std::isfinite(values[k]) || values[k] < 0) {
      return fail(GATUN_INVALID_ARGUMENT, "%s[%lld] = %g; allowed: finite numbers, at least 0", name, LongLong{k},
                  static_cast<double>(values[k]));
    }
  }
  return GATUN_OK;
}

int32_t check_scores(const Job& job, uint32_t allowed, const char* why, uint8_t* nm_masks) {
  const int64_t row = first_refused(job, allowed, nm_masks);
  if (row == job.p.columns) return GATUN_OK;
  const DefaultFloatMode mode;
  int32_t status = GATUN_OK;
  for_each_chunk(job, row, 0, job.p.depth, [&](int64_t first, const float* scores, int64_t count) {
    for (int64_t i = 0; i < count && status == GATUN_OK; ++i) {
      if ((float_bits(scores[i]) & 0x7fffffffu) > allowed) status = refuse(job, row, first + i, scores[i], why);
    }
  });
  if (status != GATUN_OK) return status;
  return fail(GATUN_INTERNAL, "row %lld has a score that is refused, and had none when it was read again",
              LongLong{row});
}

int32_t check_memory(const gatun_prune_params& p, const void* w, const float* norms, const float* scores,
                     const Buffer& output) {
  const bool given = p.score == GATUN_SCORE_GIVEN, wanda = p.score == GATUN_SCORE_WANDA;
  GATUN_TRY(check_absent(!given, w, "w", "params.score is GIVEN"));
  GATUN_TRY(check_absent(wanda, norms, "norms", "params.score is not WANDA"));
  GATUN_TRY(check_absent(given, scores, "scores", "params.score is not GIVEN"));
  Buffer buffers[] = {
      output,
      {given ? "scores" : "w", given ? scores : w, p.columns, p.depth, p.depth, given ? 4 : dtype_bytes(p.w_dtype, 1),
       false},
      {"norms", norms, wanda && p.columns > 0, p.depth, p.depth, 4, false},
  };
  GATUN_TRY(check_buffers(buffers));
  return wanda && p.columns > 0 ? check_nonnegative(norms, p.depth, "norms") : GATUN_OK;
}

void fill(const gatun_prune_params& p, const void* w, const float* norms, const float* scores, Tier limit, Job* job) {
  const bool given = p.score == GATUN_SCORE_GIVEN;
  const int32_t dtype = given ? int32_t{GATUN_F32} : p.w_dtype;
  job->p = p;
  job->weights = {given ? scores : w, norms, given, p.depth};
  job->kernel = table().select(dtype, dtype, limit).kernel;
}

int32_t prepare(const gatun_prune_params& p, const void* w, const float* norms, const float* scores, Tier limit,
                Job* job) {
  fill(p, w, norms, scores, limit, job);
  if (p.columns == 0 || p.depth == 0) return GATUN_OK;
  if (p.score == GATUN_SCORE_LAMP) {
    GATUN_TRY(check_scores(*job, kFinite, "finite numbers, since LAMP adds up squares"));
    float* lamp;
    GATUN_TRY(get_array(job->lamp_scores, p.columns * p.depth, &lamp));
    GATUN_TRY(lamp_scores(*job, lamp));
    job->weights = {lamp, nullptr, true, p.depth};
    job->kernel = table().select(GATUN_F32, GATUN_F32, limit).kernel;
    return GATUN_OK;
  }
  if (adds_up_scores(p)) return check_scores(*job, kFinite, "finite numbers, since this pattern adds scores up");
  return check_scores(*job, kNoNan, kAnyNumber);
}

}  // namespace gatun::prune
