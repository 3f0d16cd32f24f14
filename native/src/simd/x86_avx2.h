// The contract of vec.h on AVX2 + FMA + F16C, and with AVX-VNNI where the unit's flags have it.
#pragma once

#include <immintrin.h>

#include "simd/lanes_of_masks.h"

namespace gatun::GATUN_ISA {

inline constexpr int kLanes = 8;
using F32 = __m256;
using I32 = __m256i;
using Bytes = __m256i;

// Lanes below n all ones, the others 0.
GATUN_INLINE __m256i first(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// There are no masked loads and stores of 8- and 16-bit elements: the _n forms go through 16 bytes on the stack.
template <typename T>
GATUN_INLINE __m128i load_part(const T* p, int n) {
  alignas(16) T part[16 / sizeof(T)] = {};
  for (int i = 0; i < n; ++i) part[i] = p[i];
  return _mm_load_si128(reinterpret_cast<const __m128i*>(part));
}
template <typename T>
GATUN_INLINE void store_part(T* p, __m128i x, int n) {
  alignas(16) T part[16 / sizeof(T)];
  _mm_store_si128(reinterpret_cast<__m128i*>(part), x);
  for (int i = 0; i < n; ++i) p[i] = part[i];
}
GATUN_INLINE __m128i load_128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
GATUN_INLINE __m128i load_64(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }

GATUN_INLINE F32 load_f32(const float* p) { return _mm256_loadu_ps(p); }
GATUN_INLINE F32 load_f32_n(const float* p, int n) { return _mm256_maskload_ps(p, first(n)); }
GATUN_INLINE void store_f32(float* p, F32 x) { _mm256_storeu_ps(p, x); }
GATUN_INLINE void store_f32_n(float* p, F32 x, int n) { _mm256_maskstore_ps(p, first(n), x); }

GATUN_INLINE F32 widen_bf16(__m128i x) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(x), 16)); }
GATUN_INLINE __m128i narrow_i32_to_16(__m256i x) {
  return _mm_packus_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
}
GATUN_INLINE __m128i narrow_bf16(F32 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return narrow_i32_to_16(_mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16));
}
GATUN_INLINE F32 load_bf16(const uint16_t* p) { return widen_bf16(load_128(p)); }
GATUN_INLINE F32 load_bf16_n(const uint16_t* p, int n) { return widen_bf16(load_part(p, n)); }
GATUN_INLINE void store_bf16(uint16_t* p, F32 x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow_bf16(x)); }
GATUN_INLINE void store_bf16_n(uint16_t* p, F32 x, int n) { store_part(p, narrow_bf16(x), n); }

GATUN_INLINE __m128i narrow_f16(F32 x) { return _mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
GATUN_INLINE F32 load_f16(const uint16_t* p) { return _mm256_cvtph_ps(load_128(p)); }
GATUN_INLINE F32 load_f16_n(const uint16_t* p, int n) { return _mm256_cvtph_ps(load_part(p, n)); }
GATUN_INLINE void store_f16(uint16_t* p, F32 x) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow_f16(x)); }
GATUN_INLINE void store_f16_n(uint16_t* p, F32 x, int n) { store_part(p, narrow_f16(x), n); }

