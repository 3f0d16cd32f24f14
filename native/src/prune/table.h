// The tables of kernels.inc.
#pragma once

#include "base/table.h"
#include "prune/kernel.h"

namespace gatun::prune {

// By the dtype of weights; `to` is the same.
KernelTable<Kernel> table();

// By the dtype that stands for an element's size (mask_key); `to` is the same.
KernelTable<MaskKernel> mask_table();
inline int32_t mask_key(int32_t dtype) {
  const int64_t bytes = dtype_bytes(dtype, 1);
  return bytes == 4 ? GATUN_F32 : bytes == 2 ? GATUN_F16 : GATUN_U8;
}

}  // namespace gatun::prune
