#include "nm_backward/table.h"

#include <iterator>

namespace gatun::nm_backward {

KernelTable<Kernel> table() {
#define GATUN_NM_BACKWARD_KERNEL(name, isa) {#name, Tier::isa, GATUN_F32, GATUN_F32, &isa::name},
  static constexpr KernelRow<Kernel> kRows[] = {
#include "nm_backward/kernels.inc"
  };
#undef GATUN_NM_BACKWARD_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

}  // namespace gatun::nm_backward
