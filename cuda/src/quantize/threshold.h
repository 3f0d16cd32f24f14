// Where rounding is not to nearest: a value goes up from the lower of its two neighbouring codes if its distance to it,
// in parts of their distance, is above a threshold; a distance of 0 never is.
//
// Stochastic rounding's threshold is made of the seed and the element's index r * depth + k as native/src/simd/random.h
// says: 24 bits, as a fraction. Given rounding's is 0 for up and 1 for down.
#pragma once

#include <cstdint>

#include "gatun/quantize.h"
#include "quantize/chunk.h"

namespace gatun::cuda::quantize {

GATUN_DEVICE uint64_t threshold_key(uint64_t seed, uint64_t upper_index) {
  uint64_t key = seed + upper_index * 0x9e3779b97f4a7c15u;
  key = (key ^ key >> 30) * 0xbf58476d1ce4e5b9u;
  key = (key ^ key >> 27) * 0x94d049bb133111ebu;
  return key ^ key >> 31;
}

// 24 bits.
GATUN_DEVICE uint32_t random_threshold(uint64_t key, uint32_t lower_index) {
  uint32_t h = lower_index ^ static_cast<uint32_t>(key);
  h = (h ^ h >> 16) * 0x7feb352du;
  h = (h ^ h >> 15 ^ static_cast<uint32_t>(key >> 32)) * 0x846ca68bu;
  return (h ^ h >> 16) >> 8;
}

// Those of values that follow each other, from element `index` on.
class Thresholds {
 public:
  GATUN_DEVICE Thresholds(const Job& job, int64_t index)
      : job_(job), index_(static_cast<uint64_t>(index)), key_(key_here()) {}

  GATUN_DEVICE float next() {
    const uint64_t index = index_++;
    if (job_.rounding == GATUN_ROUND_GIVEN) return job_.round_up[index] != 0 ? 0.0f : 1.0f;
    const float threshold = static_cast<float>(random_threshold(key_, static_cast<uint32_t>(index)));
    if (static_cast<uint32_t>(index_) == 0) key_ = key_here();
    return threshold * as_float((127 - 24) << 23);
  }

 private:
  // The seed is kept from a loop around this: what most calls do not need would be computed by all of them.
  GATUN_DEVICE uint64_t key_here() const { return threshold_key(keep_here(job_.seed), index_ >> 32); }

  const Job& job_;
  uint64_t index_, key_;
};

}  // namespace gatun::cuda::quantize
