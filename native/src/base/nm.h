// What every op says of N:M weights (gatun/nm_format.h).
#pragma once

#include <cstdint>

namespace gatun {

// m is 2, 4, 8, 16 or 32 and n in 1..m, or INVALID_ARGUMENT for `name`.m or `name`.n.
int32_t check_nm(int32_t n, int32_t m, const char* name);

// Of an index in a group of m.
inline int index_bits(int32_t m) { return m <= 4 ? 2 : m <= 16 ? 4 : 8; }

// Bytes of a row of this many indices; no product of any number overflows.
inline int64_t index_row_bytes(int64_t indices, int32_t m) {
  return indices / 8 * index_bits(m) + (indices % 8 * index_bits(m) + 7) / 8;
}

}  // namespace gatun
