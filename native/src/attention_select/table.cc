#include "attention_select/table.h"

#include <iterator>

namespace gatun::attention_select {

KernelTable<Kernel> table() {
#define GATUN_ATTENTION_SELECT_KERNEL(name, isa, x) {#name, Tier::isa, GATUN_##x, GATUN_F32, &isa::name},
  static constexpr KernelRow<Kernel> kRows[] = {
#include "attention_select/kernels.inc"
  };
#undef GATUN_ATTENTION_SELECT_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

}  // namespace gatun::attention_select
