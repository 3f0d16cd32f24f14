// The table of kernels as data, and the way from a checked call to a row of it.
#pragma once

#include <cstdint>

#include "base/table.h"
#include "gatun/nm_matmul.h"
#include "nm_matmul/kernel.h"
#include "nm_matmul/layout.h"

namespace gatun::nm_matmul {

struct TableRow {
  const char* name;
  Tier tier;
  int32_t x, values;   // dtypes: of x as it is multiplied, and of the weights' values
  int64_t least_rows;  // of x
  int32_t sparsest;    // m / n up to this, or 0: any
  const Kernel* kernel;

  // Whether it can multiply these; `rows` apart, which is a matter of speed.
  bool takes(int32_t x_dtype, const Layout& layout) const {
    return x == x_dtype && values == layout.value_dtype() && (sparsest == 0 || layout.m() <= sparsest * layout.n());
  }
};

struct Table {
  const TableRow* first;
  const TableRow* last;
  const TableRow* begin() const { return first; }
  const TableRow* end() const { return last; }
};

// Rows in the order of kernels.inc.
Table table();

// The type of x as a mode multiplies it.
inline int32_t multiplied_dtype(int32_t mode) {
  return mode == GATUN_NM_INT8 ? GATUN_I8 : mode == GATUN_NM_BF16 ? GATUN_BF16 : GATUN_F32;
}
inline bool takes_mode(int32_t value_dtype, int32_t mode) {
  const bool quantized = value_dtype == GATUN_I8 || value_dtype == GATUN_U4;
  return mode == GATUN_NM_F32 || (mode == GATUN_NM_INT8 ? quantized : value_dtype == GATUN_BF16);
}

// The first row for this product whose tier may run when `limit` is the tier in use.
const TableRow& select(const gatun_nm_matmul_params& params, const Layout& layout, Tier limit);

// The description of small weights that a row takes, and the mode in which it multiplies them.
gatun_nm_weights weights_for(const TableRow& row, int64_t columns, int64_t depth);
int32_t mode_of(const TableRow& row);

// One thread, x, y and a residual of f32 without gaps, no activation.
gatun_nm_matmul_params params_for(const gatun_nm_weights& weights, int64_t rows, int32_t mode);

// Calls visit(row) for the rows that `tier` selects for such products.
template <class Visit>
void for_each_selected(Tier tier, Visit visit) {
  for (const TableRow& row : table()) {
    const gatun_nm_weights weights = weights_for(row, 64, 64);
    if (&select(params_for(weights, row.least_rows, mode_of(row)), Layout(weights, false), tier) == &row) visit(row);
  }
}

// The arguments of gatun_nm_matmul after its checks.
struct Product {
  const gatun_nm_matmul_params& params;
  const Layout& layout;
  const void* x;
  const uint8_t* packed;
  const float* bias;
  const void* residual;
  void* y;
};

// How the first block of rows is cut into work for threads.
struct Split {
  int64_t block_rows;
  int64_t row_chunks;  // that a block is cut into
  int64_t panels;
  int64_t panels_together;  // that are multiplied together
  int32_t threads;
};
Split split_of(const TableRow& row, const Product& product);

// OUT_OF_RESOURCES if there is no scratch memory.
int32_t run(const TableRow& row, const Product& product);

// As in gatun/nm_matmul.h, with kernels of `limit` and lower tiers (nm_matmul.cc).
int32_t run_matmul(Tier limit, const gatun_nm_matmul_params* params, const void* x, const void* packed,
                   int64_t packed_bytes, const float* bias, const void* residual, void* y);

}  // namespace gatun::nm_matmul
