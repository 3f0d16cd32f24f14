// What the entry points demand of their arguments.
#pragma once

#include "gatun/decode.h"

namespace gatun::decode_choose {

// Copies the caller's struct and checks all arguments. *longest: the largest length.
int32_t check_scores(const gatun_decode_scores_params* given, const float* logits, const float* lse,
                     const int64_t* lengths, const float* scores, gatun_decode_scores_params* params, int64_t* longest);

int32_t check_choose(const gatun_decode_choose_params* given, const float* scores, const int32_t* table,
                     const int64_t* lengths, const int32_t* chosen, const int64_t* chosen_lengths,
                     gatun_decode_choose_params* params, int64_t* longest);

}  // namespace gatun::decode_choose
