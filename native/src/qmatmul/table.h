// The table of kernels as data, and the way from a checked call to a row of it.
#pragma once

#include <cstdint>

#include "base/table.h"
#include "gatun/qmatmul.h"
#include "qmatmul/kernel.h"
#include "qmatmul/layout.h"

namespace gatun::qmatmul {

using TableRow = KernelRow<Kernel>;

// Rows in the order of kernels.inc.
KernelTable<Kernel> table();

// The types that a row must have for a product: of x as it is multiplied, and of the stored codes.
inline int32_t multiplied_dtype(int32_t mode) { return mode == GATUN_QMATMUL_PRECISE ? GATUN_F32 : GATUN_I8; }
inline int32_t stored_dtype(const Layout& layout) { return layout.four_bits() ? GATUN_U4 : GATUN_U8; }

// The arguments of gatun_qmatmul after its checks.
struct Call {
  const gatun_qmatmul_params& params;
  const Layout& layout;
  const void* x;
  const uint8_t* packed;
  const float* bias;
  const void* residual;
  void* y;
};

// How a call is cut into work for threads: row blocks one after the other, each cut into panels times row chunks.
struct Split {
  int64_t block_rows;
  int64_t first_panel;
  int64_t panels;
  int64_t row_chunks;
  int32_t threads;
};
Split split_of(const gatun_qmatmul_params& params, const Layout& layout);

// Runs a call on a row. OUT_OF_RESOURCES if there is no scratch memory.
int32_t run(const TableRow& row, const Call& call);

}  // namespace gatun::qmatmul
