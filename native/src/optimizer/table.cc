#include "optimizer/table.h"

#include <iterator>

namespace gatun::optimizer {

#define GATUN_OPTIMIZER_KERNEL(name, isa, state) \
  {#name, Tier::isa, GATUN_STATE_##state, GATUN_STATE_##state, &isa::name},
#define GATUN_SQUARES_KERNEL(name, isa)
KernelTable<Kernel> table() {
  static constexpr KernelRow<Kernel> kRows[] = {
#include "optimizer/kernels.inc"
  };
  return {std::begin(kRows), std::end(kRows)};
}
#undef GATUN_OPTIMIZER_KERNEL
#undef GATUN_SQUARES_KERNEL

#define GATUN_OPTIMIZER_KERNEL(name, isa, state)
#define GATUN_SQUARES_KERNEL(name, isa) {#name, Tier::isa, 0, 0, &isa::name},
KernelTable<SquaresKernel> squares_table() {
  static constexpr KernelRow<SquaresKernel> kRows[] = {
#include "optimizer/kernels.inc"
  };
  return {std::begin(kRows), std::end(kRows)};
}
#undef GATUN_OPTIMIZER_KERNEL
#undef GATUN_SQUARES_KERNEL

}  // namespace gatun::optimizer
