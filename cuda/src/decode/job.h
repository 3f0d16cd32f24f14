// What kernels of decoding get. Plain data: the parameter of every kernel.
//
// Rows of q that share a head of the pools follow each other: row r is query r % query_length of query head g * ratio +
// r / query_length. They are cut into tiles, keys into parts. A kernel that does a part leaves for each of its rows
//
//   maxima [rows]         the largest logit m that the row sees
//   totals [rows]         sum of exp(logit - m); 0 if it sees none
//   sums [rows][size]     sum of exp(logit - m) v
//
// in partial[item][part], with item = b * heads + g; the kernel `merge` adds parts in ascending order.
#pragma once

#include <cstdint>

#include "gatun/decode.h"
#include "kv_cache/rows.h"

namespace gatun::cuda::decode {

using kv_cache::DevicePool;

struct Job {
  gatun_decode_params params;  // strides that lead nowhere are 0
  DevicePool k, v;             // v has a size of 0 without
  const void* q;
  const int32_t* table;  // or null
  const int64_t* lengths;
  const float *slopes, *sinks;  // or null
  void* out;
  float *lse, *logits;  // or null
  float* partial;
  int64_t most_keys;  // that the table has room for
  int64_t part_keys, parts;
  int32_t rows, ratio;
  int32_t row_tiles;

  int64_t items() const { return params.batch * k.layout.heads; }
  int64_t blocks() const { return items() * parts * row_tiles; }
};

int32_t run_merge(const Job& job, void* stream);

}  // namespace gatun::cuda::decode
