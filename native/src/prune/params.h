// Checks of parameters (sizes do not overflow then), of which scores need fewer.
#pragma once

#include <cstdint>

#include "gatun/prune.h"

namespace gatun::prune {

int32_t check_score_params(const gatun_prune_params* params);
int32_t check_params(const gatun_prune_params* params);

}  // namespace gatun::prune
