// Where rows are, what they see, and how their sums end.
//
//   weight = 2^(logit - top), logits and top in base 2, so that exponentials need no product
#pragma once

#include <cmath>
#include <cstdint>

#include "attention/device_job.h"
#include "base/quotient.h"
#include "gatun/types.h"
#include "ptx/number.h"
#include "ptx/thread.h"
#include "qmatmul/values.h"

namespace gatun::cuda::attention {

using qmatmul::is_finite;
using qmatmul::load_float;

inline constexpr float kLog2e = 1.44269504f, kLn2 = 0.693147181f;

GATUN_DEVICE float infinity() { return as_float(0x7f800000u); }
GATUN_DEVICE int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }
GATUN_DEVICE int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }
GATUN_DEVICE int64_t clamped(int64_t x, int64_t low, int64_t high) { return x < low ? low : x > high ? high : x; }

// A batch item. Offsets may be any numbers.
struct Item {
  int64_t index;
  int64_t first_query, first_key;  // among the rows of q and of k; 0 without offsets
  int32_t queries, keys;
};

GATUN_DEVICE Item item_of(const Job& job, int64_t index) {
  if (job.in.q_offsets == nullptr) return {index, 0, 0, job.query_length, job.kv_length};
  const int64_t query = clamped(job.in.q_offsets[index], 0, job.query_length);
  const int64_t key = clamped(job.in.kv_offsets[index], 0, job.kv_length);
  return {index, query, key,
          static_cast<int32_t>(clamped(job.in.q_offsets[index + 1], query, job.query_length) - query),
          static_cast<int32_t>(clamped(job.in.kv_offsets[index + 1], key, job.kv_length) - key)};
}

// The place of row 0 of an item's head.
GATUN_DEVICE int64_t place_of(const Job& job, int64_t item, int64_t first, int64_t head, int64_t batch_stride,
                              int64_t head_stride, int64_t row_stride) {
  return (job.in.q_offsets == nullptr ? item * batch_stride : first * row_stride) + head * head_stride;
}
GATUN_DEVICE int64_t place_of(const Job& job, int64_t item, int64_t first, int64_t head, const Strided& x) {
  return place_of(job, item, first, head, x.batch_stride, x.head_stride, x.row_stride);
}

// Rows of one head from `row` of the item on.
struct Tile {
  Item item;
  int64_t head, kv_head;  // of q; of k and v
  int32_t row, rows;      // there are rows, at most as many as a tile has
};

// Part `index` of `size` rows of an item. With offsets, item b has parts from offsets[b] / size + b on, which is more
// than the item before needs.
struct Part {
  int64_t item, index;
};
GATUN_DEVICE Part part_of(const Job& job, const int64_t* offsets, int64_t length, int32_t size, int64_t at) {
  const auto first = [&](int64_t b) { return clamped(offsets[b], 0, length) / size + b; };
  int64_t low = 0, high = job.batch;  // the item is in [low, high)
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (first(middle) <= at ? low : high) = middle;
  }
  return {low, at - first(low)};
}

// The rows of block block_x(), which has job.tile_rows of them; false if it has none. The last tiles come first, since
// under a causal mask these see most.
GATUN_DEVICE bool tile_of_block(const Job& job, Tile* tile) {
  const int64_t all = quotient(block_x(), job.tiles), item = quotient(all, job.query_heads);
  Part part = {item, job.tiles - 1 - (block_x() - all * job.tiles)};
  tile->head = all - item * job.query_heads;
  if (job.in.q_offsets != nullptr) {
    part = part_of(job, job.in.q_offsets, job.query_length, job.tile_rows, part.index);
  }
  tile->kv_head = quotient(tile->head, job.group);
  tile->item = item_of(job, part.item);
  if (part.index < 0 || part.index * job.tile_rows >= tile->item.queries) return false;
  tile->row = static_cast<int32_t>(part.index) * job.tile_rows;
  tile->rows = smaller(job.tile_rows, tile->item.queries - tile->row);
  return true;
}

// Key j is seen by a row if j < end and (j >= begin or j < job.sink_keys), but for the mask.
struct Seen {
  int32_t begin, end;
};

GATUN_DEVICE int32_t position_of(const Item& item, int32_t row) { return row + item.keys - item.queries; }

GATUN_DEVICE Seen seen_by(const Job& job, const Item& item, int32_t row) {
  const int32_t position = position_of(item, row);
  int32_t end = smaller(item.keys, position + job.right + (job.right < kMostLength ? 1 : 0));
  if (job.causal != 0) end = smaller(end, position + 1);
  return {larger(0, position - job.left), end};
}

