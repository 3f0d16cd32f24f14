/*
 * Attention of a few queries to cached keys and values (gatun/kv_cache.h): for each batch item b, query head h and
 * query i, with g = h / (query_heads / heads) the head of the pools,
 *
 *   logit[j] = bias(cap(scale * q[b, h, i] . k[j])),  j = 0 .. length - 1
 *   out[b, h, i] = sum over seen j of exp(logit[j]) v[j] / (sum over seen j of exp(logit[j]) + exp(sink[h]))
 *   lse[b, h, i] = ln(that denominator)
 *
 * where length = lengths[b, g], and key j is row j % page_size of page table[b, g, j / page_size] in the pools of both.
 * cap(x) = soft_cap * tanh(x / soft_cap), or x without; bias adds slope[h] * (j - p), p = i + length - query_length the
 * position of the query among the keys: queries are aligned with the last keys. A row that sees no key gives zeros and
 * lse = sink[h], or -infinity without sinks. Key j is seen unless one of these hides it:
 *
 *   causal        j > p
 *   window_left   j < p - window_left and j >= sink_keys
 *
 * The queries of all heads that share a head of the pools read it once. A table with fewer pages attends to those alone
 * (positions count among them), one for each head lets heads keep different tokens.
 *
 * Keys are cut at multiples of 1024 of j, whatever the number of threads; the parts are merged in ascending order
 * (FlashDecoding, Dao et al. 2023; the running maximum of Milakov and Gimelshein 2018 within).
 */
#ifndef GATUN_DECODE_H
#define GATUN_DECODE_H

#include <stdint.h>

#include "gatun/kv_cache.h"
#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * How q meets keys of codes (keys of values are as under EXACT in both modes). With codes products are sums of
 * integers, exact: q, times the channels' scales where keys have those, is rounded to multiples of amax / 16256 (EXACT)
 * or amax / 127 (INT8) of its row; a row below 2^-100 counts as 0, one that is not finite as NaN.
 */
enum gatun_decode_mode { GATUN_DECODE_EXACT = 0, GATUN_DECODE_INT8 = 1 };

typedef struct gatun_decode_params {
  uint32_t struct_size; /* sizeof(gatun_decode_params) */
  int32_t dtype;        /* of q: F32, BF16 or F16 */
  int32_t out_dtype;    /* of out: F32, or that of q */
  int32_t mode;         /* gatun_decode_mode */
  int32_t threads;      /* 0 = gatun_threads(); 1 = only the calling thread */
  int32_t causal;       /* 0 or 1 */
  float scale;          /* finite; usually 1 / sqrt(head size) */
  float soft_cap;       /* > 0, finite; 0 = none */
  int64_t window_left;  /* keys before the query's own that it sees, >= 0; -1 = all */
  int64_t sink_keys;    /* of the first keys, which window_left does not hide, >= 0 */
  int64_t batch;        /* >= 0 */
  int64_t query_heads;  /* a multiple of the pools' heads */
  int64_t query_length; /* 0..256; usually 1..16: each 4 rows of q that share keys pass over them once */
  int64_t table_heads;  /* 1: lengths and table are those of all heads; or the pools' heads */
  int64_t table_stride; /* entries of a row of the table, >= 0; without a table 1 */
  /* In elements; those within a row are adjacent. */
  int64_t q_batch_stride;
  int64_t q_head_stride;
  int64_t q_row_stride;
  int64_t out_batch_stride;
  int64_t out_head_stride;
  int64_t out_row_stride;
  int64_t lse_batch_stride; /* rows of lse are adjacent */
  int64_t lse_head_stride;
  int64_t logits_batch_stride; /* keys of logits are adjacent */
  int64_t logits_head_stride;
  int64_t logits_row_stride;
} gatun_decode_params;

/*
 *   k_layout, v_layout  of the pools; heads, pages and page_size are the same in both. v_layout is null with v.
 *   q         [batch, query_heads, query_length, k_layout.size] of dtype, at the strides
 *   k, v      the pools' rows, with scales and zeros (f16) as their layouts say, otherwise null. v may be null:
 *             then out is, and only lse and logits are computed.
 *   table     i32 [batch, table_heads, table_stride], of which the first ceil(length / page_size) of a row count,
 *             each in 0 .. pages - 1; or null: a contiguous cache, whose item b has page b
 *   lengths   i64 [batch, table_heads], each in 0 .. table_stride * page_size
 *   slopes    f32 [query_heads], ALiBi (Press et al. 2021); or null: 0
 *   sinks     f32 [query_heads], a logit of no value in each row's denominator; or null: none
 *   out       [batch, query_heads, query_length, v_layout.size] of out_dtype
 *   lse       f32 [batch, query_heads, query_length], or null
 *   logits    f32 [batch, query_heads, query_length, length]: -infinity where a key is not seen; or null
 *
 * Outputs overlap nothing. Products with values of BF16 are in bf16 with f32 sums where q is BF16, too, and the
 * processor has bf16 dots: the exponentials are rounded to bf16, and subnormals count as 0. Otherwise they are in f32.
 * With values of codes the exponentials, times the tokens' scales where values have those, are rounded to multiples of
 * 1 / 16256 of the largest of 64 keys.
 *
 * A row that sees a key with NaN in it, or whose q has one, becomes NaN, as does one that sees a logit of +infinity;
 * NaN and infinity in values (or scales) may reach all rows that share them. A logit of -infinity has no weight. q . k
 * counts as infinite where it leaves the range of f32 before the scale. NaN and infinity in slopes and sinks count as
 * in the formulas.
 *
 * Against the sums of exact products of such q, values and exponentials the error of out is at most
 *   2^-22 ((size / 16 + 4) |scale| max sum |q k| + 4 max |cap(x)| + max |slope (j - p)| + max |logit| + |lse| + 80)
 * times max |v|, and its rounding to out_dtype; what rounds the exponentials adds 2^-8 max |v|. Of codes with zero
 * points |k| stands for |q s| + |z|, |v| likewise. Results do not depend on threads, bit for bit, nor on other batch
 * items or heads, nor on which pages hold the keys.
 *
 * INVALID_ARGUMENT before anything is written, naming what and where, if an argument does not fit. OUT_OF_RESOURCES
 * leaves outputs unspecified: a call takes v_layout.size + 2 floats for each row of q and 1024 keys, and each thread
 * about 3 KiB for each row of q of the heads that it works on together; threads keep that memory for later calls.
 * O(batch * query_heads * query_length * length * (k_layout.size + v_layout.size)).
 */
