// How many registers a thread has; sm_90a.
#pragma once

#include "ptx/thread.h"

namespace gatun::cuda {

// By all threads of a group of four warps. registers_more waits until the block has them. A multiple of 8 in 24..256.
template <int count>
GATUN_DEVICE void registers_more() {
  static_assert(count % 8 == 0 && count >= 24 && count <= 256);
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count));
}
template <int count>
GATUN_DEVICE void registers_less() {
  static_assert(count % 8 == 0 && count >= 24 && count <= 256);
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(count));
}

}  // namespace gatun::cuda
