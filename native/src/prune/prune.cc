// The C entry points that prune and score: check, select, call.
#include "prune/prune.h"

#include <algorithm>

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

int32_t run(Tier limit, const gatun_prune_params* params, const void* w, const float* norms, const float* scores,
            uint8_t* mask) {
  GATUN_TRY(check_params(params));
  GATUN_TRY(check_memory(*params, w, norms, scores, mask));
  Job job;
  GATUN_TRY(prepare(*params, w, norms, scores, limit, &job));
  return prune_all(job, mask);
}

}  // namespace
}  // namespace gatun::prune

using namespace gatun;

int32_t gatun_prune(const gatun_prune_params* params, const void* w, const float* norms, const float* scores,
                    uint8_t* mask) {
  return prune::run(active_tier(), params, w, norms, scores, mask);
}
