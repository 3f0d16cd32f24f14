#include "nm_matmul/table.h"

#include <iterator>

namespace gatun::nm_matmul {

Table table() {
#define GATUN_NM_MATMUL_KERNEL(name, isa, x, values, least_rows, pairs) \
  {#name, Tier::isa, GATUN_##x, GATUN_##values, least_rows, pairs != 0, &isa::name},
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

}  // namespace gatun::nm_matmul
