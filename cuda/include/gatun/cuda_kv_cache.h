/*
 * Keys or values in a pool of pages on a device: gatun/kv_cache.h, whose structs, layouts and results these functions
 * share, bit for bit. gatun/cuda.h says what holds for every op.
 *
 * Slots are device memory, which a function that does not wait cannot look at. Kernels stay in the pool whatever they
 * are: a token whose slot is below 0 or not in the pool is left out. PER_CHANNEL, write and move look at the slot of
 * the first token of a group alone, the others have those that follow it; a group whose first slot is no multiple of
 * the group is left out.
 */
#ifndef GATUN_CUDA_KV_CACHE_H
#define GATUN_CUDA_KV_CACHE_H

#include <stdint.h>

#include "gatun/cuda_quantize.h"
#include "gatun/kv_cache.h"
#include "gatun/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Rows x [heads, tokens, size] into slots [tokens] of the pool, with the bytes of gatun_kv_cache_write.
 *
 *   faults   one struct of device memory, aligned to 8 bytes, written by every call: both -1 once the work is done,
 *            unless gatun_kv_cache_write would refuse the values; then what the slots of the call hold is unspecified.
 *            `value` is (head * tokens + token) * size + channel of the first value that is NaN or infinite and should
 *            become a code; `block` tells the first scale or zero point of finite values that leaves the range of f16:
 *            PER_TOKEN (head * tokens + token) * ceil(size / group) + channel / group, PER_CHANNEL (head * tokens +
 *            token) / group * size + channel.
 *
 * O(heads * tokens * size).
 */
GATUN_API int32_t gatun_cuda_kv_cache_write(const gatun_kv_rows_params* params, const gatun_kv_layout* layout,
                                            const void* x, const int64_t* slots, void* pages, void* scales, void* zeros,
                                            gatun_cuda_faults* faults, void* stream);

/* Slots [tokens] of the pool to x, as gatun_kv_cache_read. */
GATUN_API int32_t gatun_cuda_kv_cache_read(const gatun_kv_rows_params* params, const gatun_kv_layout* layout,
                                           const void* pages, const void* scales, const void* zeros,
                                           const int64_t* slots, void* x, void* stream);

/* What gatun_cuda_kv_cache_move needs: the rows and scales of all heads and tokens. */
GATUN_API int32_t gatun_cuda_kv_cache_move_workspace_bytes(const gatun_kv_layout* layout, int64_t tokens,
                                                           int64_t* bytes);

/*
 * Slots to slots of the same pool, all at once as it were: gatun_kv_cache_move. Everything is copied to the workspace,
 * then to where it belongs, so that from and to may have slots in common in any order. A token that is left out in
 * `from` or in `to` leaves its other slot as it is.
 */
GATUN_API int32_t gatun_cuda_kv_cache_move(const gatun_kv_layout* layout, int64_t tokens, const int64_t* from,
                                           const int64_t* to, void* pages, void* scales, void* zeros, void* workspace,
                                           int64_t workspace_bytes, void* stream);

/*
 * Which kernels write and read rows of `params` on `device`, for a person. INVALID_ARGUMENT if `capacity` is too small;
 * 1024 bytes always do.
 */
GATUN_API int32_t gatun_cuda_kv_cache_explain(const gatun_kv_rows_params* params, const gatun_kv_layout* layout,
                                              int32_t device, char* text, int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
