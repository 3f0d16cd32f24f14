/*
 * Attention on a device, dense or over the blocks of a mask: gatun/attention.h and gatun/block_mask.h, whose structs,
 * formulas and layouts these functions share. gatun/cuda.h says what holds for every op.
 *
 * q, k, v, out, lse, offsets, slopes, sinks, correction and the lists of masks are device memory, so that a stream may
 * still be computing them: what they contain is not checked before the work begins. Whatever they contain, nothing
 * beyond the arrays, as the params describe them, is read or written:
 *
 *   offsets            each counts as the nearest number in 0..length; where they descend, some rows may be left out,
 *                      and which of the items that share a row writes it is open
 *   offsets of a mask  each counts as the nearest number in 0..count, and those that descend as an empty list
 *   blocks of a mask   those beyond an item's keys are not seen; of a list that does not ascend, some may be counted
 *                      twice or not at all
 *   query_blocks       further queries of an item see nothing
 *
 * query_length and kv_length are at most 2^30, with offsets of all items together, and no kernel has 2^31 blocks or
 * more: of up to 128 queries of a head; with INT8 and INT8_FP8 also of 4 rows of q, 64 of k, 32 columns of k; with INT8
 * of 4 rows of v unless it is bf16, with INT8_FP8 of 64 rows and of 32 columns of v. UNSUPPORTED otherwise, before
 * anything is launched.
 *
 * Products, by a kernel that the params and the device alone select (explain), but that bases which are no multiples of
 * 16 bytes and calls for lse alone may take another one, which explain names:
 *
 *   EXACT  F32 in f32. BF16 and F16 by tensor cores: exact products of q and k with f32 sums; the exponentials are
 *          rounded to the dtype of v after their sum, then multiplied likewise
 *   INT8   the codes of gatun/attention.h, bit for bit, whose products are summed exactly. The exponentials and v are
 *          rounded to bf16
 *
 * INT8_FP8 takes compute capability 9.0, head_size and value_size up to 128, up to 2^31 - 257 rows of q and of k of all
 * heads; UNSUPPORTED otherwise. The codes of q and k are those of INT8. Of a channel of v, over the keys of an item's
 * head, each number in f32 in this order:
 *
 *   mean   the sum from key 0 on, ascending, divided by the number of keys
 *   scale  amax |v - mean| / 448; below 2^-120 it counts as 0, and so do the codes; NaN if a value less the mean is not
 *          finite
 *   code   (v - mean) * (1 / scale) to the nearest f8e4m3, ties to even
 *   out    correction * (scale * sum f8e4m3(p) code + mean * sum p) / (sum p + 448 exp(sink - largest)), where p is
 *          448 exp(logit - largest) and largest, for each 128 keys, that of the keys up to these
 *
 * Errors are within the bounds of gatun/attention.h, with (2^-11 + 2^-17) max |v| more for F16 in EXACT. Rows that see
 * nothing, NaN and infinity are as there, but that a logit counts as infinite where log2(e) * scale * (q . k) leaves
 * the range of f32, and that in INT8_FP8 v does not reach rows whose sink leaves no share to the weights. Results
 * depend neither on other batch items nor on other heads, and are the same bits each time.
 */
#ifndef GATUN_CUDA_ATTENTION_H
#define GATUN_CUDA_ATTENTION_H

#include <stdint.h>

#include "gatun/attention.h"
#include "gatun/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The workspace of gatun_cuda_attention on `device`. With EXACT and INT8 up to a byte for 64 queries of each head; with
 * INT8 also the codes of q and k, padded to 64, 128 or 256 channels, with their scales, and v in bf16 unless it is
 * that; with INT8_FP8 the codes of q, k and v and their scales, padded to 64 or 128 channels, those of v to 64 keys.
 * UNSUPPORTED if there are no kernels for the device.
 *
 *   ragged  1 if the call has offsets, else 0
 */
GATUN_API int32_t gatun_cuda_attention_workspace_bytes(const gatun_attention_params* params, int32_t ragged,
                                                       int32_t device, int64_t* bytes);

/*
 * gatun_attention on a stream. All pointers but params are device memory, null where gatun_attention takes null.
 * params.threads is ignored. O(seen blocks * query_block * key_block * (head_size + value_size)).
 */
GATUN_API int32_t gatun_cuda_attention(const gatun_attention_params* params, const void* q, const void* k,
                                       const void* v, const int64_t* q_offsets, const int64_t* kv_offsets,
                                       const float* slopes, const float* sinks, const float* correction,
                                       const int64_t* full_offsets, const int32_t* full_blocks,
                                       const int64_t* partial_offsets, const int32_t* partial_blocks,
                                       const uint8_t* partial_bits, void* out, float* lse, void* workspace,
                                       int64_t workspace_bytes, void* stream);

/*
 * Which kernels these params select on `device` and why, for a person; params.query_block says whether there is a
 * mask. INVALID_ARGUMENT if `capacity` is too small; 2048 bytes always do.
 */
GATUN_API int32_t gatun_cuda_attention_explain(const gatun_attention_params* params, int32_t ragged, int32_t device,
                                               char* text, int64_t capacity);

/*
 * gatun_attention_merge on a stream; all pointers but params are device memory. Error of out: 2^-21 (|a| + |b|), and
 * the rounding to dtype; of lse: 2^-21 (1 + |lse|). UNSUPPORTED for more than 2^33 - 4 rows, of all heads and items.
 */
GATUN_API int32_t gatun_cuda_attention_merge(const gatun_attention_merge_params* params, const void* a,
                                             const float* a_lse, const void* b, const float* b_lse, void* out,
                                             float* lse, void* stream);

/*
 * The lists of a map (gatun_block_mask_from_map) on a stream: from blocks chosen on the device to the mask of
 * gatun_cuda_attention without a wait for the counts.
 *
 *   map                       u8 [rows, key_blocks], 1 full, 2 partial, all else not seen
 *   full_offsets, partial_offsets  i64 [rows + 1], written; their last elements are the counts
 *   full_blocks, partial_blocks    i32, room for full_count and partial_count of them: what is beyond is left out, and
 *                             gatun_cuda_attention with these counts does not look for it. Null with a count of 0
 *
 * key_blocks is at most 2^31 - 33, rows at most 2^33 - 4 (UNSUPPORTED otherwise). O(rows * key_blocks).
 */
GATUN_API int32_t gatun_cuda_block_mask_from_map(int64_t rows, int64_t key_blocks, const uint8_t* map,
                                                 int64_t* full_offsets, int32_t* full_blocks, int64_t full_count,
                                                 int64_t* partial_offsets, int32_t* partial_blocks,
                                                 int64_t partial_count, void* stream);

#ifdef __cplusplus
}
#endif

#endif
