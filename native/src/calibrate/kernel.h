// What the entries hand to kernels, and the tables of kernels. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace gatun::calibrate {

// Independent partial sums of doubles: an element's column within its part of a row says which one it goes to. The same
// on every tier.
inline constexpr int kSums = 16;

// Rows of a matrix, a part of their columns.
struct Part {
  int64_t rows, columns;
  int64_t row_stride;      // of x and dy
  int64_t out_row_stride;  // of y and dx
};

// A block's scale, and the codes that exist.
struct Grid {
  float scale, lowest, highest;
};

struct Kernel {
  // The f32 pattern of the largest |x|, where NaN is above infinity.
  uint32_t (*largest)(const Part& part, const void* x);
  // y = clamp(round(x / s)) * s.
  void (*fake)(const Part& part, const Grid& grid, const void* x, void* y);
  // dx, and adds to kSums sums what ds is the sum of.
  void (*gradients)(const Part& part, const Grid& grid, const void* x, const void* dy, void* dx, double* sums);
  // Adds (x - y)^2 and x^2 of `count` elements to kSums sums each.
  void (*squares)(const void* x, const float* y, int64_t count, double* errors, double* squares);
};

// How a code becomes one of fewer bits: clamp(round((q - zero) * factor) + out_zero).
struct Narrowing {
  float zero, factor, out_zero, lowest, highest;
};

// Bytes that join may read, but does not use, after the last one.
inline constexpr int64_t kJoinRoom = 64;

struct CodeKernel {
  // New codes, one a byte.
  void (*narrow)(const Narrowing& narrowing, const void* codes, int64_t count, uint8_t* out);
  // Those of 4 or 2 bits side by side, from a whole byte on; the rest of the last byte is 0.
  void (*join)(const uint8_t* codes, int64_t count, int bits, uint8_t* out);
};

#define GATUN_CALIBRATE_KERNEL(name, isa, x) \
  }                                          \
  namespace gatun::isa {                     \
  extern const calibrate::Kernel name;       \
  }                                          \
  namespace gatun::calibrate {
#define GATUN_REQUANTIZE_KERNEL(name, isa, codes) \
  }                                               \
  namespace gatun::isa {                          \
  extern const calibrate::CodeKernel name;        \
  }                                               \
  namespace gatun::calibrate {
#include "calibrate/kernels.inc"
#undef GATUN_CALIBRATE_KERNEL
#undef GATUN_REQUANTIZE_KERNEL

}  // namespace gatun::calibrate
