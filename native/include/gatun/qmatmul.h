/*
 * Matrix multiplication with compressed weights: linear codes of 2, 4 and 8 bits, small floats, code books, GGUF
 * blocks.
 *
 *   y[m][n] = act(sum_k x[m][k] * w[n][k] + bias[n]) + residual[m][n],   x [rows, depth], w [columns, depth]
 *
 * Weights are quantized as gatun/quantize.h or gatun/gguf.h define and packed once into a self-describing blob. Shapes
 * are free: rows, columns and depth may be any number >= 0, including 1 and primes.
 *
 * Weights whose codes stand for integers (linear codes, F4E2M1, code books of 16 integers up to 127 in magnitude, every
 * GGUF type) take the INT8 modes and PRECISE, those whose codes stand for other numbers (F8, F6, the other code books)
 * BF16 and PRECISE. No kernel decodes a matrix as a whole: values are computed or looked up tile by tile, in
 * registers, but for those of books of 256, which lie in memory where the processor cannot permute bytes of two
 * registers (below the tier avx512vnni).
 */
#ifndef GATUN_QMATMUL_H
#define GATUN_QMATMUL_H

#include <stdint.h>

#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum gatun_activation {
  GATUN_ACTIVATION_NONE = 0,
  GATUN_ACTIVATION_RELU = 1,      /* max(v, 0) */
  GATUN_ACTIVATION_GELU = 2,      /* v * (1 + erf(v / sqrt(2))) / 2 */
  GATUN_ACTIVATION_GELU_TANH = 3, /* v * (1 + tanh(sqrt(2 / pi) * (v + 0.044715 v^3))) / 2 */
  GATUN_ACTIVATION_SILU = 4       /* v / (1 + exp(-v)) */
};

/* How activations meet the integer weights. */
enum gatun_qmatmul_mode {
  /*
   * x is quantized on the fly to int8, one scale a row (amax / 127); integer dot products. The sum over depth is cut at
   * the weights' group boundaries and, inside a group, every 512 elements; each piece is an exact integer, and pieces
   * are added in ascending order by one fma each. So an output does not depend on the other rows, their number, the
   * range or the threads, bit for bit.
   */
  GATUN_QMATMUL_INT8_ROW = 0,
  /* The same with one scale for each of the weights' groups in each row of x. */
  GATUN_QMATMUL_INT8_GROUP = 1,
  /*
   * The precision of f32: the error of an output is at most
   *   2^-23 ((depth + 8) sum |x w| + 1.01 sum over the pieces above of max |x| * sum |w|),
   * max |x| at least 2^-104; |w| is |code * scale| + |offset| where weights have offsets: float zero points, minimums
   * of GGUF types. On the tiers with one instruction for 8-bit dot products, x is read as 24-bit fixed point,
   * scaled by a power of two for each piece, and multiplied in exact integers; on the others weights are dequantized to
   * f32 and multiplied in ascending depth, one fma each. Within a tier, an output is as independent as above.
   */
  GATUN_QMATMUL_PRECISE = 2,
  /*
   * x and the values that codes stand for are rounded to bf16 (f8 and f6 exactly), to nearest, ties to even; products
   * are exact, sums f32 in an order fixed by the shape, subnormals of bf16 and f32 may count as zeros (on the tier
   * avx512vnni they do). Scales apply in f32
   * to the sum of each piece, as in the INT8 modes, with bf16's rounding instead of quantization. The error against the
   * rounded numbers is at most 2^-23 (depth / 2 + 2 pieces + 8) sum |x w|. A sum that overflows f32 before its scales
   * is infinite or NaN; a value of x that rounds to infinity makes its row NaN.
   */
  GATUN_QMATMUL_BF16 = 3
};

typedef struct gatun_qmatmul_weights {
  uint32_t struct_size; /* sizeof(gatun_qmatmul_weights) */
  int32_t code_dtype;   /* as in gatun_quantize_params; 0 with GGUF blocks */
  int32_t book;         /* gatun_book */
  int32_t zero_point;   /* gatun_zero_point */
  int32_t scale_dtype;  /* F32, F16, E8M0 or F8E4M3; 0 with GGUF blocks */
  int32_t gguf_type;    /* gatun_gguf_type, or 0 */
  int32_t group_rows;   /* rows of the weight matrix that share a scale, >= 1; 1 with GGUF blocks */
  float tensor_scale;   /* multiplies every weight; finite, from 2^-120 on; 1 with GGUF blocks */
  int64_t columns;      /* rows of the weight matrix [columns, depth] = columns of y */
  int64_t depth;        /* with GGUF blocks a multiple of a block's elements */
  int64_t group;        /* 16..depth, or depth; with GGUF blocks the elements of a row that share a scale: 16 or 32 */
} gatun_qmatmul_weights;

