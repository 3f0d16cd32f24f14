#include "calibrate/table.h"

#include <iterator>

namespace gatun::calibrate {

KernelTable<Kernel> table() {
#define GATUN_CALIBRATE_KERNEL(name, isa, x) {#name, Tier::isa, GATUN_##x, 0, &isa::name},
#define GATUN_REQUANTIZE_KERNEL(name, isa, codes)
  static constexpr KernelRow<Kernel> kRows[] = {
#include "calibrate/kernels.inc"
  };
#undef GATUN_CALIBRATE_KERNEL
#undef GATUN_REQUANTIZE_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

KernelTable<CodeKernel> code_table() {
#define GATUN_CALIBRATE_KERNEL(name, isa, x)
#define GATUN_REQUANTIZE_KERNEL(name, isa, codes) {#name, Tier::isa, GATUN_##codes, 0, &isa::name},
  static constexpr KernelRow<CodeKernel> kRows[] = {
#include "calibrate/kernels.inc"
  };
#undef GATUN_CALIBRATE_KERNEL
#undef GATUN_REQUANTIZE_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

}  // namespace gatun::calibrate
