#include "attention_merge/table.h"

#include <iterator>

namespace gatun::attention_merge {

KernelTable<Kernel> table() {
#define GATUN_ATTENTION_MERGE_KERNEL(name, isa, dtype) {#name, Tier::isa, GATUN_##dtype, GATUN_##dtype, &isa::name},
  static constexpr KernelRow<Kernel> kRows[] = {
#include "attention_merge/kernels.inc"
  };
#undef GATUN_ATTENTION_MERGE_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

}  // namespace gatun::attention_merge
