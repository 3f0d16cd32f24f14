// The twin of src/ptx/warp.h on the CPU.
#pragma once

#include <cstdint>

#include "ptx/thread.h"

namespace gatun::cuda {

inline constexpr uint32_t kAllLanes = 0xffffffffu;

inline void warp_barrier() {
  char none = 0;
  emulator::together("bar.warp.sync", kAllLanes, none, [](char* const*) {});
}

template <class T>
T shuffle_xor(T value, int mask) {
  struct {
    T value, result;
    int from;
  } own = {value, value, lane() ^ mask};
  emulator::together("shfl.sync.bfly", kAllLanes, own, [](auto* lanes) {
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
  emulator::together("shfl.sync.idx", kAllLanes, own, [](auto* lanes) {
    for (int l = 0; l < 32; ++l) lanes[l]->result = lanes[lanes[l]->from]->value;
  });
  return own.result;
}

inline uint32_t ballot(bool value) {
  struct {
    bool value;
    uint32_t result;
  } own = {value, 0};
  emulator::together("vote.sync.ballot", kAllLanes, own, [](auto* lanes) {
    uint32_t bits = 0;
    for (int l = 0; l < 32; ++l) bits |= uint32_t{lanes[l]->value} << l;
    for (int l = 0; l < 32; ++l) lanes[l]->result = bits;
  });
  return own.result;
}

}  // namespace gatun::cuda
