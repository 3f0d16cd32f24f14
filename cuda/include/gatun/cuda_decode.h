/*
 * Attention of a few queries to cached keys and values on a device: gatun/decode.h, whose structs and formulas these
 * functions share. gatun/cuda.h says what holds for every op.
 *
 * lengths, table, slopes and sinks are device memory, which a function that does not wait cannot look at; a graph may
 * compute them. Grids are of the room of the table, table_stride * page_size keys; kernels stay in the pools whatever
 * lengths and table hold: a length counts as one within 0..table_stride * page_size, and a key whose page is not in
 * 0..pages - 1 as one that is not seen (its logit is -infinity).
 *
 * Two kernels: one that multiplies tiles of up to 16 rows of q, which share keys, on tensor cores and reads keys and
 * values once for them, and one of plain f32 for what that does not take; gatun_cuda_decode_explain says which and why.
 *
 *                 tiles                                        plain
 *   keys          BF16 or F16 with q of the same; F8 with q    all
 *                 BF16 or F16; codes PER_TOKEN with any q
 *   values        BF16, F16, F8, codes PER_TOKEN               all, or none
 *   groups        a whole row, or multiples of 32 (U2: 64)     all
 *   memory        rows of, in strides of and from addresses    any
 *                 that are multiples of 16 bytes
 *
 * q meets keys of codes in integers as on the CPU, in both modes. Products of floats are exact, their sums f32. What
 * differs from the CPU are exponentials: tiles multiply them, times the tokens' scales, as bf16 with values of BF16
 * (rounded by at most 2^-8 of each), as f16 with all others (2^-11 of each, or 2^-38 of the largest); the plain kernel
 * does not round them. The error of out is at most
 *
 *   2^-21 ((size / 16 + 4) |scale| max sum |q k| + 4 max |cap(x)| + max |slope (j - p)| + max |logit| + |lse| + 80)
 *
 * times max |v|, plus that rounding times max |v|, plus one unit in the last place of out_dtype; with |k| and |v| as on
 * the CPU. NaN and infinity are as on the CPU. Keys are cut at points that follow from the parameters, but for the
 * batch, and parts are merged in ascending order: results do not depend on other batch items, on which pages hold the
 * keys, or on what runs beside it.
 */
#ifndef GATUN_CUDA_DECODE_H
#define GATUN_CUDA_DECODE_H

#include <stdint.h>

#include "gatun/decode.h"
#include "gatun/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The workspace of gatun_cuda_decode on `device`: for each row of q and part of keys (256 or 1024 of them, or, of very
 * long tables, more) v_layout.size + 2 floats. v_layout may be null. Rows times parts are at most 2^31 - 1:
 * OUT_OF_RESOURCES otherwise, of gatun_cuda_decode, too.
 */
GATUN_API int32_t gatun_cuda_decode_workspace_bytes(const gatun_decode_params* params, const gatun_kv_layout* k_layout,
                                                    const gatun_kv_layout* v_layout, int32_t device, int64_t* bytes);

/*
 * As gatun_decode. All pointers to data are device memory; rows of logits have room for table_stride * page_size keys,
 * of which the first `length` are written.
 */
GATUN_API int32_t gatun_cuda_decode(const gatun_decode_params* params, const gatun_kv_layout* k_layout,
                                    const gatun_kv_layout* v_layout, const void* q, const void* k, const void* k_scales,
                                    const void* k_zeros, const void* v, const void* v_scales, const void* v_zeros,
                                    const int32_t* table, const int64_t* lengths, const float* slopes,
                                    const float* sinks, void* out, float* lse, float* logits, void* workspace,
                                    int64_t workspace_bytes, void* stream);

/*
 * Which kernels these select on `device` and why, where keys are cut, for a person. 2048 bytes always do. v_layout may
 * be null.
 */
GATUN_API int32_t gatun_cuda_decode_explain(const gatun_decode_params* params, const gatun_kv_layout* k_layout,
                                            const gatun_kv_layout* v_layout, int32_t device, char* text,
                                            int64_t capacity);

/*
 * The attention that keys get: gatun_decode_scores. A length counts as one within 0 and the least of scores_head_stride
 * and logits_row_stride, which both count, however many heads and queries there are.
 */
GATUN_API int32_t gatun_cuda_decode_scores(const gatun_decode_scores_params* params, const float* logits,
                                           const float* lse, const int64_t* lengths, float* scores, void* stream);

/*
 * Pages to attend to: gatun_decode_choose, with the same results. scores have table_stride pages for each head, chosen
 * has room for min(budget, table_stride). A length counts as one within 0..table_stride * page_size. To attend to them
 * pass chosen, chosen_lengths, table_heads = heads and table_stride = chosen_stride to gatun_cuda_decode. batch * heads
 * is below 2^31, UNSUPPORTED otherwise.
 */
GATUN_API int32_t gatun_cuda_decode_choose(const gatun_decode_choose_params* params, const float* scores,
                                           const int32_t* table, const int64_t* lengths, int32_t* chosen,
                                           int64_t* chosen_lengths, void* stream);

#ifdef __cplusplus
}
#endif

#endif