// Below 0.6 the polynomial in x^2 that interpolates (tanh(x) / x - 1) / x^2 at Chebyshev nodes. Error 2^-21 |y|.
GATUN_DEVICE float tanh_near(float x) {
  const float magnitude = absolute(x), square = x * x;
  float p = fused(-0.00626911972f, square, 0.021110959f);
  p = fused(p, square, -0.0538739488f);
  p = fused(p, square, 0.133329154f);
  p = fused(p, square, -0.333333303f);
  const float below = fused(x * square, p, x);
  const float above = 1.0f - 2.0f / (exp2_fast(magnitude * (2 * kLog2e)) + 1.0f);
  return magnitude < 0.6f ? below : x < 0 ? -above : above;
}

// The logit of a product, `distance` keys after the query's position.
GATUN_DEVICE float logit_of(const Rule& rule, float slope, float product, int32_t distance) {
  float x = product * rule.scale;
  if (rule.cap > 0) x = tanh_near(x * rule.inverse_cap) * rule.cap;
  return slope == 0 ? x : fused(slope, static_cast<float>(distance), x);
}

GATUN_DEVICE float slope_of(const Job& job, int64_t head) {
  return job.in.slopes == nullptr ? 0.0f : job.in.slopes[head] * kLog2e;
}

// Where the scale of row 0 of a tile's item is.
GATUN_DEVICE int64_t code_row(const Job& job, const Tile& tile) {
  const int64_t heads_before = (job.in.q_offsets == nullptr ? tile.item.index * job.query_heads : 0) + tile.head;
  return heads_before * job.query_length + tile.item.first_query;
}

// Where the scale of a key's unit is. With offsets the units of item b begin at kv_offsets[b] / kUnitKeys + b.
GATUN_DEVICE int64_t unit_of(const Job& job, const Item& item, int64_t kv_head, int32_t key) {
  const int64_t first = job.in.q_offsets == nullptr ? item.index * job.kv_heads * job.codes.k_units
                                                    : item.first_key / kUnitKeys + item.index;
  return first + kv_head * job.codes.k_units + key / kUnitKeys;
}

// Of numbers up to amax in codes up to `largest`. Below 2^-120 it counts as 0; NaN if a number is not finite.
struct Scale {
  float scale, inverse;
};
GATUN_DEVICE Scale scale_of(float amax, float largest) {
  if (!is_finite(amax)) return {as_float(0x7fc00000u), 0.0f};
  const float scale = amax / largest;
  if (scale < 0x1p-120f) return {0.0f, 0.0f};
  return {scale, 1.0f / scale};
}

// out = correction * (factor * sums).
struct RowEnd {
  float factor, correction, lse;
};

// `total` is the sum of 2^(logit - top); 0 if nothing was seen, then top may be -infinity. A row of no weights stays 0,
// whatever the correction is.
GATUN_DEVICE RowEnd end_row(const Job& job, int64_t head, int64_t lse_at, float top, float total) {
  const float sink = job.in.sinks == nullptr ? -infinity() : job.in.sinks[head];
  if (total == 0) return {0.0f, 1.0f, sink};
  if (sink == infinity() && total == total) return {0.0f, 1.0f, sink};
  const float high = max_or_nan(top, sink * kLog2e), share = exp2_fast(top - high);
  const float denominator = total * share + exp2_fast(sink * kLog2e - high);
  const float correction = job.in.correction == nullptr ? 1.0f : job.in.correction[lse_at];
  return {share / denominator, correction, kLn2 * (high + log2_fast(denominator))};
}

GATUN_DEVICE int64_t lse_place(const Job& job, const Tile& tile) {
  return place_of(job, tile.item.index, tile.item.first_query, tile.head, job.lse_batch_stride, job.lse_head_stride,
                  1) +
         tile.row;
}
GATUN_DEVICE int64_t out_place(const Job& job, const Tile& tile) {
  return place_of(job, tile.item.index, tile.item.first_query, tile.head, job.out_batch_stride, job.out_head_stride,
                  job.out_row_stride) +
         tile.row * job.out_row_stride;
}

GATUN_DEVICE void store_out(const Job& job, int64_t at, float x) {
  if (job.out_dtype == GATUN_F32) {
    static_cast<float*>(job.out)[at] = x;
  } else {
    static_cast<uint16_t*>(job.out)[at] = job.out_dtype == GATUN_F16 ? f32_to_f16(x) : f32_to_bf16(x);
  }
}

}  // namespace gatun::cuda::attention