GATUN_INLINE float f16_to_float(uint16_t x) { return _cvtsh_ss(x); }
GATUN_INLINE uint16_t float_to_f16(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }
GATUN_INLINE I32 load_i32(const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
GATUN_INLINE void store_i32(int32_t* p, I32 x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
GATUN_INLINE I32 load_u8_i32(const uint8_t* p) { return _mm256_cvtepu8_epi32(load_64(p)); }
GATUN_INLINE I32 load_u8_i32_n(const uint8_t* p, int n) { return _mm256_cvtepu8_epi32(load_part(p, n)); }
GATUN_INLINE I32 load_i8_i32(const int8_t* p) { return _mm256_cvtepi8_epi32(load_64(p)); }
GATUN_INLINE I32 load_i8_i32_n(const int8_t* p, int n) { return _mm256_cvtepi8_epi32(load_part(p, n)); }
GATUN_INLINE __m128i low_bytes(I32 x) {
  const __m256i low = _mm256_and_si256(x, _mm256_set1_epi32(255));
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
  return _mm_packus_epi16(words, words);
}
GATUN_INLINE void store_i8(int8_t* p, I32 x) { _mm_storel_epi64(reinterpret_cast<__m128i*>(p), low_bytes(x)); }
GATUN_INLINE void store_i8_n(int8_t* p, I32 x, int n) { store_part(p, low_bytes(x), n); }
// Each byte of the low 32 bits of x becomes two lanes.
GATUN_INLINE I32 widen_u4(__m128i x) {
  const __m256i bytes = _mm256_cvtepu8_epi64(x);
  return _mm256_and_si256(_mm256_or_si256(bytes, _mm256_slli_epi64(bytes, 28)), _mm256_set1_epi32(15));
}
GATUN_INLINE I32 load_u4_i32(const uint8_t* p) {
  int32_t eight;
  std::memcpy(&eight, p, sizeof(eight));
  return widen_u4(_mm_cvtsi32_si128(eight));
}
GATUN_INLINE Bytes load_bytes(const uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
// Each byte of the low 16 bits of x becomes four lanes.
GATUN_INLINE I32 widen_u2(__m128i x) {
  const __m256i bytes = _mm256_broadcastw_epi16(x);
  const __m256i shifts = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
  return _mm256_and_si256(_mm256_srlv_epi32(bytes, shifts), _mm256_set1_epi32(3));
}
GATUN_INLINE I32 load_u2_i32(const uint8_t* p) {
  int16_t eight;
  std::memcpy(&eight, p, sizeof(eight));
  return widen_u2(_mm_cvtsi32_si128(eight));
}

GATUN_INLINE void store_bytes(uint8_t* p, Bytes x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }
// Through the stack, as there are no masked stores of bytes.
GATUN_INLINE void store_bytes_n(uint8_t* p, Bytes x, int n) {
  alignas(32) uint8_t part[32];
  _mm256_store_si256(reinterpret_cast<__m256i*>(part), x);
  for (int i = 0; i < n; ++i) p[i] = part[i];
}
GATUN_INLINE Bytes keep_bytes(Bytes x, int n) {
  const __m256i index = _mm256_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                         22, 23, 24, 25, 26, 27, 28, 29, 30, 31);
  return _mm256_and_si256(x, _mm256_cmpgt_epi8(_mm256_set1_epi8(static_cast<char>(n)), index));
}
// Results of two bytes in 16 bits, of four bytes in 32 bits, side by side in the low part.
GATUN_INLINE __m128i pair_nibbles(Bytes x) {
  const __m256i words = _mm256_maddubs_epi16(x, _mm256_set1_epi16(0x1001));
  return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}
GATUN_INLINE __m128i join_crumbs(Bytes x) {
  const __m256i pairs = _mm256_maddubs_epi16(x, _mm256_set1_epi16(0x0401));
  return low_bytes(_mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00100001)));
}
GATUN_INLINE void store_nibbles(uint8_t* p, Bytes x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), pair_nibbles(x));
}
GATUN_INLINE void store_nibbles_n(uint8_t* p, Bytes x, int n) {
  store_part(p, pair_nibbles(keep_bytes(x, n)), (n + 1) / 2);
}
GATUN_INLINE void store_crumbs(uint8_t* p, Bytes x) { _mm_storel_epi64(reinterpret_cast<__m128i*>(p), join_crumbs(x)); }
GATUN_INLINE void store_crumbs_n(uint8_t* p, Bytes x, int n) {
  store_part(p, join_crumbs(keep_bytes(x, n)), (n + 3) / 4);
}
GATUN_INLINE void stream_f32(float* p, F32 x) { _mm256_stream_ps(p, x); }
GATUN_INLINE void stream_bytes(uint8_t* p, Bytes x) { _mm256_stream_si256(reinterpret_cast<__m256i*>(p), x); }
GATUN_INLINE void stream_nibbles(uint8_t* p, Bytes x) {
  _mm_stream_si128(reinterpret_cast<__m128i*>(p), pair_nibbles(x));
}
GATUN_INLINE void fence_streams() { _mm_sfence(); }

