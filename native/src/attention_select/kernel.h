// What selections hand to kernels, and the table of kernels. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace gatun::attention_select {

// Groups of keys that are multiplied at a time, where keys are packed.
inline constexpr int64_t kTileGroups = 64;

// Groups of `stride` rows of q against a tile of packed groups of k, phase s against phase stride - 1 - s:
//   out[a][c] = sum over s in first_phase .. stride - 1 of q[a * stride + stride - 1 - s] . k[c * stride + s]
struct GroupProduct {
  const uint16_t* q;
  int64_t q_row_stride;
  int64_t groups;  // of q
  int64_t stride;
  int64_t first_phase;
  int64_t head_size;
  const uint32_t* keys;  // [stride][head_size / 2][kTileGroups], pairs of elements
  float* out;
  int64_t out_row_stride;
  int64_t columns;  // of the tile's groups, from the first on
};

struct Kernel {
  // Of rows of the dtype: sums[k] = sum of x[r][k]; units[k] = sum of x[r][k] / |x[r]|, 0 for a row of zeros, unless it
  // is null. At most 256 columns.
  void (*pool)(const void* x, int64_t row_stride, int64_t rows, int64_t columns, float* sums, float* units);
  // y [rows][columns] = x, exactly.
  void (*widen)(const void* x, int64_t row_stride, int64_t rows, int64_t columns, float* y);

  // The largest of n >= 1 values; NaN if one is NaN or infinite.
  float (*largest)(const float* x, int64_t n);
  // x = scale * x, and cap * tanh(that / cap) if cap is not 0.
  void (*scale)(float* x, int64_t n, float scale, float cap);
  // x = exp(x - shift); returns their sum.
  float (*exponentiate)(float* x, int64_t n, float shift);
  // y += factor * x
  void (*add_scaled)(float* y, const float* x, int64_t n, float factor);

  // Null where the tier has no such dots. Packs rows of k as a tile; groups and rows beyond `rows` are 0.
  void (*pack_groups)(const uint16_t* k, int64_t row_stride, int64_t stride, int64_t rows, int64_t head_size,
                      uint32_t* to);
  void (*multiply_groups)(const GroupProduct& product);
};

#define GATUN_ATTENTION_SELECT_KERNEL(name, isa, x) \
  }                                                 \
  namespace gatun::isa {                            \
  extern const attention_select::Kernel name;       \
  }                                                 \
  namespace gatun::attention_select {
#include "attention_select/kernels.inc"
#undef GATUN_ATTENTION_SELECT_KERNEL

}  // namespace gatun::attention_select
