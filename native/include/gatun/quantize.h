/*
 * Block-wise quantization: linear codes of 8, 4 and 2 bits, small floats, code books.
 *
 * A matrix x [rows, depth] is cut into blocks of `group_rows` rows by `group` elements of the depth (the last block of
 * either axis may be smaller); group == depth and group_rows == 1 mean one block a row. R = ceil(rows / group_rows), G
 * = ceil(depth / group). Blocks over a flattened tensor are those of a matrix of one row. Block (r, g) has a scale s,
 * and a zero point z where codes have one:
 *
 *   codes     zero point  codes       value           scale (GATUN_SCALE_DEFAULT)
 *   I8        none        -127..127   q * s           amax / 127
 *   U4        none        0..15       (q - 8) * s     e / -8, e = the first value of largest magnitude, signed
 *   U2        none        0..3        (q - 2) * s     e / -2
 *   U8 U4 U2  integer     0..Q        (q - z) * s     (max - min) / Q, z = round(-min / s), u8, 0..Q
 *   U8 U4 U2  float       0..Q        q * s + z       (max - min) / Q of the values alone, z = min, f32
 *   F8 F6 F4  none        the floats  q * s           amax / the largest float
 *   U8 U4     none        an index    book[q] * s     amax; with a code book (gatun_book)
 *
 * where Q = 255, 15, 3; amax = max |x|; and, but for float zero points, min = min(0, values), max = max(0, values), so
 * 0 is always exact. The scale is computed in f32, each operation rounded once, and rounded to its storage type to
 * nearest, ties to even. Codes come from the stored scale: x is multiplied by fl(1 / s), with one rounding for the
 * reciprocal and one for the product (float zero points: (x - z) * fl(1 / s)), then rounded to the nearest code, ties
 * to the even integer, to the float with the even mantissa, or to the lower value of a code book, and clamped to the
 * codes' range. q * s + z rounds the product, then the sum. A scale below 2^-120 in magnitude is stored as 0 and the
 * codes of its block are those of 0 (U4 8, U2 2, of a code book the index of the value nearest to 0; with an integer
 * zero point 0, which is z as well; with a float zero point 0), unless the scale is given or stored as E8M0. A given
 * integer zero point may be any u8: above Q, no code stands for 0, (q - z) * s and the clamp to 0..Q are as ever.
 *
 * E8M0 scales (microscaling formats, groups of 32) are powers of two made by the rules below; 2^-127 for a block of
 * zeros. F8E4M3 scales (NVFP4: F4E2M1 codes, groups of 16) are clamp(fl(fl(amax / 6) / t), 2^-6, 448) for a tensor
 * scale t; codes come from x * fl(fl(1 / t) / s), and the value is (q * s) * t.
 *
 * Sources: bitsandbytes (code books), torchao (scale rules, NVFP4), DeepSeek-V3 (blocks of 128 x 128).
 */
#ifndef GATUN_QUANTIZE_H
#define GATUN_QUANTIZE_H

#include <stdint.h>

#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum gatun_zero_point {
  GATUN_ZERO_NONE = 0,
  GATUN_ZERO_INTEGER = 1, /* u8 */
  GATUN_ZERO_FLOAT = 2    /* f32: what the code 0 stands for */
};

enum gatun_scale_rule {
  GATUN_SCALE_DEFAULT = 0,     /* above; E8M0: GATUN_SCALE_FLOOR */
  GATUN_SCALE_GIVEN = 1,       /* scales and zero points are input; codes saturate */
  GATUN_SCALE_FULL_RANGE = 2,  /* I8 U4 U2 without zero point: 2 amax / Q, codes from -(Q + 1) / 2 on */
  GATUN_SCALE_NO_CLIPPING = 3, /* the same: max(max / highest code, min / lowest code) */
  /*
   * E8M0 scales of codes whose largest power of two is 2^m (F4E2M1 2, F6E3M2 4, F6E2M3 2, F8E4M3 8, F8E5M2 15):
   * exponents are clamped to -127..127.
   */
  GATUN_SCALE_FLOOR = 4, /* 2^(floor(log2 amax) - m): large values saturate */
  GATUN_SCALE_CEIL = 5,  /* 2^(ceil(log2 amax) - m) */
  GATUN_SCALE_RCEIL = 6, /* 2^ceil(log2 fl(amax / the largest code)) */
  GATUN_SCALE_EVEN = 7   /* as FLOOR, of amax rounded to the codes' mantissa, ties away from 0 */
};

enum gatun_rounding {
  GATUN_ROUND_NEAREST = 0,
  /*
   * Up with a probability in proportion to the distance from the lower code: if u < (v - low) / (high - low), where u
   * is a multiple of 2^-24 in [0, 1) made from the seed and the element's index r * depth + k alone, so that codes
   * depend neither on threads nor on the tier.
   */
  GATUN_ROUND_STOCHASTIC = 1,
  GATUN_ROUND_GIVEN = 2 /* up where round_up says so, else down; a value that is a code stays one */
};

