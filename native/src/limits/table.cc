#include "limits/table.h"

#include <iterator>

namespace gatun::limits {

Rows table() {
#define GATUN_LIMITS_KERNEL(name, isa, loop) {#name, Tier::isa, Loop::loop, &isa::name},
  static constexpr TableRow kRows[] = {
#include "limits/kernels.inc"
  };
#undef GATUN_LIMITS_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

const TableRow* select(Loop loop, Tier limit) {
  for (const TableRow& row : table()) {
    if (row.loop == loop && tier_usable(row.tier, limit)) return &row;
  }
  return nullptr;
}

}  // namespace gatun::limits
