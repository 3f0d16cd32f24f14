// What the entries check about memory.
#pragma once

#include "base/check.h"
#include "base/dtype.h"

namespace gatun::calibrate {

// Rows of a matrix with adjacent columns.
struct Buffer {
  const char* name;
  const void* address;
  int64_t rows, columns, row_stride;
  int64_t element_bytes;
  bool output;
  int64_t bytes = 0;
};

inline int64_t blocks_of(int64_t count, int64_t block) { return count == 0 ? 0 : (count - 1) / block + 1; }

// Sizes, nulls, alignment; outputs overlap nothing, but that `in_place`, an output, may be `original`, an input.
template <int N>
int32_t check_buffers(Buffer (&buffers)[N], const Buffer* in_place = nullptr, const Buffer* original = nullptr) {
  for (Buffer& b : buffers) {
    GATUN_TRY(check_extent(b.rows, b.columns, b.row_stride, 1, b.element_bytes * 8, b.name, &b.bytes));
    if (b.bytes > 0) {
      GATUN_TRY(check_not_null(b.address, b.name));
      GATUN_TRY(check_aligned(b.address, b.element_bytes, b.name));
    }
  }
  for (const Buffer& out : buffers) {
    if (!out.output) continue;
    for (const Buffer& b : buffers) {
      if (&b == &out || (b.output && &b > &out)) continue;
      const bool same = &out == in_place && &b == original && out.address == b.address &&
                        (out.rows < 2 || out.row_stride == b.row_stride);
      if (!same) GATUN_TRY(check_disjoint(out.address, out.bytes, out.name, b.address, b.bytes, b.name));
    }
  }
  return GATUN_OK;
}

}  // namespace gatun::calibrate
