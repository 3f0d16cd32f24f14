// The table of kernels.inc, and the entry points with the tier as an argument.
#pragma once

#include "base/table.h"
#include "gatun/nm_format.h"
#include "nm_format/kernel.h"

namespace gatun::nm_format {

// Rows tell the dtypes of the weights (from) and of the values (to), which are the same.
KernelTable<Kernel> table();

// As in gatun/nm_format.h, with kernels of `limit` and lower tiers.
int32_t run_compress(Tier limit, const gatun_nm_format* format, const void* dense, const uint8_t* mask,
                     const uint8_t* zero_points, void* values, uint8_t* indices);
int32_t run_prune(Tier limit, const gatun_nm_format* format, const gatun_prune_params* prune, const void* w,
                  const float* norms, const float* scores, void* values, uint8_t* indices);

}  // namespace gatun::nm_format
