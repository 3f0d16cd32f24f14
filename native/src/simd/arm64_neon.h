// The contract of vec.h on NEON, and with SDOT (FEAT_DotProd) and USDOT (FEAT_I8MM) where the unit's flags have them.
//
// A vector is two of the 32 registers of 128 bits, so there are 16, as with AVX2, and tiles, squares and windows of
// that size fit. Each operation is two instructions that do not wait for each other.
#pragma once

#include <arm_neon.h>

namespace gatun::GATUN_ISA {

inline constexpr int kLanes = 8;
struct F32 {
  float32x4_t low, high;
};
struct I32 {
  int32x4_t low, high;
};
struct Bytes {
  uint8x16_t low, high;
};

GATUN_INLINE uint32x4_t as_u32(int32x4_t x) { return vreinterpretq_u32_s32(x); }
GATUN_INLINE uint32x4_t as_u32(float32x4_t x) { return vreinterpretq_u32_f32(x); }
GATUN_INLINE uint8x16_t as_u8(int32x4_t x) { return vreinterpretq_u8_s32(x); }
GATUN_INLINE int32x4_t as_s32(uint8x16_t x) { return vreinterpretq_s32_u8(x); }
GATUN_INLINE int32x4_t as_s32(uint32x4_t x) { return vreinterpretq_s32_u32(x); }

// Of two registers: lanes below n all ones, the others 0.
struct LaneMask {
  uint32x4_t low, high;
};
GATUN_INLINE LaneMask first(int n) {
  const int32x4_t lane = {0, 1, 2, 3}, count = vdupq_n_s32(n);
  return {vcltq_s32(lane, count), vcltq_s32(vaddq_s32(lane, vdupq_n_s32(4)), count)};
}

// There are no masked loads and stores: parts go through the stack. Functions of their own, so that loops whose last
// round is one of parts stay small enough to be unrolled.
inline __attribute__((noinline)) uint8x16_t load_some(const void* p, size_t bytes) {
  uint8_t part[16] = {};
  std::memcpy(part, p, bytes);
  return vld1q_u8(part);
}
inline __attribute__((noinline)) void store_some(void* p, uint8x16_t x, size_t bytes) {
  uint8_t part[16];
  vst1q_u8(part, x);
  std::memcpy(p, part, bytes);
}
template <typename T>
GATUN_INLINE uint8x16_t load_part(const T* p, int n) {
  return load_some(p, static_cast<size_t>(n) * sizeof(T));
}
template <typename T>
GATUN_INLINE void store_part(T* p, uint8x16_t x, int n) {
  store_some(p, x, static_cast<size_t>(n) * sizeof(T));
}

GATUN_INLINE F32 load_f32(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
inline __attribute__((noinline)) F32 load_some_f32(const float* p, int n) {
  const int low = n < 4 ? n : 4;
  return {vreinterpretq_f32_u8(load_part(p, low)), vreinterpretq_f32_u8(load_part(p + low, n - low))};
}
GATUN_INLINE F32 load_f32_n(const float* p, int n) { return n == kLanes ? load_f32(p) : load_some_f32(p, n); }
GATUN_INLINE void store_f32(float* p, F32 x) {
  vst1q_f32(p, x.low);
  vst1q_f32(p + 4, x.high);
}
inline __attribute__((noinline)) void store_some_f32(float* p, F32 x, int n) {
  const int low = n < 4 ? n : 4;
  store_part(p, vreinterpretq_u8_f32(x.low), low);
  store_part(p + low, vreinterpretq_u8_f32(x.high), n - low);
}
GATUN_INLINE void store_f32_n(float* p, F32 x, int n) { n == kLanes ? store_f32(p, x) : store_some_f32(p, x, n); }

// Of eight elements of 16 bits.
GATUN_INLINE uint16x8_t load_halves(const uint16_t* p) { return vld1q_u16(p); }
GATUN_INLINE uint16x8_t load_halves_n(const uint16_t* p, int n) {
  return n == kLanes ? load_halves(p) : vreinterpretq_u16_u8(load_part(p, n));
}
GATUN_INLINE void store_halves_n(uint16_t* p, uint16x8_t x, int n) {
  if (n == kLanes) return vst1q_u16(p, x);
  store_part(p, vreinterpretq_u8_u16(x), n);
}
// The low 16 bits of each lane.
GATUN_INLINE uint16x8_t low_halves(I32 x) {
  return vuzp1q_u16(vreinterpretq_u16_s32(x.low), vreinterpretq_u16_s32(x.high));
}

GATUN_INLINE F32 widen_bf16(uint16x8_t x) {
  return {vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(x), 16)), vreinterpretq_f32_u32(vshll_high_n_u16(x, 16))};
}
GATUN_INLINE uint32x4_t round_bf16(float32x4_t x) {
  const uint32x4_t bits = as_u32(x), odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
  const uint32x4_t rounded = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7fff)), odd);
  const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
  return vbslq_u32(vceqq_f32(x, x), rounded, quiet);
}
GATUN_INLINE uint16x8_t narrow_bf16(F32 x) {
  return vuzp2q_u16(vreinterpretq_u16_u32(round_bf16(x.low)), vreinterpretq_u16_u32(round_bf16(x.high)));
}
GATUN_INLINE F32 load_bf16(const uint16_t* p) { return widen_bf16(load_halves(p)); }
GATUN_INLINE F32 load_bf16_n(const uint16_t* p, int n) { return widen_bf16(load_halves_n(p, n)); }
GATUN_INLINE void store_bf16(uint16_t* p, F32 x) { vst1q_u16(p, narrow_bf16(x)); }
GATUN_INLINE void store_bf16_n(uint16_t* p, F32 x, int n) { store_halves_n(p, narrow_bf16(x), n); }

