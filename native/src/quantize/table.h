// The table of kernels.inc, and the entry points with the tier as an argument.
#pragma once

#include "base/table.h"
#include "gatun/quantize.h"
#include "quantize/kernel.h"

namespace gatun::quantize {

// Rows tell code dtypes (from) and Coding (to) apart.
KernelTable<Kernel> table();

// As in gatun/quantize.h, with kernels of `limit` and lower tiers.
int32_t run_quantize(Tier limit, const gatun_quantize_params* params, const void* x, const float* code_book,
                     const void* round_up, void* codes, void* scales, void* zero_points);
int32_t run_dequantize(Tier limit, const gatun_quantize_params* params, const float* code_book, const void* codes,
                       const void* scales, const void* zero_points, void* x);

}  // namespace gatun::quantize
