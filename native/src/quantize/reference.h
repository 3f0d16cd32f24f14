// Quantization straight from its definition in gatun/quantize.h, one value at a time: what kernels are compared with.
// Arguments are those of the entry points, valid.
#pragma once

#include <cstdint>

#include "gatun/quantize.h"

namespace gatun::quantize {

// INVALID_ARGUMENT, with a message, if a value is NaN or infinite or a scale overflows.
int32_t reference_check(const gatun_quantize_params& params, const void* x);

// Of a matrix that passes the check.
void reference_quantize(const gatun_quantize_params& params, const void* x, void* codes, void* scales,
                        void* zero_points);

void reference_dequantize(const gatun_quantize_params& params, const void* codes, const void* scales,
                          const void* zero_points, void* x);

}  // namespace gatun::quantize
