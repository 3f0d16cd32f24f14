// The contract of vec.h on NEON: bytes, the numbers of 2, 4 and 6 bits in them, and their dot products.
#pragma once

#include "simd/vec.h"

namespace gatun::GATUN_ISA {

GATUN_INLINE Bytes as_bytes(I32 x) { return {as_u8(x.low), as_u8(x.high)}; }
GATUN_INLINE I32 as_lanes(Bytes x) { return {as_s32(x.low), as_s32(x.high)}; }
GATUN_INLINE Bytes set1_u8(uint8_t x) { return {vdupq_n_u8(x), vdupq_n_u8(x)}; }
GATUN_INLINE Bytes and_bytes(Bytes a, Bytes b) { return {vandq_u8(a.low, b.low), vandq_u8(a.high, b.high)}; }

GATUN_INLINE Bytes load_bytes(const uint8_t* p) { return {vld1q_u8(p), vld1q_u8(p + 16)}; }
GATUN_INLINE void store_bytes(uint8_t* p, Bytes x) {
  vst1q_u8(p, x.low);
  vst1q_u8(p + 16, x.high);
}
GATUN_INLINE void store_bytes_n(uint8_t* p, Bytes x, int n) {
  if (n < 16) return store_part(p, x.low, n);
  vst1q_u8(p, x.low);
  store_part(p + 16, x.high, n - 16);
}
template <int N, int I>
GATUN_INLINE void store_part(uint8_t* p, Bytes x) {
  static_assert(N == 1 || N == 2);
  if (N == 1) {
    store_bytes(p, x);
  } else {
    vst1q_u8(p, I == 0 ? x.low : x.high);
  }
}
GATUN_INLINE Bytes keep_bytes(Bytes x, int n) {
  const uint8x16_t index = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const uint8x16_t count = vdupq_n_u8(static_cast<uint8_t>(n));
  return and_bytes(x, {vcltq_u8(index, count), vcltq_u8(vaddq_u8(index, vdupq_n_u8(16)), count)});
}

// Bytes of each lane to its successors' places: byte i of the result is byte index[i] of 16, 0 where there is none.
GATUN_INLINE uint8x16_t move_bytes(uint8x16_t x, uint8x16_t index) { return vqtbl1q_u8(x, index); }
// Lanes of 32 bits shifted to the right by 0, N, 2 N and 3 N.
template <int N>
GATUN_INLINE int32x4_t shift_in_turns(uint32x4_t x) {
  const int32x4_t left = {0, -N, -2 * N, -3 * N};
  return as_s32(vshlq_u32(x, left));
}

// Each byte of four becomes two lanes.
GATUN_INLINE I32 load_u4_i32(const uint8_t* p) {
  uint32_t eight;
  std::memcpy(&eight, p, sizeof(eight));
  const uint8x8_t bytes = vreinterpret_u8_u32(vdup_n_u32(eight));
  return widen_u8(vzip1_u8(vand_u8(bytes, vdup_n_u8(15)), vshr_n_u8(bytes, 4)));
}
// Each byte of two becomes four lanes.
GATUN_INLINE I32 load_u2_i32(const uint8_t* p) {
  const I32 x = {shift_in_turns<2>(vdupq_n_u32(p[0])), shift_in_turns<2>(vdupq_n_u32(p[1]))};
  return and_i32(x, set1_i32(3));
}
// From 6 bytes.
GATUN_INLINE I32 load_u6_i32(const uint8_t* p) {
  uint64_t eight = 0;
  std::memcpy(&eight, p, 6);
  const uint8x16_t bytes = vreinterpretq_u8_u64(vdupq_n_u64(eight));
  const uint8x16_t low = {0, 1, 2, 255, 0, 1, 2, 255, 0, 1, 2, 255, 0, 1, 2, 255};
  const uint8x16_t high = {3, 4, 5, 255, 3, 4, 5, 255, 3, 4, 5, 255, 3, 4, 5, 255};
  const I32 x = {shift_in_turns<6>(vreinterpretq_u32_u8(move_bytes(bytes, low))),
                 shift_in_turns<6>(vreinterpretq_u32_u8(move_bytes(bytes, high)))};
  return and_i32(x, set1_i32(63));
}

GATUN_INLINE uint8x16_t pair_nibbles(Bytes x) {
  return vsliq_n_u8(vuzp1q_u8(x.low, x.high), vuzp2q_u8(x.low, x.high), 4);
}
GATUN_INLINE uint8x16_t join_crumbs(Bytes x) {
  const uint8x16_t pairs = vsliq_n_u8(vuzp1q_u8(x.low, x.high), vuzp2q_u8(x.low, x.high), 2);
  return vsliq_n_u8(vuzp1q_u8(pairs, pairs), vuzp2q_u8(pairs, pairs), 4);
}
GATUN_INLINE void store_nibbles(uint8_t* p, Bytes x) { vst1q_u8(p, pair_nibbles(x)); }
GATUN_INLINE void store_nibbles_n(uint8_t* p, Bytes x, int n) {
  store_part(p, pair_nibbles(keep_bytes(x, n)), (n + 1) / 2);
}
GATUN_INLINE void store_crumbs(uint8_t* p, Bytes x) { vst1_u8(p, vget_low_u8(join_crumbs(x))); }
GATUN_INLINE void store_crumbs_n(uint8_t* p, Bytes x, int n) {
  store_part(p, join_crumbs(keep_bytes(x, n)), (n + 3) / 4);
}
// Six bits of a byte each:
//   bytes          aaaaaa.. bbbbbb.. cccccc.. dddddd..    (the low bit first)
//   pairs          aaaaaabbbbbb....  ccccccdddddd....     by inserting the upper byte at bit 6
//   quads          aaaaaabbbbbbccccccdddddd........       by inserting the upper pair at bit 12; then three bytes of
//   four
// The first 24 bytes count.
GATUN_INLINE uint8x16_t join_sixes(uint8x16_t x) {
  const uint16x8_t bytes = vreinterpretq_u16_u8(x), pairs = vsliq_n_u16(bytes, vshrq_n_u16(bytes, 8), 6);
  const uint32x4_t quads = vreinterpretq_u32_u16(pairs);
  return vreinterpretq_u8_u32(vsliq_n_u32(quads, vshrq_n_u32(quads, 16), 12));
}
GATUN_INLINE Bytes join_sixes(Bytes x) {
  const uint8x16x2_t quads = {{join_sixes(x.low), join_sixes(x.high)}};
  const uint8x16_t low = {0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 16, 17, 18, 20};
  const uint8x16_t high = {21, 22, 24, 25, 26, 28, 29, 30, 255, 255, 255, 255, 255, 255, 255, 255};
  return {vqtbl2q_u8(quads, low), vqtbl2q_u8(quads, high)};
}
GATUN_INLINE void store_sixes(uint8_t* p, Bytes x) { store_bytes_n(p, join_sixes(x), 24); }
GATUN_INLINE void store_sixes_n(uint8_t* p, Bytes x, int n) {
  store_bytes_n(p, join_sixes(keep_bytes(x, n)), bytes_of_sixes(n));
}

GATUN_INLINE void stream_bytes(uint8_t* p, Bytes x) { store_bytes(p, x); }
GATUN_INLINE void stream_nibbles(uint8_t* p, Bytes x) { store_nibbles(p, x); }

GATUN_INLINE int16x8_t saturate_i16(I32 x) { return vqmovn_high_s32(vqmovn_s32(x.low), x.high); }
GATUN_INLINE uint8x16_t pack_i8(int16x8_t a, int16x8_t b) {
  return vreinterpretq_u8_s8(vqmovn_high_s16(vqmovn_s16(a), b));
}
GATUN_INLINE Bytes pack_i8(I32 a, I32 b, I32 c, I32 d) {
  return {pack_i8(saturate_i16(a), saturate_i16(b)), pack_i8(saturate_i16(c), saturate_i16(d))};
}
GATUN_INLINE uint8x16_t pack_u8(int16x8_t a, int16x8_t b) { return vqmovun_high_s16(vqmovun_s16(a), b); }
GATUN_INLINE Bytes pack_u8(I32 a, I32 b, I32 c, I32 d) {
  return {pack_u8(saturate_i16(a), saturate_i16(b)), pack_u8(saturate_i16(c), saturate_i16(d))};
}
GATUN_INLINE Bytes min_u8(Bytes a, Bytes b) { return {vminq_u8(a.low, b.low), vminq_u8(a.high, b.high)}; }
GATUN_INLINE uint8x16_t max_i8(uint8x16_t a, uint8x16_t b) {
  return vreinterpretq_u8_s8(vmaxq_s8(vreinterpretq_s8_u8(a), vreinterpretq_s8_u8(b)));
}
GATUN_INLINE Bytes max_i8(Bytes a, Bytes b) { return {max_i8(a.low, b.low), max_i8(a.high, b.high)}; }
GATUN_INLINE Bytes sub_bytes(Bytes a, Bytes b) { return {vsubq_u8(a.low, b.low), vsubq_u8(a.high, b.high)}; }
GATUN_INLINE Bytes add_bytes(Bytes a, Bytes b) { return {vaddq_u8(a.low, b.low), vaddq_u8(a.high, b.high)}; }
GATUN_INLINE Bytes add_bytes(Bytes x, int amount) { return add_bytes(x, set1_u8(static_cast<uint8_t>(amount))); }

// All ones or zeros for the elements of E bytes of 16 whose bit is 1.
template <int E>
GATUN_INLINE uint8x16_t mask_of(uint32_t bits) {
  if constexpr (E == 4) {
    const uint32x4_t each = {1, 2, 4, 8};
    return vreinterpretq_u8_u32(vtstq_u32(vdupq_n_u32(bits), each));
  } else if constexpr (E == 2) {
    const uint16x8_t each = {1, 2, 4, 8, 16, 32, 64, 128};
    return vreinterpretq_u8_u16(vtstq_u16(vdupq_n_u16(static_cast<uint16_t>(bits)), each));
  } else {
    const uint8x16_t each = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
    const uint8x8_t low = vdup_n_u8(static_cast<uint8_t>(bits)), high = vdup_n_u8(static_cast<uint8_t>(bits >> 8));
    return vtstq_u8(vcombine_u8(low, high), each);
  }
}
template <int E>
GATUN_INLINE Bytes keep_bits(Bytes x, uint64_t bits) {
  const uint32_t low = static_cast<uint32_t>(bits);
  return and_bytes(x, {mask_of<E>(low), mask_of<E>(low >> 16 / E)});
}
// A byte for each lane.
GATUN_INLINE Bytes pack_masks(LaneMask a, LaneMask b, LaneMask c, LaneMask d) {
  const auto halves = [](LaneMask x) GATUN_INLINE_LAMBDA {
    return vreinterpretq_u8_u16(vuzp1q_u16(vreinterpretq_u16_u32(x.low), vreinterpretq_u16_u32(x.high)));
  };
  return {vuzp1q_u8(halves(a), halves(b)), vuzp1q_u8(halves(c), halves(d))};
}
GATUN_INLINE Bytes add_where_less(const F32 (&a)[4], const F32 (&b)[4], Bytes x, int amount) {
  const Bytes less =
      pack_masks(less_lanes(a[0], b[0]), less_lanes(a[1], b[1]), less_lanes(a[2], b[2]), less_lanes(a[3], b[3]));
  return add_bytes(x, and_bytes(less, set1_u8(static_cast<uint8_t>(amount))));
}
GATUN_INLINE I32 add_where_less(F32 a, F32 b, I32 x, int amount) {
  const LaneMask less = less_lanes(a, b);
  return add_i32(x, and_i32({as_s32(less.low), as_s32(less.high)}, set1_i32(amount)));
}
GATUN_INLINE Bytes select_negative(const F32 (&x)[4], Bytes a, Bytes b) {
  LaneMask signs[4];
  for (int j = 0; j < 4; ++j) {
    const I32 sign = shift_right<31>(as_i32(x[j]));
    signs[j] = {as_u32(sign.low), as_u32(sign.high)};
  }
  const Bytes negative = pack_masks(signs[0], signs[1], signs[2], signs[3]);
  return {vbslq_u8(negative.low, a.low, b.low), vbslq_u8(negative.high, a.high, b.high)};
}

GATUN_INLINE Bytes low_nibbles(Bytes x) { return and_bytes(x, set1_u8(15)); }
GATUN_INLINE Bytes high_nibbles(Bytes x) { return {vshrq_n_u8(x.low, 4), vshrq_n_u8(x.high, 4)}; }
GATUN_INLINE Bytes broadcast4(const int8_t* p) {
  uint32_t four;
  std::memcpy(&four, p, sizeof(four));
  const uint8x16_t x = vreinterpretq_u8_u32(vdupq_n_u32(four));
  return {x, x};
}
GATUN_INLINE Bytes broadcast16(const uint8_t* p) { return {vld1q_u8(p), vld1q_u8(p)}; }
GATUN_INLINE Bytes lookup16(Bytes table, Bytes index) {
  return {move_bytes(table.low, index.low), move_bytes(table.high, index.high)};
}
template <int J>
GATUN_INLINE I32 byte_lane(Bytes x) {
  return and_i32(shift_right_logical<8 * J>(as_lanes(x)), set1_i32(255));
}
template <int J>
GATUN_INLINE I32 nibble_lane(Bytes x) {
  return and_i32(shift_right_logical<4 * J>(as_lanes(x)), set1_i32(15));
}
template <int kBits, int I>
GATUN_INLINE Bytes spread_bytes(I32 x) {
  if constexpr (kBits == 8) return as_bytes(x);
  // The byte that has a field to the field's place, shifted; what is above a field does not matter.
  const int8x16_t four = {0, -4, 0, -4, 0, -4, 0, -4, 0, -4, 0, -4, 0, -4, 0, -4};
  const int8x16_t two = {0, -2, -4, -6, 0, -2, -4, -6, 0, -2, -4, -6, 0, -2, -4, -6};
  constexpr uint8_t kFirst = kBits == 4 ? 2 * I % 4 : I % 4, kLast = kBits == 4 ? kFirst + 1 : kFirst;
  const uint8x16_t from = {kFirst,      kFirst,      kLast,      kLast,      kFirst + 4, kFirst + 4,
                           kLast + 4,   kLast + 4,   kFirst + 8, kFirst + 8, kLast + 8,  kLast + 8,
                           kFirst + 12, kFirst + 12, kLast + 12, kLast + 12};
  const auto spread = [&](int32x4_t lanes) GATUN_INLINE_LAMBDA {
    return vshlq_u8(move_bytes(as_u8(lanes), from), kBits == 4 ? four : two);
  };
  return {spread(x.low), spread(x.high)};
}

GATUN_INLINE int8x16_t as_s8(uint8x16_t x) { return vreinterpretq_s8_u8(x); }

#if defined(__ARM_FEATURE_DOTPROD)

// One instruction, written as such: around vdotq_s32 GCC 12 copies accumulators between registers.
GATUN_INLINE int32x4_t dot_i8_i8(int32x4_t sum, uint8x16_t w, uint8x16_t a) {
  __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(w), "w"(a));
  return sum;
}
GATUN_INLINE I32 dot_i8_i8(I32 sum, Bytes w, Bytes a) {
  return {dot_i8_i8(sum.low, w.low, a.low), dot_i8_i8(sum.high, w.high, a.high)};
}
inline constexpr bool kPairedDots = false;
GATUN_INLINE I32 dot_u4(I32 sum, Bytes w, Bytes a) { return dot_i8_i8(sum, w, a); }
GATUN_INLINE I32 dot_u4(I32 sum, Bytes w0, Bytes a0, Bytes w1, Bytes a1) { return dot_u4(dot_u4(sum, w0, a0), w1, a1); }

