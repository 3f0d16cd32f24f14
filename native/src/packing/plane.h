// Matrices of small codes in any packing, and the copy from one to another.
#pragma once

#include <cstdint>

#include "packing/order.h"

namespace gatun::packing {

// One axis of a plane: positions are in units, which are `stride` bytes apart.
struct Axis {
  Unit unit;
  int64_t stride = 0;

  int64_t offset(int64_t position) const { return (position >> unit.log2) * stride + place(position).byte; }
  int shift(int64_t position) const { return place(position).shift; }

 private:
  const Place& place(int64_t position) const {
    return unit.places[static_cast<size_t>(position & ((int64_t{1} << unit.log2) - 1))];
  }
};

// Codes (column, depth) of a weight matrix, or zero points (column, group). Packed along one axis at most; along the
// other one a unit is one position, at the start of its memory.
struct Plane {
  Axis columns, depth;
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
  int bits, bias;            // code' = (code + bias) modulo 2^bits
};

// `to` is to_bytes bytes; those that no code reaches become 0. O(columns * depth).
void copy_codes(const Copy& copy, const void* from, void* to, int64_t to_bytes, int32_t threads);

// The code at a position.
int code_at(const Plane& plane, const void* codes, int bits, int64_t column, int64_t depth);
// Sets the code at a position whose bits are 0.
void set_code(const Plane& plane, void* codes, int64_t column, int64_t depth, int code);

}  // namespace gatun::packing
