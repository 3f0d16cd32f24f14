// What kernels of attention get. Plain data: the parameter of every kernel.
#pragma once

#include <cstdint>

#include "attention/inputs.h"
#include "gatun/attention.h"

namespace gatun::cuda::attention {

// Lengths that kernels count in 32 bits: sums of two positions and a window stay in range.
inline constexpr int64_t kMostLength = int64_t{1} << 30;
inline constexpr int kUnitKeys = 64;  // that share a scale of INT8

// [batch, heads, rows, columns] in global memory; strides in elements. With offsets there is no batch axis.
struct Strided {
  const void* data;
  int64_t batch_stride, head_stride, row_stride;
};

// A product to the logarithm to base 2 of a weight: (cap ? cap * tanh(x * scale / cap) : x * scale) * log2(e) + slope.
struct Rule {
  float scale;        // with log2(e), unless there is a cap
  float inverse_cap;  // 1 / soft_cap
  float cap;          // soft_cap * log2(e), 0: none
  bool simple;        // nothing but a scale above 0
};

// INT8: codes in rows of `columns` bytes, zeros beyond the head size.
struct Codes {
  Strided q, k;                       // int8
  const float *q_scales, *q_offsets;  // of rows as those of q, q . mean as well; batch items and heads lie as in q
  const float* k_scales;              // of units of kUnitKeys keys (unit_of in device_rows.h)
  const float* mean;                  // of keys, [batch, kv_heads, head_size]
  int64_t columns;
  int64_t k_units;  // of a head
  // INT8_FP8: f8e4m3 codes of v, of each unit kUnitKeys / 16 panels [columns][16 keys] (sm90_values.cu); mean and scale
  // of each channel, [batch, kv_heads, value_size].
  const uint8_t* v;
  const float *v_mean, *v_scales;
};

struct Job {
  int64_t batch, query_heads, kv_heads, group;  // group: query heads of a kv head
  int32_t query_length, kv_length, head_size, value_size;
  int32_t dtype, out_dtype;
  Strided q, k, v;
  Strided values;  // v as tensor cores take it: itself, or a copy in bf16
  gatun::attention::Inputs in;
  void* out;   // or null
  float* lse;  // or null
  int64_t out_batch_stride, out_head_stride, out_row_stride, lse_batch_stride, lse_head_stride;
  Rule rule;
  int32_t causal, left, right, sink_keys;  // windows: kMostLength for none
  int32_t query_block, key_block;          // 0 without a mask
  int64_t mask_batch, mask_heads, query_blocks, full_count, partial_count;
  Codes codes;
  bool aligned_q, aligned_k, aligned_v;  // rows begin at multiples of 16 bytes; v: those of `values`
  bool pairs;                            // two 16-bit elements of out may be written at once
  // Of tensor cores, for each of their tiles: whether a number that is none may have come from v to a row that does
  // not see it. Such tiles are done again.
  uint8_t* spoiled;
  int32_t tile_rows;  // of a block
  int64_t tiles;      // of a head; with offsets those of all items
  int64_t blocks;     // for all tiles
};

inline bool has_codes(int32_t mode) { return mode != GATUN_ATTENTION_EXACT; }

int32_t run_again(const Job& job, void* stream);  // the spoiled tiles, by the kernel of f32

}  // namespace gatun::cuda::attention
