// What the entry hands to a kernel, and the kernels' declarations. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "nm_matmul/layout.h"

namespace gatun::nm_matmul {

// Rows of x that are packed and multiplied at a time.
inline constexpr int64_t kBlockRows = 512;
// Elements behind the end of each packed row of x that are 0: slots that fill a unit up read up to 8 groups beyond, and
// a vector of x is loaded whole.
inline constexpr int64_t kRowSlack = 8 * 32 + 128;

// Multiplication of up to kBlockRows rows of x with panels.
struct Job {
  // Weights.
  const Piece* pieces;
  int64_t piece_count;
  int64_t padded_depth;
  int32_t n, m;
  int32_t index_bits;  // 0: stored dense
  int32_t unit_bytes;
  int32_t value_dtype;
  int32_t scale_dtype;  // 0: none
  bool zero_points;

  // Activations: first row, and their packed form.
  const void* x;
  int32_t x_dtype;
  int64_t x_row_stride;
  int64_t rows;
  void* values;   // as the kernel packs them
  float* scales;  // of rows quantized to int8; NaN for a row with NaN or infinity

  // Results: first row.
  void* y;
  bool y_bf16;
  int64_t y_row_stride;
  const float* bias;     // or null
  const void* residual;  // or null; of y's type
  int64_t residual_row_stride;
  int32_t activation;
  int64_t column_begin;
  int64_t column_end;
};

// Consecutive panels of a job.
struct Panels {
  const uint8_t* base;  // of the first
  int64_t first_column;
  int64_t columns;       // R of all together: all but the last have kPanelColumns
  int64_t column_bytes;  // of a column: panel p begins at base + p * kPanelColumns * column_bytes
};

struct Kernel {
  // Bytes of `values` for `rows` rows.
  int64_t (*values_bytes)(const Job& job);
  // Packs rows [begin, end), multiples of row_multiple but for the job's last, of the job's activations.
  void (*pack_rows)(const Job& job, int64_t row_begin, int64_t row_end);
  // Multiplies rows [begin, end), likewise, with panels and writes y. `scratch` holds scratch_bytes, 64-byte aligned.
  void (*multiply)(const Job& job, const Panels& panels, int64_t row_begin, int64_t row_end, uint8_t* scratch);
  int64_t scratch_bytes;
  int32_t row_multiple;
  // Panels that are multiplied together, if there are enough for all threads.
  int32_t panels;
  // A thread is worth waking for this many kept multiply-adds.
  int32_t grain;
};

#define GATUN_NM_MATMUL_KERNEL(name, isa, x, values, least_rows) \
  }                                                              \
  namespace gatun::isa {                                         \
  extern const nm_matmul::Kernel name;                           \
  }                                                              \
  namespace gatun::nm_matmul {
#include "nm_matmul/kernels.inc"
#undef GATUN_NM_MATMUL_KERNEL

}  // namespace gatun::nm_matmul
