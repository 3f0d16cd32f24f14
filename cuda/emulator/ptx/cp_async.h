// The twin of src/ptx/cp_async.h on the CPU.
#pragma once

#include <cstdint>
#include <cstring>

#include "ptx/memory.h"
#include "ptx/thread.h"

namespace gatun::cuda {

inline void copy_async_16(void* shared, const void* global, int bytes) {
  emulator::block().shared_offset("cp.async", shared, 16, 16);
  detail::check_aligned(global, 16, "cp.async");
  if (bytes < 0 || bytes > 16) emulator::block().fault("cp.async of %d bytes; allowed: 0..16", bytes);
  emulator::block().copies().issue([=] {
    if (bytes > 0) std::memcpy(shared, global, static_cast<size_t>(bytes));
    std::memset(static_cast<uint8_t*>(shared) + bytes, 0, static_cast<size_t>(16 - bytes));
  });
}
inline void copy_async_16(void* shared, const void* global) { copy_async_16(shared, global, 16); }

inline void copy_async_commit() { emulator::block().copies().commit(); }

template <int pending>
void copy_async_wait() {
  emulator::block().copies().wait(pending);
}

}  // namespace gatun::cuda
