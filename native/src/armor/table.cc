#include "armor/table.h"

#include <iterator>

namespace gatun::armor {

KernelTable<Kernel> table() {
#define GATUN_ARMOR_KERNEL(name, isa) {#name, Tier::isa, GATUN_F32, GATUN_F32, &isa::name},
  static constexpr KernelRow<Kernel> kRows[] = {
#include "armor/kernels.inc"
  };
#undef GATUN_ARMOR_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

}  // namespace gatun::armor
