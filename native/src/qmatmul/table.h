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

// The types that a row must have for a product: of x as it is multiplied, and the stored form of the codes.
inline int32_t multiplied_dtype(int32_t mode) {
  return mode == GATUN_QMATMUL_PRECISE ? GATUN_F32 : mode == GATUN_QMATMUL_BF16 ? GATUN_BF16 : GATUN_I8;
}
inline int32_t stored_form(const Layout& layout) { return static_cast<int32_t>(layout.stored()); }
// Whether weights of a form take a mode: integers are multiplied as integers.
inline bool takes_mode(Stored stored, int32_t mode) {
  return mode == GATUN_QMATMUL_PRECISE || is_integer(stored) == (mode != GATUN_QMATMUL_BF16);
}

// One of a call's weights: its product is the rectangle of y at (first_row, first_column), [rows, layout.columns()].
struct Part {
  Layout layout;
  const uint8_t* packed;
  int64_t first_row;
  int64_t rows;
  int64_t first_column;
  int64_t first_bias;  // where its columns begin in the call's bias
};

// A call after its checks. Parts lie side by side, with all rows each, or below each other; all have one depth and one
// group.
struct Call {
  gatun_qmatmul_params params;  // a copy: nothing that the caller writes later gets around the checks
  const Part* parts;
  int32_t count;
  const TableRow* rows[kStoredForms];  // of the table, for each form of weights; null if there are none
  const void* x;
  const float* x_scales;  // of gatun_qmatmul_scaled, or null
  int64_t x_scales_row_stride;
  bool x_scales_groups;  // one for each of the weights' groups in each row
  const float* bias;
  const void* residual;
  void* y;
};

inline const Kernel* kernel_of(const Call& call, const Part& part) {
  return call.rows[static_cast<int>(part.layout.stored())]->kernel;
}

// Whether packed rows have a scale for each piece.
inline bool has_piece_scales(const Call& call) {
  const int32_t mode = call.params.mode;
  return mode == GATUN_QMATMUL_BF16 ? call.x_scales_groups : mode != GATUN_QMATMUL_INT8_ROW;
}

// How the first block of rows is cut into work for threads.
struct Split {
  int64_t block_rows;
  int64_t weights;     // that have work in it
  int64_t panels;      // of all weights together
  int64_t row_chunks;  // that the rows of a weight are cut into, at most
  int32_t threads;
};

// Both: OUT_OF_RESOURCES if there is no scratch memory.
int32_t split_of(const Call& call, Split* split);
int32_t run(const Call& call);

// The arguments of gatun_qmatmul after its checks, to be run on a given row of the table.
struct Product {
  const gatun_qmatmul_params& params;
  const Layout& layout;
  const void* x;
  const uint8_t* packed;
  const float* bias;
  const void* residual;
  void* y;
  const float* x_scales = nullptr;
  int64_t x_scales_row_stride = 0;
  bool x_scales_groups = false;
};
int32_t run(const TableRow& row, const Product& product);

}  // namespace gatun::qmatmul