GATUN_INLINE F32 set1(float x) { return _mm256_set1_ps(x); }
GATUN_INLINE F32 zero_f32() { return _mm256_setzero_ps(); }
GATUN_INLINE F32 add(F32 a, F32 b) { return _mm256_add_ps(a, b); }
GATUN_INLINE F32 sub(F32 a, F32 b) { return _mm256_sub_ps(a, b); }
GATUN_INLINE F32 mul(F32 a, F32 b) { return _mm256_mul_ps(a, b); }
GATUN_INLINE F32 div(F32 a, F32 b) { return _mm256_div_ps(a, b); }
GATUN_INLINE F32 sqrt(F32 a) { return _mm256_sqrt_ps(a); }
GATUN_INLINE F32 fma(F32 a, F32 b, F32 c) { return _mm256_fmadd_ps(a, b, c); }
GATUN_INLINE F32 min(F32 a, F32 b) { return _mm256_min_ps(a, b); }
GATUN_INLINE F32 max(F32 a, F32 b) { return _mm256_max_ps(a, b); }
GATUN_INLINE F32 abs(F32 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
GATUN_INLINE F32 min_magnitude(F32 a, F32 b) { return min(abs(a), b); }
GATUN_INLINE F32 round_even(F32 a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
GATUN_INLINE F32 floor(F32 a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
GATUN_INLINE F32 select_less(F32 a, F32 b, F32 x, F32 y) {
  return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
GATUN_INLINE F32 keep_n(F32 a, int n) { return _mm256_and_ps(a, _mm256_castsi256_ps(first(n))); }
GATUN_INLINE F32 to_f32(I32 a) { return _mm256_cvtepi32_ps(a); }
GATUN_INLINE I32 round_to_i32(F32 a) { return _mm256_cvtps_epi32(a); }
GATUN_INLINE F32 scale_by_power(F32 x, I32 n) {
  return mul(x, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23)));
}

// A factor of 2^-127 has the bits of 0.
GATUN_INLINE F32 times_power(F32 x, F32 n) { return scale_by_power(x, round_to_i32(max(n, set1(-127.0f)))); }
GATUN_INLINE float reduce_add(F32 a) {
  const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
}
GATUN_INLINE float reduce_max(F32 a) {
  const __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 c = _mm_max_ps(b, _mm_movehl_ps(b, b));
  return _mm_cvtss_f32(_mm_max_ss(c, _mm_movehdup_ps(c)));
}

GATUN_INLINE I32 set1_i32(int32_t x) { return _mm256_set1_epi32(x); }
GATUN_INLINE I32 zero_i32() { return _mm256_setzero_si256(); }
GATUN_INLINE I32 add_i32(I32 a, I32 b) { return _mm256_add_epi32(a, b); }
GATUN_INLINE I32 sub_i32(I32 a, I32 b) { return _mm256_sub_epi32(a, b); }
GATUN_INLINE I32 mul_i32(I32 a, I32 b) { return _mm256_mullo_epi32(a, b); }
template <int N>
GATUN_INLINE I32 shift_right(I32 a) {
  return _mm256_srai_epi32(a, N);
}
template <int N>
GATUN_INLINE I32 shift_left(I32 a) {
  return _mm256_slli_epi32(a, N);
}
GATUN_INLINE I32 and_i32(I32 a, I32 b) { return _mm256_and_si256(a, b); }
GATUN_INLINE I32 or_i32(I32 a, I32 b) { return _mm256_or_si256(a, b); }
GATUN_INLINE F32 as_f32(I32 a) { return _mm256_castsi256_ps(a); }
GATUN_INLINE I32 as_i32(F32 a) { return _mm256_castps_si256(a); }
template <int N>
GATUN_INLINE I32 shift_right_logical(I32 a) {
  return _mm256_srli_epi32(a, N);
}
GATUN_INLINE I32 xor_i32(I32 a, I32 b) { return _mm256_xor_si256(a, b); }
GATUN_INLINE I32 max_u32(I32 a, I32 b) { return _mm256_max_epu32(a, b); }
GATUN_INLINE I32 and_or_i32(I32 a, I32 b, I32 c) { return or_i32(and_i32(a, b), c); }
GATUN_INLINE I32 select_bits(I32 mask, I32 a, I32 b) {
  return _mm256_or_si256(_mm256_and_si256(mask, a), _mm256_andnot_si256(mask, b));
}
GATUN_INLINE I32 select_n(I32 a, I32 b, int n) { return _mm256_blendv_epi8(b, a, first(n)); }
GATUN_INLINE int32_t reduce_max_i32(I32 a) {
  const __m128i b = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  const __m128i c = _mm_max_epi32(b, _mm_unpackhi_epi64(b, b));
  return _mm_cvtsi128_si32(_mm_max_epi32(c, _mm_shuffle_epi32(c, 1)));
}
GATUN_INLINE I32 min_i32(I32 a, I32 b) { return _mm256_min_epi32(a, b); }
GATUN_INLINE I32 max_i32(I32 a, I32 b) { return _mm256_max_epi32(a, b); }

// Packing leaves the four lanes that came from the same 128 bits of a, b, c and d together.
GATUN_INLINE Bytes quarters_in_order(__m256i x) {
  return _mm256_permutevar8x32_epi32(x, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
GATUN_INLINE Bytes pack_i8(I32 a, I32 b, I32 c, I32 d) {
  return quarters_in_order(_mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d)));
}
GATUN_INLINE Bytes pack_u8(I32 a, I32 b, I32 c, I32 d) {
  return quarters_in_order(_mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d)));
}

