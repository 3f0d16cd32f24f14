// The twin of src/ptx/mbarrier.h on the CPU.
#pragma once

#include <cstdint>

#include "ptx/thread.h"

namespace gatun::cuda {

struct alignas(8) Barrier {
  uint64_t state;
};

namespace detail {

// What a barrier is here: its 64 bits are, from the lowest, a mark of an initialised one (16), the number of arrivals
// of each phase (12), those that are missing in this one (12), its parity (1), the bytes announced and not come (23).
struct BarrierState {
  static constexpr uint64_t kMark = 0xba44;
  static constexpr int64_t kMostBytes = (1 << 20) - 1;  // also too many that have come before they were announced

  static BarrierState of(const char* what, const Barrier* barrier) {
    emulator::block().shared_offset(what, barrier, sizeof(*barrier), 8);
    const uint64_t bits = barrier->state;
    if ((bits & 0xffff) != kMark) emulator::block().fault("%s: the barrier is not initialised", what);
    return {static_cast<int>(bits >> 16 & 0xfff), static_cast<int>(bits >> 28 & 0xfff),
            static_cast<int>(bits >> 40 & 1), static_cast<int64_t>(bits) >> 41};
  }
  void put(Barrier* barrier) const {
    barrier->state = kMark | static_cast<uint64_t>(arrivals) << 16 | static_cast<uint64_t>(missing) << 28 |
                     static_cast<uint64_t>(parity) << 40 | static_cast<uint64_t>(bytes) << 41;
  }

  int arrivals, missing, parity;
  int64_t bytes;
};

inline void barrier_change(const char* what, Barrier* barrier, int arrived, int64_t bytes) {
  BarrierState state = BarrierState::of(what, barrier);
  state.missing -= arrived;
  state.bytes += bytes;
  if (state.missing < 0) emulator::block().fault("%s: more arrivals than a phase has", what);
  if (state.bytes < -state.kMostBytes || state.bytes > state.kMostBytes) {
    emulator::block().fault("%s: a barrier counts %lld bytes", what, static_cast<long long>(state.bytes));
  }
  if (state.missing == 0 && state.bytes == 0) {
    state.missing = state.arrivals;
    state.parity ^= 1;
  }
  state.put(barrier);
}

inline Barrier* seen_by_copies(const Barrier* barrier) {
  const int64_t offset = emulator::block().shared_offset("an mbarrier", barrier, sizeof(*barrier), 8);
  return reinterpret_cast<Barrier*>(emulator::block().shared_async() + offset);
}

// What a copy signals must be initialised, and that must be visible to copies.
inline void check_visible(const char* what, const Barrier* barrier) {
  BarrierState::of(what, barrier);
  if ((seen_by_copies(barrier)->state & 0xffff) != BarrierState::kMark) {
    emulator::block().fault("%s: no barrier_init_fence since the barrier was initialised", what);
  }
}

}  // namespace detail

inline void barrier_init(Barrier* barrier, int arrivals) {
  emulator::block().shared_offset("mbarrier.init", barrier, sizeof(*barrier), 8);
  if (arrivals < 1 || arrivals > 1024) emulator::block().fault("mbarrier.init of %d arrivals", arrivals);
  detail::BarrierState{arrivals, arrivals, 0, 0}.put(barrier);
  detail::seen_by_copies(barrier)->state = 0;  // not that of a barrier of an earlier block
}
inline void barrier_init_fence() { emulator::block().make_visible(); }

inline void barrier_arrive_at(Barrier* barrier) { detail::barrier_change("mbarrier.arrive", barrier, 1, 0); }
inline void barrier_expect(Barrier* barrier, int bytes) {
  detail::barrier_change("mbarrier.arrive.expect_tx", barrier, 1, bytes);
}

inline bool barrier_try_wait(Barrier* barrier, int parity) {
  const auto ended = [=] { return detail::BarrierState::of("mbarrier.try_wait", barrier).parity != parity; };
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
