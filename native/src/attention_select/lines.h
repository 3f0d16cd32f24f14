// Vertical and slash lines (MInference), and budgets of heads (ProxyAttn).
#pragma once

#include "attention_select/scores.h"

namespace gatun::attention_select {

// Sums over the last queries of a head whose keys `products` has taken, for the item's keys: columns, and diagonals
// unless null. False if there is no memory.
bool sum_lines(const Call& call, const Item& item, int64_t head, Products& products, float* columns, float* diagonals);

// The map of a head, query_blocks rows: all of them are written. `order` has room for the item's keys; columns and
// diagonals may be null.
void draw_lines(const Call& call, const Item& item, const float* columns, const float* diagonals, uint64_t* order,
                uint8_t* map);

// The fraction of the blocks that the last queries may see which holds `amount` of the sum of columns. `sums` has
// room for key_blocks.
float budget_of(const Call& call, const Item& item, const float* columns, double* sums);

}  // namespace gatun::attention_select
