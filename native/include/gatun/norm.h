/*
 * Normalization of rows.
 *
 *   LAYER  y = (x - mean) / sqrt(var + epsilon) * weight + bias,  var = mean of (x - mean)^2   (Ba et al. 2016)
 *   RMS    y = x / sqrt(mean of x^2 + epsilon) * weight + bias                       (Zhang and Sennrich 2019)
 */
#ifndef GATUN_NORM_H
#define GATUN_NORM_H

#include <stdint.h>

#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum gatun_norm_kind { GATUN_NORM_LAYER = 0, GATUN_NORM_RMS = 1 };

typedef struct gatun_norm_params {
  uint32_t struct_size; /* sizeof(gatun_norm_params) */
  int32_t kind;         /* gatun_norm_kind */
  int32_t x_dtype;      /* F32 or BF16 */
  int32_t y_dtype;      /* F32 or BF16 */
  int32_t threads;      /* 0 = gatun_threads(); 1 = only the calling thread */
  float epsilon;        /* finite, >= 0 */
  int64_t rows;         /* >= 0 */
  int64_t columns;      /* >= 0 */
  int64_t x_row_stride; /* elements, >= columns if rows > 1 */
  int64_t y_row_stride; /* elements, >= columns if rows > 1 */
} gatun_norm_params;

/*
 * x [rows, columns] -> y [rows, columns]; weight, bias f32 [columns] or null (1, 0). y may be x itself with the same
 * dtype and stride, and overlaps no input otherwise. A row with NaN or infinity gives a row of NaN (other rows are
 * untouched); with epsilon 0 a constant row under LAYER and a zero row under RMS likewise (0 / 0). Values of any
 * magnitude are normalized without overflow. The result is the same, bit for bit, on every tier and for any number of
 * threads. O(rows * columns).
 */
GATUN_API int32_t gatun_norm(const gatun_norm_params* params, const void* x, const float* weight, const float* bias,
                             void* y);

/* Which kernel these parameters select and why, for a person. INVALID_ARGUMENT if too small; 1024 bytes always do. */
GATUN_API int32_t gatun_norm_explain(const gatun_norm_params* params, char* text, int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
