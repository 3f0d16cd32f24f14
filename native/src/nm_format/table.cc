#include "nm_format/table.h"

#include <iterator>

namespace gatun::nm_format {

KernelTable<Kernel> table() {
#define GATUN_NM_FORMAT_KERNEL(name, isa, dtype) {#name, Tier::isa, GATUN_##dtype, GATUN_##dtype, &isa::name},
  static constexpr KernelRow<Kernel> kRows[] = {
#include "nm_format/kernels.inc"
  };
#undef GATUN_NM_FORMAT_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

}  // namespace gatun::nm_format
