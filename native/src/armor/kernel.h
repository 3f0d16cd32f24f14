// What gatun_armor_matmul hands to kernels. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace gatun::armor {

// Rows of y, from sums.
struct Job {
  void* y;  // first row of the job
  bool y_bf16;
  int64_t y_row_stride;
  const float* bias;     // or null
  const void* residual;  // or null; of y's type
  int64_t residual_row_stride;
  int32_t activation;
  int64_t column_begin, column_end;
};

struct Kernel {
  // bf16 to f32; rows of `to` follow each other.
  void (*widen)(const uint16_t* x, int64_t row_stride, int64_t rows, int64_t columns, float* to);
  // y = act(sums + bias) + residual in `columns` columns from `first` on, rows [begin, end);
  // sums [end - begin][columns].
  void (*finish)(const Job& job, int64_t first, int64_t columns, int64_t begin, int64_t end, const float* sums);
};

#define GATUN_ARMOR_KERNEL(name, isa) \
  }                                   \
  namespace gatun::isa {              \
  extern const armor::Kernel name;    \
  }                                   \
  namespace gatun::armor {
#include "armor/kernels.inc"
#undef GATUN_ARMOR_KERNEL

}  // namespace gatun::armor
