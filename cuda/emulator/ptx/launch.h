// The twin of src/ptx/launch.h on the CPU.
#pragma once

#include <cstdint>

#include "block.h"

namespace gatun::cuda {

struct Grid {
  int64_t blocks_x, blocks_y, blocks_z;
  int32_t threads;
  int64_t shared_bytes;
};

template <class T>
struct Same {
  using Type = T;
};

template <class... Parameters>
int32_t launch(const char* name, void (*kernel)(Parameters...), const Grid& grid, void*,
               typename Same<Parameters>::Type... arguments) {
  return emulator::run({name, {grid.blocks_x, grid.blocks_y, grid.blocks_z}, grid.threads, grid.shared_bytes},
                       [&] { kernel(arguments...); });
}

}  // namespace gatun::cuda
