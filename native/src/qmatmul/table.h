// The table of kernels as data, and the way from a checked call to a row of it.
#pragma once

#include <cstdint>

#include "base/cpu.h"
#include "gatun/qmatmul.h"
#include "qmatmul/kernel.h"
#include "qmatmul/layout.h"

namespace gatun::qmatmul {

struct TableRow {
  const char* name;
  Tier tier;
  Codes codes;
  Arithmetic arithmetic;
  const Kernel* kernel;
};

// Rows in the order of kernels.inc.
const TableRow* table_begin();
const TableRow* table_end();

// Whether a row does this product, on a processor that can run it.
bool matches(const TableRow& row, const Layout& layout, int32_t mode);

// The first matching row that may run when `limit` is the tier in use; the scalar tier has a row for everything.
const TableRow& select(const Layout& layout, int32_t mode, Tier limit);

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
  int32_t tile_rows;
  int64_t first_panel;
  int64_t panels;
  int64_t row_chunks;
  int32_t threads;
};
Split split_of(const gatun_qmatmul_params& params, const Layout& layout);

// Runs a call on a row. OUT_OF_RESOURCES if there is no scratch memory.
int32_t run(const TableRow& row, const Call& call);

}  // namespace gatun::qmatmul
