/*
 * What calibration and training with quantized numbers need beside quantize: largest magnitudes, fewer bits from stored
 * codes, the error of a quantization, and fake quantization with its gradients.
 *
 * Matrices [rows, depth] have adjacent columns and are cut into blocks of `group_rows` rows by `group` columns (the
 * last block of either axis may be smaller): one per tensor with group_rows = rows and group = depth, one per row with
 * 1 and depth. R = ceil(rows / group_rows), G = ceil(depth / group). All results are the same, bit for bit, on every
 * tier and for any number of threads. Where outputs overlap inputs or each other, but for what is allowed, the status
 * is INVALID_ARGUMENT. All is O(rows * depth); blocks narrower than 16 columns take as long as those of 16.
 */
#ifndef GATUN_CALIBRATE_H
#define GATUN_CALIBRATE_H

#include <stdint.h>

#include "gatun/quantize.h"
#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_calibrate_params {
  uint32_t struct_size; /* sizeof(gatun_calibrate_params) */
  int32_t x_dtype;      /* F32, F16 or BF16: of x, y, dy and dx */
  int32_t threads;      /* 0 = gatun_threads(); 1 = only the calling thread */
  int32_t lowest;       /* fake quantization: the codes, -2^24 <= lowest < highest <= 2^24 */
  int32_t highest;
  float gradient_scale; /* of the gradient of scales: finite */
  int64_t rows;         /* >= 0 */
  int64_t depth;        /* >= 0 */
  int64_t group;        /* 1..depth, or 0 if depth = 0 */
  int64_t group_rows;   /* 1..rows, or 1 if rows = 0 */
  int64_t x_row_stride; /* elements, >= depth if rows > 1; of dy as well */
  int64_t y_row_stride; /* the same of y or dx */
} gatun_calibrate_params;

/*
 * x [rows, depth] -> amax f32 [R, G], the largest |x| of each block, exactly; NaN for a block with NaN, else infinity
 * for one with an infinity, so that a training loop sees an overflow without an error. Fields lowest, highest,
 * gradient_scale and y_row_stride are not used.
 */
GATUN_API int32_t gatun_amax(const gatun_calibrate_params* params, const void* x, float* amax);

/*
 * Fake quantization: y = clamp(round(x / s), lowest, highest) * s with the block's scale of scales f32 [R, G], each
 * operation rounded once, halves to even. y may be x itself. NaN stays NaN, an infinity becomes the extreme of its
 * sign. INVALID_ARGUMENT, with the index, if a scale is not finite and above 0; y is untouched then.
 */
GATUN_API int32_t gatun_fake_quantize(const gatun_calibrate_params* params, const void* x, const float* scales,
                                      void* y);

/*
 * Its gradients by the straight-through estimator with learned scales (Esser et al. 2020, "Learned step size
 * quantization", equations 3 and 5): with v = x / s and dy the gradient of y,
 *
 *   dx = dy if lowest < v < highest, otherwise 0
 *   ds = gradient_scale * sum over the block of dy * (round(v) - v if lowest < v < highest, lowest if v <= lowest,
 *        highest if v >= highest)
 *
 * v and round(v) - v are rounded to f32; the sum is one of doubles in an order that the shape alone sets, and is
 * rounded to f32 once after the product with gradient_scale (in the paper 1 / sqrt(elements of the block * highest)).
 * x NaN gives dx 0 and ds NaN. dx may be dy itself with y_row_stride = x_row_stride. Scales as above.
 */
GATUN_API int32_t gatun_fake_quantize_backward(const gatun_calibrate_params* params, const void* x, const float* scales,
                                               const void* dy, void* dx, float* ds);

/*
 * Codes of fewer bits from stored ones of 8 ("double rounding"): the same matrix on a grid that is 2^(8 - bits) times
 * as coarse, for bits = 6, 4 or 2. With k = 2^(8 - bits), scales become s * k, exactly, and
 *
 *   codes  zero point  out codes, 6 bits   4 bits           2 bits           out zero point
 *   I8     none        I8, -32..31         U4, value q - 8  U2, value q - 2  none
 *   U8     integer     U8, 0..63           U4               U2               w = min(round(z / k), 2^bits - 1)
 *   U8     float       U8, 0..63           U4               U2               z
 *
 * where the value of an out code is that of the stored one divided by k, rounded to the nearest integer, halves to
 * even, and clamped: round(q / k), with an integer zero point round((q - z) / k) + w. So it is what rounding the
 * dequantized number to the coarser grid gives, and what gatun_dequantize and gatun_qmatmul take with these dtypes.
 *
 * params: as for gatun_quantize with code_dtype, zero_point, scale_dtype (F32 or F16), rows, depth, group, threads;
 * other fields are not used. Planes are laid out as there; out_zero_points has the dtype of zero_points, both null
 * without. INVALID_ARGUMENT, with the index, if a new scale is not finite; nothing is written then.
 */
GATUN_API int32_t gatun_requantize(const gatun_quantize_params* params, int32_t bits, const void* codes,
                                   const void* scales, const void* zero_points, void* out_codes, void* out_scales,
                                   void* out_zero_points);

enum gatun_error_per { GATUN_ERROR_PER_BLOCK = 0, GATUN_ERROR_PER_ROW = 1 };

/*
 * How far a quantized matrix is from x: errors = the sums of (x - q)^2 and squares = those of x^2, doubles, where q is
 * what gatun_dequantize makes in f32 of codes, scales and zero points; per block of the format [R, G] or per row
 * [rows]. sqrt(errors / squares) is the relative error. Sums run in an order that the shape alone sets. A NaN of x or
 * q gives NaN. Some rows at a time are dequantized, never the whole matrix.
 *
 * params: as for gatun_dequantize, x_dtype and x_row_stride those of x. With gguf_type (gatun_gguf_type, 0 otherwise)
 * codes are its blocks instead, scales and zero_points null, and of params struct_size, x_dtype, threads, rows, depth
 * and x_row_stride are used alone; a block is one of the type.
 */
GATUN_API int32_t gatun_quantization_error(const gatun_quantize_params* params, int32_t gguf_type, int32_t per,
                                           const void* x, const float* code_book, const void* codes, const void* scales,
                                           const void* zero_points, double* errors, double* squares);

/*
 * Which kernels work on elements of this dtype and why, for a person: F32, F16, BF16, or I8 and U8 for
 * gatun_requantize. INVALID_ARGUMENT if too small; 1024 bytes always do.
 */
GATUN_API int32_t gatun_calibrate_explain(int32_t dtype, char* text, int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
