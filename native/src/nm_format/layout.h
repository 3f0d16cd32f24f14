// What a gatun_nm_format says: how many groups and kept weights a row has, how many bytes they take.
#pragma once

#include <cstdint>
#include <cstring>

#include "gatun/nm_format.h"

namespace gatun::nm_format {

// A row of the indices and the rows of the weights that share it are a vector.
struct Layout {
  int32_t n, m;
  int index_bits;
  int64_t columns, depth, vector;
  int64_t vectors;
  int64_t groups;     // of a row
  int64_t slots;      // kept weights of a row: groups * n
  int64_t dense_row;  // bytes of a row, as are the next three
  int64_t values_row;
  int64_t indices_row;
  int64_t mask_row;
  int64_t dense_bytes, values_bytes, indices_bytes, mask_bytes;
  int64_t element;  // bytes of a weight; 1 if two share a byte

  // The rows of vector v are [first_row(v), first_row(v + 1)); those beyond the last row are none.
  int64_t first_row(int64_t v) const { return v >= vectors ? columns : v * vector; }
};

inline constexpr int64_t kMaxSize = int64_t{1} << 62;  // of columns and depth

// Checks a format.
int32_t layout_of(const gatun_nm_format* format, Layout* layout);

// The index of a slot.
inline int get_index(const uint8_t* row, int64_t slot, int bits) {
  return row[slot * bits / 8] >> slot * bits % 8 & ((1 << bits) - 1);
}

// Elements of 4 bits.
inline int get_nibble(const uint8_t* row, int64_t i) { return row[i / 2] >> i % 2 * 4 & 15; }
inline void set_nibble(uint8_t* row, int64_t i, int value) {
  const int shift = static_cast<int>(i % 2 * 4);
  row[i / 2] = static_cast<uint8_t>((row[i / 2] & ~(15 << shift)) | value << shift);
}

}  // namespace gatun::nm_format
