// The width of a register tile, in vectors of kLanes rows of a panel.
#pragma once

#include "simd/vec.h"

namespace gatun::GATUN_ISA {

// As many as the registers hold sums for, next to the weights: with kTileRows rows of x, 16 of 32 registers (AVX-512)
// or 8 of 16. A panel that is not a multiple of the wide tile takes the narrow one, which divides every panel's width.
inline constexpr int kWideVectors = kLanes == 16 ? 4 : kLanes == 8 ? 2 : 1;
inline constexpr int kNarrowVectors = kLanes == 8 ? 2 : 1;

}  // namespace gatun::GATUN_ISA
