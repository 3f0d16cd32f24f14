// The twin of src/ptx/registers.h on the CPU.
#pragma once

#include "ptx/thread.h"

namespace gatun::cuda {

template <int count>
void registers_more() {
  static_assert(count % 8 == 0 && count >= 24 && count <= 256);
  emulator::together("setmaxnreg.inc", [] {});
}
template <int count>
void registers_less() {
  static_assert(count % 8 == 0 && count >= 24 && count <= 256);
  emulator::together("setmaxnreg.dec", [] {});
}

}  // namespace gatun::cuda
