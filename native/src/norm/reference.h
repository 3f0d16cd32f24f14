// Normalization in double precision, straight from the formulas: what kernels are compared with.
#pragma once

#include "gatun/norm.h"

namespace gatun::norm {

// One row of `columns` values. `normalized` (before weight and bias) may be null, weight and bias as well.
void reference_row(const gatun_norm_params& params, const double* x, const float* weight, const float* bias,
                   double* normalized, double* y);

}  // namespace gatun::norm
