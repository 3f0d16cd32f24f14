// The search in the dynamic trees of 8 bits (books.h) where instructions look up bytes in registers.
//
// A magnitude |v| <= 1 has a place of 16 bits: a cell, 0..255, and a position of 8 bits in it. Both come from the curve
// of Cells with a sum whose last bits are the place:
//
//   y = as_f32(round_to_i32(fma(to_f32(bits of |v|), power, shift)))         place = last 16 bits of
//   fma(y, slope, offset), in [2^23, 2^23 + 2^16)
//
// Every step is monotone, so thresholds at places below that of v are below v for certain: those of earlier cells,
// `starts` of them, and those of the same cell at lower positions, `within`. Where v and a threshold share a place,
// 1 time in 250 for even values, both are compared. The power and the shift, which moves the kinks of the curve, are
// such that a cell has 1 threshold at most, or 2 of the tree without negative values, whose steps are half as large.
#pragma once

#include <cstdint>

#include "quantize/books.h"

namespace gatun::quantize {

struct DynamicCells {
  const Book* book;
  bool is_signed;
  float power, shift, slope, offset;
  alignas(64) uint8_t starts[256];     // by cell
  alignas(64) uint8_t within[2][256];  // by cell, in ascending order; 255 for none
};

// Of GATUN_BOOK_DYNAMIC or GATUN_BOOK_DYNAMIC_UNSIGNED. Made when first asked for.
const DynamicCells& dynamic_cells(bool is_signed);

// The place of |v|.
int32_t place_of(const DynamicCells& cells, float v);

}  // namespace gatun::quantize