GATUN_INLINE Bytes set1_u8(uint8_t x) { return _mm256_set1_epi8(static_cast<char>(x)); }
GATUN_INLINE Bytes min_u8(Bytes a, Bytes b) { return _mm256_min_epu8(a, b); }

GATUN_INLINE Bytes max_i8(Bytes a, Bytes b) { return _mm256_max_epi8(a, b); }
template <int E>
GATUN_INLINE Bytes keep_bits(Bytes x, uint64_t bits) {
  const __m256i low = _mm256_set1_epi32(static_cast<int32_t>(bits));
  if (E == 4) {
    const __m256i each = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_and_si256(x, _mm256_cmpeq_epi32(_mm256_and_si256(low, each), each));
  }
  // Byte i, or both bytes of word i, get the byte that has bit i.
  const __m256i which = E == 1 ? _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303)
                               : _mm256_setr_epi64x(0, 0, 0x0101010101010101, 0x0101010101010101);
  const __m256i spread = _mm256_shuffle_epi8(low, which);
  if (E == 1) {
    const __m256i each = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201));
    return _mm256_and_si256(x, _mm256_cmpeq_epi8(_mm256_and_si256(spread, each), each));
  }
  const __m256i each = _mm256_set1_epi64x(0x0008000400020001);
  const __m256i both = _mm256_blend_epi32(each, _mm256_slli_epi16(each, 4), 0xcc);
  return _mm256_and_si256(x, _mm256_cmpeq_epi16(_mm256_and_si256(spread, both), both));
}

