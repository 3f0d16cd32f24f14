// The table of kernels.inc, and the entry points with the tier as an argument.
#pragma once

#include "base/table.h"
#include "decode_choose/kernel.h"
#include "gatun/decode.h"

namespace gatun::decode_choose {

// from and to: F32.
KernelTable<Kernel> table();

// As in gatun/decode.h, with kernels of `limit` and lower tiers.
int32_t scores(Tier limit, const gatun_decode_scores_params* params, const float* logits, const float* lse,
               const int64_t* lengths, float* scores);

}  // namespace gatun::decode_choose
