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

// Rows of x in a tile of integers: T = rows * kDigits int8 rows, so a row of several digits is a tile of its own.
template <int kDigits>
constexpr int tile_rows() {
  return kDigits == 1 ? qmatmul::kTileRows : 1;
}

template <int N>
struct Rows {
  static constexpr int value = N;
};

// of(Rows<T>, first row) for each tile of rows [begin, end): T = kRows, for the last one what is left.
template <int kRows, class Of>
GATUN_INLINE void for_each_tile(int64_t begin, int64_t end, Of of) {
  for (; begin + kRows <= end; begin += kRows) of(Rows<kRows>(), begin);
  if constexpr (kRows > 1) for_each_tile<kRows - 1>(begin, end, of);
}

// of(Rows<V>, column) for each tile of a panel's rows: V vectors from `column` on.
template <class Of>
GATUN_INLINE void for_each_width(int64_t panel_rows, Of of) {
  int64_t column = 0;
  for (; column + kWideVectors * kLanes <= panel_rows; column += kWideVectors * kLanes)
    of(Rows<kWideVectors>(), column);
  for (; column < panel_rows; column += kNarrowVectors * kLanes) of(Rows<kNarrowVectors>(), column);
}

}  // namespace gatun::GATUN_ISA