/* The size in bytes of the packed form. INVALID_ARGUMENT also if columns, depth or their product
 * exceed 2^52. */
GATUN_API int32_t gatun_qmatmul_packed_bytes(const gatun_qmatmul_weights* weights, int64_t* bytes);

/*
 * Packs codes [columns, depth], scales [ceil(columns / group_rows), G] and zero points (u8 or f32, of the same shape;
 * null without), as gatun_quantize writes them. `code_book` f32 [16 or 256] with GATUN_BOOK_GIVEN, otherwise null.
 * `packed` may have any alignment; 64 is fastest. The same bytes result on every tier. Asks for huge pages under
 * `packed` (gatun_prefer_huge_pages). INVALID_ARGUMENT, with the index, if a scale, zero point or value of the code
 * book is NaN, infinite or beyond 2^64 in magnitude, a zero point > 15 (U4) or 3 (U2), or a code NaN or infinite.
 */
GATUN_API int32_t gatun_qmatmul_pack(const gatun_qmatmul_weights* weights, const void* codes, const float* code_book,
                                     const void* scales, const void* zero_points, void* packed, int64_t packed_bytes);

/*
 * The same from GGUF blocks [columns, depth / E] of weights->gguf_type (gatun/gguf.h). INVALID_ARGUMENT, with the
 * block, if a scale is NaN, infinite or beyond 2^64.
 */
GATUN_API int32_t gatun_qmatmul_pack_gguf(const gatun_qmatmul_weights* weights, const void* blocks, void* packed,
                                          int64_t packed_bytes);

/* Reads the header of a packed buffer. INVALID_ARGUMENT if it is not one, is truncated or of another version. */
GATUN_API int32_t gatun_qmatmul_describe(const void* packed, int64_t packed_bytes, gatun_qmatmul_weights* weights);

/*
 * The inverse of gatun_qmatmul_pack, bit for bit; code_book may be null. INVALID_ARGUMENT also if the header of
 * `packed` says anything else than `weights`, for which the caller has sized the outputs.
 */
GATUN_API int32_t gatun_qmatmul_unpack(const gatun_qmatmul_weights* weights, const void* packed, int64_t packed_bytes,
                                       void* codes, float* code_book, void* scales, void* zero_points);

/* The inverse of gatun_qmatmul_pack_gguf, bit for bit. */
GATUN_API int32_t gatun_qmatmul_unpack_gguf(const gatun_qmatmul_weights* weights, const void* packed,
                                            int64_t packed_bytes, void* blocks);

typedef struct gatun_qmatmul_params {
  uint32_t struct_size; /* sizeof(gatun_qmatmul_params) */
  int32_t x_dtype;      /* F32 or BF16; in gatun_qmatmul_scaled F8E4M3, F8E5M2 or I8 */
  int32_t y_dtype;      /* F32 or BF16; of residual, too */
  int32_t mode;         /* gatun_qmatmul_mode */
  int32_t activation;   /* gatun_activation */
  int32_t threads;      /* 0 = gatun_threads(); 1 = only the calling thread, for engines with threads of their own */
  int64_t rows;         /* of x and y, >= 0 */
  int64_t columns;      /* of y; must be those of the packed weights */
  int64_t depth;        /* columns of x; must be that of the packed weights */
  int64_t x_row_stride; /* elements, >= depth if rows > 1 */
  int64_t y_row_stride; /* elements, >= columns if rows > 1 */
  int64_t residual_row_stride; /* elements, >= columns if rows > 1; ignored without residual */
  int64_t column_begin;        /* this call writes y[:, column_begin .. column_end); 0 <= begin <= end <= columns */
  int64_t column_end;
} gatun_qmatmul_params;

/*
 * y = act(x * w^T + bias) + residual over [column_begin, column_end).
 *
 *   x         [rows, depth] of x_dtype
 *   packed    from gatun_qmatmul_pack
 *   bias      f32 [columns], or null
 *   residual  [rows, columns] of y_dtype, or null; may be y itself, with the same stride
 *   y         [rows, columns] of y_dtype; overlaps no input except residual == y
 *
 * depth = 0 gives act(bias) + residual. A NaN or infinity in a row of x makes that row of y NaN; other rows are
 * untouched. In the int8 modes a row (or group) whose scale is below 2^-120 counts as zeros. Re-entrant; scratch memory
 * is kept and no call allocates once it has grown: on the calling thread about min(rows, 256) * (depth + 8 * groups)
 * bytes, in precise mode min(rows, 256) * 4 * depth, and 128 KiB on each thread that computes.
 * O(rows * (column_end - column_begin) * depth).
 */
