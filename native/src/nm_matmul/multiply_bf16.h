// Arithmetic on pairs of bf16, for tiers with their dot product.
#pragma once

#include "nm_matmul/chunks.h"

namespace gatun::GATUN_ISA {

struct MultiplyBf16 {
  using Sum = F32;
  template <int kBits>
  static GATUN_INLINE F32 add(F32 sum, const uint8_t* window, Bytes places, Bytes w) {
    return dot_bf16(sum, select_words < kBits == 8 ? 64 : 32 > (reinterpret_cast<const uint16_t*>(window), places), w);
  }
  static GATUN_INLINE F32 add_dense(F32 sum, const uint8_t* x, Bytes w) {
    return dot_bf16(sum, broadcast4(reinterpret_cast<const int8_t*>(x)), w);
  }
  static GATUN_INLINE Bytes load(const uint8_t* p) { return load_bytes(p); }
  static GATUN_INLINE void store(uint8_t* p, Bytes w) { store_bytes(p, w); }
  static constexpr bool kInteger = false;
  static constexpr int kFewRows = 32;
  static constexpr int window_bytes(int bits) { return bits == 8 ? 128 : 64; }
};

}  // namespace gatun::GATUN_ISA
