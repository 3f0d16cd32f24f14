/*
 * Gradients of y = x * w^T through N:M sparse weights in canonical form (gatun/nm_format.h), f32, for training, where
 * weights change at every step.
 *
 *   dx[t][k] = sum over the n that keep k of dy[t][n] * w[n][k]          dy [rows, columns], dx [rows, depth]
 *   dw[n][k] = sum_t dy[t][n] * x[t][k]                                  x [rows, depth], dw [columns, depth]
 *
 * Sums are f32; the error of an element is at most 2^-23 (terms + 8) times the sum of its terms' magnitudes, of which
 * with `accumulate` what the output holds is one. Results depend neither on the threads nor, within a tier, on anything
 * but the operands of the formula and `rows`, bit for bit; gatun_nm_backward_dense with decay > 0 adds up in another
 * order than with decay = 0, which has that of gatun_nm_backward_values. NaN and infinities go where the formulas take
 * them.
 *
 * INVALID_ARGUMENT, with the argument and what is allowed, for params outside what is said below, null or misaligned
 * buffers (those without elements may be null), outputs that overlap inputs, and indices that gatun_nm_check refuses;
 * then nothing has been written. OUT_OF_RESOURCES without scratch memory, which is kept: no call allocates once it has
 * grown. Re-entrant.
 */
#ifndef GATUN_NM_BACKWARD_H
#define GATUN_NM_BACKWARD_H

#include <stdint.h>

#include "gatun/nm_format.h"
#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_nm_backward_params {
  uint32_t struct_size; /* sizeof(gatun_nm_backward_params) */
  int32_t n;            /* as in gatun_nm_format */
  int32_t m;
  int32_t vector;
  int32_t value_dtype; /* F32, F16 or BF16: of the weights' values; gradients are f32 */
  int32_t threads;     /* 0 = gatun_threads(); 1 = only the calling thread */
  float decay;         /* of gatun_nm_backward_dense, in 0..1 */
  int32_t accumulate;  /* 1: the sums go on from what the output holds; 0: they replace it */
  int64_t rows;        /* of x, dy and dx, >= 0 */
  int64_t columns;
  int64_t depth;
  int64_t x_row_stride;  /* of x or dx, in elements, >= depth if rows > 1 */
  int64_t dy_row_stride; /* >= columns if rows > 1 */
} gatun_nm_backward_params;

/* dx [rows, depth], from values [columns, K] and indices. O(rows * columns * depth * n / m). */
GATUN_API int32_t gatun_nm_backward_x(const gatun_nm_backward_params* params, const float* dy, const void* values,
                                      const uint8_t* indices, float* dx);

/*
 * The gradient of the kept weights alone: dvalues f32 [columns, K], 0 for positions beyond the depth (with
 * `accumulate`, what is there stays). O(rows * columns * depth * n / m).
 */
GATUN_API int32_t gatun_nm_backward_values(const gatun_nm_backward_params* params, const float* dy, const float* x,
                                           const uint8_t* indices, float* dvalues);

/*
 * dw f32 [columns, depth]: the gradient of kept weights, and `decay` times (rounded once) the gradient of pruned ones,
 * the straight-through estimator whose gradient to pruned weights decays ("Progressive Gradient Flow for Robust N:M
 * Sparsity Training in Transformers", Bambhaniya et al. 2024: decay falls from 1 to 0 during training). With decay = 0
 * pruned weights get +0 (with `accumulate`, nothing), and only kept ones are computed. O(rows * columns * depth), with
 * decay = 0 O(rows * columns * depth * n / m).
 */
GATUN_API int32_t gatun_nm_backward_dense(const gatun_nm_backward_params* params, const float* dy, const float* x,
                                          const uint8_t* indices, float* dw);

#ifdef __cplusplus
}
#endif

#endif
