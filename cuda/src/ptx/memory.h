// Loads and stores of global memory that say more than C++ can, and atomic operations.
#pragma once

#include <cstdint>

#include "ptx/thread.h"

namespace gatun::cuda {

struct alignas(16) Words4 {
  uint32_t word[4];
};

// 16 aligned bytes that nothing writes during the kernel and that are read once: past the L1 cache.
GATUN_DEVICE Words4 load_once(const void* from) {
  Words4 x;
  asm volatile("ld.global.nc.L1::no_allocate.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x.word[0]), "=r"(x.word[1]), "=r"(x.word[2]), "=r"(x.word[3])
               : "l"(from));
  return x;
}

// 16 aligned bytes that nothing writes during the kernel, of which the rest of the 128-byte line is read by other lanes
// or by the next instructions: through the L1 cache.
GATUN_DEVICE Words4 load_near(const void* from) {
  Words4 x;
  asm volatile("ld.global.nc.L2::128B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x.word[0]), "=r"(x.word[1]), "=r"(x.word[2]), "=r"(x.word[3])
               : "l"(from));
  return x;
}

// 16 aligned bytes that are not read again soon.
GATUN_DEVICE void store_once(void* to, const Words4& x) {
  asm volatile("st.global.cs.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(x.word[0]), "r"(x.word[1]), "r"(x.word[2]),
               "r"(x.word[3])
               : "memory");
}

// The word of shared memory at an aligned address there, and the address of what is there.
GATUN_DEVICE uint32_t load_shared(uint32_t address) {
  uint32_t x;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(x) : "r"(address));
  return x;
}
GATUN_DEVICE uint32_t shared_address(const void* shared) { return detail::shared_address(shared); }

GATUN_DEVICE void atomic_min(uint64_t* at, uint64_t value) {
  atomicMin(reinterpret_cast<unsigned long long*>(at), static_cast<unsigned long long>(value));
}

}  // namespace gatun::cuda
