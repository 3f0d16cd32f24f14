/*
 * Optimizer steps on a device: gatun/optimizer.h, whose params, rules, state formats and results these functions share,
 * bit for bit, but for which NaN a NaN is. gatun/cuda.h says what holds for every op.
 *
 * CUDA graphs: params are read when the function is called, so a captured step repeats the step count, learning rate
 * and seed of its capture. To step on, capture each step and put it into the graph that runs by cudaGraphExecUpdate,
 * which takes steps that differ in no more than these numbers and in addresses.
 */
#ifndef GATUN_CUDA_OPTIMIZER_H
#define GATUN_CUDA_OPTIMIZER_H

#include <stdint.h>

#include "gatun/optimizer.h"
#include "gatun/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 0 without max_update_norm; with it, at most 16 KiB. */
GATUN_API int32_t gatun_cuda_optimizer_workspace_bytes(const gatun_optimizer_params* params, int64_t* bytes);

/*
 * As gatun_optimizer_step, on arrays in device memory. p, g and states of any alignment of their elements are taken;
 * those aligned to 16 bytes, with a count that is a multiple of 4 where ADEMAMIX has two rows of state 1, are fastest.
 * Blocks of 128 or 256 elements are faster than others. The factor of max_update_norm is made and used on the device.
 * O(count); p, g and states are read twice with max_update_norm.
 */
GATUN_API int32_t gatun_cuda_optimizer_step(const gatun_optimizer_params* params, void* p, const void* g, void* state1,
                                            float* scales1, void* state2, float* scales2, void* workspace,
                                            int64_t workspace_bytes, void* stream);

/* At most 16 KiB. */
GATUN_API int32_t gatun_cuda_gradient_norm_workspace_bytes(int32_t dtype, int64_t count, int64_t* bytes);

/*
 * As gatun_gradient_norm, bit for bit. g [count] and sum_of_squares, one double that is written once the work is done,
 * are device memory.
 */
GATUN_API int32_t gatun_cuda_gradient_norm(int32_t dtype, int64_t count, const void* g, double* sum_of_squares,
                                           void* workspace, int64_t workspace_bytes, void* stream);

/*
 * Which kernels these params select on `device` and why, for a person. INVALID_ARGUMENT if `capacity` is too small;
 * 1024 bytes always do.
 */
GATUN_API int32_t gatun_cuda_optimizer_explain(const gatun_optimizer_params* params, int32_t device, char* text,
                                               int64_t capacity);

#ifdef __cplusplus
}
#endif

#endif