GATUN_INLINE F32 widen_f16(uint16x8_t x) {
  const float16x8_t halves = vreinterpretq_f16_u16(x);
  return {vcvt_f32_f16(vget_low_f16(halves)), vcvt_high_f32_f16(halves)};
}
GATUN_INLINE uint16x8_t narrow_f16(F32 x) {
  return vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(x.low), x.high));
}
GATUN_INLINE F32 load_f16(const uint16_t* p) { return widen_f16(load_halves(p)); }
GATUN_INLINE F32 load_f16_n(const uint16_t* p, int n) { return widen_f16(load_halves_n(p, n)); }
GATUN_INLINE void store_f16(uint16_t* p, F32 x) { vst1q_u16(p, narrow_f16(x)); }
GATUN_INLINE void store_f16_n(uint16_t* p, F32 x, int n) { store_halves_n(p, narrow_f16(x), n); }
GATUN_INLINE F32 widen_f16(I32 x) { return widen_f16(low_halves(x)); }

GATUN_INLINE float f16_to_float(uint16_t x) {
  return vgetq_lane_f32(vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(x))), 0);
}
GATUN_INLINE uint16_t float_to_f16(float x) {
  return vget_lane_u16(vreinterpret_u16_f16(vcvt_f16_f32(vdupq_n_f32(x))), 0);
}

GATUN_INLINE I32 load_i32(const int32_t* p) { return {vld1q_s32(p), vld1q_s32(p + 4)}; }
GATUN_INLINE void store_i32(int32_t* p, I32 x) {
  vst1q_s32(p, x.low);
  vst1q_s32(p + 4, x.high);
}
GATUN_INLINE I32 widen_u16(uint16x8_t x) { return {as_s32(vmovl_u16(vget_low_u16(x))), as_s32(vmovl_high_u16(x))}; }
GATUN_INLINE I32 widen_u8(uint8x8_t x) { return widen_u16(vmovl_u8(x)); }
GATUN_INLINE I32 widen_i8(int8x8_t x) {
  const int16x8_t words = vmovl_s8(x);
  return {vmovl_s16(vget_low_s16(words)), vmovl_high_s16(words)};
}
GATUN_INLINE I32 load_u8_i32(const uint8_t* p) { return widen_u8(vld1_u8(p)); }
GATUN_INLINE I32 load_u8_i32_n(const uint8_t* p, int n) { return widen_u8(vget_low_u8(load_part(p, n))); }
GATUN_INLINE I32 load_i8_i32(const int8_t* p) { return widen_i8(vld1_s8(p)); }
GATUN_INLINE I32 load_i8_i32_n(const int8_t* p, int n) {
  return widen_i8(vget_low_s8(vreinterpretq_s8_u8(load_part(p, n))));
}
GATUN_INLINE uint8x8_t low_bytes(I32 x) { return vmovn_u16(low_halves(x)); }
GATUN_INLINE void store_i8(int8_t* p, I32 x) { vst1_s8(p, vreinterpret_s8_u8(low_bytes(x))); }
GATUN_INLINE void store_i8_n(int8_t* p, I32 x, int n) {
  if (n == kLanes) return store_i8(p, x);
  store_part(p, vcombine_u8(low_bytes(x), vdup_n_u8(0)), n);
}
GATUN_INLINE I32 load_u16_i32(const uint16_t* p) { return widen_u16(load_halves(p)); }
GATUN_INLINE void store_u16(uint16_t* p, I32 x) { vst1q_u16(p, low_halves(x)); }

