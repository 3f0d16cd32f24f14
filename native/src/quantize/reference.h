// Quantization straight from its definition in gatun/quantize.h, one value at a time: what kernels are compared with.
// Arguments are those of the entry points, valid.
#pragma once

#include <cstdint>

#include "gatun/quantize.h"

namespace gatun::quantize {

// INVALID_ARGUMENT, with a message, if a value or something given is NaN or infinite, or a scale overflows.
int32_t reference_check(const gatun_quantize_params& params, const void* x, const void* scales,
                        const void* zero_points);

// Of what passes the check.
void reference_quantize(const gatun_quantize_params& params, const void* x, const float* code_book,
                        const void* round_up, void* codes, void* scales, void* zero_points);

void reference_dequantize(const gatun_quantize_params& params, const float* code_book, const void* codes,
                          const void* scales, const void* zero_points, void* x);

// The threshold of stochastic rounding, in units of 2^-24.
int32_t reference_threshold(int64_t seed, int64_t index);

}  // namespace gatun::quantize
