// The table of kernels.inc, and the entry points with the tier as an argument: as in gatun/attention_select.h, with
// kernels of `limit` and lower tiers.
#pragma once

#include "attention_select/arguments.h"
#include "attention_select/kernel.h"
#include "base/table.h"
#include "gatun/attention_select.h"

namespace gatun::attention_select {

// from: the dtype of q and k; to: F32.
KernelTable<Kernel> table();

int32_t scores(Tier limit, const Params* params, const Selection* selection, const void* q, const void* k,
               const int64_t* q_offsets, const int64_t* kv_offsets, const float* lse, float* scores);
int32_t choose(const Params* params, const Selection* selection, const int64_t* q_offsets, const int64_t* kv_offsets,
               const float* scores, const float* budgets, uint8_t* map);
int32_t lines(Tier limit, const Params* params, const Selection* selection, const void* q, const void* k,
              const int64_t* q_offsets, const int64_t* kv_offsets, float* columns, float* diagonals);
int32_t vertical_slash(const Params* params, const Selection* selection, const int64_t* q_offsets,
                       const int64_t* kv_offsets, const float* columns, const float* diagonals, uint8_t* map);
int32_t budgets(Tier limit, const Params* params, const Selection* selection, const void* q, const void* k,
                const int64_t* q_offsets, const int64_t* kv_offsets, float* budgets);
int32_t select(Tier limit, const Params* params, const Selection* selection, const float* budgets, const void* q,
               const void* k, const int64_t* q_offsets, const int64_t* kv_offsets, const float* lse_before,
               uint8_t* map);

}  // namespace gatun::attention_select
