/*
 * Block-wise quantization on a device: gatun/quantize.h, whose params, formats and results these functions share, bit
 * for bit. gatun/cuda.h says what holds for every op.
 */
#ifndef GATUN_CUDA_QUANTIZE_H
#define GATUN_CUDA_QUANTIZE_H

#include <stdint.h>

#include "gatun/quantize.h"
#include "gatun/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a device found that it cannot quantize: the least index of each kind, or -1 if there is none. */
typedef struct gatun_cuda_faults {
  int64_t value; /* r * depth + k of the first x[r][k] that is NaN or infinite */
  /*
   * r * G + g of the first block that has a bad scale: one of finite values that overflows scale_dtype or, with
   * GATUN_SCALE_GIVEN, a scale or a zero point that is NaN or infinite.
   */
  int64_t block;
} gatun_cuda_faults;

/* 0 for most params: blocks of more than 2^14 values are scanned in parts. */
GATUN_API int32_t gatun_cuda_quantize_workspace_bytes(const gatun_quantize_params* params, int64_t* bytes);

/*
 * As gatun_quantize, but that a function which does not wait cannot refuse values. `code_book` is host memory, read
 * before the function returns. `faults`, one struct of device memory aligned to 8 bytes, is written by every call: both
 * -1 once the work is done, unless gatun_quantize would refuse the values; then the other outputs are unspecified. x is
 * read once, but twice for blocks of more than 2^14 values, and for groups that begin in the middle of a byte of codes.
 */
GATUN_API int32_t gatun_cuda_quantize(const gatun_quantize_params* params, const void* x, const float* code_book,
                                      const void* round_up, void* codes, void* scales, void* zero_points,
                                      gatun_cuda_faults* faults, void* workspace, int64_t workspace_bytes,
                                      void* stream);

/* As gatun_dequantize. `code_book` is host memory, read before the function returns. */
GATUN_API int32_t gatun_cuda_dequantize(const gatun_quantize_params* params, const float* code_book, const void* codes,
                                        const void* scales, const void* zero_points, void* x, void* stream);

/*
 * Which kernel these params select on `device` and why, for a person. INVALID_ARGUMENT if `capacity` is too small; 1024
 * bytes always do.
 */
GATUN_API int32_t gatun_cuda_quantize_explain(const gatun_quantize_params* params, int32_t device, char* text,
                                              int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
