// The size of a register tile: T rows of x, V vectors of kLanes rows of a panel.
#pragma once

#include "qmatmul/kernel.h"
#include "simd/vec.h"

namespace gatun::GATUN_ISA {

// As many vectors as the registers hold sums for, next to the weights: with kTileRows rows of x, 16 of 32 registers
// (AVX-512) or 8 of 16. A panel that is not a multiple of the wide tile takes the narrow one, which divides every
// panel's width.
inline constexpr int kWideVectors = kLanes == 16 ? 4 : kLanes == 8 ? 2 : 1;
inline constexpr int kNarrowVectors = kLanes == 8 ? 2 : 1;

template <int N>
struct Rows {
  static constexpr int value = N;
};

// of(Rows<T>, first row) for each tile of rows [begin, end): kTileRows rows, the last one what is left.
template <class Of>
GATUN_INLINE void for_each_tile(int64_t begin, int64_t end, Of of) {
  static_assert(qmatmul::kTileRows == 4);
  for (; begin + 4 <= end; begin += 4) of(Rows<4>(), begin);
  if (end - begin == 3) of(Rows<3>(), begin);
  if (end - begin == 2) of(Rows<2>(), begin);
  if (end - begin == 1) of(Rows<1>(), begin);
}

}  // namespace gatun::GATUN_ISA
