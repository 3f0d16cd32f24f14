// From params to launches: host code.
#pragma once

#include <cstdint>

#include "attention_select/selection_job.h"
#include "base/text.h"

namespace gatun::cuda::attention_select {

// How scores are made: the shape of products, units that are in memory at a time, where parts of the workspace lie.
struct ScoresPlan {
  int32_t phases, query_unit, key_unit, rows_of_block, block_columns, tile_blocks, tile_columns;
  int64_t heads, sharing;  // of products; query heads of each
  int64_t row_tiles, column_tiles, units, units_at_once;
  int64_t results_at, rows_at, q_at, k_at, similar_queries_at, similar_keys_at;
  int64_t workspace_bytes;
};
ScoresPlan plan_scores(const Params& params, const Selection& selection);

// Likewise lines; heads of all batch items.
struct LinesPlan {
  int32_t tile_rows;
  int64_t row_tiles, column_tiles, heads, heads_at_once, words;
  int64_t logits_at, stats_at, sums_at[2], chosen_at[2];
  int64_t workspace_bytes;
};
LinesPlan plan_lines(const Params& params, const Selection& selection, bool ragged);

// The arguments of a call whose values are read.
struct Values {
  const void *q, *k;
  const float *lse, *budgets;
};

// Scores to memory, or the map, or both of which one is null; there is a map to be made.
int32_t run_scores(const ScoresPlan& plan, const Items& items, const Values& values, float* scores, uint8_t* map,
                   uint8_t* workspace, void* stream);
int32_t run_choice(const Items& items, const float* scores, const float* budgets, uint8_t* map, void* stream);

// The sums; no diagonals if that is null.
int32_t run_sums(const LinesPlan& plan, const Items& items, const Values& values, float* columns, float* diagonals,
                 uint8_t* workspace, void* stream);
int32_t run_map(const LinesPlan& plan, const Items& items, const float* columns, const float* diagonals, uint8_t* map,
                uint8_t* workspace, void* stream);

// Of any kind.
int64_t selection_bytes(const Params& params, const Selection& selection, bool ragged);
int32_t run_selection(const Items& items, const Values& values, uint8_t* map, uint8_t* workspace, void* stream);

void explain(const Params& params, const Selection& selection, bool ragged, Text& out);

}  // namespace gatun::cuda::attention_select
