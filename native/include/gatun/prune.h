/*
 * Pruning: which weights of a matrix [columns, depth] to keep.
 *
 * A mask has a bit for each weight: weight k of row r is kept if bit k % 8 of byte r * ceil(depth / 8) + k / 8 is 1;
 * unused bits of a row are 0.
 *
 *   score      of weight w at (r, k)
 *   MAGNITUDE  |w|
 *   WANDA      |w| * norms[k], norms[k] = sqrt(sum_t x[t][k]^2)
 *              ("A Simple and Effective Pruning Approach for Large Language Models", Sun et al. 2023)
 *   LAMP       w^2 / sum of w'^2 over all |w'| >= |w| of the matrix; 0 for w = 0
 *              ("Layer-adaptive sparsity for the magnitude-based pruning", Lee et al. 2020)
 *   GIVEN      scores[r][k]
 *
 * Scores are f32: |w| exactly, a product rounded once. LAMP in double: over the magnitudes in descending order, sum +=
 * (number of weights of this magnitude) * w^2, and each of these weights has (float)(w^2 / sum). Of equal scores the
 * lower index is kept; -0 and 0 are equal.
 *
 * A score that is NaN is refused, with its place. An infinite one is larger (GIVEN: or smaller) than all others, but is
 * refused where scores are added up, by a pattern or by LAMP. Results do not depend on the tier or on threads.
 */
#ifndef GATUN_PRUNE_H
#define GATUN_PRUNE_H

#include <stdint.h>

#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum gatun_prune_score {
  GATUN_SCORE_MAGNITUDE = 0,
  GATUN_SCORE_WANDA = 1,
  GATUN_SCORE_LAMP = 2,
  GATUN_SCORE_GIVEN = 3
};

/*
 * Scores of several weights that are kept or pruned together add up, in double, in ascending rows and within a row in
 * ascending depth; TRANSPOSABLE: the two of each row first. What is kept of equal sums has the lower index: of two
 * patterns of a tile the one with the lower row and depth where they differ first.
 */
enum gatun_prune_pattern {
  GATUN_PATTERN_NM = 0,           /* the best n of every m consecutive weights of a row; with vector V, of V rows */
  GATUN_PATTERN_TRANSPOSABLE = 1, /* tiles of 4 x 4 with two in each row and column, the best of the 90; a tile at an
                                     end is continued by scores of 0 */
  GATUN_PATTERN_UNSTRUCTURED = 2, /* the best `keep` weights of the matrix */
  GATUN_PATTERN_ROW = 3,          /* the best `keep` weights of each row (Wanda's comparison group) */
  GATUN_PATTERN_ROWS = 4,         /* the best `keep` rows */
  GATUN_PATTERN_COLUMNS = 5,      /* the best `keep` columns of the matrix, that is, depths */
  GATUN_PATTERN_BLOCKS = 6 /* the best `keep` blocks of block_rows x block_depth; those at the ends are smaller */
};

typedef struct gatun_prune_params {
  uint32_t struct_size; /* sizeof(gatun_prune_params) */
  int32_t w_dtype;      /* F32, F16 or BF16 */
  int32_t score;        /* gatun_prune_score */
  int32_t pattern;      /* gatun_prune_pattern */
  int32_t n;            /* NM: kept of every m, 1..m; otherwise ignored, as are the next two */
  int32_t m;            /* 2, 4, 8, 16 or 32. A depth that is no multiple of m ends in a smaller group, which keeps
                           min(n, its size) */
  int32_t vector;       /* V, >= 1: consecutive rows that share their positions */
  int32_t threads;      /* 0 = gatun_threads(); 1 = only the calling thread */
  int64_t columns;      /* rows of the weight matrix, >= 0 */
  int64_t depth;        /* >= 0 */
  int64_t keep;         /* of what the pattern says, 0..their number; NM and TRANSPOSABLE ignore it */
  int64_t block_rows;   /* BLOCKS: >= 1 */
  int64_t block_depth;  /* BLOCKS: >= 1 */
} gatun_prune_params;

/*
 *   w       [columns, depth] of w_dtype; null with GIVEN
 *   norms   f32 [depth], finite and >= 0, with WANDA; otherwise null
 *   scores  f32 [columns, depth] with GIVEN; otherwise null
 *   mask    output, overlaps nothing
 *
 * O(columns * depth), N:M times m. UNSTRUCTURED reads the weights five or six times; ROWS, COLUMNS and BLOCKS need
 * memory for the sums, LAMP for two or three f32 matrices, or the call is OUT_OF_RESOURCES.
 */
GATUN_API int32_t gatun_prune(const gatun_prune_params* params, const void* w, const float* norms, const float* scores,
                              uint8_t* mask);

