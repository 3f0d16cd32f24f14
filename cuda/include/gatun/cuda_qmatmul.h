/*
 * Matrix multiplication with compressed weights on a device: gatun/qmatmul.h, whose structs and formula these functions
 * share. gatun/cuda.h says what holds for every op.
 *
 *   y[m][n] = act(sum_k x[m][k] * w[n][k] + bias[n]) + residual[m][n],   x [rows, depth], w [columns, depth]
 *
 * Every format of gatun_quantize is taken, GGUF blocks are not (UNSUPPORTED). Every format takes every mode that its
 * codes allow:
 *
 *   GATUN_QMATMUL_INT8_ROW, _GROUP  linear codes (I8 U8 U4 U2): x is quantized to int8 as on the CPU, products are
 *                                   summed in int32 over a group, groups in f32
 *   GATUN_QMATMUL_BF16, _F16        x and the values that codes stand for (q - z of integers; code books and small
 *                                   floats by their values) are rounded to that type, which is exact for integers and
 *                                   floats of at most 8 bits; products are exact, sums f32 over a group; scales and
 *                                   float zero points apply to the sum of each group in f32
 *   GATUN_QMATMUL_PRECISE           the same without rounding: x and values in f32, one fma each
 *
 * The error of an output against those rounded numbers is at most 2^-23 (depth + 2 groups + 8) sum |x w|; |w| counts a
 * float zero point as |q s| + |z|. The order of the sum depends on the shape and the architecture, so two numbers of
 * rows may differ in the last bits; for one shape and architecture, results are the same bits each time.
 *
 * A NaN or infinity in a row of x makes that row of y NaN; so does a sum that overflows f32.
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

/* One more gatun_qmatmul_mode. */
enum gatun_cuda_qmatmul_mode { GATUN_QMATMUL_F16 = 4 };

/* The size in bytes of the packed form on a device, which is another one than on the CPU. */
GATUN_API int32_t gatun_cuda_qmatmul_packed_bytes(const gatun_qmatmul_weights* weights, int64_t* bytes);

/*
 * Packs codes, scales and zero points on the device, as gatun_cuda_quantize writes them; see gatun_qmatmul_pack.
 * `code_book` is host memory, f32 [16 or 256] with GATUN_BOOK_GIVEN, otherwise null; it is read before the function
 * returns. `packed` is aligned to 256 bytes. In `faults`, not_finite becomes the index of the first scale, or of the
 * first zero point, that gatun_qmatmul_pack would refuse, and overflow that of the first code (row * depth + k).
 */
GATUN_API int32_t gatun_cuda_qmatmul_pack(const gatun_qmatmul_weights* weights, const void* codes,
                                          const float* code_book, const void* scales, const void* zero_points,
                                          void* packed, int64_t packed_bytes, gatun_cuda_faults* faults, void* stream);

/* The workspace of gatun_cuda_qmatmul on `device`: for x in another form, and for partial sums. */
GATUN_API int32_t gatun_cuda_qmatmul_workspace_bytes(const gatun_qmatmul_params* params,
                                                     const gatun_qmatmul_weights* weights, int32_t device,
                                                     int64_t* bytes);

/*
 * y = act(x * w^T + bias) + residual over columns [column_begin, column_end).
 *
 *   weights   what `packed` was made of; a packed form of other weights gives numbers without meaning
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
