// Dense f32 matrix multiplication for ops that need it inside: what a caller hands to a kernel. Plain data only: ISA
// units include this file.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace gatun::gemm {

// c[i][j] = (c[i][j] if `add`) + sum_k a[i][k] * b[k][j], in ascending k, one fma each: so an element does not depend
// on how a product is cut into calls, by rows, columns or depth.
struct Product {
  const float* a;  // one of its strides is 1
  int64_t a_row_stride;
  int64_t a_depth_stride;
  const float* b;  // one of its strides is 1
  int64_t b_depth_stride;
  int64_t b_column_stride;
  float* c;
  int64_t c_row_stride;
  int64_t rows;
  int64_t columns;
  int64_t depth;
  bool add;
};

// Blocks of b and a that are packed at a time.
inline constexpr int64_t kBlockColumns = 256, kBlockDepth = 256, kBlockRows = 96;
inline constexpr int64_t kScratchBytes = (kBlockColumns + kBlockRows) * kBlockDepth * 4;

struct Kernel {
  // `scratch` holds kScratchBytes, 64-byte aligned.
  void (*run)(const Product& product, float* scratch);
};

#define GATUN_GEMM_KERNEL(name, isa) \
  }                                  \
  namespace gatun::isa {             \
  extern const gemm::Kernel name;    \
  }                                  \
  namespace gatun::gemm {
#include "gemm/kernels.inc"
#undef GATUN_GEMM_KERNEL

}  // namespace gatun::gemm