GATUN_INLINE Bytes low_nibbles(Bytes x) { return _mm256_and_si256(x, _mm256_set1_epi8(15)); }
GATUN_INLINE Bytes high_nibbles(Bytes x) { return _mm256_and_si256(_mm256_srli_epi16(x, 4), _mm256_set1_epi8(15)); }
GATUN_INLINE Bytes broadcast4(const int8_t* p) {
  int32_t four;
  std::memcpy(&four, p, sizeof(four));
  return _mm256_set1_epi32(four);
}
GATUN_INLINE I32 truncate_to_i32(F32 a) { return _mm256_cvttps_epi32(a); }
GATUN_INLINE F32 copy_sign(F32 magnitude, F32 sign) {
  const __m256 mask = _mm256_set1_ps(-0.0f);
  return _mm256_or_ps(_mm256_andnot_ps(mask, magnitude), _mm256_and_ps(mask, sign));
}
template <int N, int I>
GATUN_INLINE void store_part(uint8_t* p, Bytes x) {
  static_assert(N == 1 || N == 2);
  if (N == 1) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x);
  } else {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_extracti128_si256(x, I));
  }
}
GATUN_INLINE uint32_t lanes_mask(__m256i x) {
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(x)));
}
GATUN_INLINE uint32_t equal_mask(I32 a, I32 b) { return lanes_mask(_mm256_cmpeq_epi32(a, b)); }
GATUN_INLINE uint32_t greater_mask(I32 a, I32 b) { return lanes_mask(_mm256_cmpgt_epi32(a, b)); }
// Neighbours are folded together: what is left of x[l] moves to lane l.
GATUN_INLINE I32 reduce_max_each(const I32 (&x)[kLanes]) {
  __m256i four[2];  // lane 4 h + l % 4: the largest of half h of x[l]
  for (int i = 0; i < 2; ++i) {
    __m256i two[2];
    for (int j = 0; j < 2; ++j) {
      const __m256i a = x[4 * i + 2 * j], b = x[4 * i + 2 * j + 1];
      two[j] = _mm256_max_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    }
    four[i] = _mm256_max_epi32(_mm256_unpacklo_epi64(two[0], two[1]), _mm256_unpackhi_epi64(two[0], two[1]));
  }
  return _mm256_max_epi32(_mm256_permute2x128_si256(four[0], four[1], 0x20),
                          _mm256_permute2x128_si256(four[0], four[1], 0x31));
}
struct Table16 {
  __m256 low, high;
};
GATUN_INLINE Table16 load_table16(const float* p) { return {load_f32(p), load_f32(p + 8)}; }
GATUN_INLINE F32 lookup_f32(Table16 table, I32 index) {
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(table.low, index), _mm256_permutevar8x32_ps(table.high, index),
                          _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
}
struct Table32 {
  Table16 low, high;
};
GATUN_INLINE Table32 load_table32(const float* p) { return {load_table16(p), load_table16(p + 16)}; }
GATUN_INLINE F32 lookup_f32(const Table32& table, I32 index) {
  return _mm256_blendv_ps(lookup_f32(table.low, index), lookup_f32(table.high, index),
                          _mm256_castsi256_ps(_mm256_slli_epi32(index, 27)));
}
GATUN_INLINE F32 gather_f32(const float* table, I32 index) { return _mm256_i32gather_ps(table, index, 4); }
GATUN_INLINE Bytes broadcast16(const uint8_t* p) { return _mm256_broadcastsi128_si256(load_128(p)); }
GATUN_INLINE Bytes lookup16(Bytes table, Bytes index) { return _mm256_shuffle_epi8(table, index); }
template <int J>
GATUN_INLINE I32 byte_lane(Bytes x) {
  return _mm256_and_si256(_mm256_srli_epi32(x, 8 * J), _mm256_set1_epi32(255));
}
template <int J>
GATUN_INLINE I32 nibble_lane(Bytes x) {
  return _mm256_and_si256(_mm256_srli_epi32(x, 4 * J), _mm256_set1_epi32(15));
}

#if defined(__AVXVNNI__)

// A test build may take the EVEX encoding of the same instruction (GATUN_EVEX_VNNI in GatunIsa.cmake).
#if defined(GATUN_EVEX_VNNI)
#define GATUN_VNNI_ENCODING "%{evex%} "
#else
#define GATUN_VNNI_ENCODING "%{vex%} "
#endif

