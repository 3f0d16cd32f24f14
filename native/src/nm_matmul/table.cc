#include "nm_matmul/table.h"

#include <iterator>

namespace gatun::nm_matmul {

Table table() {
#define GATUN_NM_MATMUL_KERNEL(name, isa, x, values, least, sparsest) \
  {#name, Tier::isa, GATUN_##x, GATUN_##values, least, sparsest, &isa::name},
  static constexpr TableRow kRows[] = {
#include "nm_matmul/kernels.inc"
  };
#undef GATUN_NM_MATMUL_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

const TableRow& select(const gatun_nm_matmul_params& params, const Layout& layout, Tier limit) {
  const int32_t x = multiplied_dtype(params.mode);
  const TableRow* row = table().begin();
  // The scalar tier has a row for all types, with any number of rows of x.
  while (!row->takes(x, layout) || params.rows < row->least_rows || !tier_usable(row->tier, limit)) ++row;
  return *row;
}

gatun_nm_weights weights_for(const TableRow& row, int64_t columns, int64_t depth) {
  const bool codes = row.values == GATUN_I8 || row.values == GATUN_U4;
  // Kernels that are not for sparse ones take 2:4.
  return {sizeof(gatun_nm_weights), row.sparsest != 0 ? 2 : 1, 4, 1,       row.values, GATUN_ZERO_NONE,
          codes ? GATUN_F32 : 0,    GATUN_NM_DENSE_NEVER,      0, columns, depth,      codes ? depth : 0};
}

int32_t mode_of(const TableRow& row) {
  return row.x == GATUN_I8 ? GATUN_NM_INT8 : row.x == GATUN_BF16 ? GATUN_NM_BF16 : GATUN_NM_F32;
}

gatun_nm_matmul_params params_for(const gatun_nm_weights& weights, int64_t rows, int32_t mode) {
  return {sizeof(gatun_nm_matmul_params),
          GATUN_F32,
          GATUN_F32,
          mode,
          GATUN_ACTIVATION_NONE,
          1,
          rows,
          weights.columns,
          weights.depth,
          weights.depth,
          weights.columns,
          weights.columns,
          0,
          weights.columns};
}

}  // namespace gatun::nm_matmul
