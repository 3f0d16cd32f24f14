// What the entries hand to kernels, and the table of kernels. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace gatun::prune {

// A matrix [rows, depth] and how its weights are scored. Scores that are given are an f32 matrix in the place of w.
struct Weights {
  const void* w;
  const float* norms;  // WANDA; otherwise null
  bool given;          // a weight is its score
  int64_t depth;
};

inline int64_t mask_bytes(int64_t depth) { return depth / 8 + (depth % 8 != 0); }

struct Kernel {
  // The scores of weights [k, k + count) of a row.
  void (*score)(const Weights& weights, int64_t row, int64_t k, int64_t count, float* scores);
  // The largest magnitude of these scores, as its bits: NaN is above infinity, which is above everything else.
  uint32_t (*largest)(const Weights& weights, int64_t row, int64_t k, int64_t count);
  // The mask of rows [begin, end), the first one's at `mask`: the best n of every m weights. Scores are no NaN.
  void (*nm)(const Weights& weights, int n, int m, int64_t begin, int64_t end, uint8_t* mask);
};

struct MaskJob {
  const void* x;
  const uint8_t* mask;
  void* y;
  int64_t depth;
  int64_t x_row_stride;
  int64_t y_row_stride;
  bool stream;  // y is written past the caches
};

struct MaskKernel {
  // y = x or 0 in rows [begin, end).
  void (*apply)(const MaskJob& job, int64_t begin, int64_t end);
};

#define GATUN_PRUNE_KERNEL(name, isa, w) \
  }                                      \
  namespace gatun::isa {                 \
  extern const prune::Kernel name;       \
  }                                      \
  namespace gatun::prune {
#define GATUN_MASK_KERNEL(name, isa, x) \
  }                                     \
  namespace gatun::isa {                \
  extern const prune::MaskKernel name;  \
  }                                     \
  namespace gatun::prune {
#include "prune/kernels.inc"
#undef GATUN_MASK_KERNEL
#undef GATUN_PRUNE_KERNEL

}  // namespace gatun::prune
