// What the entries hand to kernels. Plain data only: ISA units include this file.
//
// A panel holds up to P rows (tokens) of a matrix [rows, columns] transposed: [columns][P], rows that lack are zeros.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace gatun::nm_backward {

// Rows of the matrix that a transposition takes: P = vectors * lanes of the kernel.
struct Panel {
  float* data;
  int64_t width;  // P
};

// A kept weight of one depth: its column within a block of kBlockColumns times P, and its value.
struct Entry {
  uint32_t offset;
  float weight;
};

// Columns whose panel of dy fits the first-level cache, 24 KiB for 64 rows.
inline constexpr int64_t kBlockColumns = 96;

// sums[k][t] += sum over the entries of depth k of weight * dy[column][t], in the entries' order, one fma each.
struct SpreadJob {
  const float* dy;        // [kBlockColumns][P]
  const Entry* entries;   // [depths][kBlockColumns]
  const int32_t* counts;  // [depths]: how many entries there are
  int64_t depths;
  int32_t vectors;  // P / lanes: 1, 2 or 4
  float* sums;      // [depths][P]
};

// sums[n][i] += sum_t dy[n][t] * x[position i of n][t]: lane by lane over the vectors of P, then the lanes folded.
struct DotJob {
  const float* dy;          // [columns][P]
  const float* x;           // [depths][P]
  const uint32_t* offsets;  // [columns][stride]: positions times P; those from `kept` on are 0
  int64_t columns;
  int64_t kept;
  int64_t stride;   // of offsets and sums, a multiple of kMostLanes
  int32_t vectors;  // P / lanes: 1, 2, 4 or 8
  float* sums;      // [columns][stride]
};
inline constexpr int64_t kMostLanes = 16;

struct Kernel {
  int32_t lanes;
  int32_t spread_vectors, dot_vectors;  // at most
  // Columns [0, columns) of `rows` rows to a panel, and back.
  void (*to_panel)(const float* x, int64_t row_stride, int64_t rows, int64_t columns, Panel panel);
  void (*from_panel)(Panel panel, int64_t rows, int64_t columns, float* x, int64_t row_stride);
  void (*spread)(const SpreadJob& job);
  void (*dot)(const DotJob& job);
};

#define GATUN_NM_BACKWARD_KERNEL(name, isa) \
  }                                         \
  namespace gatun::isa {                    \
  extern const nm_backward::Kernel name;    \
  }                                         \
  namespace gatun::nm_backward {
#include "nm_backward/kernels.inc"
#undef GATUN_NM_BACKWARD_KERNEL

}  // namespace gatun::nm_backward
