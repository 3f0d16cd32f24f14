// Barriers in shared memory, which count arrivals of threads and bytes of asynchronous copies; sm_90.
//
// A barrier is in a phase, the first has parity 0. A phase ends when as many threads have arrived as barrier_init said
// and all bytes that barrier_expect announced have come; the next one begins at once, with the same number of arrivals.
// Who waits for a parity waits until the phase of that parity has ended: so to wait for parity 1 of a new barrier takes
// no time.
#pragma once

#include <cstdint>

#include "ptx/thread.h"

namespace gatun::cuda {

struct alignas(8) Barrier {
  uint64_t state;
};

// By one thread; then barrier_init_fence by the same, then a barrier of the block, before any other use.
GATUN_DEVICE void barrier_init(Barrier* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(detail::shared_address(barrier)), "r"(arrivals)
               : "memory");
}
GATUN_DEVICE void barrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }

GATUN_DEVICE void barrier_arrive_at(Barrier* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(detail::shared_address(barrier)) : "memory");
}
// Arrives, and announces bytes that copies will bring in this phase.
GATUN_DEVICE void barrier_expect(Barrier* barrier, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(detail::shared_address(barrier)),
               "r"(bytes)
               : "memory");
}

// Whether the phase of this parity has ended; may wait a little for it.
GATUN_DEVICE bool barrier_try_wait(Barrier* barrier, int parity) {
  uint32_t ended;
  asm volatile(
      "{\n"
      ".reg .pred ended;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2;\n"
      "selp.u32 %0, 1, 0, ended;\n"
      "}"
      : "=r"(ended)
      : "r"(detail::shared_address(barrier)), "r"(parity)
      : "memory");
  return ended != 0;
}
GATUN_DEVICE void wait_for(Barrier* barrier, int parity) {
  while (!barrier_try_wait(barrier, parity)) {
  }
}

}  // namespace gatun::cuda
