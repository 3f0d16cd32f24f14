// Descriptions of matrices in global memory for ptx/tma.h.
#pragma once

#include <cstdint>

namespace gatun::cuda {

struct alignas(64) TensorMap {
  uint64_t words[16];
};

// A matrix of rows x columns elements of 1 or 2 bytes, rows `row_stride_bytes` apart, of which copy_tile copies boxes
// of box_rows x box_columns. In shared memory the rows of a box lie one behind the other; with a swizzle of 32, 64 or
// 128 bytes, the 16 bytes at offset o lie at o ^ 16 (o / 128 % (swizzle / 16)) of memory aligned to 8 swizzle bytes.
// (The hardware takes the bits from addresses, hence the alignment.)
//
// INVALID_ARGUMENT unless the address and the stride are multiples of 16, the stride is at least a row's bytes and
// below 2^40, rows and columns are 1..2^32, a box has 1..256 rows and columns, and its rows a multiple of 16 bytes, at
// most `swizzle` unless that is 0. A box may be larger than the matrix. Source: CUDA driver API,
// cuTensorMapEncodeTiled.
int32_t make_tensor_map(TensorMap* map, const void* global, int32_t element_bytes, int64_t rows, int64_t columns,
                        int64_t row_stride_bytes, int32_t box_rows, int32_t box_columns, int32_t swizzle);

struct TensorShape {
  const void* global;
  int64_t rows, columns, row_stride_bytes;
  int32_t element_bytes, box_rows, box_columns, swizzle;
};

// What the driver, or the emulator, makes of it once it is checked.
int32_t encode_tensor_map(const TensorShape& shape, TensorMap* map);

}  // namespace gatun::cuda
