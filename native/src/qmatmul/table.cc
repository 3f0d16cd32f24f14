#include "qmatmul/table.h"

#include <iterator>

namespace gatun::qmatmul {

KernelTable<Kernel> table() {
#define GATUN_QMATMUL_KERNEL(name, isa, x, weights) \
  {#name, Tier::isa, GATUN_##x, static_cast<int32_t>(Stored::weights), &isa::name},
  static constexpr TableRow kRows[] = {
#include "qmatmul/kernels.inc"
  };
#undef GATUN_QMATMUL_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

}  // namespace gatun::qmatmul
