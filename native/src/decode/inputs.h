// The arguments of gatun_decode that are read.
#pragma once

#include <cstdint>

namespace gatun::decode {

struct Inputs {
  const void *q, *k, *k_scales, *k_zeros, *v, *v_scales, *v_zeros;
  const int32_t* table;
  const int64_t* lengths;
  const float *slopes, *sinks;
};

}  // namespace gatun::decode
