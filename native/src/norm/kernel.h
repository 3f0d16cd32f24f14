// What the entry hands to a kernel, and the table of kernels. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace gatun::norm {

// Independent partial sums of a row: element k is added to sum k % kLanesOfSums, and the sums are folded in halves. The
// same on every tier, so every tier gives the same bits.
inline constexpr int kLanesOfSums = 32;

struct Job {
  const void* x;
  void* y;
  const float* weight;  // or null: 1
  const float* bias;    // or null: 0
  int64_t columns;
  int64_t x_row_stride;
  int64_t y_row_stride;
  float epsilon;
  bool layer;  // or RMS
};

struct Kernel {
  // Normalizes rows [begin, end).
  void (*run)(const Job& job, int64_t begin, int64_t end);
};

#define GATUN_NORM_KERNEL(name, isa, x, y) \
  }                                        \
  namespace gatun::isa {                   \
  extern const norm::Kernel name;          \
  }                                        \
  namespace gatun::norm {
#include "norm/kernels.inc"
#undef GATUN_NORM_KERNEL

}  // namespace gatun::norm