GATUN_INLINE I32 dot_u8_i8(I32 sum, Bytes w, Bytes a) {
  __asm__(GATUN_VNNI_ENCODING "vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(w), "x"(a));
  return sum;
}

GATUN_INLINE I32 dot_u4(I32 sum, Bytes w, Bytes a) { return dot_u8_i8(sum, w, a); }
inline constexpr bool kPairedDots = false;
GATUN_INLINE I32 dot_u4(I32 sum, Bytes w0, Bytes a0, Bytes w1, Bytes a1) { return dot_u4(dot_u4(sum, w0, a0), w1, a1); }

inline constexpr int kU8Bias = 0;
using U8Weights = Bytes;
GATUN_INLINE U8Weights prepare_u8(Bytes w) { return w; }
GATUN_INLINE I32 dot_u8(I32 sum, U8Weights w, Bytes a) { return dot_u8_i8(sum, w, a); }
inline constexpr int kI8Bias = 128;
using I8Weights = Bytes;
GATUN_INLINE I8Weights prepare_i8(Bytes w) { return w; }
GATUN_INLINE I32 dot_i8(I32 sum, I8Weights w, Bytes x) { return dot_u8_i8(sum, x, w); }

#else

// Pairs fit i16: 15 * 127 * 2 = 3,810, twice that for two dots, and 128 * 127 * 2 = 32,512 for magnitudes.
GATUN_INLINE I32 add_pairs(I32 sum, __m256i pairs) {
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
GATUN_INLINE I32 dot_u4(I32 sum, Bytes w, Bytes a) { return add_pairs(sum, _mm256_maddubs_epi16(w, a)); }
inline constexpr bool kPairedDots = true;
GATUN_INLINE I32 dot_u4(I32 sum, Bytes w0, Bytes a0, Bytes w1, Bytes a1) {
  return add_pairs(sum, _mm256_add_epi16(_mm256_maddubs_epi16(w0, a0), _mm256_maddubs_epi16(w1, a1)));
}

inline constexpr int kU8Bias = 128;
struct U8Weights {
  __m256i magnitude;
  __m256i lowered;  // w - 128, for its sign
};
GATUN_INLINE U8Weights prepare_i8(Bytes w) { return {_mm256_abs_epi8(w), w}; }
GATUN_INLINE U8Weights prepare_u8(Bytes w) { return prepare_i8(_mm256_xor_si256(w, _mm256_set1_epi8(-128))); }
GATUN_INLINE I32 dot_u8(I32 sum, U8Weights w, Bytes a) {
  return dot_u4(sum, w.magnitude, _mm256_sign_epi8(a, w.lowered));
}
inline constexpr int kI8Bias = 0;
using I8Weights = U8Weights;
GATUN_INLINE I32 dot_i8(I32 sum, const I8Weights& w, Bytes x) { return dot_u8(sum, w, x); }

#endif

GATUN_INLINE F32 repeat4(const float* p) { return _mm256_broadcast_ps(reinterpret_cast<const __m128*>(p)); }
template <int I>
GATUN_INLINE F32 repeat_lane(F32 x) {
  return _mm256_permute_ps(x, I * 0x55);
}
GATUN_INLINE Bytes as_bytes(I32 x) { return x; }
GATUN_INLINE I32 as_lanes(Bytes x) { return x; }
GATUN_INLINE Bytes sub_bytes(Bytes a, Bytes b) { return _mm256_sub_epi8(a, b); }
GATUN_INLINE I32 load_u16_i32(const uint16_t* p) {
  return _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
template <int N>
GATUN_INLINE F32 select_f32(const float* window, I32 index) {
  if constexpr (N == 16) return lookup_f32(load_table16(window), index);
  return lookup_f32(load_table32(window), index);
}
// A byte shuffle works on 16 bytes, and gives 0 where an index has its highest bit set.
inline constexpr int kLeastWindow = 16;
template <int N>
GATUN_INLINE Bytes select_bytes(const uint8_t* window, Bytes index) {
  if constexpr (N == 16) return lookup16(broadcast16(window), index);
  Bytes result = _mm256_setzero_si256();
  for (int i = 0; i < N; i += 16) {
    const Bytes within = _mm256_sub_epi8(index, _mm256_set1_epi8(static_cast<char>(i)));
    const Bytes or_none = _mm256_adds_epu8(within, _mm256_set1_epi8(0x70));
    result = _mm256_or_si256(result, lookup16(broadcast16(window + i), or_none));
  }
  return result;
}
template <int kBits, int I>
GATUN_INLINE Bytes spread_bytes(I32 x) {
  if constexpr (kBits == 8) return x;
  if constexpr (kBits == 4) {
    const I32 two = _mm256_and_si256(_mm256_srli_epi32(x, 16 * I), _mm256_set1_epi32(0xffff));
    const I32 apart = _mm256_and_si256(_mm256_or_si256(two, _mm256_slli_epi32(two, 8)), _mm256_set1_epi32(0xff00ff));
    return _mm256_or_si256(apart, _mm256_slli_epi32(apart, 4));
  }
  const I32 one = _mm256_and_si256(_mm256_srli_epi32(x, 8 * I), _mm256_set1_epi32(0xff));
  const I32 apart = _mm256_and_si256(_mm256_or_si256(one, _mm256_slli_epi32(one, 12)), _mm256_set1_epi32(0xf000f));
  return _mm256_or_si256(apart, _mm256_slli_epi32(apart, 6));
}

GATUN_INLINE I32 less_lanes(F32 a, F32 b) { return _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_LT_OQ)); }
GATUN_INLINE Bytes add_where_less(const F32 (&a)[4], const F32 (&b)[4], Bytes x, int amount) {
  const Bytes less =
      pack_i8(less_lanes(a[0], b[0]), less_lanes(a[1], b[1]), less_lanes(a[2], b[2]), less_lanes(a[3], b[3]));
  return _mm256_add_epi8(x, _mm256_and_si256(less, _mm256_set1_epi8(static_cast<char>(amount))));
}
GATUN_INLINE I32 add_where_less(F32 a, F32 b, I32 x, int amount) {
  return _mm256_add_epi32(x, _mm256_and_si256(less_lanes(a, b), _mm256_set1_epi32(amount)));
}
GATUN_INLINE Bytes select_negative(const F32 (&x)[4], Bytes a, Bytes b) {
  I32 signs[4];
  for (int j = 0; j < 4; ++j) signs[j] = shift_right<31>(as_i32(x[j]));
  return _mm256_blendv_epi8(b, a, pack_i8(signs[0], signs[1], signs[2], signs[3]));
}
GATUN_INLINE Bytes add_bytes(Bytes x, int amount) {
  return _mm256_add_epi8(x, _mm256_set1_epi8(static_cast<char>(amount)));
}

GATUN_INLINE void store_u16(uint16_t* p, I32 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow_i32_to_16(_mm256_and_si256(x, _mm256_set1_epi32(0xffff))));
}
template <int X>
GATUN_INLINE I32 swap_lanes(I32 x) {
  return _mm256_shuffle_epi32(x, X == 1 ? 0xb1 : 0x4e);
}
GATUN_INLINE I32 compress_lanes(I32 x, uint32_t mask) {
  return _mm256_permutevar8x32_epi32(x, _mm256_cvtepu8_epi32(load_64(kLanesOfMasks.lane[mask])));
}

