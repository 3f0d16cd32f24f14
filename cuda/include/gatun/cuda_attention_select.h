/*
 * Selection of blocks on a device: gatun/attention_select.h, whose structs, kinds, definitions and layouts these
 * functions share. gatun/cuda.h says what holds for every op.
 *
 * q, k, offsets, lse, scores, budgets, sums of lines and maps are device memory, so that a stream may still be
 * computing them: what they contain is not checked before the work begins. Whatever they contain, nothing beyond the
 * arrays, as the params describe them, is read or written:
 *
 *   offsets   each counts as the nearest number in 0..length, and those that descend as an item without rows
 *   budgets   each counts as the nearest number in 0..1, NaN as 1
 *   blocks    of an item beyond params.query_blocks and selection.key_blocks are left out
 *
 * query_length and kv_length are at most 2^30, and batch * query_heads * query_blocks is below 2^31. By KEEP_MASS and
 * KEEP_BELOW_MASS, and in budgets, key_blocks (of budgets: those of kv_length) are at most 12288: UNSUPPORTED
 * otherwise.
 *
 * Given the same scores, sums or budgets, choices are those of the CPU, bit for bit. Scores, sums and budgets differ
 * from those of the CPU in last bits: q . k are exact products with f32 sums in an order of their own, and exponentials
 * have relative errors of 2^-21. Scores and sums of lines are at most 2^-100 off, or within a factor exp(2 e + 2^-16)
 * of the exact ones, with
 *
 *   e = 2^-23 (depth + 16) |scale| max sum |q k| + 2^-21 max |logit|
 *
 * depth being head_size, in ANTIDIAGONAL 2 head_size times stride, in MEANS head_size + query_block + key_block. PROXY
 * rounds the means of heads to the dtype of q, which adds 2^-8 + 2^-17 (BF16) or 2^-10 + 2^-20 (F16) times |scale| max
 * sum |q k| of the means to e. In MEANS the length of a row counts as 0 where its square is no normal f32.
 *
 * In MASS a logit of NaN or infinity makes NaN of the score of its block; else NaN and infinity are as on the CPU.
 * Results depend neither on other batch items nor on other heads (but those that PROXY averages), and are the same bits
 * each time.
 */
#ifndef GATUN_CUDA_ATTENTION_SELECT_H
#define GATUN_CUDA_ATTENTION_SELECT_H

#include <stdint.h>

#include "gatun/attention_select.h"
#include "gatun/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The workspace of gatun_cuda_attention_scores and gatun_cuda_attention_select on `device`: parts of about 64 MiB, one
 * after the other, of what is made of the products of q and k, and the means of blocks (MEANS) or of heads (PROXY).
 * UNSUPPORTED if there are no kernels for the device.
 *
 *   ragged  1 if the call has offsets, else 0
 */
GATUN_API int32_t gatun_cuda_attention_select_workspace_bytes(const gatun_attention_params* params,
                                                              const gatun_selection_params* selection, int32_t ragged,
                                                              int32_t device, int64_t* bytes);

/*
 * The workspace of gatun_cuda_attention_lines, _vertical_slash and _budgets: f32 logits of the last queries of as many
 * heads as fit into 64 MiB, but at least one; the sums of all heads; two bits for each of a head's keys. last_queries
 * is read for vertical_slash, too.
 */
GATUN_API int32_t gatun_cuda_attention_lines_workspace_bytes(const gatun_attention_params* params,
                                                             const gatun_selection_params* selection, int32_t ragged,
                                                             int32_t device, int64_t* bytes);

/*
 * The workspace of gatun_cuda_attention_selected: those of gatun_cuda_attention_select and gatun_cuda_attention, and 5
 * bytes for each block of the map.
 */
GATUN_API int32_t gatun_cuda_attention_selected_workspace_bytes(const gatun_attention_params* params,
                                                                const gatun_selection_params* selection, int32_t ragged,
                                                                int32_t device, int64_t* bytes);

/* gatun_attention_scores on a stream. All pointers but params and selection are device memory; so below. */
GATUN_API int32_t gatun_cuda_attention_scores(const gatun_attention_params* params,
                                              const gatun_selection_params* selection, const void* q, const void* k,
                                              const int64_t* q_offsets, const int64_t* kv_offsets, const float* lse,
                                              float* scores, void* workspace, int64_t workspace_bytes, void* stream);

/*
 * gatun_attention_choose on a stream. O(key_blocks) a row by FRACTION, O(key_blocks (log key_blocks)^2) by mass; a mass
 * is added up by one thread, block by block, as on the CPU.
 */
GATUN_API int32_t gatun_cuda_attention_choose(const gatun_attention_params* params,
                                              const gatun_selection_params* selection, const int64_t* q_offsets,
                                              const int64_t* kv_offsets, const float* scores, const float* budgets,
                                              uint8_t* map, void* stream);

/* gatun_attention_lines on a stream. Sums are of f32 in ascending order of queries. */
GATUN_API int32_t gatun_cuda_attention_lines(const gatun_attention_params* params,
                                             const gatun_selection_params* selection, const void* q, const void* k,
                                             const int64_t* q_offsets, const int64_t* kv_offsets, float* columns,
                                             float* diagonals, void* workspace, int64_t workspace_bytes, void* stream);

/* gatun_attention_vertical_slash on a stream. */
GATUN_API int32_t gatun_cuda_attention_vertical_slash(const gatun_attention_params* params,
                                                      const gatun_selection_params* selection, const int64_t* q_offsets,
                                                      const int64_t* kv_offsets, const float* columns,
                                                      const float* diagonals, uint8_t* map, void* workspace,
                                                      int64_t workspace_bytes, void* stream);

/* gatun_attention_budgets on a stream; the masses of blocks are rounded to f32. */
GATUN_API int32_t gatun_cuda_attention_budgets(const gatun_attention_params* params,
                                               const gatun_selection_params* selection, const void* q, const void* k,
                                               const int64_t* q_offsets, const int64_t* kv_offsets, float* budgets,
                                               void* workspace, int64_t workspace_bytes, void* stream);

/* gatun_attention_select on a stream. */
GATUN_API int32_t gatun_cuda_attention_select(const gatun_attention_params* params,
                                              const gatun_selection_params* selection, const float* budgets,
                                              const void* q, const void* k, const int64_t* q_offsets,
                                              const int64_t* kv_offsets, const float* lse_before, uint8_t* map,
                                              void* workspace, int64_t workspace_bytes, void* stream);

/*
 * gatun_attention_selected on a stream: selection, map, lists and gatun_cuda_attention, one after the other, without a
 * wait for what was chosen.
 */
GATUN_API int32_t gatun_cuda_attention_selected(const gatun_attention_params* params,
                                                const gatun_selection_params* selection, const float* budgets,
                                                const void* q, const void* k, const void* v, const int64_t* q_offsets,
                                                const int64_t* kv_offsets, const float* slopes, const float* sinks,
                                                const float* correction, const float* lse_before, void* out, float* lse,
                                                float* density, void* workspace, int64_t workspace_bytes, void* stream);

/*
 * Which kernels a selection uses on `device`, and in how many parts; for a person. INVALID_ARGUMENT if `capacity` is
 * too small; 2048 bytes always do.
 */
GATUN_API int32_t gatun_cuda_attention_select_explain(const gatun_attention_params* params,
                                                      const gatun_selection_params* selection, int32_t ragged,
                                                      int32_t device, char* text, int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
