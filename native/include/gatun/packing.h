/*
 * Quantized weights as other systems pack them, to and from the planes of gatun/quantize.h: codes [columns, depth],
 * low bits first along the depth, scales and zero points [columns, G], G = ceil(depth / group).
 *
 *   packing        codes                                      scales       zero points
 *   GPTQ           i32 [depth * bits / 32, columns], of       [G, columns] i32 [G, columns * bits / 32], of consecutive
 *                  consecutive k the first in the lowest bits              columns the first in the lowest bits, less 1
 *   GPTQ_V2        the same                                   the same     the same, not less 1
 *   AWQ            i32 [depth, columns / 8], of 8 columns     [G, columns] i32 [G, columns / 8], likewise
 *                  0 2 4 6 1 3 5 7 from the lowest bits on
 *   MATMUL_NBITS   u8 [columns, G, group * bits / 8], lowest  [columns, G] u8 [columns, ceil(G * bits / 8)], lowest
 *                  bits first, rows padded to whole groups                 bits first; or floats f [columns, G]
 *   BITSANDBYTES   u8 [ceil(depth / 2)], the first of two     f32 [G]      none
 *                  in the high bits
 *   TORCHAO        u8 [columns, depth / 2], the first of two  [G, columns] floats f [G, columns]
 *                  in the low bits, two's complement
 *   JLAMA          4 bits: u8 [columns, depth / 2], of each   f32          none
 *                  32 the first half in low bits, the second  [columns, G]
 *                  in high bits; 8 bits: i8 [columns, depth]
 *
 * What a code q stands for, with scale s and zero point z or f, of which GPTQ stores z - 1 modulo 2^bits:
 *
 *   GPTQ, GPTQ_V2, AWQ, MATMUL_NBITS   (q - z) * s; without zero points z = 2^(bits - 1)
 *   MATMUL_NBITS with floats           (q - f) * s
 *   BITSANDBYTES                       book[q] * s, blocks of the flattened matrix: columns = 1, depth = all elements
 *   TORCHAO                            q * s + f, q = -8..7
 *   JLAMA                              q * s, q = -8..7 or -128..127
 *
 * Codes without zero points are U2, U4 or, of 8 bits, I8; with zero points U2, U4 or U8. Zero points of GPTQ and AWQ
 * are always packed: GATUN_ZERO_NONE there means that all of them are 2^(bits - 1).
 *
 * Float zero points become what code 0 stands for (GATUN_ZERO_FLOAT): -(f * s), of TORCHAO f - 8 s, and back, -(z / s)
 * and z + 8 s, each operation rounded once in f32, then to packed_zero_dtype. Everything else is exact: reading what
 * was written gives the same planes bit for bit, and so does writing what was read. Padding is not read; MATMUL_NBITS's
 * beyond the depth is written as the code of 0 (0 with float zero points), all other unused bits as 0.
 *
 * Nested scales of bitsandbytes (absmax as codes) are no packing: gatun_dequantize with their code book, F32 scales
 * nested_absmax and groups of nested_blocksize gives them less nested_offset.
 *
 * Sources: AutoGPTQ, AutoAWQ, ONNX Runtime's com.microsoft.MatMulNBits, bitsandbytes, torchao's Int4Tensor, Jlama.
 */
#ifndef GATUN_PACKING_H
#define GATUN_PACKING_H

#include <stdint.h>

#include "gatun/quantize.h"
#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum gatun_packing {
  GATUN_PACKING_GPTQ = 1,         /* 2, 4, 8 bits; depth and columns multiples of 32 / bits */
  GATUN_PACKING_GPTQ_V2 = 2,      /* the same */
  GATUN_PACKING_AWQ = 3,          /* 4 bits; columns a multiple of 8 */
  GATUN_PACKING_MATMUL_NBITS = 4, /* 2, 4, 8 bits; group a power of two, may exceed the depth */
  GATUN_PACKING_BITSANDBYTES = 5, /* 4 bits; columns 1 */
  GATUN_PACKING_TORCHAO = 6,      /* 4 bits, float zero points; depth even */
  GATUN_PACKING_JLAMA = 7         /* 4 and 8 bits; group 32, depth a multiple of 32 */
};

