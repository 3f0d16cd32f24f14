/*
 * Weights factored into block-diagonal x N:M sparse x block-diagonal: w = A * S * B.
 *
 *   y = act(A * (S * (B * x)) + bias) + residual, for each row x
 *   A  [columns, columns], blocks of d x d on its diagonal
 *   S  [columns, depth], N:M
 *   B  [depth, depth], blocks of d x d on its diagonal
 *
 * Source: "ARMOR: High-Performance Semi-Structured Pruning via Adaptive Matrix Factorization".
 */
#ifndef GATUN_ARMOR_H
#define GATUN_ARMOR_H

#include <stdint.h>

#include "gatun/nm_matmul.h"
#include "gatun/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * params and packed as in gatun_nm_matmul (column_begin = 0, column_end = columns: A mixes columns), in any of its
 * modes, which say how S is multiplied.
 *
 *   block  d, >= 1; blocks at the ends of columns and depth are smaller
 *   left   f32, blocks of A after each other, each [d, d] row-major; the last one [r, r], r = columns % d, if r > 0
 *   right  f32, blocks of B, likewise with depth
 *
 * The products with B and A are f32 sums in ascending order, one fma each; what S takes in and gives out is f32. In the
 * mode F32 the error of an output is at most 2^-23 (2 d + K + 24) times the sum of the magnitudes of all terms of A S B
 * x, for K kept weights of a row, besides those of the activation. Rows, and their number, don't depend on each other,
 * nor results on threads. INVALID_ARGUMENT as in gatun_nm_matmul; y may be residual, and overlaps no other input.
 * O(rows * (columns * d + columns * depth * n / m + depth * d)).
 */
GATUN_API int32_t gatun_armor_matmul(const gatun_nm_matmul_params* params, int64_t block, const void* x,
                                     const float* right, const void* packed, int64_t packed_bytes, const float* left,
                                     const float* bias, const void* residual, void* y);

typedef struct gatun_armor_fit_params {
  uint32_t struct_size; /* sizeof(gatun_armor_fit_params) */
  int32_t n;            /* of S */
  int32_t m;
  int32_t rounds;   /* of the alternating fit, >= 0 */
  int32_t threads;  /* 0 = gatun_threads(); 1 = only the calling thread */
  int32_t reserved; /* 0 */
  int64_t columns;
  int64_t depth;
  int64_t block; /* d */
} gatun_armor_fit_params;

/*
 * Fits A, S and B to w [columns, depth] f32: minimizes sum_ij norms[j]^2 (w - A S B)_ij^2, starting from A = I, B = I
 * and S = w pruned by Wanda's scores, as gatun_prune does it. A round is
 *
 *   1. each block of A: damped least squares, all else fixed;
 *   2. each block of B: likewise;
 *   3. each group of S in turn: of its choices of N positions the one that is best with its best values, among all of
 *      them if these are at most 128, otherwise among the current one and one made position by position.
 *
 * A step that does not lower its block's part of the sum by a billionth is taken back: no round makes the sum, as
 * measured from the f32 factors, larger, and it does not depend on threads (native/src/armor/fit.cc). The paper's
 * authors take gradient steps for 1 and 2, and re-select single groups.
 *
 *   w        finite
 *   norms    f32 [depth], finite and >= 0, or null: 1
 *   left, right  outputs, as in gatun_armor_matmul; groups may lie across blocks
 *   values, indices  of S, F32 in canonical form, vector 1
 *   losses   f64 [rounds + 1]: the minimized sum before the first round and after each, or null
 *
 * INVALID_ARGUMENT, with place and what is allowed, before anything is written; OUT_OF_RESOURCES leaves the outputs
 * unspecified: the fit takes memory for four matrices like w, and for each thread four of d x depth or two of d x
 * columns. O(rounds * columns * depth * d).
 */
GATUN_API int32_t gatun_armor_fit(const gatun_armor_fit_params* params, const float* w, const float* norms, float* left,
                                  float* values, uint8_t* indices, float* right, double* losses);

#ifdef __cplusplus
}
#endif

#endif