GATUN_API int32_t gatun_decode(const gatun_decode_params* params, const gatun_kv_layout* k_layout,
                               const gatun_kv_layout* v_layout, const void* q, const void* k, const void* k_scales,
                               const void* k_zeros, const void* v, const void* v_scales, const void* v_zeros,
                               const int32_t* table, const int64_t* lengths, const float* slopes, const float* sinks,
                               void* out, float* lse, float* logits);

/*
 * Which kernels these select and why, where keys are cut; for a person. 2048 bytes always do. v_layout may be null.
 */
GATUN_API int32_t gatun_decode_explain(const gatun_decode_params* params, const gatun_kv_layout* k_layout,
                                       const gatun_kv_layout* v_layout, char* text, int64_t capacity);

typedef struct gatun_decode_scores_params {
  uint32_t struct_size; /* sizeof(gatun_decode_scores_params) */
  int32_t threads;      /* 0 = gatun_threads(); 1 = only the calling thread */
  int32_t accumulate;   /* 0: scores are written; 1: added to */
  int32_t reserved;     /* 0 */
  int64_t batch;
  int64_t query_heads;
  int64_t heads; /* of scores: query_heads is a multiple */
  int64_t query_length;
  int64_t table_heads;      /* of lengths: 1 or heads */
  int64_t lse_batch_stride; /* elements, as all strides */
  int64_t lse_head_stride;
  int64_t logits_batch_stride;
  int64_t logits_head_stride;
  int64_t logits_row_stride;
  int64_t scores_batch_stride; /* keys are adjacent */
  int64_t scores_head_stride;
} gatun_decode_scores_params;

/*
 * The attention that keys get (accumulated over steps: H2O, Zhang et al. 2023): f32 scores [batch, heads, length],
 *
 *   scores[b, g, j] (+)= sum over the query heads h of g and queries i of exp(logits[b, h, i, j] - lse[b, h, i])
 *
 * summed in ascending order. lse may be that of more keys than the logits are of. Rows with lse = -infinity count 0.
 */
GATUN_API int32_t gatun_decode_scores(const gatun_decode_scores_params* params, const float* logits, const float* lse,
                                      const int64_t* lengths, float* scores);

typedef struct gatun_decode_choose_params {
  uint32_t struct_size; /* sizeof(gatun_decode_choose_params) */
  int32_t threads;      /* 0 = gatun_threads(); 1 = only the calling thread */
  int64_t batch;
  int64_t heads;
  int64_t table_heads;         /* of table and lengths: 1 or heads */
  int64_t table_stride;        /* 0..2^32 */
  int64_t page_size;           /* >= 1 */
  int64_t budget;              /* pages to keep, >= 0; with fewer all are */
  int64_t keep_first;          /* pages at the start that are kept whatever they score, >= 0 */
  int64_t keep_last;           /* at the end; >= 1: the last page may not be full, so it has to stay the last */
  int64_t scores_batch_stride; /* pages are adjacent */
  int64_t scores_head_stride;
  int64_t chosen_stride; /* entries of a row of chosen; min(budget, table_stride) or more */
} gatun_decode_choose_params;

/*
 * Pages to attend to: of each item and head the first keep_first and the last keep_last, then those with the largest
 * scores f32 [batch, heads, pages of the item] (the lower index where equal, NaN before all), up to budget pages
 * altogether, in ascending order: a table i32 chosen [batch, heads, chosen_stride] and chosen_lengths i64 [batch,
 * heads] for gatun_decode. Where keep_first and keep_last are beyond the budget, keep_last goes first.
 */
GATUN_API int32_t gatun_decode_choose(const gatun_decode_choose_params* params, const float* scores,
                                      const int32_t* table, const int64_t* lengths, int32_t* chosen,
                                      int64_t* chosen_lengths);

#ifdef __cplusplus
}
#endif

#endif
