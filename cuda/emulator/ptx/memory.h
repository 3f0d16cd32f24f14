// The twin of src/ptx/memory.h on the CPU.
#pragma once

#include <cstdint>
#include <cstring>

#include "ptx/thread.h"

namespace gatun::cuda {

struct alignas(16) Words4 {
  uint32_t word[4];
};

namespace detail {
inline void check_aligned(const void* address, unsigned bytes, const char* what) {
  if (reinterpret_cast<uintptr_t>(address) % bytes != 0)
    emulator::block().fault("%s: misaligned address %p; allowed: a multiple of %u", what, address, bytes);
}
}  // namespace detail

inline Words4 load_once(const void* from) {
  detail::check_aligned(from, 16, "ld.global.v4");
  Words4 x;
  std::memcpy(&x, from, sizeof(x));
  return x;
}

inline Words4 load_near(const void* from) { return load_once(from); }

inline void store_once(void* to, const Words4& x) {
  detail::check_aligned(to, 16, "st.global.v4");
  std::memcpy(to, &x, sizeof(x));
}

inline uint32_t load_shared(uint32_t address) {
  const uint8_t* const from = emulator::block().shared() + address;
  emulator::block().shared_offset("ld.shared", from, 4, 4);
  uint32_t x;
  std::memcpy(&x, from, sizeof(x));
  return x;
}
inline uint32_t shared_address(const void* shared) { return detail::shared_address(shared); }

inline void atomic_min(uint64_t* at, uint64_t value) { *at = value < *at ? value : *at; }

}  // namespace gatun::cuda