#else

// Pairs fit i16: 128 * 127 * 2 = 32,512; of nibbles, 15 * 127 * 2 = 3,810, and twice that for two dots.
GATUN_INLINE int32x4_t add_pairs(int32x4_t sum, int16x8_t low, int16x8_t high) {
  return vpadalq_s16(sum, vpaddq_s16(low, high));
}
GATUN_INLINE int32x4_t dot_i8_i8(int32x4_t sum, int8x16_t w, int8x16_t a) {
  return add_pairs(sum, vmull_s8(vget_low_s8(w), vget_low_s8(a)), vmull_high_s8(w, a));
}
GATUN_INLINE I32 dot_i8_i8(I32 sum, Bytes w, Bytes a) {
  return {dot_i8_i8(sum.low, as_s8(w.low), as_s8(a.low)), dot_i8_i8(sum.high, as_s8(w.high), as_s8(a.high))};
}
inline constexpr bool kPairedDots = true;
GATUN_INLINE I32 dot_u4(I32 sum, Bytes w, Bytes a) { return dot_i8_i8(sum, w, a); }
GATUN_INLINE int32x4_t dot_two(int32x4_t sum, int8x16_t w0, int8x16_t a0, int8x16_t w1, int8x16_t a1) {
  return add_pairs(sum, vmlal_s8(vmull_s8(vget_low_s8(w0), vget_low_s8(a0)), vget_low_s8(w1), vget_low_s8(a1)),
                   vmlal_high_s8(vmull_high_s8(w0, a0), w1, a1));
}
GATUN_INLINE I32 dot_u4(I32 sum, Bytes w0, Bytes a0, Bytes w1, Bytes a1) {
  return {dot_two(sum.low, as_s8(w0.low), as_s8(a0.low), as_s8(w1.low), as_s8(a1.low)),
          dot_two(sum.high, as_s8(w0.high), as_s8(a0.high), as_s8(w1.high), as_s8(a1.high))};
}

