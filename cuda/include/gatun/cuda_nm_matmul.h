/*
 * Matrix multiplication with N:M sparse weights on a device: gatun/nm_matmul.h, whose structs and formula these
 * functions share. gatun/cuda.h says what holds for every op.
 *
 *   y[m][n] = act(sum over kept k of x[m][k] * w[n][k] + bias[n]) + residual[m][n]
 *   x [rows, depth], w [columns, depth], y [rows, columns]
 *
 * Every N:M, every vector, every type of values and any shape is taken:
 *
 *   mode            values      products
 *   GATUN_NM_F32    all         of x and weights in f32, one fma each; codes count as their products with the scale,
 *                               rounded once
 *   GATUN_NM_BF16   BF16 I8 U4  x is rounded to bf16; of codes q - z, which is exact; sums f32; scales apply in f32
 *                               to the sum of a group or of a part of one
 *   GATUN_NM_F16    F16 I8 U4   the same in f16
 *   GATUN_NM_INT8   I8 U4       x is quantized to int8, one scale a row, as on the CPU; products are summed exactly
 *                               in int32 over a group or a part of one, those sums in f32
 *
 * Other combinations are UNSUPPORTED. Groups that are no multiples of 32 (INT8: 64), unless there is only one, and
 * groups beyond 2^17 in INT8 take the way of F32 instead, with x and q - z rounded as the mode says.
 *
 * The error of an output against the rounded numbers is at most 2^-23 (K + 2 groups + 8) sum |x w| for K kept weights,
 * bias and residual counted as terms, before the activation, and one unit in the last place of y's type. Activations
 * are off by at most 2^-18 of their value, or 2^-40. The order of a sum depends on the shape and the architecture; for
 * one shape and architecture, results are the same bits each time, whatever the range of columns.
 *
 * A NaN or infinity in x, or a value that rounds to infinity in F16 or BF16, makes NaN the outputs of its row that keep
 * its depth; so does a sum that overflows f32. Whether it reaches the other columns of that row depends on the kernel,
 * since some multiply zeros (INT8: it always does). Other rows are untouched. depth = 0 gives act(bias) + residual.
 */
#ifndef GATUN_CUDA_NM_MATMUL_H
#define GATUN_CUDA_NM_MATMUL_H

#include <stdint.h>

#include "gatun/nm_matmul.h"
#include "gatun/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One more gatun_nm_mode, of devices alone. */
enum gatun_cuda_nm_mode { GATUN_NM_F16 = 3 };

/* What a device found that it cannot pack: the least index of each kind, or -1 if there is none. */
typedef struct gatun_cuda_nm_faults {
  int64_t value; /* column * K + slot of the first value that is NaN or infinite */
  int64_t index; /* row of the indices * K + slot of the first index that is not below M or not above the one before */
  int64_t block; /* column * groups + group of the first scale that is NaN or infinite, or zero point above 15 */
} gatun_cuda_nm_faults;

/*
 * The size in bytes of the packed form on a device, which is another one than on the CPU: always sparse, `dense` and
 * `rows` of the weights count for nothing.
 */
GATUN_API int32_t gatun_cuda_nm_packed_bytes(const gatun_nm_weights* weights, int64_t* bytes);

/*
 * Packs values, indices, scales and zero points on the device; see gatun_nm_pack.
 *
 *   values, indices, scales, zero_points  device memory, of the shapes of gatun_nm_pack; null without
 *   packed                      aligned to 256 bytes; of the bytes that the function above says, all are defined but
 *                               those between parts
 *   faults                      one struct of device memory, aligned to 8 bytes, written by every call: all -1 once the
 *                               work is done, unless gatun_nm_pack would refuse a value (unused bits are not looked
 *                               at). Then `packed` is of no use, but may be multiplied without harm.
 *
 * O(columns * depth). A packed form is no gatun_nm packed form, which says so.
 */
GATUN_API int32_t gatun_cuda_nm_pack(const gatun_nm_weights* weights, const void* values, const uint8_t* indices,
                                     const void* scales, const uint8_t* zero_points, void* packed, int64_t packed_bytes,
                                     gatun_cuda_nm_faults* faults, void* stream);

/*
 * The workspace of gatun_cuda_nm_matmul on `device`: for x in another form, rows * depth rounded up to 128 elements of
 * the mode's type, or of f32; in INT8 rows f32 of scales; where the depth is split for partial sums, at most
 * 64 * rows * columns rounded up to 16 f32. Each of these is rounded up to 256 bytes. UNSUPPORTED if there are no
 * kernels for the device.
 */
GATUN_API int32_t gatun_cuda_nm_matmul_workspace_bytes(const gatun_nm_matmul_params* params,
                                                       const gatun_nm_weights* weights, int32_t device, int64_t* bytes);

/*
 * y = act(x * w^T + bias) + residual over columns [column_begin, column_end).
 *
 *   weights   what `packed` was made of. A packed form of other weights gives numbers without meaning, or with 2:4
 *             what the device does with metadata that its instructions do not define; nothing outside of y and the
 *             workspace is written, nothing outside of `packed` read. Unlike gatun_nm_matmul, this cannot say that
 *             the weights are others, since the header lies on the device
 *   x         [rows, depth] of x_dtype: F32, F16 or BF16
 *   packed    from gatun_cuda_nm_pack, packed_bytes of gatun_cuda_nm_packed_bytes
 *   bias      f32 [columns], or null
 *   residual  [rows, columns] of y_dtype, or null; may be y itself, with the same stride
 *   y         [rows, columns] of y_dtype: F32, F16 or BF16; overlaps no input except residual == y
 *
 * O(rows * (column_end - column_begin) * depth * n / m) for 2:4 and in F32, without n / m for others.
 */
GATUN_API int32_t gatun_cuda_nm_matmul(const gatun_nm_matmul_params* params, const gatun_nm_weights* weights,
                                       const void* x, const void* packed, int64_t packed_bytes, const float* bias,
                                       const void* residual, void* y, void* workspace, int64_t workspace_bytes,
                                       void* stream);

/*
 * Which kernels these arguments select on `device` and why, how the work is split, for a person. INVALID_ARGUMENT if
 * `capacity` is too small; 2048 bytes always do.
 */
GATUN_API int32_t gatun_cuda_nm_matmul_explain(const gatun_nm_matmul_params* params, const gatun_nm_weights* weights,
                                               int32_t device, char* text, int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
