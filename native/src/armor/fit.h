// The alternating fit of ARMOR on checked arguments.
#pragma once

#include "armor/blocks.h"
#include "gatun/armor.h"
#include "gemm/gemm.h"

namespace gatun::armor {

// w holds finite numbers, GATUN_INTERNAL otherwise; `core` [columns, depth] is S, dense: it comes in as zeros, and
// `mask` (gatun/prune.h) as the weights that S keeps at first. Throws std::bad_alloc before anything is computed; then,
// a status.
int32_t fit(const gemm::Kernel& kernel, const gatun_armor_fit_params& params, const float* w, const float* norms,
            float* left, float* core, uint8_t* mask, float* right, double* losses);

}  // namespace gatun::armor
