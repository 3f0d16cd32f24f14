// What the kernels of scores and of the choice of pages get. Plain data.
#pragma once

#include "gatun/decode.h"

namespace gatun::cuda::decode {

struct ScoresJob {
  gatun_decode_scores_params params;
  int64_t most_keys;
  const float *logits, *lse;
  const int64_t* lengths;
  float* scores;
};
int32_t run_scores(const ScoresJob& job, void* stream);

struct ChooseJob {
  gatun_decode_choose_params params;
  int64_t most_keys;
  const float* scores;
  const int32_t* table;
  const int64_t* lengths;
  int32_t* chosen;
  int64_t* chosen_lengths;
};
int32_t run_choose(const ChooseJob& job, void* stream);

}  // namespace gatun::cuda::decode
