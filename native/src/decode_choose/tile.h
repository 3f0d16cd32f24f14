// sums[j] += exp(logits[j] - lse): what the keys of a row of attention get of its weights.
//
// Operands: logits as the caller has them, sums of the entry. Tails: a last round of the same body with fewer lanes.
// Error of a weight w: (2^-22 + 2^-23 |logit - lse|) w + 2^-126; of a sum of n, 2^-24 n times the sum besides. Every
// tier gives the same bits.
#pragma once

#include "decode_choose/kernel.h"
#include "simd/math.h"

namespace gatun::GATUN_ISA {
namespace {

void add_weights(const float* logits, float lse, int64_t count, float* sums) {
  const F32 shift = set1(lse);
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    store_f32(sums + j, add(load_f32(sums + j), exp(sub(load_f32(logits + j), shift))));
  }
  if (j < count) {
    const int n = static_cast<int>(count - j);
    store_f32_n(sums + j, add(load_f32_n(sums + j, n), exp(sub(load_f32_n(logits + j, n), shift))), n);
  }
}

}  // namespace
}  // namespace gatun::GATUN_ISA
