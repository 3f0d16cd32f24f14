// What kernels of selections get. Plain data: the parameters of kernels.
//
// Work comes in units: a batch item, a head of products, and as many query blocks as make a tile of at most kTile rows
// of products. A launch takes some units from `first_unit` on, and what is made of them is counted from there.
#pragma once

#include <cstdint>

#include "attention/device_job.h"
#include "attention_select/arguments.h"

namespace gatun::cuda::attention_select {

using gatun::attention_select::Params;
using gatun::attention_select::Selection;

inline constexpr int kTile = 128;              // rows and columns of a tile of products
inline constexpr int64_t kMostSorted = 12288;  // blocks that fit into the shared memory of any device
inline constexpr int kRowThreads = 128;        // of kernels that have a block for each row of blocks

// What is known of batch items.
struct Items {
  Params p;
  Selection s;
  const int64_t *q_offsets, *kv_offsets;  // or null
};

// Rows of [batch, heads, rows, columns]; with offsets without a batch axis.
struct Operand {
  const void* data;
  int64_t batch_stride, head_stride, row_stride;  // in elements
  int32_t dtype;
  bool of_blocks;  // a row for each block of an item, which has its place by batch_stride also if there are offsets
  bool aligned;    // each row to 16 bytes
};

// Of a row and a block of keys: the largest logit that is seen, in base 2, and the sum of 2^(logit - most); -infinity
// and 0 if none is.
struct Part {
  float most, sum;
};

// q . k of rows and columns that stand for query_unit queries, key_unit keys: sums over `phases` rows of each, of k in
// order, of q in reverse order.
struct ProductJob {
  Items items;
  Operand q, k;
  cuda::attention::Rule rule;
  int32_t phases, query_unit, key_unit;
  int32_t last_queries;             // 0: all
  int32_t tile_rows, tile_columns;  // that are used: whole blocks
  int32_t block_columns;            // of a block of keys
  int64_t heads, group;             // of q; how many share a head of k
  int64_t row_tiles, column_tiles;  // of a head
  int64_t first_unit, units;
  int64_t width;  // of a row of results
  float* logits;  // [units][tile_rows][width], -infinity where nothing is seen; or
  Part* parts;    // likewise, of blocks
};
int32_t run_products(const ProductJob& job, void* stream);

// Means of rows: of the blocks of `rows` each, with what is said of similarity; or of `sharing` neighbouring heads.
struct MeansJob {
  Items items;
  Operand from;
  bool of_keys;
  int64_t heads, rows, blocks;  // blocks: of a head of an item, or more
  float* means;                 // [batch][heads][blocks][head_size]
  uint8_t* similar;             // [batch][heads][blocks]
};
int32_t run_means(const MeansJob& job, void* stream);

struct HeadsJob {
  Operand from;
  void* to;  // [batches][heads][rows][columns]
  int64_t batches, heads, rows, columns;
  int64_t sharing, ratio;  // heads that are averaged; how many of them share one of `from`
};
int32_t run_average(const HeadsJob& job, void* stream);

// Rows of blocks: scores from what products left, and the choice from scores.
struct RowsJob {
  Items items;
  int32_t kind;           // that parts or logits are of; -1: scores are given
  int32_t rows_of_block;  // of products
  int32_t tile_rows, tile_blocks;
  int64_t sharing;  // query heads of a head of products
  int64_t row_tiles, first_unit, units;
  const float* logits;
  const Part* parts;
  const uint8_t *similar_queries, *similar_keys;  // of MEANS
  int64_t query_stride, key_stride;               // of these between heads
  const float* lse;                               // of MASS
  float* scores;                                  // of all rows; or
  float* row_memory;                              // a row of key_blocks for each block of the grid
  const float* budgets;                           // or null
  uint8_t* map;                                   // or null
};
int32_t run_rows(const RowsJob& job, void* stream);

// Softmax of the last queries of `heads` heads from `first` on, of all batch items; its sums over columns and
// diagonals.
struct LinesJob {
  Items items;
  int64_t first, heads;
  int32_t rows;                // that logits have room for
  const float* logits;         // [heads][rows][kv_length]
  Part* stats;                 // [heads][rows]
  float *columns, *diagonals;  // or null: no diagonals
};
int32_t run_lines(const LinesJob& job, void* stream);

// The best of columns and diagonals, a bit for each key of each head; the map of both.
struct DrawJob {
  Items items;
  const float* sums[2];  // columns, diagonals; or null
  uint32_t* chosen[2];
  int64_t words;  // of a head
  uint8_t* map;
};
int32_t run_draw(const DrawJob& job, void* stream);

int32_t run_budgets(const Items& items, const float* columns, float* budgets, void* stream);
// From the offsets of the lists of chosen blocks.
int32_t run_density(const Items& items, const int64_t* offsets, float* density, void* stream);

}  // namespace gatun::cuda::attention_select
