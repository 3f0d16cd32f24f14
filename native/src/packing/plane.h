// Matrices of small codes in any packing, and the copy from one to another.
#pragma once

#include <cstdint>

#include "packing/order.h"

namespace gatun::packing {

// Codes (column, depth) of a weight matrix, or zero points (column, group). Packed in units along the depth, or across
// it, along the columns; along the other axis a position of all units is other_stride bytes from the next.
struct Plane {
  Unit unit;
  bool across = false;
  int64_t unit_stride = 0, other_stride = 0;

  int64_t offset(int64_t column, int64_t depth) const {
    const int64_t position = across ? column : depth, other = across ? depth : column;
    return (position >> unit.log2) * unit_stride + place(position).byte + other * other_stride;
  }
  int shift(int64_t column, int64_t depth) const { return place(across ? column : depth).shift; }

 private:
  const Place& place(int64_t position) const {
    return unit.places[static_cast<size_t>(position & ((int64_t{1} << unit.log2) - 1))];
  }
};

// Packed along the depth, rows without gaps.
Plane packed_in_rows(Order order, int bits, int64_t row_bytes);
// Packed along the depth, but units of neighbouring columns beside each other.
Plane packed_in_columns(Order order, int bits, int64_t columns);
// Packed along the columns, all units of a position of the depth beside each other.
Plane packed_across(Order order, int bits, int64_t columns);

struct Copy {
  Plane from, to;
  int64_t columns, depth;
  const int32_t* depth_map;  // position d gets what lies at depth_map[d]; null: at d
  int bits, bias;            // code' = (code + bias) modulo 2^bits, whatever the planes have room for
};

// Bits of a unit that no code of the copy reaches become 0. O(columns * depth).
void copy_codes(const Copy& copy, const void* from, void* to, int32_t threads);

// The code at a position.
int code_at(const Plane& plane, const void* codes, int64_t column, int64_t depth);
// Sets the code at a position whose bits are 0.
void set_code(const Plane& plane, void* codes, int64_t column, int64_t depth, int code);

}  // namespace gatun::packing
