#include "decode_choose/table.h"

#include <iterator>

#include "gatun/types.h"

namespace gatun::decode_choose {

KernelTable<Kernel> table() {
#define GATUN_DECODE_CHOOSE_KERNEL(name, isa) {#name, Tier::isa, GATUN_F32, GATUN_F32, &isa::name},
  static constexpr KernelRow<Kernel> kRows[] = {
#include "decode_choose/kernels.inc"
  };
#undef GATUN_DECODE_CHOOSE_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

}  // namespace gatun::decode_choose
