// Sums of squares, as native/src/optimizer/squares.h defines them, bit for bit:
//
//   x  [ chunk of 1024 | chunk | .. | rest ]     a chunk in f32: 32 sums, element i to sum i % 32, folded in halves;
//                                                chunks one after the other in f64
//
// A warp does a chunk, a lane a sum. A chunk whose sum leaves [2^-80, 2^120] is done again, scaled by a power of 2 that
// brings its largest magnitude near 1.
#pragma once

#include <cstdint>

#include "optimizer/device_job.h"
#include "ptx/number.h"
#include "ptx/warp.h"

namespace gatun::cuda::optimizer {

// Adds the squares of a chunk of `count` elements to sums[kSums], of as many numbers that an element has. All lanes get
// the same. `load(index)` reads what numbers(loaded, x) makes them of; loads of kAtOnce elements go together.
template <int kAtOnce, int kSums, class Load, class Numbers>
GATUN_DEVICE void add_chunk(int32_t count, Load load, Numbers numbers, double (&sums)[kSums]) {
  float factor[kSums], sum[kSums];
  double square[kSums];
#pragma unroll
  for (int k = 0; k < kSums; ++k) {
    factor[k] = 1;
    square[k] = 1;
  }
  for (bool again = true, scaled = false; again; scaled = true) {
    float most[kSums];
#pragma unroll
    for (int k = 0; k < kSums; ++k) sum[k] = most[k] = 0;
    for (int32_t i = lane(); i < count; i += 32 * kAtOnce) {
      decltype(load(i)) loaded[kAtOnce];
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
        if (i + 32 * j < count) loaded[j] = load(i + 32 * j);
      }
#pragma unroll
      for (int j = 0; j < kAtOnce; ++j) {
        if (i + 32 * j >= count) continue;
        float x[kSums];
        numbers(loaded[j], x);
#pragma unroll
        for (int k = 0; k < kSums; ++k) {
          const float value = x[k] * factor[k];
          sum[k] = fused(value, value, sum[k]);
          most[k] = max_or_nan(most[k], absolute(x[k]));
        }
      }
    }
    again = false;
#pragma unroll
    for (int k = 0; k < kSums; ++k) {
      for (int half = 16; half > 0; half /= 2) sum[k] += shuffle_xor(sum[k], half);
      if (scaled || (sum[k] >= 0x1p-80f && sum[k] <= 0x1p120f)) continue;
      const float largest = as_float(reduce_max(as_bits(most[k])));
      if (!(largest < as_float(0x7f800000u))) square[k] = largest - largest;  // NaN
      for (float m = largest; m >= 2 && square[k] > 0; m *= 0.5f, factor[k] *= 0.5f) square[k] *= 4;
      for (float m = largest; m > 0 && m < 1 && factor[k] < 0x1p126f; m *= 2, factor[k] *= 2) square[k] *= 0.25;
      again = again || factor[k] != 1;
    }
  }
#pragma unroll
  for (int k = 0; k < kSums; ++k) sums[k] += static_cast<double>(sum[k]) * square[k];
}

// Adds sums of the units of a part, one after the other, a unit being what sum_unit(index, sums) adds to sums; by all
// threads of a block, whose warps do units side by side. kTurns sums of units are in shared memory at `exchange`,
// twice, so that once a turn the warps meet. Lane k of warp 0 gets sum k.
template <int kTurn, int kSums, class SumUnit>
GATUN_DEVICE double add_units(int64_t begin, int64_t end, double* exchange, SumUnit sum_unit) {
  double total = 0;
  for (bool odd = false; begin < end; begin += kTurn, odd = !odd) {
    double* const sums = exchange + (odd ? kTurn * kSums : 0);
    const int units = end - begin < kTurn ? static_cast<int>(end - begin) : kTurn;
    for (int unit = warp(); unit < units; unit += thread_count() / 32) {
      double own[kSums] = {};
      sum_unit(begin + unit, own);
      if (lane() == 0) {
#pragma unroll
        for (int k = 0; k < kSums; ++k) sums[unit * kSums + k] = own[k];
      }
    }
    block_barrier();
    if (thread_index() < kSums) {
      for (int unit = 0; unit < units; ++unit) total += sums[unit * kSums + thread_index()];
    }
  }
  return total;
}

}  // namespace gatun::cuda::optimizer
