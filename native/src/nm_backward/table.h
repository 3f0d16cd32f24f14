// The table of kernels.inc, and the entry points with the tier as an argument.
#pragma once

#include "base/table.h"
#include "gatun/nm_backward.h"
#include "nm_backward/kernel.h"

namespace gatun::nm_backward {

// from and to are F32.
KernelTable<Kernel> table();

// As in gatun/nm_backward.h, with kernels of `limit` and lower tiers.
int32_t run_x(Tier limit, const gatun_nm_backward_params* params, const float* dy, const void* values,
              const uint8_t* indices, float* dx);
int32_t run_values(Tier limit, const gatun_nm_backward_params* params, const float* dy, const float* x,
                   const uint8_t* indices, float* dvalues);
int32_t run_dense(Tier limit, const gatun_nm_backward_params* params, const float* dy, const float* x,
                  const uint8_t* indices, float* dw);

}  // namespace gatun::nm_backward
