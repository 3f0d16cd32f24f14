// The contract of vec.h on NEON: elements by their indices, out of tables, out of windows in memory and within vectors.
#pragma once

#include "simd/lanes_of_masks.h"
#include "simd/vec.h"

namespace gatun::GATUN_ISA {

// tbl looks bytes up in one to four registers and gives 0 beyond them; tbx leaves what it would set to 0.
GATUN_INLINE uint8x16x4_t load_64(const void* p) {
  const uint8_t* bytes = static_cast<const uint8_t*>(p);
  return {{vld1q_u8(bytes), vld1q_u8(bytes + 16), vld1q_u8(bytes + 32), vld1q_u8(bytes + 48)}};
}
// The bytes of 32-bit elements: 4 index + 0, 1, 2, 3.
GATUN_INLINE uint8x16_t bytes_of(int32x4_t index) {
  return as_u8(vmlaq_s32(vdupq_n_s32(0x03020100), index, vdupq_n_s32(0x04040404)));
}

struct Table16 {
  uint8x16x4_t entries;
};
GATUN_INLINE Table16 load_table16(const float* p) { return {load_64(p)}; }
GATUN_INLINE F32 lookup_f32(const Table16& table, I32 index) {
  return {vreinterpretq_f32_u8(vqtbl4q_u8(table.entries, bytes_of(index.low))),
          vreinterpretq_f32_u8(vqtbl4q_u8(table.entries, bytes_of(index.high)))};
}
// Of 128 bytes in two parts, index in 0..127: beyond 63 the first gives 0, and what is below 64 is large for the
// second.
GATUN_INLINE uint8x16_t lookup_of_two(const uint8x16x4_t& low, const uint8x16x4_t& high, uint8x16_t index) {
  return vqtbx4q_u8(vqtbl4q_u8(low, index), high, vsubq_u8(index, vdupq_n_u8(64)));
}
struct Table32 {
  uint8x16x4_t low, high;
};
GATUN_INLINE Table32 load_table32(const float* p) { return {load_64(p), load_64(p + 16)}; }
GATUN_INLINE F32 lookup_f32(const Table32& table, I32 index) {
  return {vreinterpretq_f32_u8(lookup_of_two(table.low, table.high, bytes_of(index.low))),
          vreinterpretq_f32_u8(lookup_of_two(table.low, table.high, bytes_of(index.high)))};
}
GATUN_INLINE float32x4_t gather_f32(const float* table, int32x4_t index) {
  float32x4_t x = vld1q_dup_f32(table + vgetq_lane_s32(index, 0));
  x = vld1q_lane_f32(table + vgetq_lane_s32(index, 1), x, 1);
  x = vld1q_lane_f32(table + vgetq_lane_s32(index, 2), x, 2);
  return vld1q_lane_f32(table + vgetq_lane_s32(index, 3), x, 3);
}
GATUN_INLINE F32 gather_f32(const float* table, I32 index) {
  return {gather_f32(table, index.low), gather_f32(table, index.high)};
}

template <int N>
GATUN_INLINE F32 select_f32(const float* window, I32 index) {
  if constexpr (N == 16) return lookup_f32(load_table16(window), index);
  return lookup_f32(load_table32(window), index);
}
inline constexpr int kLeastWindow = 16;
template <int N>
GATUN_INLINE Bytes select_bytes(const uint8_t* window, Bytes index) {
  if constexpr (N == 16) {
    return lookup16(broadcast16(window), index);
  } else if constexpr (N == 64) {
    const uint8x16x4_t table = load_64(window);
    return {vqtbl4q_u8(table, index.low), vqtbl4q_u8(table, index.high)};
  } else {
    static_assert(N == 128);
    const uint8x16x4_t low = load_64(window), high = load_64(window + 64);
    return {lookup_of_two(low, high, index.low), lookup_of_two(low, high, index.high)};
  }
}

template <int X>
GATUN_INLINE int32x4_t swap_lanes(int32x4_t x) {
  return X == 1 ? vrev64q_s32(x) : vextq_s32(x, x, 2);
}
template <int X>
GATUN_INLINE I32 swap_lanes(I32 x) {
  return {swap_lanes<X>(x.low), swap_lanes<X>(x.high)};
}
GATUN_INLINE I32 compress_lanes(I32 x, uint32_t mask) {
  const uint8x16x2_t bytes = {{as_u8(x.low), as_u8(x.high)}};
  const I32 lane = load_u8_i32(kLanesOfMasks.lane[mask]);
  return {as_s32(vqtbl2q_u8(bytes, bytes_of(lane.low))), as_s32(vqtbl2q_u8(bytes, bytes_of(lane.high)))};
}

GATUN_INLINE F32 repeat4(const float* p) { return {vld1q_f32(p), vld1q_f32(p)}; }
template <int I>
GATUN_INLINE F32 repeat_lane(F32 x) {
  return {vdupq_laneq_f32(x.low, I), vdupq_laneq_f32(x.high, I)};
}

}  // namespace gatun::GATUN_ISA
