// From logits to the weights of values: rows of a chunk, with a running maximum.
//
//   weights[i] = 2^(scale * (logits[i] - maximum)), maximum the largest logit so far, scale > 0 in units of ln 2
//   total      = total * 2^(scale * (old maximum - maximum)) + sum of weights
//
// Differences are taken before the scale, so that the largest weight is 1, however large logits are.
#pragma once

#include "attention/scratch.h"
#include "attention/seen.h"
#include "simd/math.h"
#include "simd/vec.h"

namespace gatun::GATUN_ISA {
namespace {

inline constexpr float kLowest = -0x1.fffffep127f;  // the maximum of a row that has seen nothing
inline constexpr float kLog2e = 1.44269504f;
inline constexpr int kPanelVectors = attention::kPanelKeys / kLanes;

// Minus infinity where the bit of a lane is 0.
GATUN_INLINE F32 hide(F32 x, uint32_t seen) {
  const auto keep = [](F32 a, uint32_t bits)
                        GATUN_INLINE_LAMBDA { return as_lanes(keep_bits<4>(as_bytes(as_i32(a)), bits)); };
  return as_f32(or_i32(keep(x, seen), keep(set1(-__builtin_inff()), ~seen)));
}

// What a logit is made of besides the product; natural units.
struct LogitRule {
  float scale, offset;  // of products, after the scale
  float soft_cap;       // or 0
  float slope;          // of the distance, or 0
  int64_t position;     // of the query among the keys
};

// Products of the first panels of a chunk to logits; keys that the row does not see get minus
// infinity.
inline void apply_rule(const LogitRule& rule, const Chunk& chunk, int panels, const Seen& seen, int64_t bits_stride,
                       int64_t row, float* logits) {
  static constexpr int32_t kCount[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  for (int i = 0; i < panels; ++i) {
    const uint32_t bits = seen_bits(chunk, i, seen, bits_stride, row);
    const int64_t distance = chunk.panel[i] * attention::kPanelKeys - rule.position;
    for (int v = 0; v < kPanelVectors; ++v) {
      float* const at = logits + i * attention::kPanelKeys + v * kLanes;
      F32 x = fma(load_f32(at), set1(rule.scale), set1(rule.offset));
      if (rule.soft_cap > 0) x = mul(tanh(div(x, set1(rule.soft_cap))), set1(rule.soft_cap));
      if (rule.slope != 0) {
        const I32 lanes_from = load_i32(kCount + v * kLanes);
        const F32 distances = add(to_f32(lanes_from), set1(static_cast<float>(distance)));
        x = fma(distances, set1(rule.slope), x);
      }
      store_f32(at, hide(x, bits >> v * kLanes));
    }
  }
}

// Only that keys are hidden.
inline void hide_unseen(const Chunk& chunk, int panels, const Seen& seen, int64_t bits_stride, int64_t row,
                        float* logits) {
  for (int i = 0; i < panels; ++i) {
    if (!chunk.edge[i]) continue;
    const uint32_t bits = seen_bits(chunk, i, seen, bits_stride, row);
    for (int v = 0; v < kPanelVectors; ++v) {
      float* const at = logits + i * attention::kPanelKeys + v * kLanes;
      store_f32(at, hide(load_f32(at), bits >> v * kLanes));
    }
  }
}

// How weights are kept for the products with v.
struct F32Weights {
  static constexpr int kDegree = 5;
  static GATUN_INLINE void store_two(uint32_t* row, int at, F32 a, F32 b) {
    store_f32(reinterpret_cast<float*>(row) + at, a);
    store_f32(reinterpret_cast<float*>(row) + at + kLanes, b);
  }
};
#if defined(__AVX512BF16__)
struct Bf16Weights {
  static constexpr int kDegree = 4;
  static GATUN_INLINE void store_two(uint32_t* row, int at, F32 a, F32 b) {
    store_bf16_of_two(reinterpret_cast<uint16_t*>(row) + at, a, b);
  }
};
#endif

// One row of `count` logits, a multiple of 2 kLanes. Returns the factor of what was summed before.
template <class Weights>
inline float soften_row(const float* logits, int count, float scale, float* maximum, float* total, uint32_t* weights) {
  F32 top0 = load_f32(logits), top1 = load_f32(logits + kLanes);
  for (int i = 2 * kLanes; i < count; i += 2 * kLanes) {
    top0 = max(top0, load_f32(logits + i));
    top1 = max(top1, load_f32(logits + i + kLanes));
  }
  const float peak = reduce_max(max(top0, top1)), before = *maximum;
  const float now = peak > before || peak != peak ? peak : before;
  const F32 scales = set1(scale), greatest = set1(now);
  F32 sum0 = zero_f32(), sum1 = zero_f32();
  for (int i = 0; i < count; i += 2 * kLanes) {
    const F32 a = exp2<Weights::kDegree>(mul(sub(load_f32(logits + i), greatest), scales));
    const F32 b = exp2<Weights::kDegree>(mul(sub(load_f32(logits + i + kLanes), greatest), scales));
    sum0 = add(sum0, a);
    sum1 = add(sum1, b);
    Weights::store_two(weights, i, a, b);
  }
  // Exactly 1 where nothing grew, or the sums of long rows would drift.
  const F32 factor = now == before ? set1(1.0f) : exp2<5>(mul(set1(before - now), scales));
  store_f32(total, fma(load_f32(total), factor, add(sum0, sum1)));
  *maximum = now;
  float lanes_of_factor[kLanes];
  store_f32(lanes_of_factor, factor);
  return lanes_of_factor[0];
}

}  // namespace
}  // namespace gatun::GATUN_ISA
