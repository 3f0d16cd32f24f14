// Merging the results over two sets of keys.
#pragma once

#include <cstdint>

#include "gatun/attention.h"

namespace gatun::cuda::attention {

struct MergeJob {
  gatun_attention_merge_params p;
  const void *a, *b;
  const float *a_lse, *b_lse;
  void* out;
  float* lse;
  int64_t rows;
  // Set by run_merge: how many lanes share a row, a power of two; whether pieces of eight elements are aligned.
  int32_t lanes, wide;
};

int32_t run_merge(const MergeJob& job, void* stream);

}  // namespace gatun::cuda::attention
