// 64-bit keys that sort ascending to: the larger value first, NaN before all, then the lower index.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace gatun {

// Of an index in 0 .. 2^32 - 1. Both zeros are the same value.
inline uint64_t order_key(float value, int64_t index) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  // As unsigned integers the negated magnitudes come first, then the others: flipped, the largest is the smallest.
  uint32_t place = bits >> 31 != 0 ? bits : ~bits & 0x7fffffff;
  if (std::isnan(value)) place = 0;
  if (value == 0) place = 0x7fffffff;
  return uint64_t{place} << 32 | static_cast<uint64_t>(index);
}

inline int64_t index_of(uint64_t key) { return static_cast<int64_t>(key & 0xffffffff); }

}  // namespace gatun
