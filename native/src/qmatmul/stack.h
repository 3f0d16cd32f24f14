// Several packed forms in one buffer, each at a multiple of 64 bytes from its start.
#pragma once

#include <cstdint>

#include "qmatmul/table.h"

namespace gatun::qmatmul {

// The weights of a call, and what they say about its arguments.
struct Parts {
  Part* at;
  int32_t count;
  int64_t columns;       // of y
  int64_t depth;         // of x
  int64_t packed_bytes;  // that hold the weights
};

// Both check headers and read them into parts that are nowhere yet. These lie in memory of the calling thread until its
// next call. O(count).
int32_t read_alone(const void* packed, int64_t packed_bytes, Parts* parts);
int32_t read_stack(const void* packed, int64_t packed_bytes, int32_t count, Parts* parts);

// Puts the parts side by side, each with all rows.
int32_t place_side_by_side(int64_t rows, Parts* parts);

// Puts the parts below each other, each with its number of rows; `rows` in all.
int32_t place_by_rows(const int64_t* group_rows, int64_t rows, Parts* parts);

}  // namespace gatun::qmatmul
