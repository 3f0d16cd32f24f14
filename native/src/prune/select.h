// The best of many: the value from which on they are kept, and how many of those that are equal to it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>

#include "base/dtype.h"

namespace gatun::prune {

// Values above `value` are kept, and the first `ties` of those equal to it.
template <class T>
struct Threshold {
  T value;
  int64_t ties;

  // Of values in ascending index.
  bool keeps(T candidate) { return candidate > value || (candidate == value && ties-- > 0); }
};

// The best `keep` of `count` values, 1 <= keep <= count; their order is lost. O(count).
template <class T>
Threshold<T> threshold_of(T* values, int64_t count, int64_t keep) {
  T* const last = values + (keep - 1);
  std::nth_element(values, last, values + count, std::greater<T>());
  // What is above it stands before it.
  const int64_t above = std::count_if(values, last, [&](T value) { return value > *last; });
  return {*last, keep - above};
}

// The order of floats, but NaN, as unsigned integers; -0 and +0 are equal.
inline uint32_t key_of(float score) {
  const uint32_t bits = float_bits(score + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

}  // namespace gatun::prune
