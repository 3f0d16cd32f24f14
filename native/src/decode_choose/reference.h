// Scores in double precision and the choice of pages, from the definitions in gatun/decode.h: what the entry points are
// compared with. Arguments are valid ones.
#pragma once

#include <vector>

#include "gatun/decode.h"

namespace gatun::decode_choose {

// What key j of a head gets, without what was there before; `magnitude`, if not null, the sum of |logit - lse| times
// the weight.
double reference_score(const gatun_decode_scores_params& params, const float* logits, const float* lse, int64_t item,
                       int64_t head, int64_t j, double* magnitude);

// Which pages of `pages` are kept, in ascending order.
std::vector<int64_t> reference_choice(const gatun_decode_choose_params& params, const float* scores, int64_t pages);

}  // namespace gatun::decode_choose
