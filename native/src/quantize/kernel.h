// What the entry hands to a kernel, and the table of kernels. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace gatun::quantize {

// Groups that a kernel works on together; as many rows if columns are strided, since the elements of one column share
// cache lines.
inline constexpr int64_t kBatch = 32;

// A matrix, and how it is cut. The unit of work is one group of `unit_rows` rows (fewer at the matrix's end); units
// count along the groups of a row, then down the rows: unit = (row / unit_rows) * groups + group.
struct Job {
  void* x;  // quantize reads x and writes the rest, dequantize the other way round
  void* codes;
  void* scales;
  uint8_t* zero_points;  // or null: symmetric
  int64_t rows;
  int64_t depth;
  int64_t group;
  int64_t groups;  // of a row
  int64_t x_row_stride;
  int64_t x_column_stride;
  int64_t unit_rows;  // 1, or kBatch if x_column_stride > 1
  bool f16_scales;
};

struct QuantizeKernel {
  // The largest magnitude of x[0], x[stride], .. x[(count - 1) * stride]; infinity if one is NaN or infinite.
  float (*largest_magnitude)(const void* x, int64_t count, int64_t stride);
  // Quantizes units [begin, end). All values are finite and no scale overflows. Groups of an odd number of 4-bit codes
  // share bytes with their neighbours, so one call does all units of such a row.
  void (*run)(const Job& job, int64_t begin, int64_t end);
};

struct DequantizeKernel {
  void (*run)(const Job& job, int64_t begin, int64_t end);
};

#define GATUN_QUANTIZE_KERNEL(name, isa, x, codes) \
  }                                                \
  namespace gatun::isa {                           \
  extern const quantize::QuantizeKernel name;      \
  }                                                \
  namespace gatun::quantize {
#define GATUN_DEQUANTIZE_KERNEL(name, isa, codes, x) \
  }                                                  \
  namespace gatun::isa {                             \
  extern const quantize::DequantizeKernel name;      \
  }                                                  \
  namespace gatun::quantize {
#include "quantize/kernels.inc"
#undef GATUN_QUANTIZE_KERNEL
#undef GATUN_DEQUANTIZE_KERNEL

}  // namespace gatun::quantize
