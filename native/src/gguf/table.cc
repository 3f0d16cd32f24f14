#include "gguf/table.h"

#include <iterator>

namespace gatun::gguf {

KernelTable<Kernel> table() {
#define GATUN_GGUF_KERNEL(name, isa, type) {#name, Tier::isa, GATUN_GGUF_##type, 0, &isa::name},
  static constexpr KernelRow<Kernel> kRows[] = {
#include "gguf/kernels.inc"
  };
#undef GATUN_GGUF_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

}  // namespace gatun::gguf
