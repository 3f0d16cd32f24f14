/*
 * The quantized block types of GGUF files (ggml), bit for bit.
 *
 * A matrix [rows, depth] is rows of depth / E blocks of B bytes, blocks of a row and rows without gaps. Layouts, values
 * and the order of roundings are those of ggml's reference quantizers; Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 and MXFP4 are made
 * as ggml makes them, bit for bit, the others with a search for scales of our own. (The exponent of MXFP4 comes from
 * the exact logarithm; an f32 logarithm that rounds up a few units below a power of two would give the next one.)
 */
#ifndef GATUN_GGUF_H
#define GATUN_GGUF_H

#include <stdint.h>

#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The numbers of ggml_type. E, B: elements and bytes of a block. */
enum gatun_gguf_type {
  GATUN_GGUF_Q4_0 = 2,    /* 32, 18 */
  GATUN_GGUF_Q4_1 = 3,    /* 32, 20 */
  GATUN_GGUF_Q5_0 = 6,    /* 32, 22 */
  GATUN_GGUF_Q5_1 = 7,    /* 32, 24 */
  GATUN_GGUF_Q8_0 = 8,    /* 32, 34 */
  GATUN_GGUF_Q2_K = 10,   /* 256, 84 */
  GATUN_GGUF_Q3_K = 11,   /* 256, 110 */
  GATUN_GGUF_Q4_K = 12,   /* 256, 144 */
  GATUN_GGUF_Q5_K = 13,   /* 256, 176 */
  GATUN_GGUF_Q6_K = 14,   /* 256, 210 */
  GATUN_GGUF_IQ4_NL = 20, /* 32, 18 */
  GATUN_GGUF_IQ4_XS = 23, /* 256, 136 */
  GATUN_GGUF_MXFP4 = 39   /* 32, 17 */
};

/* E and B. INVALID_ARGUMENT if there is no such type. */
GATUN_API int32_t gatun_gguf_block(int32_t type, int32_t* elements, int32_t* bytes);

/*
 * x [rows, depth] of x_dtype (F32, F16 or BF16), rows x_row_stride elements apart (>= depth if rows > 1), to blocks.
 * depth is a multiple of E. threads: 0 = gatun_threads(). `blocks` may have any alignment and overlaps x nowhere.
 * INVALID_ARGUMENT, with the index, if a value is NaN or infinite or a scale overflows binary16; what `blocks` holds
 * then is unspecified. O(rows * depth); the K types try some tens of scales a block.
 */
GATUN_API int32_t gatun_gguf_quantize(int32_t type, int32_t x_dtype, int64_t rows, int64_t depth, int64_t x_row_stride,
                                      int32_t threads, const void* x, void* blocks);

/*
 * The inverse. Any bytes are blocks: values follow from IEEE arithmetic on the stored scales, be they NaN or infinite
 * (infinity times 0 is NaN); MXFP4 with an exponent of 255 gives NaN, its code 8 is -0. O(rows * depth).
 */
GATUN_API int32_t gatun_gguf_dequantize(int32_t type, int32_t x_dtype, int64_t rows, int64_t depth,
                                        int64_t x_row_stride, int32_t threads, const void* blocks, void* x);

/* Which kernels are used and why, for a person. INVALID_ARGUMENT if too small; 1024 bytes always do. */
GATUN_API int32_t gatun_gguf_explain(int32_t type, int32_t x_dtype, char* text, int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
