// The table of kernels.inc, and dense f32 products for the ops that need them.
#pragma once

#include "base/table.h"
#include "gemm/kernel.h"

namespace gatun::gemm {

// from and to are F32.
KernelTable<Kernel> table();

const Kernel& kernel_of(Tier limit);

// On the calling thread. False, and nothing is done, if there is no memory for scratch.
[[nodiscard]] bool run(const Kernel& kernel, const Product& product);

}  // namespace gatun::gemm
