#include "quantize/table.h"

#include <iterator>

#include "gatun/types.h"

namespace gatun::quantize {

KernelTable<Kernel> table() {
#define GATUN_QUANTIZE_KERNEL(name, isa, codes, coding) {#name, Tier::isa, GATUN_##codes, coding, &isa::name},
  static constexpr KernelRow<Kernel> kRows[] = {
#include "quantize/kernels.inc"
  };
#undef GATUN_QUANTIZE_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

}  // namespace gatun::quantize
