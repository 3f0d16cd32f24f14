// Where the sums of a product go. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

namespace gatun {

// y = act(sum + bias) + residual, of the first row of a job, in columns [column_begin, column_end).
struct Outputs {
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

}  // namespace gatun