GATUN_INLINE F32 widen_f16(I32 x) { return _mm256_cvtph_ps(narrow_i32_to_16(x)); }

// From 6 bytes.
GATUN_INLINE I32 widen_u6(__m128i x) {
  const __m256i quads = _mm256_shuffle_epi8(
      _mm256_broadcastsi128_si256(x), _mm256_setr_epi32(0xff020100, 0xff020100, 0xff020100, 0xff020100, 0xff050403,
                                                        0xff050403, 0xff050403, 0xff050403));
  const __m256i shifts = _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 6, 12, 18));
  return _mm256_and_si256(_mm256_srlv_epi32(quads, shifts), _mm256_set1_epi32(63));
}
GATUN_INLINE I32 load_u6_i32(const uint8_t* p) {
  int64_t eight = 0;
  std::memcpy(&eight, p, 6);
  return widen_u6(_mm_cvtsi64_si128(eight));
}

// Six bits of a byte each:
//   bytes          aaaaaa.. bbbbbb.. cccccc.. dddddd..    (the low bit first)
//   pairs          aaaaaabbbbbb....  ccccccdddddd....     multiplied by 1 and 64, and added
//   quads          aaaaaabbbbbbccccccdddddd........       multiplied by 1 and 4096, and added; then three bytes of four
// The first 24 bytes count.
GATUN_INLINE __m256i join_sixes(Bytes x) {
  const __m256i quads =
      _mm256_madd_epi16(_mm256_maddubs_epi16(x, _mm256_set1_epi16(0x4001)), _mm256_set1_epi32(0x10000001));
  const __m256i three = _mm256_shuffle_epi8(
      quads, _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1)));
  return _mm256_permutevar8x32_epi32(three, _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 3, 7));
}
GATUN_INLINE void store_sixes(uint8_t* p, Bytes x) { store_bytes_n(p, join_sixes(x), 24); }
GATUN_INLINE void store_sixes_n(uint8_t* p, Bytes x, int n) {
  uint8_t bytes[4 * kLanes];
  store_bytes(bytes, x);
  for (int i = n; i < 4 * kLanes; ++i) bytes[i] = 0;
  store_bytes_n(p, join_sixes(load_bytes(bytes)), bytes_of_sixes(n));
}

}  // namespace gatun::GATUN_ISA

#include "simd/tables_in_memory.h"
