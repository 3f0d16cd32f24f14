/*
 * Attention, dense or over the blocks of a mask: for each batch item b, query head h and row i
 *
 *   logit[j] = bias(cap(scale * q[b, h, i] . k[b, g, j])),  g = h / (query_heads / kv_heads)
 *   out[b, h, i] = sum over seen j of exp(logit[j]) v[b, g, j] / (sum over seen j of exp(logit[j]) + exp(sink[h]))
 *   lse[b, h, i] = ln(that denominator)
 *
 * cap(x) = soft_cap * tanh(x / soft_cap), or x without; bias adds slope[h] * (j - p), p = i + kv_length - query_length
 * the position of the query among the keys: queries are aligned with the last keys. A row that sees no key gives zeros
 * and lse = sink[h], or -infinity without sinks.
 *
 * Key j is seen unless one of these hides it:
 *   causal        j > p
 *   window_left   j < p - window_left and j >= sink_keys
 *   window_right  j > p + window_right
 *   the mask      its block is not listed, or listed as partial with a 0 for (i, j)
 *
 * The exponentials are computed tile by tile with a running maximum (Milakov and Gimelshein 2018; FlashAttention, Dao
 * et al. 2022), so that memory does not grow with query_length * kv_length.
 */
#ifndef GATUN_ATTENTION_H
#define GATUN_ATTENTION_H

#include <stdint.h>

#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

enum gatun_attention_mode {
  /*
   * Products of q and k and of the exponentials and v: F32 and F16 in f32. BF16 likewise, or, where the processor has
   * bf16 dots, in bf16 with f32 sums: subnormals count as 0 then.
   */
  GATUN_ATTENTION_EXACT = 0,
  /*
   * q . k from int8: the mean of a head's keys is taken from them (and what it adds to the logits of a row is added
   * back), then they are quantized with a scale, amax / 127, for every 64 of them, and q with one for each row
   * (SageAttention, Zhang et al. 2024). The exponentials and v are multiplied in f32, or, where the processor has bf16
   * dots, in bf16 with f32 sums: both are rounded to nearest even then, and what of v is beyond the range of bf16
   * becomes infinite.
   */
  GATUN_ATTENTION_INT8 = 1,
  /*
   * Of GPUs alone (gatun/cuda_attention.h), UNSUPPORTED elsewhere: q . k as in INT8, exponentials and v in f8e4m3
   * (SageAttention2, Zhang et al. 2024). The mean of a head's values is taken from each channel, and added back to out
   * times the weights' share of the denominator, 1 without sinks; what is left is quantized with a scale for each
   * channel, amax / 448. Exponentials, of which the largest so far is 1, are multiplied by 448 and rounded to nearest;
   * the denominator sums them as they are before. Products are summed in f32, those of 128 keys first.
   */
  GATUN_ATTENTION_INT8_FP8 = 2
};

