// Arithmetic and conversions for which C++ has no operator. Operators round to nearest, ties to even, and no compiler
// flag fuses them.
#pragma once

#include <cstdint>

#include "ptx/thread.h"

namespace gatun::cuda {

GATUN_DEVICE uint32_t as_bits(float x) { return __float_as_uint(x); }
GATUN_DEVICE float as_float(uint32_t bits) { return __uint_as_float(bits); }

GATUN_DEVICE float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }  // a * b + c, rounded once

GATUN_DEVICE float root(float x) { return __fsqrt_rn(x); }
GATUN_DEVICE double root(double x) { return __dsqrt_rn(x); }

// x, and not before this point: not moved out of a loop or a branch.
GATUN_DEVICE uint64_t keep_here(uint64_t x) {
  asm volatile("" : "+l"(x));
  return x;
}

// To the nearest integer, ties to even; saturates, NaN becomes 0.
GATUN_DEVICE int32_t round_to_i32(float x) { return __float2int_rn(x); }
GATUN_DEVICE float round_to_integer(float x) { return rintf(x); }

GATUN_DEVICE float round_down(float x) { return floorf(x); }
GATUN_DEVICE float absolute(float x) { return fabsf(x); }

// Of a number and a NaN the number; of two zeros either.
GATUN_DEVICE float max_number(float a, float b) { return fmaxf(a, b); }
GATUN_DEVICE float min_number(float a, float b) { return fminf(a, b); }
// NaN if one of both is.
GATUN_DEVICE float max_or_nan(float a, float b) {
  float y;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
}
GATUN_DEVICE float min_or_nan(float a, float b) {
  float y;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
  return y;
}

// 2^x and the logarithm to base 2, for NaN NaN; subnormal arguments and results are 0. Relative errors are at most
// 2^-22, of the logarithm between 1/2 and 2 the absolute one.
GATUN_DEVICE float exp2_fast(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
GATUN_DEVICE float log2_fast(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

GATUN_DEVICE float f16_to_f32(uint16_t x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
  return y;
}
// NaN becomes a quiet NaN, overflow infinity; so below.
GATUN_DEVICE uint16_t f32_to_f16(float x) {
  uint16_t y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
GATUN_DEVICE float bf16_to_f32(uint16_t x) { return as_float(static_cast<uint32_t>(x) << 16); }
GATUN_DEVICE uint16_t f32_to_bf16(float x) {
  uint16_t y;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}

// Two 16-bit floats in 32 bits, the first in the low half.
GATUN_DEVICE uint32_t pack_f16(float low, float high) {
  uint32_t y;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}
GATUN_DEVICE uint32_t pack_bf16(float low, float high) {
  uint32_t y;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
  return y;
}

// Two f8e4m3 in 16 bits, the first in the low half; what is beyond 448 becomes that, NaN 0x7f. From sm_89 on.
GATUN_DEVICE uint16_t pack_e4m3(float low, float high) {
  uint16_t y;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(y) : "f"(high), "f"(low));
  return y;
}

// a * b + c of two f16 or two bf16.
GATUN_DEVICE uint32_t fused_f16x2(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t y;
  asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(y) : "r"(a), "r"(b), "r"(c));
  return y;
}
GATUN_DEVICE uint32_t fused_bf16x2(uint32_t a, uint32_t b, uint32_t c) {
  uint32_t y;
  asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(y) : "r"(a), "r"(b), "r"(c));
  return y;
}

// x >> bits, and not as a part of something else: to be multiplied with 2^n it would be shifted by less and masked.
GATUN_DEVICE uint32_t shift_right(uint32_t x, int bits) {
  uint32_t y;
  asm("shr.u32 %0, %1, %2;" : "=r"(y) : "r"(x), "r"(bits));
  return y;
}

// Byte i of the result is byte `selector >> 4 i & 7` of the eight bytes of low and high, low's first; with bit 3 of
// that nibble set, its sign in all bits.
GATUN_DEVICE uint32_t pick_bytes(uint32_t low, uint32_t high, uint32_t selector) {
  uint32_t y;
  asm("prmt.b32 %0, %1, %2, %3;" : "=r"(y) : "r"(low), "r"(high), "r"(selector));
  return y;
}

// The place of the lowest 1 of a number that has one.
GATUN_DEVICE int lowest_bit(uint32_t x) { return __ffs(static_cast<int>(x)) - 1; }
GATUN_DEVICE int32_t count_ones(uint32_t bits) { return __popc(bits); }

// c + the sum of products of four bytes.
GATUN_DEVICE int32_t dot_i8x4(uint32_t a, uint32_t b, int32_t c) {
  int32_t y;
  asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(y) : "r"(a), "r"(b), "r"(c));
  return y;
}
GATUN_DEVICE int32_t dot_u8_i8x4(uint32_t a_unsigned, uint32_t b, int32_t c) {
  int32_t y;
  asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(y) : "r"(a_unsigned), "r"(b), "r"(c));
  return y;
}

}  // namespace gatun::cuda
