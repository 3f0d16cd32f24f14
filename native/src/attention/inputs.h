// The arguments of gatun_attention that are read.
#pragma once

#include <cstdint>

namespace gatun::attention {

struct Inputs {
  const void *q, *k, *v;
  const int64_t *q_offsets, *kv_offsets;
  const float *slopes, *sinks, *correction;
  const int64_t* full_offsets;
  const int32_t* full_blocks;
  const int64_t* partial_offsets;
  const int32_t* partial_blocks;
  const uint8_t* partial_bits;
};

}  // namespace gatun::attention
