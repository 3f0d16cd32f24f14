// What kernels of a product get. Plain data: the parameter of every kernel.
#pragma once

#include <cstdint>

#include "qmatmul/form.h"

namespace gatun::cuda::qmatmul {

// What a group's products are made in.
enum class Arithmetic : int32_t { f16, bf16, i8, f32 };

// x as kernels read it: [rows][padded depth] without gaps, of the arithmetic's type; zeros beyond the depth, of which
// the padded one is a multiple of kDepthMultiple. The caller's own x where it already is that (no sums are needed, rows
// are adjacent multiples of 16 bytes, the depth needs no padding).
//
//   i8   within each step of 16, position 4 t + i holds element {2 t, 2 t + 8, 2 t + 1, 2 t + 9}[i]; scales f32 [rows]
//        or [rows][groups]: the amax / 127 of gatun_qmatmul; NaN in a row (group) that has a NaN or infinity
//   sums [rows][groups] of a group's x, int32 for i8, otherwise f32; only where weights have zero points that the
//        products leave out: all of f32, and integers with i8. U4 and U2 without zero points count as having 8 and 2.
struct Prepared {
  const void* x;
  int64_t row_stride;  // in elements
  const float* scales;
  const void* sums;
  bool scales_of_groups;
};

// y = act(sum * factor + bias) + residual.
struct Finish {
  void* y;
  const float* bias;
  const void* residual;
  int64_t y_row_stride, residual_row_stride;
  int64_t column_begin, column_end;
  int32_t y_dtype;
  int32_t activation;
  float factor;
};

struct Job {
  const uint8_t* codes;
  const void* scales;
  const void* offsets;
  const float* book;
  Prepared x;
  Finish finish;
  int64_t rows, columns, padded_columns, depth;
  int64_t group, groups, units;
  int64_t strip_begin, strip_end;  // those with columns that are wanted
  Codes kind;
  int32_t scale_dtype, zero_point;
  Arithmetic rounding;  // what values of code books are rounded to: f16, bf16, or f32, which they are

  // Split depth: part p of `parts` sums units [p * units_a_part, ...), which begin where a group begins, into
  // partial[p][rows][padded_columns], and the kernel `finish` adds parts in ascending order. With one part, partial is
  // null and kernels finish y themselves. A single group is not split where there are sums.
  float* partial;
  int32_t parts;
  int64_t units_a_part;
};

// Adds the partial sums, of which there may be none, and finishes y.
int32_t run_finish(const Job& job, void* stream);

}  // namespace gatun::cuda::qmatmul
