// What the entry points of selections are given, and its checks but of what arrays contain.
#pragma once

#include "base/check.h"
#include "gatun/attention_select.h"

namespace gatun::attention_select {

using Params = gatun_attention_params;
using Selection = gatun_selection_params;

// null: not an argument of it, but that offsets may be null.
struct Arguments {
  const Params* params;
  const Selection* selection;
  const void *q, *k;
  const int64_t *q_offsets, *kv_offsets;
  const float* lse;
  const float* budgets;
};

// What of a selection an entry reads.
struct Uses {
  bool values;  // q and k
  bool scores;  // the fields of a kind that has scores
  bool choice;  // keep, amount
  bool map;     // blocks, keep_first and keep_diagonal
  bool lines;   // last_queries
  bool chosen_lines;
  bool budget;  // amount, for budgets
};
inline constexpr Uses kScores = {true, true, false, true, false, false, false},
                      kChoice = {false, false, true, true, false, false, false},
                      kScoresAndChoice = {true, true, true, true, false, false, false},
                      kLines = {true, false, false, false, true, false, false},
                      kDraw = {false, false, false, true, false, true, false},
                      kLinesAndDraw = {true, false, false, true, true, true, false},
                      kBudgets = {true, false, false, false, true, false, true};

// Reads both structs, and checks of them what does not depend on the entry.
int32_t read_structs(const Arguments& arguments, Params* params, Selection* selection);

// What the structs say.
int32_t check_selection(const Params& params, const Selection& selection, const Uses& uses);

// Everything but what `outputs` holds, which are arrays: they overlap nothing.
struct CheckedArguments {
  Buffer buffers[10];
  int count;
};
int32_t check_arguments(const Params& params, const Selection& selection, const Arguments& arguments, const Uses& uses,
                        const Buffer* outputs, int output_count, CheckedArguments* checked);

// What is said of the kind of scores and of select, and of the arguments that depend on it.
int32_t check_scores_kind(const Params& params, const Selection& selection, const Arguments& arguments);
int32_t check_select_kind(const Params& params, const Selection& selection, const Arguments& arguments);
int32_t check_both_lines(const float* columns, const float* diagonals);

// An amount of selection, or that of a head if `index` is none of -1.
int32_t check_amount(float amount, const char* name, int64_t index);

// An output of `count` elements.
inline Buffer output_of(const char* name, const void* address, int64_t count, int64_t element_bytes) {
  return {name, address, 1, count, 0, element_bytes, true};
}

// batch * query_heads * rows * columns, or INVALID_ARGUMENT.
int32_t check_product(const Params& params, int64_t rows, int64_t columns, const char* what, int64_t* product);
// The elements of scores and maps; of columns and of diagonals.
int32_t check_map_size(const Params& params, const Selection& selection, const char* name, int64_t* count);
int32_t check_sums(const Params& params, bool ragged, int64_t* count);

// The blocks of an item with these lengths fit the map.
int32_t check_blocks(const Params& params, const Selection& selection, int64_t queries, int64_t keys,
                     int64_t batch_item);

}  // namespace gatun::attention_select
