// What the entry hands to a kernel, and the table of kernels. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace gatun::kv_cache {

// Of a dtype of values other than f32.
struct Kernel {
  void (*widen)(const void* from, float* to, int64_t count);
  // To nearest, ties to even; F8: beyond the largest value to that.
  void (*narrow)(const float* from, void* to, int64_t count);
};

#define GATUN_KV_CACHE_KERNEL(name, isa, dtype) \
  }                                             \
  namespace gatun::isa {                        \
  extern const kv_cache::Kernel name;           \
  }                                             \
  namespace gatun::kv_cache {
#include "kv_cache/kernels.inc"
#undef GATUN_KV_CACHE_KERNEL

}  // namespace gatun::kv_cache
