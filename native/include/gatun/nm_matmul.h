/*
 * Matrix multiplication with N:M sparse weights (gatun/nm_format.h).
 *
 *   y[m][n] = act(sum over kept k of x[m][k] * w[n][k] + bias[n]) + residual[m][n]
 *   x [rows, depth], w [columns, depth], y [rows, columns]
 *
 * Shapes are free: rows, columns and depth may be any number >= 0. Values are floats, or codes with scales and zero
 * points as gatun/quantize.h defines them; they are packed once into a self-describing blob.
 */
#ifndef GATUN_NM_MATMUL_H
#define GATUN_NM_MATMUL_H

#include <stdint.h>

#include "gatun/nm_format.h"
#include "gatun/qmatmul.h"
#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum gatun_nm_mode {
  /*
   * Any values; codes count as their exact f32 products with the scale, rounded once. Sums are f32 in ascending depth,
   * one fma for each kept weight: the error of an output is at most 2^-23 (K + 8) sum |x w| for K kept weights. Within
   * a tier, an output depends neither on the other rows, nor on their number, the range or the threads, bit for bit.
   */
  GATUN_NM_F32 = 0,
  /*
   * BF16 values. x is rounded to bf16, to nearest, ties to even; products are exact, sums f32 in an order fixed by the
   * shape, kept weights two by two; subnormals of bf16 and f32 may count as zeros. The error against rounded numbers is
   * at most 2^-23 (K + 8) sum |x w|. As independent as F32.
   */
  GATUN_NM_BF16 = 1,
  /*
   * I8 or U4 values. x is quantized on the fly to int8, one scale a row (amax / 127); integer dot products. The sum
   * over depth is cut at the weights' group boundaries and, inside a group, every 512 elements of the dense depth; each
   * piece is an exact integer, and pieces are added in ascending order by one fma each, as in gatun_qmatmul's
   * INT8_ROW. As independent as F32, and the same on every tier.
   */
  GATUN_NM_INT8 = 2
};

enum gatun_nm_dense {
  GATUN_NM_DENSE_NEVER = 0,
  /*
   * The packed form holds the weights with their zeros and runs kernels of dense weights if these are faster for the
   * number of rows that gatun_nm_weights.rows expects (gatun_nm_report). Results in the modes F32 and BF16 may then
   * differ in infinities and NaN, as x times a pruned 0 counts.
   */
  GATUN_NM_DENSE_IF_FASTER = 1
};

typedef struct gatun_nm_weights {
  uint32_t struct_size; /* sizeof(gatun_nm_weights) */
  int32_t n;            /* as in gatun_nm_format */
  int32_t m;
  int32_t vector;
  int32_t value_dtype; /* F32, F16, BF16, I8 or U4 */
  int32_t zero_point;  /* GATUN_ZERO_NONE, or with U4 GATUN_ZERO_INTEGER */
  int32_t scale_dtype; /* F32 or F16 with I8 and U4; otherwise 0 */
  int32_t dense;       /* gatun_nm_dense */
  int64_t rows;        /* of x that are expected, for gatun_nm_dense; 0 = any: dense must be faster for each */
  int64_t columns;     /* rows of the weight matrix [columns, depth] = columns of y, >= 0 */
  int64_t depth;       /* >= 0; columns * depth up to 2^52 */
  int64_t group;       /* with I8 and U4: a multiple of m, 16..depth, or depth; otherwise 0 */
} gatun_nm_weights;

/* The size in bytes of the packed form. */
GATUN_API int32_t gatun_nm_packed_bytes(const gatun_nm_weights* weights, int64_t* bytes);

/*
 * Packs values and indices (gatun/nm_format.h), scales [columns, ceil(depth / group)] of scale_dtype and zero points,
 * u8 of the same shape; each null without. `packed` may have any alignment; 64 is fastest. The same bytes result on
 * every tier. Asks for huge pages under `packed`. INVALID_ARGUMENT, with the place, if an index is not below m, indices
 * of a group don't ascend or their unused bits are not 0, a value or scale is NaN or infinite, or a zero point is above
 * 15. O(columns * depth).
 */
GATUN_API int32_t gatun_nm_pack(const gatun_nm_weights* weights, const void* values, const uint8_t* indices,
                                const void* scales, const uint8_t* zero_points, void* packed, int64_t packed_bytes);

/* Reads the header of a packed buffer. INVALID_ARGUMENT if it is not one, is truncated or of another version. */
GATUN_API int32_t gatun_nm_describe(const void* packed, int64_t packed_bytes, gatun_nm_weights* weights);

/*
 * The inverse of gatun_nm_pack, bit for bit. INVALID_ARGUMENT if the header of `packed` says anything else than
 * `weights`, for which the caller has sized the outputs.
 */
GATUN_API int32_t gatun_nm_unpack(const gatun_nm_weights* weights, const void* packed, int64_t packed_bytes,
                                  void* values, uint8_t* indices, void* scales, uint8_t* zero_points);

/*
 * What packing these weights means, for a person and in numbers: for one row (memory traffic: the bytes of the packed
 * form, sparse over dense, times the cost of a byte) and for many (arithmetic: the cost of a kept weight times n / m)
 * the expected time of sparse kernels in units of the same kernels with weights stored dense. Costs were measured on
 * one processor, so the report is the same on every tier. `slower` gets bit 0 if sparse is slower for one row, bit 1 if
 * for many, and bit 2 if the packed form will be dense: one expected row, of floats up to 4, counts as one, more as
 * many. 1024 bytes of text always do. (Dense codes have kernels of their own: gatun/qmatmul.h.)
 */
GATUN_API int32_t gatun_nm_report(const gatun_nm_weights* weights, int32_t* slower, char* text, int64_t capacity);

typedef struct gatun_nm_matmul_params {
  uint32_t struct_size; /* sizeof(gatun_nm_matmul_params) */
  int32_t x_dtype;      /* F32 or BF16 */
  int32_t y_dtype;      /* F32 or BF16; of residual, too */
  int32_t mode;         /* gatun_nm_mode */
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
} gatun_nm_matmul_params;

/*
 * y = act(x * w^T + bias) + residual over [column_begin, column_end).
 *
 *   x         [rows, depth] of x_dtype
 *   packed    from gatun_nm_pack
 *   bias      f32 [columns], or null
 *   residual  [rows, columns] of y_dtype, or null; may be y itself, with the same stride
 *   y         [rows, columns] of y_dtype; overlaps no input except residual == y
 *
 * depth = 0 gives act(bias) + residual. A NaN or infinity in x goes where the formula takes it: to the columns that
 * keep its depth (INT8: to its whole row); other rows are untouched. In INT8 a row whose scale is below 2^-120 counts
 * as zeros. Re-entrant; scratch memory is kept and no call allocates once it has grown. O(rows * (column_end -
 * column_begin) * depth * n / m).
 */
GATUN_API int32_t gatun_nm_matmul(const gatun_nm_matmul_params* params, const void* x, const void* packed,
                                  int64_t packed_bytes, const float* bias, const void* residual, void* y);

/*
 * Which kernel gatun_nm_matmul uses for these arguments and why, which better kernels were passed over and why, whether
 * weights are stored sparse or dense, how the work is split, for a person. 2048 bytes always do.
 */
GATUN_API int32_t gatun_nm_matmul_explain(const gatun_nm_matmul_params* params, const void* packed,
                                          int64_t packed_bytes, char* text, int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
