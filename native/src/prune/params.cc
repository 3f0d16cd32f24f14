// Checks of what is asked for, of host memory alone: libgatun_cuda has them, too.
#include "prune/params.h"

#include "base/check.h"
#include "base/dtype.h"
#include "base/nm.h"
#include "base/parallel.h"

namespace gatun::prune {
namespace {

// How many things a pattern keeps `keep` of. The number of weights is known not to overflow.
int64_t choices(const gatun_prune_params& p) {
  switch (p.pattern) {
    case GATUN_PATTERN_UNSTRUCTURED:
      return p.columns * p.depth;
    case GATUN_PATTERN_ROW:
    case GATUN_PATTERN_COLUMNS:
      return p.depth;
    case GATUN_PATTERN_ROWS:
      return p.columns;
    default:
      return blocks_of(p.columns, p.block_rows) * blocks_of(p.depth, p.block_depth);
  }
}

}  // namespace

int32_t check_score_params(const gatun_prune_params* params) {
  GATUN_TRY(check_not_null(params, "params"));
  const gatun_prune_params& p = *params;
  GATUN_TRY(check_struct_size(p.struct_size, sizeof(p), "params"));
  GATUN_TRY(check_dtype(p.w_dtype, {GATUN_F32, GATUN_F16, GATUN_BF16}, "params.w_dtype"));
  GATUN_TRY(check_range(p.score, GATUN_SCORE_MAGNITUDE, GATUN_SCORE_GIVEN, "params.score"));
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_range(p.columns, 0, INT64_MAX, "params.columns"));
  GATUN_TRY(check_range(p.depth, 0, INT64_MAX, "params.depth"));
  int64_t bytes;
  return check_extent(p.columns, p.depth, p.depth, 1, 32, "scores", &bytes);
}

int32_t check_params(const gatun_prune_params* params) {
  GATUN_TRY(check_score_params(params));
  const gatun_prune_params& p = *params;
  GATUN_TRY(check_range(p.pattern, GATUN_PATTERN_NM, GATUN_PATTERN_BLOCKS, "params.pattern"));
  if (p.pattern == GATUN_PATTERN_NM) {
    GATUN_TRY(check_nm(p.n, p.m, "params"));
    return check_range(p.vector, 1, INT32_MAX, "params.vector");
  }
  if (p.pattern == GATUN_PATTERN_TRANSPOSABLE) return GATUN_OK;
  if (p.pattern == GATUN_PATTERN_BLOCKS) {
    GATUN_TRY(check_range(p.block_rows, 1, INT64_MAX, "params.block_rows"));
    GATUN_TRY(check_range(p.block_depth, 1, INT64_MAX, "params.block_depth"));
  }
  return check_range(p.keep, 0, choices(p), "params.keep");
}

}  // namespace gatun::prune
