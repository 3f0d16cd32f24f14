// What the entry hands to a kernel, and the table of kernels. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace gatun::attention_merge {

struct Kernel {
  // out[c] = a_weight a[c] + b_weight b[c] for c < size; out may be a.
  void (*blend)(const void* a, float a_weight, const void* b, float b_weight, void* out, int64_t size);
};

#define GATUN_ATTENTION_MERGE_KERNEL(name, isa, dtype) \
  }                                                    \
  namespace gatun::isa {                               \
  extern const attention_merge::Kernel name;           \
  }                                                    \
  namespace gatun::attention_merge {
#include "attention_merge/kernels.inc"
#undef GATUN_ATTENTION_MERGE_KERNEL

}  // namespace gatun::attention_merge
