// The table of kernels.inc, and the entry point with the tier as an argument.
#pragma once

#include "attention_merge/kernel.h"
#include "base/table.h"
#include "gatun/attention.h"

namespace gatun::attention_merge {

// from and to: the dtype.
KernelTable<Kernel> table();

// As in gatun/attention.h, with kernels of `limit` and lower tiers.
int32_t run(Tier limit, const gatun_attention_merge_params* params, const void* a, const float* a_lse, const void* b,
            const float* b_lse, void* out, float* lse);

}  // namespace gatun::attention_merge
