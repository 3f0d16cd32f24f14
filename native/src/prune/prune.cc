// The C entry points that prune and score: check, select, call.
#include "prune/prune.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/dtype.h"
#include "base/text.h"
#include "prune/pattern.h"
#include "prune/table.h"

namespace gatun::prune {

int32_t prune_all(const Job& job, uint8_t* mask) {
  const gatun_prune_params& p = job.p;
  if (p.columns == 0 || p.depth == 0) return GATUN_OK;
  switch (p.pattern) {
    case GATUN_PATTERN_UNSTRUCTURED:
      return prune_unstructured(job, mask);
    case GATUN_PATTERN_ROW:
      return prune_row_by_row(job, mask);
    case GATUN_PATTERN_ROWS:
      return prune_blocks(job, 1, p.depth, mask);
    case GATUN_PATTERN_COLUMNS:
      return prune_blocks(job, p.columns, 1, mask);
    case GATUN_PATTERN_BLOCKS:
      return prune_blocks(job, p.block_rows, p.block_depth, mask);
    default:
      break;
  }
  const int64_t together = rows_together(p), parts = blocks_of(p.columns, together), stride = mask_bytes(p.depth);
  parallel_for(parts, threads_of(p, parts), [&](int64_t begin, int64_t end) {
    prune_rows(job, begin * together, std::min(end * together, p.columns), mask + begin * together * stride);
  });
  return GATUN_OK;
}

namespace {

// N:M of single rows checks and prunes a row while it is in a cache. What was made so far is nobody's business if a
// later row is refused, so it is made apart.
int32_t check_and_prune(const Job& job, uint8_t* mask) {
  Scratch memory;
  uint8_t* made;
  const int64_t bytes = job.p.columns * mask_bytes(job.p.depth);
  GATUN_TRY(get_array(memory, bytes, &made));
  GATUN_TRY(check_scores(job, kNoNan, kAnyNumber, made));
  std::memcpy(mask, made, static_cast<size_t>(bytes));
  return GATUN_OK;
}

int32_t prune(Tier limit, const gatun_prune_params* params, const void* w, const float* norms, const float* scores,
              uint8_t* mask) {
  GATUN_TRY(check_params(params));
  const gatun_prune_params& p = *params;
  const int64_t row_bytes = mask_bytes(p.depth);
  GATUN_TRY(check_memory(p, w, norms, scores, {"mask", mask, p.columns, row_bytes, row_bytes, 1, true}));
  Job job;
  if (p.pattern == GATUN_PATTERN_NM && p.vector == 1 && p.score != GATUN_SCORE_LAMP && p.columns > 0 && p.depth > 0) {
    fill(p, w, norms, scores, limit, &job);
    return check_and_prune(job, mask);
  }
  GATUN_TRY(prepare(p, w, norms, scores, limit, &job));
  return prune_all(job, mask);
}

int32_t score(Tier limit, const gatun_prune_params* params, const void* w, const float* norms, float* scores) {
  GATUN_TRY(check_score_params(params));
  gatun_prune_params p = *params;
  GATUN_TRY(check_range(p.score, GATUN_SCORE_MAGNITUDE, GATUN_SCORE_LAMP, "params.score"));
  p.pattern = GATUN_PATTERN_ROW;  // scores are not added up
  GATUN_TRY(check_memory(p, w, norms, nullptr, {"scores", scores, p.columns, p.depth, p.depth, 4, true}));
  Job job;
  GATUN_TRY(prepare(p, w, norms, nullptr, limit, &job));
  if (p.columns == 0 || p.depth == 0) return GATUN_OK;
  parallel_for(p.columns, threads_of(p, p.columns), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      job.kernel->score(job.weights, row, 0, p.depth, scores + row * p.depth);
    }
  });
  return GATUN_OK;
}

int32_t explain(const gatun_prune_params* params, char* text, int64_t capacity) {
  GATUN_TRY(check_params(params));
  static constexpr const char* kScoreNames[] = {"MAGNITUDE", "WANDA", "LAMP", "GIVEN"};
  static constexpr const char* kPatternNames[] = {"NM",   "TRANSPOSABLE", "UNSTRUCTURED", "ROW",
                                                  "ROWS", "COLUMNS",      "BLOCKS"};
  static constexpr const char* kWays[] = {
      "the kernel compares the scores of a group with each other, 64 at a time",
      "the kernel scores, and each tile takes the best of 90 patterns",
      "the kernel scores, in each of three passes that find the last score that is kept by its digits, and one more",
      "the kernel scores, and each row is partly sorted",
      "the kernel scores, and sums of rows are partly sorted",
      "the kernel scores, and sums of columns are partly sorted",
      "the kernel scores, and sums of blocks are partly sorted"};
  const gatun_prune_params& p = *params;
  const int32_t dtype = p.score == GATUN_SCORE_GIVEN ? int32_t{GATUN_F32} : p.w_dtype;
  Text out;
  table().explain(p.score == GATUN_SCORE_GIVEN ? "scores" : "weights", dtype, "bit", "masks", dtype, out);
  const int32_t threads = p.columns == 0 ? 1 : threads_of(p, blocks_of(p.columns, rows_together(p)));
  out.add("  %s, %s: %s\n", kPatternNames[p.pattern], kScoreNames[p.score],
          p.pattern == GATUN_PATTERN_NM && p.vector > 1
              ? "the kernel scores, and the sums of a group are compared with each other"
              : kWays[p.pattern]);
  if (p.pattern == GATUN_PATTERN_NM)
    out.add("  the best %d of every %d, for %d row%s\n", p.n, p.m, p.vector, p.vector == 1 ? "" : "s together");
  if (p.score == GATUN_SCORE_LAMP) out.add("  LAMP sorts all magnitudes first, on one thread, and stores all scores\n");
  out.add("  %lld rows of %lld weights on %d thread%s\n", LongLong{p.columns}, LongLong{p.depth}, threads,
          threads == 1 ? "" : "s");
  return out.copy_to(text, capacity);
}

}  // namespace
}  // namespace gatun::prune

using namespace gatun;

int32_t gatun_prune(const gatun_prune_params* params, const void* w, const float* norms, const float* scores,
                    uint8_t* mask) {
  return prune::prune(active_tier(), params, w, norms, scores, mask);
}

int32_t gatun_prune_scores(const gatun_prune_params* params, const void* w, const float* norms, float* scores) {
  return prune::score(active_tier(), params, w, norms, scores);
}

int32_t gatun_prune_explain(const gatun_prune_params* params, char* text, int64_t capacity) {
  return prune::explain(params, text, capacity);
}
