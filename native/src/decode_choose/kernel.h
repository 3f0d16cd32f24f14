// What the entry hands to a kernel, and the table of kernels. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace gatun::decode_choose {

struct Kernel {
  // sums[j] += exp(logits[j] - lse) for j < count.
  void (*add_weights)(const float* logits, float lse, int64_t count, float* sums);
};

#define GATUN_DECODE_CHOOSE_KERNEL(name, isa) \
  }                                           \
  namespace gatun::isa {                      \
  extern const decode_choose::Kernel name;    \
  }                                           \
  namespace gatun::decode_choose {
#include "decode_choose/kernels.inc"
#undef GATUN_DECODE_CHOOSE_KERNEL

}  // namespace gatun::decode_choose
