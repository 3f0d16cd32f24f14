// Float element types as template arguments: memory type, loads and stores of vec.h by one name. The types are named as
// the tables of kernels name them.
#pragma once

#include "simd/vec.h"

namespace gatun::GATUN_ISA {

struct f32 {
  using Type = float;
  static GATUN_INLINE F32 load(const Type* p) { return load_f32(p); }
  static GATUN_INLINE F32 load_n(const Type* p, int n) { return load_f32_n(p, n); }
  static GATUN_INLINE void store(Type* p, F32 x) { store_f32(p, x); }
  static GATUN_INLINE void store_n(Type* p, F32 x, int n) { store_f32_n(p, x, n); }
};

struct f16 {
  using Type = uint16_t;
  static GATUN_INLINE F32 load(const Type* p) { return load_f16(p); }
  static GATUN_INLINE F32 load_n(const Type* p, int n) { return load_f16_n(p, n); }
  static GATUN_INLINE void store(Type* p, F32 x) { store_f16(p, x); }
  static GATUN_INLINE void store_n(Type* p, F32 x, int n) { store_f16_n(p, x, n); }
};

struct bf16 {
  using Type = uint16_t;
  static GATUN_INLINE F32 load(const Type* p) { return load_bf16(p); }
  static GATUN_INLINE F32 load_n(const Type* p, int n) { return load_bf16_n(p, n); }
  static GATUN_INLINE void store(Type* p, F32 x) { store_bf16(p, x); }
  static GATUN_INLINE void store_n(Type* p, F32 x, int n) { store_bf16_n(p, x, n); }
};

// A number rounded to bf16, to nearest, ties to even; NaN may become a number.
GATUN_INLINE F32 round_to_bf16(F32 x) {
  const I32 bits = as_i32(x), odd = and_i32(shift_right<16>(bits), set1_i32(1));
  return as_f32(and_i32(add_i32(bits, add_i32(odd, set1_i32(0x7fff))), set1_i32(-0x10000)));
}

}  // namespace gatun::GATUN_ISA