typedef struct gatun_attention_params {
  uint32_t struct_size; /* sizeof(gatun_attention_params) */
  int32_t dtype;        /* of q, k and v: F32, BF16 or F16 */
  int32_t out_dtype;    /* of out: F32, or that of q */
  int32_t mode;         /* gatun_attention_mode */
  int32_t threads;      /* 0 = gatun_threads(); 1 = only the calling thread */
  int32_t causal;       /* 0 or 1 */
  float scale;          /* finite; usually 1 / sqrt(head_size) */
  float soft_cap;       /* > 0, finite; 0 = none */
  int64_t window_left;  /* keys before the query's own that it sees, >= 0; -1 = all */
  int64_t window_right; /* keys after the query's own that it sees, >= 0; -1 = all */
  int64_t sink_keys;    /* of a row's first keys, which window_left does not hide, >= 0 */
  int64_t batch;        /* >= 0 */
  int64_t query_heads;  /* a multiple of kv_heads */
  int64_t kv_heads;     /* >= 1, or 0 without query_heads */
  int64_t query_length; /* rows of q; with offsets those of all batch items together */
  int64_t kv_length;    /* rows of k and v; with offsets those of all batch items together */
  int64_t head_size;    /* of q and k: a multiple of 8 in 8..256 */
  int64_t value_size;   /* of v and out: a multiple of 8 in 8..256 */
  /* In elements; those within a head are adjacent. Batch strides are ignored with offsets. */
  int64_t q_batch_stride;
  int64_t q_head_stride;
  int64_t q_row_stride;
  int64_t k_batch_stride;
  int64_t k_head_stride;
  int64_t k_row_stride;
  int64_t v_batch_stride;
  int64_t v_head_stride;
  int64_t v_row_stride;
  int64_t out_batch_stride;
  int64_t out_head_stride;
  int64_t out_row_stride;
  /* Of lse and correction; rows are adjacent. */
  int64_t lse_batch_stride;
  int64_t lse_head_stride;
  /* Of the mask (gatun/block_mask.h); 0 without. */
  int64_t query_block;   /* rows of q in a block: a multiple of 16 in 16..128 */
  int64_t key_block;     /* rows of k in a block: a multiple of 16 in 16..128 */
  int64_t mask_batch;    /* batch, or 1: the same for all; then lists fit the keys of each item with queries */
  int64_t mask_heads;    /* query_heads, or 1: the same for all */
  int64_t query_blocks;  /* for each batch item and head: what the longest item needs, or more */
  int64_t partial_count; /* blocks that partial_blocks has room for, and partial_bits if it is given */
  int64_t full_count;    /* blocks that full_blocks has room for */
} gatun_attention_params;

/*
 *   q           [batch, query_heads, query_length, head_size] of dtype, at the strides
 *   k, v        [batch, kv_heads, kv_length, head_size or value_size] of dtype, at the strides
 *   q_offsets   ragged: batch item b has rows q_offsets[b] .. q_offsets[b + 1] of q and out, which ascend from 0 or
 *               more to at most query_length; i and query_length above count within the item. Null: all have
 *               query_length.
 *   kv_offsets  likewise of k and v; null if and only if q_offsets is
 *   slopes      f32 [query_heads], ALiBi (Press et al. 2021); or null: 0
 *   sinks       f32 [query_heads], a logit of no value in each row's denominator; or null: none
 *   correction  f32 as lse, or null: factors of the rows of out, not of lse. For a mask that is kept across steps, of a
 *               step with both, exp(lse with the mask - lse of all keys): what the kept keys' share of a row was
 *               (Re-ttention, Chen et al. 2025)
 *   full_offsets .. partial_bits  the mask of gatun/block_mask.h, or null: all blocks are seen. partial_bits may be
 *               null: then partial blocks hide only what causal, windows and lengths hide, which full blocks do as
 *               well.
 *   out         [batch, query_heads, query_length, value_size] of out_dtype; overlaps nothing else. Null, together with
 *               v: only lse is computed.
 *   lse         f32 [batch, query_heads, query_length] at the lse strides, or null if out is not
 *
 * A row that sees a key with NaN in it, or whose q has one, becomes NaN, as does one that sees a logit of +infinity;
 * v with NaN or infinity reaches the rows that see it. Other rows are left alone. A logit of -infinity has no weight.
 * NaN and infinity in slopes, sinks and correction count as in the formulas: an infinite slope makes NaN of the logit
 * at j = p, a sink of +infinity makes zeros of out and +infinity of lse, and out of a row that sees no key stays 0.
 * q . k counts as infinite where it leaves the range of f32 before the scale. In INT8 a NaN or infinity of a key
 * reaches all rows of its head, and keys count as infinite where the sum of a column, or 2^7 head_size times a key less
 * the mean, leaves the range of f32. So they do in INT8_FP8, where a NaN or infinity of v, or of the sum of a channel,
 * reaches that channel of all rows of its head that see a key.
 *
 * Against the sums of exact products, maxima being those over the keys that a row sees, the error of out is at most
 *   F32, F16  2^-22 ((head_size / 64 + 4) |scale| max sum |q k| + 4 max |cap(x)| + max |slope (j - p)| + max |logit| +
 *             |lse| + kv_length / 128 + 6) max |v|
 *   BF16      as F32, and (2^-8 + 2^-17) max |v| for the exponentials, which are rounded to bf16
 *   INT8      from its codes on as BF16, and 2^-8 max |v| where v is not bf16
 *   INT8_FP8  from its codes on as F32, and (2^-4 + 2^-6 + 2^-18 kv_length) max |code * scale| + 2^-18 max |mean| for
 *             exponentials, sums of 128 keys, exponentials below 2^-14, and what is added back
 * times a row's correction, and its rounding to out_dtype; that of lse at most
 *   2^-23 ((head_size / 64 + 4) |scale| max sum |q k| + 4 max |cap(x)| + max |slope (j - p)| + max |logit| + 3 |lse| +
 *   kv_length / 128 + 6), and 2^-18 in BF16, INT8 and INT8_FP8
 * (native/src/attention/reference.h has both row by row; results below the range of normal numbers lose more). Results
 * do not depend on threads, bit for bit, nor on other batch items or heads. With windows or a mask, a row's last bits
 * may depend on query_length: rows that are computed together cut their sums at the same keys.
 *
 * INVALID_ARGUMENT before anything is written, naming what and where, if an argument does not fit, offsets do not
 * ascend, or a list of the mask does not ascend or goes beyond its item's keys. OUT_OF_RESOURCES leaves out and lse
 * unspecified: a thread keeps memory for one head's packed k and v. O(seen blocks * query_block * key_block *
 * (head_size + value_size)); checking the mask takes O(its length).
 */