/*
 * 256 (U8) or 16 (U4) values in ascending order but for FP4, within -1..1. The nearest one is that whose side of the
 * middle between two values v = x * fl(1 / s) is on, the exact middle going to the lower value. Equal values, among
 * them 0 and -0 in any order, are distinct codes: a v up to theirs rounds to the first of them, a v above to the last.
 *
 * NF4 and FP4 decide by the f32 thresholds of bitsandbytes' kernels instead, which are rounded middles: above one is
 * up. FP4 compares |v|, so that its ties go to the smaller magnitude, and a negative v near 0 becomes its -0 (code 8),
 * but v = -0 its 0.
 *
 * The dynamic maps are bitsandbytes' bit for bit. Its linear ones come from torch.linspace, whose last bits depend on
 * the width of the processor's vectors; ours are the quotients, correctly rounded, and within 2^-24 of those. A
 * checkpoint has its map with it: give that.
 */
enum gatun_book {
  GATUN_BOOK_NONE = 0,
  GATUN_BOOK_GIVEN = 1,            /* the argument code_book; any finite values, in ascending order */
  GATUN_BOOK_NF4 = 2,              /* U4: 4-bit NormalFloat (QLoRA) */
  GATUN_BOOK_FP4 = 3,              /* U4: bitsandbytes' sign, 2-bit exponent, 1-bit mantissa; not in ascending order */
  GATUN_BOOK_DYNAMIC = 4,          /* U8: dynamic tree, signed */
  GATUN_BOOK_DYNAMIC_UNSIGNED = 5, /* U8: without negative values, which become 0 */
  GATUN_BOOK_LINEAR = 6,           /* U8: fl(i / 127), i = -127..127, 0 twice */
  GATUN_BOOK_LINEAR_UNSIGNED = 7   /* U8: fl(i / 255) */
};

typedef struct gatun_quantize_params {
  uint32_t struct_size;    /* sizeof(gatun_quantize_params) */
  int32_t x_dtype;         /* F32, F16 or BF16: of the values, input of quantize and output of dequantize */
  int32_t code_dtype;      /* I8, U8, U4, U2, F8E4M3, F8E5M2, F6E3M2, F6E2M3 or F4E2M1 */
  int32_t book;            /* gatun_book; U8 and U4 without zero point only */
  int32_t zero_point;      /* gatun_zero_point; none with I8, floats and code books; U8 without a code book has one */
  int32_t scale_dtype;     /* F32 or F16; F32 with code books; floats also E8M0; F4E2M1 also F8E4M3 */
  int32_t scale_rule;      /* gatun_scale_rule */
  int32_t rounding;        /* gatun_rounding; dequantize ignores it, as scale_rule and seed */
  int32_t threads;         /* 0 = gatun_threads(); 1 = only the calling thread */
  float tensor_scale;      /* with F8E4M3 scales > 0 and finite, else 1 */
  int64_t rows;            /* >= 0 */
  int64_t depth;           /* >= 0 */
  int64_t group;           /* 16..depth, or depth */
  int64_t group_rows;      /* 1; with F8 codes 1..rows, or 1 if rows = 0 */
  int64_t x_row_stride;    /* elements between x[r][k] and x[r+1][k], >= 0; dequantize: >= depth if rows > 1 */
  int64_t x_column_stride; /* elements between x[r][k] and x[r][k+1], >= 1; dequantize: 1 */
  int64_t seed;            /* of stochastic rounding */
} gatun_quantize_params;

/*
 * x [rows, depth] -> codes [rows, depth] (contiguous rows of whole bytes, see gatun/types.h), scales [R, G] of
 * scale_dtype, zero_points u8 or f32 [R, G] (null without).
 *
 *   code_book  f32 [256 or 16] with GATUN_BOOK_GIVEN, otherwise null
 *   round_up   u8 [rows, depth], 0 or not, with GATUN_ROUND_GIVEN, otherwise null
 *
 * x is read once, but twice for blocks of 2^17 values or more; outputs overlap nothing. O(rows * depth), times 8 with
 * U8 code books. INVALID_ARGUMENT, with the index, if a value is NaN or infinite or a block's scale overflows
 * scale_dtype; what the outputs hold then is unspecified.
 */
GATUN_API int32_t gatun_quantize(const gatun_quantize_params* params, const void* x, const float* code_book,
                                 const void* round_up, void* codes, void* scales, void* zero_points);

/*
 * The inverse: codes, scales, zero_points -> x of x_dtype: computed in f32 as the table says, for F16 and BF16 then
 * rounded to nearest, ties to even. NaN where a code or its scale is NaN.
 */
GATUN_API int32_t gatun_dequantize(const gatun_quantize_params* params, const float* code_book, const void* codes,
                                   const void* scales, const void* zero_points, void* x);

/* The 16 or 256 values of a gatun_book from NF4 on, in f32. INVALID_ARGUMENT if there is no such book. */
GATUN_API int32_t gatun_code_book(int32_t book, float* values);

/* Which kernels these parameters select and why, for a person. INVALID_ARGUMENT if too small; 1024 bytes always do. */
GATUN_API int32_t gatun_quantize_explain(const gatun_quantize_params* params, char* text, int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
