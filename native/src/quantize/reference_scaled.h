// reference.h for small floats and code books, and blocks of several rows.
#pragma once

#include <cstdint>

#include "gatun/quantize.h"

namespace gatun::quantize {

// Whether codes are small floats or indices of a code book.
bool is_scaled(const gatun_quantize_params& params);

// INVALID_ARGUMENT, with a message, if a given scale is NaN or infinite, or a scale overflows. All values are finite.
int32_t reference_check_scaled(const gatun_quantize_params& params, const void* x, const void* scales);

void reference_quantize_scaled(const gatun_quantize_params& params, const void* x, const float* code_book,
                               const void* round_up, void* codes, void* scales);

void reference_dequantize_scaled(const gatun_quantize_params& params, const float* code_book, const void* codes,
                                 const void* scales, void* x);

}  // namespace gatun::quantize
