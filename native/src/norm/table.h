// The table of kernels.inc, and the entry point with the tier as an argument.
#pragma once

#include "base/table.h"
#include "gatun/norm.h"
#include "norm/kernel.h"

namespace gatun::norm {

KernelTable<Kernel> table();

// As in gatun/norm.h, with kernels of `limit` and lower tiers.
int32_t run(Tier limit, const gatun_norm_params* params, const void* x, const float* weight, const float* bias,
            void* y);

}  // namespace gatun::norm
