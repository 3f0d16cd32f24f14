// The ops of gatun/calibrate.h straight from their definitions, one element at a time: what kernels are compared with.
// Arguments are those of the entry points, valid; numbers of the dtype of x are read and written through doubles.
#pragma once

#include <cstdint>

#include "gatun/calibrate.h"

namespace gatun::calibrate {

void reference_amax(const gatun_calibrate_params& params, const void* x, float* amax);

void reference_fake_quantize(const gatun_calibrate_params& params, const void* x, const float* scales, void* y);

// ds as an exact sum would give it before the rounding to f32; magnitudes, the sum of the summands' magnitudes, may be
// null.
void reference_backward(const gatun_calibrate_params& params, const void* x, const float* scales, const void* dy,
                        void* dx, double* ds, double* magnitudes);

// By search: of all codes of the coarser grid the one whose value is nearest to the stored code's.
void reference_requantize(const gatun_quantize_params& params, int32_t bits, const void* codes, const void* scales,
                          const void* zero_points, void* out_codes, void* out_scales, void* out_zero_points);

// Of values [rows, depth] that have been dequantized; blocks of group_rows x group.
void reference_error(const gatun_quantize_params& params, int64_t group_rows, int64_t group, const void* x,
                     const float* values, double* errors, double* squares);

}  // namespace gatun::calibrate
