#include "gemm/gemm.h"

#include <iterator>

#include "base/scratch.h"

namespace gatun::gemm {

KernelTable<Kernel> table() {
#define GATUN_GEMM_KERNEL(name, isa) {#name, Tier::isa, GATUN_F32, GATUN_F32, &isa::name},
  static constexpr KernelRow<Kernel> kRows[] = {
#include "gemm/kernels.inc"
  };
#undef GATUN_GEMM_KERNEL
  return {std::begin(kRows), std::end(kRows)};
}

const Kernel& kernel_of(Tier limit) { return *table().select(GATUN_F32, GATUN_F32, limit).kernel; }

bool run(const Kernel& kernel, const Product& product) {
  if (product.rows == 0 || product.columns == 0) return true;
  thread_local Scratch scratch;
  uint8_t* const memory = scratch.get(kScratchBytes);
  if (memory == nullptr) return false;
  kernel.run(product, reinterpret_cast<float*>(memory));
  return true;
}

}  // namespace gatun::gemm
