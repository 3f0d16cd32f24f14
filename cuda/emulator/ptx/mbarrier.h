// The twin of src/ptx/mbarrier.h on the CPU.
#pragma once

#include <cstdint>
#include <cstring>

#include "ptx/thread.h"

namespace gatun::cuda {

struct alignas(8) Barrier {
  uint64_t state;
};

namespace detail {

// What a barrier's 64 bits are here.
struct BarrierState {
  uint64_t mark : 16;  // of an initialised one
  uint64_t parity : 1;
  uint64_t arrivals : 12, missing : 12;  // of each phase, of this one
  int64_t bytes : 23;                    // announced and not come, or less than zero
};
static_assert(sizeof(BarrierState) == sizeof(Barrier));

inline constexpr uint16_t kBarrierMark = 0xba44;

inline BarrierState barrier_state(const char* what, const Barrier* barrier) {
  emulator::block().shared_offset(what, barrier, sizeof(*barrier), 8);
  BarrierState state;
  std::memcpy(&state, barrier, sizeof(state));
  if (state.mark != kBarrierMark) emulator::block().fault("%s: the barrier is not initialised", what);
  return state;
}

inline void barrier_change(const char* what, Barrier* barrier, int arrived, int64_t bytes) {
  BarrierState state = barrier_state(what, barrier);
  const int64_t all = state.bytes + bytes;
  if (all < -(1 << 20) || all >= 1 << 20) {
    emulator::block().fault("%s: a barrier counts %lld bytes; allowed: 2^20 - 1", what, static_cast<long long>(all));
  }
  state.bytes = all;
  state.missing -= static_cast<unsigned>(arrived);
  if (state.missing == 0 && state.bytes == 0) {
    state.missing = state.arrivals;
    state.parity ^= 1;
  }
  std::memcpy(static_cast<void*>(barrier), &state, sizeof(state));
}

inline void barrier_arrive(const char* what, Barrier* barrier, int64_t bytes) {
  // All have arrived and some bytes have not come.
  if (barrier_state(what, barrier).missing == 0) emulator::block().fault("%s: more arrivals than a phase has", what);
  barrier_change(what, barrier, 1, bytes);
}

}  // namespace detail

inline void barrier_init(Barrier* barrier, int arrivals) {
  emulator::block().shared_offset("mbarrier.init", barrier, sizeof(*barrier), 8);
  if (arrivals < 1 || arrivals > 1024) emulator::block().fault("mbarrier.init of %d arrivals", arrivals);
  const unsigned count = static_cast<unsigned>(arrivals);
  const detail::BarrierState state = {detail::kBarrierMark, 0, count, count, 0};
  std::memcpy(static_cast<void*>(barrier), &state, sizeof(state));
}
inline void barrier_init_fence() {}

inline void barrier_arrive_at(Barrier* barrier) { detail::barrier_arrive("mbarrier.arrive", barrier, 0); }
inline void barrier_expect(Barrier* barrier, int bytes) {
  detail::barrier_arrive("mbarrier.arrive.expect_tx", barrier, bytes);
}

inline bool barrier_try_wait(Barrier* barrier, int parity) {
  const auto ended = [=] {
    return static_cast<int>(detail::barrier_state("mbarrier.try_wait", barrier).parity) != parity;
  };
  if (parity != 0 && parity != 1) emulator::block().fault("mbarrier.try_wait of parity %d", parity);
  if (!ended()) emulator::block().poll("mbarrier.try_wait");
  if (!ended()) return false;
  emulator::block().poll_succeeded();
  return true;
}
inline void wait_for(Barrier* barrier, int parity) {
  while (!barrier_try_wait(barrier, parity)) {
  }
}

}  // namespace gatun::cuda
