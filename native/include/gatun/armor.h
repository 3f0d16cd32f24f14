/*
 * Weights factored into block-diagonal x N:M sparse x block-diagonal: w = A * S * B.
 *
 *   y = act(A * (S * (B * x)) + bias) + residual, for each row x
 *   A  [columns, columns], blocks of d x d on its diagonal; S  [columns, depth], N:M; B  [depth, depth], blocks of d x
 * d
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
 * params and packed as in gatun_nm_matmul (column_begin = 0, column_end = columns: A mixes columns).
 *
 *   block  d, >= 1; blocks at the ends of columns and depth are smaller
 *   left   f32, blocks of A after each other, each [d, d] row-major; the last one [r, r], r = columns % d, if r > 0
 *   right  f32, blocks of B, likewise with depth
 *
 * The products with B and A are f32 sums in ascending order, one fma each; what S takes in and gives out is f32.
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
 * and S = w pruned by Wanda's scores, by turns (see native/src/armor/fit.cc). No round makes it larger.
 *
 *   norms    f32 [depth], or null: 1
 *   left, right  outputs, as in gatun_armor_matmul
 *   values, indices  of S, F32 in canonical form, vector 1
 *   losses   f64 [rounds + 1]: the minimized sum before the first round and after each, or null
 */
GATUN_API int32_t gatun_armor_fit(const gatun_armor_fit_params* params, const float* w, const float* norms, float* left,
                                  float* values, uint8_t* indices, float* right, double* losses);

#ifdef __cplusplus
}
#endif

#endif
