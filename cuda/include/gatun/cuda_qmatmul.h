/*
 * Matrix multiplication with compressed weights on a device: gatun/qmatmul.h, whose structs and formula these functions
 * share. gatun/cuda.h says what holds for every op.
 *
 *   y[m][n] = act(sum_k x[m][k] * w[n][k] + bias[n]) + residual[m][n],   x [rows, depth], w [columns, depth]
 *
 * Every format of gatun_quantize is taken, GGUF blocks are not (UNSUPPORTED). Every format takes every mode that its
 * codes allow:
 *
 *   GATUN_QMATMUL_INT8_ROW, _GROUP  linear codes (I8 U8 U4 U2): x is quantized to int8 as on the CPU; products are
 *                                   summed exactly in int32 over a group or a part of one, those sums in f32
 *   GATUN_QMATMUL_BF16, _F16        x and the values that codes stand for (q - z of integers; code books and small
 *                                   floats by their values) are rounded to that type, which is exact for integers and
 *                                   floats of at most 8 bits; products are exact, sums f32; scales and float zero
 *                                   points apply in f32 to the sum of a group or of a part of one
 *   GATUN_QMATMUL_PRECISE           the same without rounding: x and values in f32, one fma each
 *
 * The error of an output against those rounded numbers is at most 2^-23 (depth + 2 groups + 8) sum |x w| before the
 * activation, and one unit in the last place of y's type; |w| counts a float zero point as |q s| + |z|, and bias and
 * residual count as terms. Activations are off by at most 2^-18 of their value, or 2^-40. The order of the sum depends
 * on the shape and the architecture, so two numbers of rows may differ in the last bits; for one shape and
 * architecture, results are the same bits each time, whatever the range of columns.
 *
 * A NaN or infinity in a row of x, or a value that rounds to infinity in F16 or BF16, makes that row of y NaN; so does
 * a sum that overflows f32 each output it is of. depth = 0 gives act(bias) + residual.
 */
#ifndef GATUN_CUDA_QMATMUL_H
#define GATUN_CUDA_QMATMUL_H

#include <stdint.h>

#include "gatun/cuda_quantize.h"
#include "gatun/qmatmul.h"
#include "gatun/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One more gatun_qmatmul_mode, of devices alone. */
enum gatun_cuda_qmatmul_mode { GATUN_QMATMUL_F16 = 4 };

/* The size in bytes of the packed form on a device, which is another one than on the CPU. */
GATUN_API int32_t gatun_cuda_qmatmul_packed_bytes(const gatun_qmatmul_weights* weights, int64_t* bytes);

/*
 * Packs codes, scales and zero points on the device, as gatun_cuda_quantize writes them; see gatun_qmatmul_pack.
 *
 *   codes, scales, zero_points  device memory, of the shapes of gatun_qmatmul_pack; zero_points null without
 *   code_book                   host memory, f32 [16 or 256] with GATUN_BOOK_GIVEN, otherwise null; read before the
 *                               function returns
 *   packed                      aligned to 256 bytes; of the bytes that the function above says, all are defined
 *                               but those between parts
 *   faults                      one struct of device memory, aligned to 8 bytes, written by every call: both -1 once
 *                               the work is done, unless gatun_qmatmul_pack would refuse a value. Then `value` is
 *                               row * depth + k of the first code that is NaN or infinite, `block` the least index of
 *                               a scale or a zero point that is refused, and `packed` is of no use.
 *
 * O(columns * depth). A packed form is no gatun_qmatmul packed form, which says so.
 */
GATUN_API int32_t gatun_cuda_qmatmul_pack(const gatun_qmatmul_weights* weights, const void* codes,
                                          const float* code_book, const void* scales, const void* zero_points,
                                          void* packed, int64_t packed_bytes, gatun_cuda_faults* faults, void* stream);

/*
 * The workspace of gatun_cuda_qmatmul on `device`: for x in another form, rows * depth rounded up to 128 elements of
 * the mode's type, with its scales; and where the depth is split for partial sums, at most 64 * rows * columns f32,
 * columns rounded up to 16. Each of these is rounded up to 256 bytes. UNSUPPORTED if there are no kernels for the
 * device.
 */
GATUN_API int32_t gatun_cuda_qmatmul_workspace_bytes(const gatun_qmatmul_params* params,
                                                     const gatun_qmatmul_weights* weights, int32_t device,
                                                     int64_t* bytes);

/*
 * y = act(x * w^T + bias) + residual over columns [column_begin, column_end).
 *
 *   weights   what `packed` was made of. A packed form of other weights gives numbers without meaning: unlike
 *             gatun_qmatmul, this cannot say so, since its header lies on the device
 *   x         [rows, depth] of x_dtype: F32, F16 or BF16
 *   packed    from gatun_cuda_qmatmul_pack, packed_bytes of gatun_cuda_qmatmul_packed_bytes
 *   bias      f32 [columns], or null
 *   residual  [rows, columns] of y_dtype, or null; may be y itself, with the same stride
 *   y         [rows, columns] of y_dtype: F32, F16 or BF16; overlaps no input except residual == y
 */
GATUN_API int32_t gatun_cuda_qmatmul(const gatun_qmatmul_params* params, const gatun_qmatmul_weights* weights,
                                     const void* x, const void* packed, int64_t packed_bytes, const float* bias,
                                     const void* residual, void* y, void* workspace, int64_t workspace_bytes,
                                     void* stream);

/*
 * Which kernels these arguments select on `device` and why, how the work is split, for a person. INVALID_ARGUMENT if
 * `capacity` is too small; 2048 bytes always do.
 */
GATUN_API int32_t gatun_cuda_qmatmul_explain(const gatun_qmatmul_params* params, const gatun_qmatmul_weights* weights,
                                             int32_t device, char* text, int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
