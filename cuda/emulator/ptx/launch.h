// The twin of src/ptx/launch.h on the CPU.
#pragma once

#include <cstdint>

#include "block.h"
#include "machine.h"

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
int32_t launch(const char* name, void (*kernel)(Parameters...), const Grid& grid, void* stream,
               typename Same<Parameters>::Type... arguments) {
  const emulator::Launch launch = {
      name, {grid.blocks_x, grid.blocks_y, grid.blocks_z}, grid.threads, grid.shared_bytes};
  return emulator::machine().put(stream, [=] { return emulator::run(launch, [=] { kernel(arguments...); }); });
}

}  // namespace gatun::cuda
