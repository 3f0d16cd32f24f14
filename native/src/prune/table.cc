#include "prune/table.h"

#include <iterator>

namespace gatun::prune {

KernelTable<Kernel> table() {
#define GATUN_PRUNE_KERNEL(name, isa, w) {#name, Tier::isa, GATUN_##w, GATUN_##w, &isa::name},
#define GATUN_MASK_KERNEL(name, isa, x)
  static constexpr KernelRow<Kernel> kRows[] = {
#include "prune/kernels.inc"
  };
#undef GATUN_MASK_KERNEL
#undef GATUN_PRUNE_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

KernelTable<MaskKernel> mask_table() {
#define GATUN_PRUNE_KERNEL(name, isa, w)
#define GATUN_MASK_KERNEL(name, isa, x) {#name, Tier::isa, GATUN_##x, GATUN_##x, &isa::name},
  static constexpr KernelRow<MaskKernel> kRows[] = {
#include "prune/kernels.inc"
  };
#undef GATUN_MASK_KERNEL
#undef GATUN_PRUNE_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

}  // namespace gatun::prune