/* The scores themselves, f32 [columns, depth]; not with GIVEN. `pattern` and what belongs to it are ignored. */
GATUN_API int32_t gatun_prune_scores(const gatun_prune_params* params, const void* w, const float* norms,
                                     float* scores);

/*
 * Adds activations to running sums for norms, means and variances: x [rows, depth], x_dtype F32, F16 or BF16, rows
 * x_row_stride elements apart; sums and squares f64 [depth], in ascending rows: sums[k] += x[t][k], squares[k] +=
 * x[t][k]^2. Of T rows altogether
 *   norms[k] = (float)sqrt(squares[k]), means[k] = (float)(sums[k] / T),
 *   variances[k] = (float)max(squares[k] / T - (sums[k] / T)^2, 0).
 * `sums` may be null. NaN and infinities stay in the sums of their depth. Nothing overlaps.
 */
GATUN_API int32_t gatun_prune_observe(int32_t x_dtype, int64_t rows, int64_t depth, int64_t x_row_stride, const void* x,
                                      int32_t threads, double* sums, double* squares);

typedef struct gatun_regrow_params {
  uint32_t struct_size; /* sizeof(gatun_regrow_params) */
  int32_t w_dtype;      /* F32, F16 or BF16 */
  int32_t n;            /* kept of every m; 0: rows are unstructured */
  int32_t m;            /* as in gatun_prune_params; 0 with n = 0 */
  int32_t max_cycles;   /* >= 0; 50 in the paper */
  int32_t threads;      /* as above */
  float threshold;      /* >= 0; 0.1 in the paper: a row whose reconstruction error is at most that is done */
  float variance_power; /* >= 0; 1 in the paper: the exponent of the variance in the growing criterion */
  int64_t columns;
  int64_t depth;
} gatun_regrow_params;

/*
 * DSnoT ("Dynamic Sparse No Training: Training-Free Fine-tuning for Sparse LLMs", Zhang et al. 2023, arXiv 2310.08915):
 * prunes and grows weights of a mask, row by row, while that brings the row's expected reconstruction error nearer to
 * 0. The number of kept weights of each row (with n > 0, of each group of m) stays. Of a row, all in double:
 *
 *   e[k] = w[k] * means[k]                               what a weight contributes to the expected output
 *   growth[k] = |e[k]| / pow(variances[k], variance_power)
 *   cost[k] = |w[k]| * norms[k]
 *   error = sum of e[k] of pruned k, in ascending k
 *
 *   at most max_cycles times, while |error| > threshold:
 *     grown   the pruned weight with e of the sign of the error and the largest growth
 *     pruned  the kept weight with e of the other sign and the least cost; with n > 0 of the group of the grown weight,
 *             and weights whose group has none are no candidates to grow
 *     after = (error + e[pruned]) - e[grown]
 *     if |after| < |error|, the two are swapped in the mask and error = after; otherwise the row is done
 *
 * A weight changes once at most; of equal candidates the one with the lower k is taken; a row without candidates is
 * done. An error may change its sign. This is the paper's rule but that it stops where a swap would not help. Division
 * by a variance of 0 gives an infinite growth.
 *
 *   w          [columns, depth] of w_dtype, finite
 *   means      f32 [depth]: of the inputs, finite
 *   variances  f32 [depth]: of the inputs, finite and >= 0
 *   norms      f32 [depth]: as in gatun_prune
 *   mask       in and out, overlaps nothing; unused bits are 0, with n > 0 at most n bits of a group are 1
 *
 * O(columns * (depth + max_cycles * (m + log depth))).
 */
GATUN_API int32_t gatun_prune_regrow(const gatun_regrow_params* params, const void* w, const float* means,
                                     const float* variances, const float* norms, uint8_t* mask);

/*
 * y = x where the mask has a 1, otherwise +0, for x and y [rows, depth] of a dtype F32, F16, BF16, I8 or U8, rows
 * `*_row_stride` elements apart; y may be x with the same stride, and overlaps nothing else. Unused bits of the mask
 * may be any. What is kept is kept bit for bit. A mask for each task of a shared network is one call (SoftNet, WSN:
 * "Forget-free continual learning with soft-winning subnetworks").
 */
GATUN_API int32_t gatun_mask_apply(int32_t dtype, int64_t rows, int64_t depth, int64_t x_row_stride, const void* x,
                                   const uint8_t* mask, int32_t threads, int64_t y_row_stride, void* y);

/* The number of ones in a mask [rows, depth], of which there is none if either is 0. Unused bits must be 0. */
GATUN_API int32_t gatun_mask_count(int64_t rows, int64_t depth, const uint8_t* mask, int64_t* ones);

/* Which kernels these parameters select and why, for a person. 1024 bytes always do. */
GATUN_API int32_t gatun_prune_explain(const gatun_prune_params* params, char* text, int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
