/*
 * N:M sparse weights in canonical form on a device: gatun/nm_format.h and gatun/prune.h, whose structs and results
 * these functions share, bit for bit. gatun/cuda.h says what holds for every op.
 *
 * Masks, zero points, norms and scores are device memory like all data: they cannot be looked through before the work
 * is done, so what gatun_nm_compress and gatun_nm_prune would refuse is reported in `faults`, one struct of device
 * memory aligned to 8 bytes that every call writes: -1 once the work is done, unless there is a fault; then the least
 * index of each kind, and the outputs hold anything, within their bounds. All functions are O(columns * depth), N:M
 * pruning times m.
 */
#ifndef GATUN_CUDA_NM_FORMAT_H
#define GATUN_CUDA_NM_FORMAT_H

#include <stdint.h>

#include "gatun/nm_format.h"
#include "gatun/prune.h"
#include "gatun/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gatun_cuda_nm_format_faults {
  int64_t group; /* v * G + g of the first group g of a vector v that keeps more than N, or that its rows differ in */
  int64_t value; /* r * depth + k of the first score that is NaN, or infinite where scores add up (vectors above 1) */
} gatun_cuda_nm_format_faults;

/*
 * As gatun_nm_compress. Unused bits of a mask and bits 4.. of a zero point count for nothing.
 *
 *   dense        [columns, depth] of value_dtype
 *   mask         the weights that are kept, or null (not with U4): those that are not 0
 *   zero_points  u8 [columns, ceil(depth / group)] with U4, or null: then they are 8
 *   values, indices  outputs, of the sizes of gatun_nm_bytes
 */
GATUN_API int32_t gatun_cuda_nm_compress(const gatun_nm_format* format, const void* dense, const uint8_t* mask,
                                         const uint8_t* zero_points, void* values, uint8_t* indices,
                                         gatun_cuda_nm_format_faults* faults, void* stream);

/*
 * As gatun_nm_decompress, of indices that are not checked: those that are not below M or lie beyond the depth count for
 * nothing; of equal ones the last counts.
 */
GATUN_API int32_t gatun_cuda_nm_decompress(const gatun_nm_format* format, const void* values, const uint8_t* indices,
                                           const uint8_t* zero_points, void* dense, void* stream);

/*
 * As gatun_nm_prune: prunes and compresses in one pass over the weights, by MAGNITUDE, WANDA or GIVEN scores and the
 * pattern NM of any vector, or TRANSPOSABLE (2:4). UNSUPPORTED: LAMP, whose scores need the whole matrix; make them by
 * gatun_prune_scores and pass them as GIVEN ones.
 *
 *   w       [columns, depth] of value_dtype, F32, F16 or BF16
 *   norms   f32 [depth] with WANDA, otherwise null; those that are negative or infinite are not refused
 *   scores  f32 [columns, depth] with GIVEN, otherwise null
 */
GATUN_API int32_t gatun_cuda_nm_prune(const gatun_nm_format* format, const gatun_prune_params* prune, const void* w,
                                      const float* norms, const float* scores, void* values, uint8_t* indices,
                                      gatun_cuda_nm_format_faults* faults, void* stream);

/* What these functions do for this format on `device`, for a person. 1024 bytes always do. */
GATUN_API int32_t gatun_cuda_nm_explain(const gatun_nm_format* format, int32_t device, char* text, int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
