/*
 * Keys or values of attention kept in a pool of pages: how a pool lies in memory, and rows into and out of it. Decoding
 * (gatun/decode.h) reads pools of both.
 *
 * A pool has pages 0 .. pages - 1, each of them for `heads` heads page_size rows (tokens) of `size` channels. Slot s is
 * row s % page_size of page s / page_size. A row is of values (F32, BF16, F16, F8E4M3, F8E5M2), or of codes with scales
 * in f16, and zero points in f16 where there are any:
 *
 *   dtype  zero_point  value
 *   I8     none        q * s          q in -127..127
 *   U4     none        (q - 8) * s    q in 0..15
 *   U2     none        (q - 2) * s    q in 0..3
 *   U4 U2  float       q * s + z
 *
 * in the order of gatun/types.h. A scale belongs to `group` channels of a row (PER_TOKEN), or to one channel of `group`
 * successive rows of a page, the first of which is a multiple of `group` (PER_CHANNEL, as KIVI, Liu et al. 2024, has it
 * for keys, whose outliers keep to channels).
 *
 * Addresses of head h of page p: row r at pages + p * page_stride + h * head_stride + r * row_stride, in bytes; its
 * scales at scales + p * scale_page_stride + h * scale_head_stride + t * scale_row_stride, in elements, those of zero
 * points alike; t = r and there are ceil(size / group) adjacent ones, or, PER_CHANNEL, t = r / group and there are
 * `size`.
 */
#ifndef GATUN_KV_CACHE_H
#define GATUN_KV_CACHE_H

#include <stdint.h>

#include "gatun/quantize.h"
#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum gatun_kv_scaling { GATUN_KV_UNSCALED = 0, GATUN_KV_PER_TOKEN = 1, GATUN_KV_PER_CHANNEL = 2 };

typedef struct gatun_kv_layout {
  uint32_t struct_size; /* sizeof(gatun_kv_layout) */
  int32_t dtype;        /* F32, BF16, F16, F8E4M3, F8E5M2, I8, U4 or U2 */
  int32_t scaling;      /* gatun_kv_scaling: UNSCALED of values, otherwise of codes */
  int32_t zero_point;   /* GATUN_ZERO_NONE, or GATUN_ZERO_FLOAT of U4 and U2 */
  int64_t size;         /* channels of a row: a multiple of 8 in 8..256 */
  int64_t group;        /* 0 if UNSCALED; PER_TOKEN: a multiple of 16 below size, or size; PER_CHANNEL: a multiple
                           of 16 that divides page_size */
  int64_t heads;        /* >= 0 */
  int64_t pages;        /* >= 0; pages * page_size < 2^59 */
  int64_t page_size;    /* >= 1 */
  int64_t page_stride;  /* bytes, as the next two; multiples of those of an element */
  int64_t head_stride;
  int64_t row_stride;
  int64_t scale_page_stride; /* elements; ignored if UNSCALED, as the next two */
  int64_t scale_head_stride;
  int64_t scale_row_stride;
} gatun_kv_layout;

typedef struct gatun_kv_rows_params {
  uint32_t struct_size;  /* sizeof(gatun_kv_rows_params) */
  int32_t dtype;         /* of x: F32, BF16 or F16 */
  int32_t threads;       /* 0 = gatun_threads(); 1 = only the calling thread */
  int32_t reserved;      /* 0 */
  int64_t tokens;        /* >= 0 */
  int64_t x_head_stride; /* elements; those of a row are adjacent */
  int64_t x_row_stride;  /* with several tokens at least size */
} gatun_kv_rows_params;

/*
 * Rows x [heads, tokens, size] of dtype into slots [tokens] of the pool: appending tokens to sequences, or a prompt at
 * once. A slot of -1 leaves its row out. No slot may be twice in the list, or what it holds is unspecified. Values are
 * rounded to nearest, ties to even (F8: beyond the largest one to that); codes are those of gatun_quantize with its
 * default scales; scales and zero points are rounded to f16 first.
 *
 * PER_CHANNEL: whole groups of tokens: tokens is a multiple of the group, and so is the first slot of each group, which
 * the others follow one by one; or all of a group are -1.
 *
 * INVALID_ARGUMENT, naming what and where, before anything is written if an argument does not fit; and if a value
 * that becomes a code is NaN or infinite or a scale leaves the range of f16: what the slots of the call hold then is
 * unspecified, others are untouched. O(heads * tokens * size).
 */
GATUN_API int32_t gatun_kv_cache_write(const gatun_kv_rows_params* params, const gatun_kv_layout* layout, const void* x,
                                       const int64_t* slots, void* pages, void* scales, void* zeros);

/*
 * Slots [tokens] of the pool to x: computed in f32 as the table says (q * s + z rounds the product, then the sum), then
 * rounded to nearest, ties to even. The row of a slot of -1 is left as it is.
 */
GATUN_API int32_t gatun_kv_cache_read(const gatun_kv_rows_params* params, const gatun_kv_layout* layout,
                                      const void* pages, const void* scales, const void* zeros, const int64_t* slots,
                                      void* x);

/*
 * Slots to slots of the same pool, all at once as it were: row t of each head, with its scales, from slot from[t] to
 * slot to[t] (compaction in place: `to` may hold slots of `from`). to[t] are distinct, and no slot is -1. PER_CHANNEL:
 * whole groups as above, in both.
 *
 * No memory is taken if each to[t] is outside of the range from the least to the greatest of from[t + 1] and those
 * after it, as in compaction to lower slots in ascending order; otherwise that of the tokens' rows of one head.
 * OUT_OF_RESOURCES before anything is written.
 */
GATUN_API int32_t gatun_kv_cache_move(const gatun_kv_layout* layout, int64_t tokens, const int64_t* from,
                                      const int64_t* to, void* pages, void* scales, void* zeros);

#ifdef __cplusplus
}
#endif

#endif
