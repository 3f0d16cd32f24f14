#include "qmatmul/table.h"

namespace gatun::qmatmul {
namespace {

constexpr TableRow kTable[] = {
#define GATUN_QMATMUL_KERNEL(name, isa, codes, arithmetic) \
  {#name, Tier::isa, Codes::codes, Arithmetic::arithmetic, &gatun::isa::name},
#include "qmatmul/kernels.inc"
#undef GATUN_QMATMUL_KERNEL
};

}  // namespace

const TableRow* table_begin() { return kTable; }
const TableRow* table_end() { return kTable + sizeof(kTable) / sizeof(kTable[0]); }

bool matches(const TableRow& row, const Layout& layout, int32_t mode) {
  return row.codes == (layout.four_bits() ? Codes::four_bits : Codes::eight_bits) &&
         row.arithmetic == (mode == GATUN_QMATMUL_PRECISE ? Arithmetic::f32 : Arithmetic::int8);
}

const TableRow& select(const Layout& layout, int32_t mode, Tier limit) {
  const TableRow* row = table_begin();
  while (!matches(*row, layout, mode) || !tier_usable(row->tier, limit)) ++row;
  return *row;
}

}  // namespace gatun::qmatmul
