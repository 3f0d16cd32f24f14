// What kernels that read the canonical form (gatun/nm_format.h) share.
#pragma once

#include <cstdint>

#include "gatun/quantize.h"
#include "ptx/launch.h"
#include "ptx/memory.h"

namespace gatun::cuda::nm_format {

inline constexpr int kThreads = 256;
inline constexpr int64_t kMostBlocks = 1 << 20;

// For loops over so many threads' work.
inline Grid grid_for(int64_t threads) {
  const int64_t blocks = (threads + kThreads - 1) / kThreads;
  return {blocks < kMostBlocks ? blocks : kMostBlocks, 1, 1, kThreads, 0};
}

// Element i of a row of weights or values, as it is stored, in the low bits.
GATUN_DEVICE uint32_t bits_of(const uint8_t* row, int32_t dtype, int64_t i) {
  if (dtype == GATUN_F32) return reinterpret_cast<const uint32_t*>(row)[i];
  if (dtype == GATUN_I8) return row[i];
  if (dtype == GATUN_U4) return row[i / 2] >> i % 2 * 4 & 15;
  return reinterpret_cast<const uint16_t*>(row)[i];
}

// The index of a slot in a row of indices of so many bits.
GATUN_DEVICE int index_of(const uint8_t* row, int bits, int64_t slot) {
  const int64_t bit = slot * bits;
  return row[bit / 8] >> bit % 8 & ((1 << bits) - 1);
}

// The least index of a fault stays; none is all ones.
GATUN_DEVICE void report(int64_t* fault, int64_t index) {
  atomic_min(reinterpret_cast<uint64_t*>(fault), static_cast<uint64_t>(index));
}

}  // namespace gatun::cuda::nm_format
