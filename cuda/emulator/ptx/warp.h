// The twin of src/ptx/warp.h on the CPU.
#pragma once

#include <cstdint>

#include "ptx/thread.h"

namespace gatun::cuda {

inline void warp_barrier() {
  emulator::together("bar.warp.sync", [] {});
}

template <class T>
T shuffle_xor(T value, int mask) {
  struct {
    T value, result;
    int from;
  } own = {value, value, lane() ^ mask};
  emulator::together("shfl.sync.bfly", own, [](auto* lanes) {
    for (int l = 0; l < 32; ++l) lanes[l]->result = lanes[lanes[l]->from]->value;
  });
  return own.result;
}

template <class T>
T shuffle(T value, int from) {
  struct {
    T value, result;
    int from;
  } own = {value, value, from & 31};
  emulator::together("shfl.sync.idx", own, [](auto* lanes) {
    for (int l = 0; l < 32; ++l) lanes[l]->result = lanes[lanes[l]->from]->value;
  });
  return own.result;
}

inline uint32_t reduce_max(uint32_t value) {
  struct {
    uint32_t value, result;
  } own = {value, 0};
  emulator::together("redux.sync.max", own, [](auto* lanes) {
    uint32_t most = 0;
    for (int l = 0; l < 32; ++l) most = lanes[l]->value > most ? lanes[l]->value : most;
    for (int l = 0; l < 32; ++l) lanes[l]->result = most;
  });
  return own.result;
}

inline uint32_t ballot(bool value) {
  struct {
    bool value;
    uint32_t result;
  } own = {value, 0};
  emulator::together("vote.sync.ballot", own, [](auto* lanes) {
    uint32_t bits = 0;
    for (int l = 0; l < 32; ++l) bits |= uint32_t{lanes[l]->value} << l;
    for (int l = 0; l < 32; ++l) lanes[l]->result = bits;
  });
  return own.result;
}

}  // namespace gatun::cuda
