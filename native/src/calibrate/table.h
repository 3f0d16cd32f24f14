// The tables of kernels.inc, and the entry points with the tier as an argument.
#pragma once

#include "base/table.h"
#include "calibrate/kernel.h"
#include "gatun/calibrate.h"

namespace gatun::calibrate {

// Rows tell dtypes of x or of codes apart (from); `to` is 0.
KernelTable<Kernel> table();
KernelTable<CodeKernel> code_table();

// As in gatun/calibrate.h, with kernels of `limit` and lower tiers.
int32_t run_amax(Tier limit, const gatun_calibrate_params* params, const void* x, float* amax);
int32_t run_fake(Tier limit, const gatun_calibrate_params* params, const void* x, const float* scales, void* y);
int32_t run_gradients(Tier limit, const gatun_calibrate_params* params, const void* x, const float* scales,
                      const void* dy, void* dx, float* ds);
int32_t run_requantize(Tier limit, const gatun_quantize_params* params, int32_t bits, const void* codes,
                       const void* scales, const void* zero_points, void* out_codes, void* out_scales,
                       void* out_zero_points);
int32_t run_error(Tier limit, const gatun_quantize_params* params, int32_t gguf_type, int32_t per, const void* x,
                  const float* code_book, const void* codes, const void* scales, const void* zero_points,
                  double* errors, double* squares);

}  // namespace gatun::calibrate
