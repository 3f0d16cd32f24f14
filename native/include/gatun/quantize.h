/*
 * Linear block-wise quantization to 8 and 4 bits, per row or per group of a row.
 *
 * A matrix x [rows, depth] is cut along the depth into groups of `group` elements (the last group of a row may be
 * shorter); group == depth means one group a row. G = ceil(depth / group). Each group g of row r has a scale s, and, if
 * asymmetric, an integer zero point z:
 *
 *   code dtype  scheme      codes     value             scale from the group's values
 *   I8          symmetric   -127..127 q * s             s = amax / 127
 *   U8          asymmetric  0..255    (q - z) * s       s = (max - min) / 255, z = round(-min / s)
 *   U4          symmetric   0..15     (q - 8) * s       s = e / -8, e = the first value of largest magnitude, signed
 *   U4          asymmetric  0..15     (q - z) * s       s = (max - min) / 15,  z = round(-min / s)
 *
 * where min = min(0, values), max = max(0, values), so 0 is always exact. The scale is computed in f32 and rounded to
 * its storage type; codes and zero points come from the rounded scale: q = clamp(round(x * (1 / s)) + z), with one
 * rounding for the reciprocal, one for the product, and round() to nearest, ties to even; z is clamped to the codes'
 * range. A scale below 2^-120 in magnitude (every value of the group is smaller than about 2^-113) is stored as 0 and
 * the group's codes are its zero code: 8 for symmetric U4, else 0, which is then z as well; an all-zero group likewise.
 */
#ifndef GATUN_QUANTIZE_H
#define GATUN_QUANTIZE_H

#include <stdint.h>

#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_quantize_params {
  uint32_t struct_size;    /* sizeof(gatun_quantize_params) */
  int32_t x_dtype;         /* F32, F16 or BF16: of the values, input of quantize and output of dequantize */
  int32_t code_dtype;      /* I8, U8 or U4 */
  int32_t asymmetric;      /* 0 or 1; I8 is symmetric, U8 asymmetric */
  int32_t scale_dtype;     /* F32 or F16 */
  int32_t threads;         /* 0 = gatun_threads(); 1 = only the calling thread */
  int64_t rows;            /* >= 0 */
  int64_t depth;           /* >= 0 */
  int64_t group;           /* 16..depth, or depth */
  int64_t x_row_stride;    /* elements between x[r][k] and x[r+1][k], >= 0; dequantize: >= depth if rows > 1 */
  int64_t x_column_stride; /* elements between x[r][k] and x[r][k+1], >= 1; dequantize: 1 */
} gatun_quantize_params;

/*
 * x [rows, depth] -> codes [rows, depth] (contiguous; U4: (depth + 1) / 2 bytes a row), scales [rows, G] of
 * scale_dtype, zero_points u8 [rows, G] (asymmetric only; otherwise null). O(rows * depth).
 * INVALID_ARGUMENT, with the index, if a value is NaN or infinite or a group's scale overflows scale_dtype; nothing is
 * written then.
 */
GATUN_API int32_t gatun_quantize(const gatun_quantize_params* params, const void* x, void* codes, void* scales,
                                 void* zero_points);

/*
 * The inverse: codes, scales, zero_points -> x of x_dtype: the product in f32, rounded once; for F16 and BF16 then
 * rounded to nearest, ties to even.
 */
GATUN_API int32_t gatun_dequantize(const gatun_quantize_params* params, const void* codes, const void* scales,
                                   const void* zero_points, void* x);

/* Which kernels these parameters select and why, for a person. INVALID_ARGUMENT if too small; 1024 bytes always do. */
GATUN_API int32_t gatun_quantize_explain(const gatun_quantize_params* params, char* text, int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
