// The checks of the entry points.
#pragma once

#include "gatun/armor.h"

namespace gatun::armor {

// Everything but what the packed weights say.
int32_t check_matmul(const gatun_nm_matmul_params* params, int64_t block, const void* x, const float* right,
                     const void* packed, int64_t packed_bytes, const float* left, const float* bias,
                     const void* residual, const void* y);

// Everything but the contents of w and norms.
int32_t check_fit(const gatun_armor_fit_params* params, const float* w, const float* norms, const float* left,
                  const float* values, const uint8_t* indices, const float* right, const double* losses);

}  // namespace gatun::armor
