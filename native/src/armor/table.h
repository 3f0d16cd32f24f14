// The table of kernels.inc, and the entry points with the tier as an argument.
#pragma once

#include "armor/kernel.h"
#include "base/table.h"
#include "gatun/armor.h"

namespace gatun::armor {

// from and to are F32.
KernelTable<Kernel> table();

// As in gatun/armor.h, with kernels of `limit` and lower tiers.
int32_t run_matmul(Tier limit, const gatun_nm_matmul_params* params, int64_t block, const void* x, const float* right,
                   const void* packed, int64_t packed_bytes, const float* left, const float* bias, const void* residual,
                   void* y);
int32_t run_fit(Tier limit, const gatun_armor_fit_params* params, const float* w, const float* norms, float* left,
                float* values, uint8_t* indices, float* right, double* losses);

}  // namespace gatun::armor
