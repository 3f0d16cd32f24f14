// Launches of kernels.
#pragma once

#include <cstdint>

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

// Puts a kernel with its arguments on the stream.
int32_t launch_function(const char* name, const void* function, const Grid& grid, void* stream, void** arguments);

// A grid without blocks does nothing.
template <class... Parameters>
int32_t launch(const char* name, void (*kernel)(Parameters...), const Grid& grid, void* stream,
               typename Same<Parameters>::Type... arguments) {
  void* addresses[] = {const_cast<void*>(static_cast<const void*>(&arguments))...};
  return launch_function(name, reinterpret_cast<const void*>(kernel), grid, stream, addresses);
}

}  // namespace gatun::cuda
