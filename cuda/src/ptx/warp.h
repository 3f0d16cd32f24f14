// Exchange between the lanes of a warp. All lanes take part; each says so by being there.
#pragma once

#include <cstdint>

#include "ptx/thread.h"

namespace gatun::cuda {

inline constexpr uint32_t kAllLanes = 0xffffffffu;

GATUN_DEVICE void warp_barrier() { __syncwarp(kAllLanes); }

// The value of lane `lane() ^ mask`, or of lane `from`; of 32 or 64 bits.
template <class T>
GATUN_DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(kAllLanes, value, mask);
}
template <class T>
GATUN_DEVICE T shuffle(T value, int from) {
  return __shfl_sync(kAllLanes, value, from);
}

// The largest value of all lanes.
GATUN_DEVICE uint32_t reduce_max(uint32_t value) { return __reduce_max_sync(kAllLanes, value); }

// Bit l is set where lane l says true.
GATUN_DEVICE uint32_t ballot(bool value) { return __ballot_sync(kAllLanes, value); }

}  // namespace gatun::cuda
