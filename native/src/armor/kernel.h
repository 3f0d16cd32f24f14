// What gatun_armor_matmul hands to kernels. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "base/cpu.h"
#include "qmatmul/outputs.h"

namespace gatun::armor {

struct Kernel {
  // bf16 to f32; rows of `to` follow each other.
  void (*widen)(const uint16_t* x, int64_t row_stride, int64_t rows, int64_t columns, float* to);
  // y = act(sums + bias) + residual in `columns` columns from `first` on, rows [begin, end);
  // sums [end - begin][columns].
  void (*finish)(const Outputs& outputs, int64_t first, int64_t columns, int64_t begin, int64_t end, const float* sums);
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
