// What the entry points demand of their arguments.
#pragma once

#include <algorithm>

#include "base/check.h"
#include "gatun/decode.h"

namespace gatun::decode_choose {

// Of a row of lengths that were checked; what another thread has changed since is no longer than the longest.
inline int64_t length_of(const int64_t* lengths, int64_t row, int64_t longest) {
  return std::clamp<int64_t>(__atomic_load_n(lengths + row, __ATOMIC_RELAXED), 0, longest);
}

// Copies the caller's struct and checks what it says alone, but strides.
int32_t read_scores(const gatun_decode_scores_params* given, gatun_decode_scores_params* params);
int32_t read_choose(const gatun_decode_choose_params* given, gatun_decode_choose_params* params);

// The arrays, of lengths up to `longest`.
inline constexpr int kScoresBuffers = 4, kChooseBuffers = 5;
int32_t check_scores_arrays(const gatun_decode_scores_params& params, int64_t longest, const float* logits,
                            const float* lse, const int64_t* lengths, const float* scores,
                            Buffer (&buffers)[kScoresBuffers]);
int32_t check_choose_arrays(const gatun_decode_choose_params& params, int64_t longest, const float* scores,
                            const int32_t* table, const int64_t* lengths, const int32_t* chosen,
                            const int64_t* chosen_lengths, Buffer (&buffers)[kChooseBuffers]);
// That a row of the table has room for.
int64_t most_tokens(const gatun_decode_choose_params& params);

// All of that, with the lengths. *longest: the largest length.
int32_t check_scores(const gatun_decode_scores_params* given, const float* logits, const float* lse,
                     const int64_t* lengths, const float* scores, gatun_decode_scores_params* params, int64_t* longest);

int32_t check_choose(const gatun_decode_choose_params* given, const float* scores, const int32_t* table,
                     const int64_t* lengths, const int32_t* chosen, const int64_t* chosen_lengths,
                     gatun_decode_choose_params* params, int64_t* longest);

}  // namespace gatun::decode_choose
