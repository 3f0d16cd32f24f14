// For each mask of eight bits the numbers of those that are 1, in ascending order: the lanes that are kept where eight
// are compressed.
#pragma once

#include <cstdint>

namespace gatun::GATUN_ISA {

struct LanesOfMasks {
  uint8_t lane[256][8];
  constexpr LanesOfMasks() : lane() {
    for (int mask = 0; mask < 256; ++mask) {
      for (int l = 0, count = 0; l < 8; ++l) {
        if (mask >> l & 1) lane[mask][count++] = static_cast<uint8_t>(l);
      }
    }
  }
};
inline constexpr LanesOfMasks kLanesOfMasks;

}  // namespace gatun::GATUN_ISA
