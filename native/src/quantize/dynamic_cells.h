// The search in the dynamic trees of 8 bits (books.h) where instructions look up bytes in registers.
//
// A value v, |v| <= 1, has a place of 16 bits: a cell, 0..255, and a position of 8 bits in it. With y nearly |v|^(1/4),
// as the bits of a float are nearly its logarithm, the place is the last bits of a sum that has its last place at 1:
//
//   y = as_f32(bits of |v| / 4 + kKink), with the sign of v;    place = last 16 bits of fma(y, slope, offset)
//
// Every step is monotone, so thresholds at places below that of v are below v for certain: those of earlier cells,
// `starts` of them, and those of the same cell at lower positions, `within`. Where v and a threshold share a place,
// 1 time in 250 for even values, both are compared. kKink moves the kinks of the curve to where a cell has at most two
// thresholds, at different positions.
//
// Codes are of optimizer state (gatun/optimizer.h): of the tree with a sign, 0 has those from -2^-60 on.
#pragma once

#include <cstdint>

namespace gatun::quantize {

struct DynamicCells {
  static constexpr int32_t kKink = 1 << 22;
  static constexpr float kLeast = 0x1p-60f;
  static constexpr uint8_t kLast = 254;  // positions above count as this one

  bool is_signed;
  float slope, offset;
  alignas(64) uint8_t starts[256];     // by cell
  alignas(64) uint8_t within[2][256];  // by cell, in ascending order; 255 for none
  float thresholds[256];               // those of the book, infinite after the last one
};

// Of GATUN_BOOK_DYNAMIC or GATUN_BOOK_DYNAMIC_UNSIGNED. Made when first asked for.
const DynamicCells& dynamic_cells(bool is_signed);

int32_t place_of(const DynamicCells& cells, float v);

}  // namespace gatun::quantize
