#include "kv_cache/table.h"

#include <iterator>

namespace gatun::kv_cache {

KernelTable<Kernel> table() {
#define GATUN_KV_CACHE_KERNEL(name, isa, dtype) {#name, Tier::isa, GATUN_##dtype, GATUN_##dtype, &isa::name},
  static constexpr KernelRow<Kernel> kRows[] = {
#include "kv_cache/kernels.inc"
  };
#undef GATUN_KV_CACHE_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

}  // namespace gatun::kv_cache