GATUN_API int32_t gatun_attention(const gatun_attention_params* params, const void* q, const void* k, const void* v,
                                  const int64_t* q_offsets, const int64_t* kv_offsets, const float* slopes,
                                  const float* sinks, const float* correction, const int64_t* full_offsets,
                                  const int32_t* full_blocks, const int64_t* partial_offsets,
                                  const int32_t* partial_blocks, const uint8_t* partial_bits, void* out, float* lse);

/*
 * Which kernel these parameters select and why, which better ones were passed over, how the work is split; for a
 * person. 2048 bytes always do.
 */
GATUN_API int32_t gatun_attention_explain(const gatun_attention_params* params, char* text, int64_t capacity);

typedef struct gatun_attention_merge_params {
  uint32_t struct_size; /* sizeof(gatun_attention_merge_params) */
  int32_t dtype;        /* of a, b and out: F32, BF16 or F16 */
  int32_t threads;      /* 0 = gatun_threads(); 1 = only the calling thread */
  int32_t reserved;     /* 0 */
  int64_t batch;        /* >= 0, as all sizes */
  int64_t heads;
  int64_t length;
  int64_t value_size;
  /* In elements; those within a row are adjacent. */
  int64_t a_batch_stride;
  int64_t a_head_stride;
  int64_t a_row_stride;
  int64_t b_batch_stride;
  int64_t b_head_stride;
  int64_t b_row_stride;
  int64_t out_batch_stride;
  int64_t out_head_stride;
  int64_t out_row_stride;
} gatun_attention_merge_params;

/*
 * Attention over the union of two disjoint sets of keys from the results over each: with wa = exp(a_lse - lse), wb
 * likewise,
 *
 *   lse = ln(exp(a_lse) + exp(b_lse)),  out = wa a + wb b
 *
 *   a, b, out            [batch, heads, length, value_size] of dtype at the strides; out may be a, with its strides
 *   a_lse, b_lse, lse    f32 [batch, heads, length], contiguous; lse may be a_lse, or null
 *
 * -infinity means no keys; the row of the other is taken, whatever is in this one. Both: zeros and -infinity. NaN in a
 * row or its lse stays there. Error of out: 2^-23 (|a| + |b|), and the rounding to dtype; of lse: its rounding to f32.
 *
 * INVALID_ARGUMENT before anything is written if an argument does not fit. O(batch * heads * length * value_size).
 */
GATUN_API int32_t gatun_attention_merge(const gatun_attention_merge_params* params, const void* a, const float* a_lse,
                                        const void* b, const float* b_lse, void* out, float* lse);

#ifdef __cplusplus
}
#endif

#endif
