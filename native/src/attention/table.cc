#include "attention/table.h"

#include <iterator>

namespace gatun::attention {

KernelTable<Kernel> table() {
#define GATUN_ATTENTION_KERNEL(name, isa, dtype, mode) \
  {#name, Tier::isa, GATUN_##dtype, GATUN_ATTENTION_##mode, &isa::name},
  static constexpr KernelRow<Kernel> kRows[] = {
#include "attention/kernels.inc"
  };
#undef GATUN_ATTENTION_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

}  // namespace gatun::attention
