// The checks of the entry points.
#pragma once

#include "gatun/nm_backward.h"

namespace gatun::nm_backward {

enum class Gradient { x, values, dense };

// Everything but the indices. `x` is the other dense operand, or dx; `weights` are the values, or their gradient.
int32_t check_call(Gradient gradient, const gatun_nm_backward_params* params, const float* dy, const float* x,
                   const void* weights, const uint8_t* indices);

// The indices themselves.
int32_t check_indices(const gatun_nm_backward_params& params, const uint8_t* indices);

}  // namespace gatun::nm_backward
