// The table of kernels.inc, and the entry points with the tier as an argument.
#pragma once

#include "attention/kernel.h"
#include "base/table.h"
#include "gatun/attention.h"

namespace gatun::attention {

// from: the dtype of q, k and v; to: the mode.
KernelTable<Kernel> table();

// As in gatun/attention.h, with kernels of `limit` and lower tiers.
int32_t run(Tier limit, const gatun_attention_params* params, const Inputs& inputs, void* out, float* lse);

}  // namespace gatun::attention