typedef struct gatun_packing_params {
  uint32_t struct_size;       /* sizeof(gatun_packing_params) */
  int32_t packing;            /* gatun_packing */
  int32_t code_dtype;         /* U2, U4, U8, I8 */
  int32_t zero_point;         /* gatun_zero_point: of Gatun's planes */
  int32_t scale_dtype;        /* F32 or F16: of Gatun's planes */
  int32_t packed_scale_dtype; /* F32, F16 or BF16; scale_dtype is F32 or the same */
  int32_t packed_zero_dtype;  /* with float zero points F32, F16 or BF16, otherwise 0 */
  int32_t threads;            /* 0 = gatun_threads(); 1 = only the calling thread */
  int64_t columns;            /* rows of the weight matrix [columns, depth], >= 0 */
  int64_t depth;              /* >= 0 */
  int64_t group;              /* 16..depth, or depth; MATMUL_NBITS: a power of two, >= 16 */
} gatun_packing_params;

/* The sizes in bytes of the packed planes; zero points 0 where there are none. */
GATUN_API int32_t gatun_packing_bytes(const gatun_packing_params* params, int64_t* codes, int64_t* scales,
                                      int64_t* zero_points);

/*
 * From packed planes to Gatun's. Codes and packed integer zero points may have any alignment.
 *
 *   group_index  i32 [depth], GPTQ only (g_idx), or null: the group of each k is k / group
 *   permutation  i32 [depth], with group_index, or null
 *
 * GPTQ with act_order gives every k its group. Then codes are sorted by it, those of a group in their order, and
 * permutation[j] is the k that comes to j: x has to be permuted likewise (gatun_packing_permute) before the product.
 * Without `permutation`, group_index must be k / group. Each group has `group` elements, the last one the rest.
 *
 * INVALID_ARGUMENT, with the index, if a scale or float zero point is NaN or infinite, a zero point is not 2^(bits - 1)
 * that has to be, or group_index is anything else; nothing is written then. O(columns * depth).
 */
GATUN_API int32_t gatun_packing_read(const gatun_packing_params* params, const void* packed_codes,
                                     const void* packed_scales, const void* packed_zero_points,
                                     const int32_t* group_index, void* codes, void* scales, void* zero_points,
                                     int32_t* permutation);

/*
 * From Gatun's planes to packed ones; group_index is output, or null without `permutation`, which may be null for the
 * order as it is.
 *
 * INVALID_ARGUMENT, with the index, if a scale is NaN, infinite or not exact in packed_scale_dtype, an integer zero
 * point exceeds 2^bits - 1, a float zero point is NaN or infinite, overflows packed_zero_dtype or, but for TORCHAO, is
 * not 0 beside a scale of 0, or `permutation` is none; nothing is written then. O(columns * depth).
 */
GATUN_API int32_t gatun_packing_write(const gatun_packing_params* params, const void* codes, const void* scales,
                                      const void* zero_points, const int32_t* permutation, void* packed_codes,
                                      void* packed_scales, void* packed_zero_points, int32_t* group_index);

/*
 * y[r][j] = x[r][permutation[j]]: what x has to be for weights whose depth was sorted.
 *
 *   dtype         of x and y: F32, F16, BF16, F8E4M3 or F8E5M2
 *   x, y          [rows, depth], rows *_row_stride elements apart, >= depth if rows > 1; they do not overlap
 *   permutation   i32 [depth], each 0..depth - 1, or INVALID_ARGUMENT with the index
 *   threads       0 = gatun_threads(); 1 = only the calling thread
 */
GATUN_API int32_t gatun_packing_permute(int32_t dtype, int64_t rows, int64_t depth, int64_t x_row_stride,
                                        int64_t y_row_stride, int32_t threads, const int32_t* permutation,
                                        const void* x, void* y);

#ifdef __cplusplus
}
#endif

#endif