#endif

#if defined(__ARM_FEATURE_MATMUL_INT8)

inline constexpr int kU8Bias = 0;
using U8Weights = Bytes;
GATUN_INLINE U8Weights prepare_u8(Bytes w) { return w; }
// As with sdot.
GATUN_INLINE int32x4_t dot_u8_i8(int32x4_t sum, uint8x16_t w, uint8x16_t a) {
  __asm__("usdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(w), "w"(a));
  return sum;
}
GATUN_INLINE I32 dot_u8(I32 sum, U8Weights w, Bytes a) {
  return {dot_u8_i8(sum.low, w.low, a.low), dot_u8_i8(sum.high, w.high, a.high)};
}

#else

// w - 128 is a signed byte.
inline constexpr int kU8Bias = 128;
struct U8Weights {
  Bytes lowered;
};
GATUN_INLINE U8Weights prepare_u8(Bytes w) {
  return {{veorq_u8(w.low, vdupq_n_u8(128)), veorq_u8(w.high, vdupq_n_u8(128))}};
}
GATUN_INLINE I32 dot_u8(I32 sum, U8Weights w, Bytes a) { return dot_i8_i8(sum, w.lowered, a); }

#endif

inline constexpr int kI8Bias = 0;
using I8Weights = Bytes;
GATUN_INLINE I8Weights prepare_i8(Bytes w) { return w; }
GATUN_INLINE I32 dot_i8(I32 sum, I8Weights w, Bytes x) { return dot_i8_i8(sum, w, x); }

}  // namespace gatun::GATUN_ISA
