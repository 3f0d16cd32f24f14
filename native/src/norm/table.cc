#include "norm/table.h"

#include <iterator>

namespace gatun::norm {

KernelTable<Kernel> table() {
#define GATUN_NORM_KERNEL(name, isa, x, y) {#name, Tier::isa, GATUN_##x, GATUN_##y, &isa::name},
  static constexpr KernelRow<Kernel> kRows[] = {
#include "norm/kernels.inc"
  };
#undef GATUN_NORM_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

}  // namespace gatun::norm
