// Division of numbers that rarely have more than 32 bits.
#pragma once

#include <cstdint>

#include "ptx/thread.h"

namespace gatun::cuda {

// a / b, which are not negative; with 32 bits it is a quarter of the work.
GATUN_DEVICE int64_t quotient(int64_t a, int64_t b) {
  if ((static_cast<uint64_t>(a | b) >> 32) == 0) return static_cast<uint32_t>(a) / static_cast<uint32_t>(b);
  return a / b;
}

}  // namespace gatun::cuda
