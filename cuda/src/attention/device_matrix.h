// Tensors as the matrices that tensor maps describe.
#pragma once

#include <cstdint>
#include <utility>

#include "attention/device_job.h"

namespace gatun::cuda::attention {

// Rows lie row_stride apart.
struct Matrix {
  int64_t rows, columns;
};

inline constexpr int64_t kMostMatrixRows = (int64_t{1} << 31) - 257;  // rows of copies lie some way beyond the last

// Whether 16-bit elements [items, heads, rows, size] lie in one: steps to other heads and items are whole rows, or stay
// within the row. Rows begin at multiples of 16 bytes if the first one does.
inline bool as_matrix(const Strided& x, int64_t items, int64_t heads, int64_t rows, int64_t size, Matrix* matrix) {
  if (x.row_stride < size || x.row_stride % 8 != 0) return false;
  *matrix = {rows, size};
  for (const auto& [count, stride] : {std::pair{items, x.batch_stride}, std::pair{heads, x.head_stride}}) {
    const int64_t further = count - 1, on = stride % x.row_stride;
    if (further < 0 || further > kMostMatrixRows || on % 8 != 0) return false;
    int64_t columns = 0, last = 0;
    if (__builtin_mul_overflow(on, further, &columns) ||
        __builtin_mul_overflow(stride / x.row_stride, further, &last) ||
        __builtin_add_overflow(matrix->columns, columns, &matrix->columns) ||
        __builtin_add_overflow(matrix->rows, last, &matrix->rows)) {
      return false;
    }
  }
  return matrix->columns <= x.row_stride && matrix->rows <= kMostMatrixRows;
}

}  // namespace gatun::cuda::attention
