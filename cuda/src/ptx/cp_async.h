// Copies from global to shared memory that a thread starts and later waits for. What has been waited for is seen by the
// thread itself; by others after a barrier.
#pragma once

#include <cstdint>

#include "ptx/thread.h"

namespace gatun::cuda {

// 16 bytes, both addresses aligned to 16.
GATUN_DEVICE void copy_async_16(void* shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(detail::shared_address(shared)), "l"(global)
               : "memory");
}
// The first `bytes` (0..16) of them, the rest becomes zeros. With 0, nothing is read.
GATUN_DEVICE void copy_async_16(void* shared, const void* global, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(detail::shared_address(shared)), "l"(global),
               "r"(bytes)
               : "memory");
}

// The thread's copies since the last commit become a group, which may be empty.
GATUN_DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most the `pending` youngest groups of the thread are not done.
template <int pending>
GATUN_DEVICE void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
}

}  // namespace gatun::cuda