GATUN_API int32_t gatun_qmatmul(const gatun_qmatmul_params* params, const void* x, const void* packed,
                                int64_t packed_bytes, const float* bias, const void* residual, void* y);

/*
 * The same on quantized rows: x [rows, depth] of codes (x_row_stride counts elements):
 *
 *   x_dtype           mode        x_group            weights
 *   F8E4M3 or F8E5M2  BF16        depth, or group    small floats or a code book
 *   I8 (-127..127)    INT8_ROW    depth              whose codes stand for integers
 *                     INT8_GROUP  the weights' group
 *
 *   x_scales  f32 [rows, ceil(depth / x_group)], rows x_scales_row_stride elements apart; 0 = one for all rows
 *
 * So scales of a tensor, of rows, and of 1 x 128 by 128 x 128 blocks are one call. A row with a NaN or infinity in its
 * codes or scales, or the I8 code -128, is NaN. I8 codes and scales that the INT8 modes would make of a matrix give the
 * bits that it gives.
 */
GATUN_API int32_t gatun_qmatmul_scaled(const gatun_qmatmul_params* params, int64_t x_group, const void* x,
                                       const float* x_scales, int64_t x_scales_row_stride, const void* packed,
                                       int64_t packed_bytes, const float* bias, const void* residual, void* y);

/*
 * Which kernel gatun_qmatmul uses for these arguments and why, which better kernels were passed over and why, how the
 * work is split, for a person. INVALID_ARGUMENT if `capacity` is too small; 2048 bytes always do.
 */
GATUN_API int32_t gatun_qmatmul_explain(const gatun_qmatmul_params* params, const void* packed, int64_t packed_bytes,
                                        char* text, int64_t capacity);

/*
 * Several weights in one call.
 *
 * A stack is one buffer that holds `count` >= 1 packed forms in order, the first at its start and each other one at the
 * next multiple of 64 bytes from there. All have the same depth and the same group; columns, codes, zero points and
 * types of scales may differ, but the codes of all stand for integers, or of none (UNSUPPORTED). Its size is where the
 * last form ends; more is fine.
 *
 * Results equal those of gatun_qmatmul for each weight alone, bit for bit. What gatun_qmatmul says about its arguments,
 * errors and memory holds here, and each form of a stack is checked like its `packed`: a message names it as packed[i].
 * No call allocates once scratch memory has grown, here also by about 400 bytes a weight. O(count) beside the work.
 */

/*
 * Every weight times the same rows of x, which are quantized once: query, key and value, or gate and up projections, as
 * one call. The outputs lie side by side, so y is what one weight with the columns of all would give:
 *
 *   params    columns, and column_begin and column_end, count the columns of all weights together
 *   x         [rows, depth]
 *   packed    a stack; columns add up to params.columns
 *   bias      f32 [columns], or null
 *   residual  [rows, columns], or null
 *   y         [rows, columns]
 */
GATUN_API int32_t gatun_qmatmul_concat(const gatun_qmatmul_params* params, int32_t count, const void* x,
                                       const void* packed, int64_t packed_bytes, const float* bias,
                                       const void* residual, void* y);

/* As gatun_qmatmul_explain. 4096 bytes always do. */
GATUN_API int32_t gatun_qmatmul_concat_explain(const gatun_qmatmul_params* params, int32_t count, const void* packed,
                                               int64_t packed_bytes, char* text, int64_t capacity);

/*
 * A weight for each group of consecutive rows: a mixture of experts on rows sorted by expert. Weight i takes the next
 * group_rows[i] rows of x, residual and y; a group of 0 rows costs nothing, and its weights are not read beyond their
 * header.
 *
 *   params      rows of all groups together; columns, column_begin and column_end of each weight
 *   group_rows  int64 [count], each >= 0; they add up to params.rows
 *   x           [rows, depth]
 *   packed      a stack; every weight has params.columns columns
 *   bias        f32 [count, columns], or null
 *   residual    [rows, columns], or null
 *   y           [rows, columns]; does not overlap group_rows, either
 */
GATUN_API int32_t gatun_qmatmul_grouped(const gatun_qmatmul_params* params, const int64_t* group_rows, int32_t count,
                                        const void* x, const void* packed, int64_t packed_bytes, const float* bias,
                                        const void* residual, void* y);

/* As gatun_qmatmul_explain. 4096 bytes always do. */
GATUN_API int32_t gatun_qmatmul_grouped_explain(const gatun_qmatmul_params* params, const int64_t* group_rows,
                                                int32_t count, const void* packed, int64_t packed_bytes, char* text,
                                                int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
