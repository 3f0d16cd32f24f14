// Pruning straight from the definitions, by sorting and by trying everything: what the op is compared with.
#pragma once

#include <cstdint>
#include <vector>

#include "gatun/prune.h"

namespace gatun::prune {

// The scores of a matrix: f32, of checked arguments. `w` holds the weights' values, or with GIVEN the scores.
std::vector<float> reference_scores(const gatun_prune_params& params, const std::vector<float>& w, const float* norms);

// The mask for these scores.
std::vector<uint8_t> reference_mask(const gatun_prune_params& params, const std::vector<float>& scores);

// The mask after gatun_prune_regrow, of checked arguments.
std::vector<uint8_t> reference_regrow(const gatun_regrow_params& params, const std::vector<float>& w,
                                      const float* means, const float* variances, const float* norms,
                                      const std::vector<uint8_t>& mask);

}  // namespace gatun::prune
