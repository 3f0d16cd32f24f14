// The search in code books of state: which code a value v, |v| <= 1 but for rounding, has.
//
// v has a place of 23 bits: a cell, 0..511, and a position of 14 bits in it. With y nearly |v|^(1/4), as the bits of a
// float are nearly its logarithm, the place is the last bits of a sum that has its last place at 1:
//
//   y = as_f32(bits of |4 v| / 4), with the sign of v;    place = last 23 bits of fma(y, slope, offset)
//
// (4 v, which costs nothing, moves the kinks of the curve to where all thresholds have cells of their own.) Every step
// is monotone, so thresholds at places below that of v are below v for certain. A cell has one threshold at most, and
// an entry of 32 bits, so that one addition makes the code, in byte 2 of the sum, whose first byte means nothing:
//
//   entry of a cell   [ start - cell : 16  | e : 16          ]   start: thresholds in the cells before
//   + 4 place         [ cell               | 4 position      ]   e = 2^16 - 4 position of its threshold, 2 without one
//   = sum             [ - : 8 | code : 8   | rest : 16       ]
//
// A rest of 0 says that v has the place of a threshold, 1 time in 16384 where values are even: the code counts it, and
// it has to be compared with v. native/src/quantize/dynamic_cells.h does the same with bytes.
#pragma once

#include <cstdint>

namespace gatun::cuda::optimizer {

inline constexpr int kCells = 512, kPlaceBits = 23, kCellShift = 14;
inline constexpr int kFirstPlace = 0x4b000000;  // the bits of 2^23

// Of a book of 2^kBits values in ascending order.
template <int kBits>
struct BookTables {
  static constexpr int kValues = 1 << kBits;
  float values[kValues];
  float thresholds[kValues];  // four times as large; the last one is infinite
  uint32_t entries[kCells];
  float slope, offset;
};

// Of DYNAMIC8 (kBits = 8), in which 0 has the values from -2^-60 on, or of DYNAMIC4, for state 1 (with a sign) or 2.
// Made when first asked for.
template <int kBits>
const BookTables<kBits>& book_tables(bool is_signed);

}  // namespace gatun::cuda::optimizer