GATUN_INLINE void stream_f32(float* p, F32 x) { store_f32(p, x); }
// Plain stores: what orders threads orders these.
GATUN_INLINE void fence_streams() {}

GATUN_INLINE F32 set1(float x) { return {vdupq_n_f32(x), vdupq_n_f32(x)}; }
GATUN_INLINE F32 zero_f32() { return set1(0.0f); }
GATUN_INLINE F32 add(F32 a, F32 b) { return {vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high)}; }
GATUN_INLINE F32 sub(F32 a, F32 b) { return {vsubq_f32(a.low, b.low), vsubq_f32(a.high, b.high)}; }
GATUN_INLINE F32 mul(F32 a, F32 b) { return {vmulq_f32(a.low, b.low), vmulq_f32(a.high, b.high)}; }
GATUN_INLINE F32 div(F32 a, F32 b) { return {vdivq_f32(a.low, b.low), vdivq_f32(a.high, b.high)}; }
GATUN_INLINE F32 sqrt(F32 a) { return {vsqrtq_f32(a.low), vsqrtq_f32(a.high)}; }
GATUN_INLINE F32 fma(F32 a, F32 b, F32 c) {
  return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
}
// fmin and fminnm have another idea of NaN.
GATUN_INLINE float32x4_t min(float32x4_t a, float32x4_t b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
GATUN_INLINE float32x4_t max(float32x4_t a, float32x4_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
GATUN_INLINE F32 min(F32 a, F32 b) { return {min(a.low, b.low), min(a.high, b.high)}; }
GATUN_INLINE F32 max(F32 a, F32 b) { return {max(a.low, b.low), max(a.high, b.high)}; }
GATUN_INLINE F32 abs(F32 a) { return {vabsq_f32(a.low), vabsq_f32(a.high)}; }
GATUN_INLINE F32 min_magnitude(F32 a, F32 b) { return min(abs(a), b); }
GATUN_INLINE F32 round_even(F32 a) { return {vrndnq_f32(a.low), vrndnq_f32(a.high)}; }
GATUN_INLINE F32 floor(F32 a) { return {vrndmq_f32(a.low), vrndmq_f32(a.high)}; }
GATUN_INLINE LaneMask less_lanes(F32 a, F32 b) { return {vcltq_f32(a.low, b.low), vcltq_f32(a.high, b.high)}; }
GATUN_INLINE F32 select_less(F32 a, F32 b, F32 x, F32 y) {
  const LaneMask less = less_lanes(a, b);
  return {vbslq_f32(less.low, x.low, y.low), vbslq_f32(less.high, x.high, y.high)};
}
GATUN_INLINE F32 as_f32(I32 a) { return {vreinterpretq_f32_s32(a.low), vreinterpretq_f32_s32(a.high)}; }
GATUN_INLINE I32 as_i32(F32 a) { return {vreinterpretq_s32_f32(a.low), vreinterpretq_s32_f32(a.high)}; }
GATUN_INLINE F32 to_f32(I32 a) { return {vcvtq_f32_s32(a.low), vcvtq_f32_s32(a.high)}; }
GATUN_INLINE I32 round_to_i32(F32 a) { return {vcvtnq_s32_f32(a.low), vcvtnq_s32_f32(a.high)}; }
GATUN_INLINE I32 truncate_to_i32(F32 a) { return {vcvtq_s32_f32(a.low), vcvtq_s32_f32(a.high)}; }
GATUN_INLINE F32 copy_sign(F32 magnitude, F32 sign) {
  const uint32x4_t mask = vdupq_n_u32(0x80000000);
  return {vbslq_f32(mask, sign.low, magnitude.low), vbslq_f32(mask, sign.high, magnitude.high)};
}
GATUN_INLINE float reduce_add(F32 a) {
  const float32x4_t b = vaddq_f32(a.low, a.high), c = vaddq_f32(b, vextq_f32(b, b, 2));
  return vgetq_lane_f32(c, 0) + vgetq_lane_f32(c, 1);
}
GATUN_INLINE float reduce_max(F32 a) {
  const float32x4_t b = max(a.low, a.high), c = max(b, vextq_f32(b, b, 2));
  return vgetq_lane_f32(max(c, vextq_f32(c, c, 1)), 0);
}

GATUN_INLINE I32 set1_i32(int32_t x) { return {vdupq_n_s32(x), vdupq_n_s32(x)}; }
GATUN_INLINE I32 zero_i32() { return set1_i32(0); }
GATUN_INLINE I32 add_i32(I32 a, I32 b) { return {vaddq_s32(a.low, b.low), vaddq_s32(a.high, b.high)}; }
GATUN_INLINE I32 sub_i32(I32 a, I32 b) { return {vsubq_s32(a.low, b.low), vsubq_s32(a.high, b.high)}; }
GATUN_INLINE I32 mul_i32(I32 a, I32 b) { return {vmulq_s32(a.low, b.low), vmulq_s32(a.high, b.high)}; }
GATUN_INLINE I32 min_i32(I32 a, I32 b) { return {vminq_s32(a.low, b.low), vminq_s32(a.high, b.high)}; }
GATUN_INLINE I32 max_i32(I32 a, I32 b) { return {vmaxq_s32(a.low, b.low), vmaxq_s32(a.high, b.high)}; }
GATUN_INLINE I32 max_u32(I32 a, I32 b) {
  return {as_s32(vmaxq_u32(as_u32(a.low), as_u32(b.low))), as_s32(vmaxq_u32(as_u32(a.high), as_u32(b.high)))};
}
// Operators, since the intrinsics take no shift by 0.
template <int N>
GATUN_INLINE I32 shift_right(I32 a) {
  return {a.low >> N, a.high >> N};
}
template <int N>
GATUN_INLINE I32 shift_left(I32 a) {
  return {a.low << N, a.high << N};
}
template <int N>
GATUN_INLINE I32 shift_right_logical(I32 a) {
  return {as_s32(as_u32(a.low) >> N), as_s32(as_u32(a.high) >> N)};
}
GATUN_INLINE I32 and_i32(I32 a, I32 b) { return {vandq_s32(a.low, b.low), vandq_s32(a.high, b.high)}; }
GATUN_INLINE I32 or_i32(I32 a, I32 b) { return {vorrq_s32(a.low, b.low), vorrq_s32(a.high, b.high)}; }
GATUN_INLINE I32 xor_i32(I32 a, I32 b) { return {veorq_s32(a.low, b.low), veorq_s32(a.high, b.high)}; }
GATUN_INLINE I32 and_or_i32(I32 a, I32 b, I32 c) { return or_i32(and_i32(a, b), c); }
GATUN_INLINE I32 select_bits(I32 mask, I32 a, I32 b) {
  return {vbslq_s32(as_u32(mask.low), a.low, b.low), vbslq_s32(as_u32(mask.high), a.high, b.high)};
}
GATUN_INLINE I32 select_n(I32 a, I32 b, int n) {
  const LaneMask mask = first(n);
  return {vbslq_s32(mask.low, a.low, b.low), vbslq_s32(mask.high, a.high, b.high)};
}
GATUN_INLINE F32 keep_n(F32 a, int n) { return as_f32(select_n(as_i32(a), zero_i32(), n)); }
GATUN_INLINE int32_t reduce_max_i32(I32 a) { return vmaxvq_s32(vmaxq_s32(a.low, a.high)); }
GATUN_INLINE uint32_t lanes_mask(LaneMask x) {
  const uint32x4_t bit = {1, 2, 4, 8};
  return vaddvq_u32(vorrq_u32(vandq_u32(x.low, bit), vandq_u32(x.high, vshlq_n_u32(bit, 4))));
}
GATUN_INLINE uint32_t equal_mask(I32 a, I32 b) {
  return lanes_mask({vceqq_s32(a.low, b.low), vceqq_s32(a.high, b.high)});
}
GATUN_INLINE uint32_t greater_mask(I32 a, I32 b) {
  return lanes_mask({vcgtq_s32(a.low, b.low), vcgtq_s32(a.high, b.high)});
}
// Neighbours are folded together: what is left of x[l] moves to lane l.
GATUN_INLINE I32 reduce_max_each(const I32 (&x)[kLanes]) {
  int32x4_t two[4];
  for (int i = 0; i < 4; ++i) {
    two[i] = vpmaxq_s32(vmaxq_s32(x[2 * i].low, x[2 * i].high), vmaxq_s32(x[2 * i + 1].low, x[2 * i + 1].high));
  }
  return {vpmaxq_s32(two[0], two[1]), vpmaxq_s32(two[2], two[3])};
}

GATUN_INLINE F32 scale_by_power(F32 x, I32 n) { return mul(x, as_f32(shift_left<23>(add_i32(n, set1_i32(127))))); }
// A factor of 2^-127 has the bits of 0.
GATUN_INLINE F32 times_power(F32 x, F32 n) { return scale_by_power(x, round_to_i32(max(n, set1(-127.0f)))); }

}  // namespace gatun::GATUN_ISA

#include "simd/arm64_neon_bytes.h"
#include "simd/arm64_neon_windows.h"
#include "simd/tables_in_memory.h"
