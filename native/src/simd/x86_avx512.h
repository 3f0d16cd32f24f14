// The contract of vec.h on AVX-512 F, BW, DQ, VL, and with AVX-512 VNNI where the unit's flags have it.
#pragma once

#include <immintrin.h>

namespace gatun::GATUN_ISA {

inline constexpr int kLanes = 16;
using F32 = __m512;
using I32 = __m512i;
using Bytes = __m512i;

GATUN_INLINE __mmask16 first(int n) { return static_cast<__mmask16>((1u << n) - 1u); }

GATUN_INLINE F32 load_f32(const float* p) { return _mm512_loadu_ps(p); }
GATUN_INLINE F32 load_f32_n(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
GATUN_INLINE void store_f32(float* p, F32 x) { _mm512_storeu_ps(p, x); }
GATUN_INLINE void store_f32_n(float* p, F32 x, int n) { _mm512_mask_storeu_ps(p, first(n), x); }

GATUN_INLINE F32 widen_bf16(__m256i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16)); }
GATUN_INLINE F32 load_bf16(const uint16_t* p) {
  return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
GATUN_INLINE F32 load_bf16_n(const uint16_t* p, int n) { return widen_bf16(_mm256_maskz_loadu_epi16(first(n), p)); }
// In integers, since vcvtneps2bf16 flushes subnormals.
GATUN_INLINE __m256i narrow_bf16(F32 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16));
}
GATUN_INLINE void store_bf16(uint16_t* p, F32 x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow_bf16(x)); }
GATUN_INLINE void store_bf16_n(uint16_t* p, F32 x, int n) { _mm256_mask_storeu_epi16(p, first(n), narrow_bf16(x)); }

GATUN_INLINE F32 load_f16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
GATUN_INLINE F32 load_f16_n(const uint16_t* p, int n) { return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p)); }
GATUN_INLINE __m256i narrow_f16(F32 x) { return _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
GATUN_INLINE void store_f16(uint16_t* p, F32 x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow_f16(x)); }
GATUN_INLINE void store_f16_n(uint16_t* p, F32 x, int n) { _mm256_mask_storeu_epi16(p, first(n), narrow_f16(x)); }

GATUN_INLINE float f16_to_float(uint16_t x) { return _cvtsh_ss(x); }
GATUN_INLINE uint16_t float_to_f16(float x) { return _cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT); }
GATUN_INLINE I32 load_i32(const int32_t* p) { return _mm512_loadu_si512(p); }
GATUN_INLINE void store_i32(int32_t* p, I32 x) { _mm512_storeu_si512(p, x); }
GATUN_INLINE I32 load_u8_i32(const uint8_t* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
GATUN_INLINE I32 load_u8_i32_n(const uint8_t* p, int n) {
  return _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(first(n), p));
}
GATUN_INLINE I32 load_i8_i32(const int8_t* p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
GATUN_INLINE I32 load_i8_i32_n(const int8_t* p, int n) {
  return _mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(first(n), p));
}
GATUN_INLINE void store_i8(int8_t* p, I32 x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(x));
}
GATUN_INLINE void store_i8_n(int8_t* p, I32 x, int n) { _mm512_mask_cvtepi32_storeu_epi8(p, first(n), x); }
// Each byte of the low 64 bits of x becomes two lanes.
GATUN_INLINE I32 widen_u4(__m128i x) {
  const __m512i bytes = _mm512_cvtepu8_epi64(x);
  return _mm512_and_si512(_mm512_or_si512(bytes, _mm512_slli_epi64(bytes, 28)), _mm512_set1_epi32(15));
}
GATUN_INLINE I32 load_u4_i32(const uint8_t* p) {
  return widen_u4(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
GATUN_INLINE Bytes load_bytes(const uint8_t* p) { return _mm512_loadu_si512(p); }
// Each byte of the low 32 bits of x becomes four lanes.
GATUN_INLINE I32 widen_u2(__m128i x) {
  const __m512i bytes = _mm512_broadcastd_epi32(x);
  const __m512i shifts = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return _mm512_and_si512(_mm512_srlv_epi32(bytes, shifts), _mm512_set1_epi32(3));
}
GATUN_INLINE I32 load_u2_i32(const uint8_t* p) {
  int32_t sixteen;
  std::memcpy(&sixteen, p, sizeof(sixteen));
  return widen_u2(_mm_cvtsi32_si128(sixteen));
}

GATUN_INLINE __mmask64 first_bytes(int n) { return _bzhi_u64(~uint64_t{0}, static_cast<uint32_t>(n)); }
GATUN_INLINE void store_bytes(uint8_t* p, Bytes x) { _mm512_storeu_si512(p, x); }
GATUN_INLINE void store_bytes_n(uint8_t* p, Bytes x, int n) { _mm512_mask_storeu_epi8(p, first_bytes(n), x); }
GATUN_INLINE __m256i pair_nibbles(Bytes x) {
  return _mm512_cvtepi16_epi8(_mm512_maddubs_epi16(x, _mm512_set1_epi16(0x1001)));
}
GATUN_INLINE void store_nibbles(uint8_t* p, Bytes x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), pair_nibbles(x));
}
GATUN_INLINE void store_nibbles_n(uint8_t* p, Bytes x, int n) {
  const __m512i kept = _mm512_maskz_mov_epi8(first_bytes(n), x);
  _mm256_mask_storeu_epi8(p, static_cast<__mmask32>(first_bytes((n + 1) / 2)), pair_nibbles(kept));
}
GATUN_INLINE __m512i join_crumbs(Bytes x) {
  return _mm512_madd_epi16(_mm512_maddubs_epi16(x, _mm512_set1_epi16(0x0401)), _mm512_set1_epi32(0x00100001));
}
GATUN_INLINE void store_crumbs(uint8_t* p, Bytes x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(join_crumbs(x)));
}
GATUN_INLINE void store_crumbs_n(uint8_t* p, Bytes x, int n) {
  const __m512i kept = _mm512_maskz_mov_epi8(first_bytes(n), x);
  _mm512_mask_cvtepi32_storeu_epi8(p, static_cast<__mmask16>(first_bytes((n + 3) / 4)), join_crumbs(kept));
}
GATUN_INLINE void stream_f32(float* p, F32 x) { _mm512_stream_ps(p, x); }
GATUN_INLINE void stream_bytes(uint8_t* p, Bytes x) { _mm512_stream_si512(reinterpret_cast<__m512i*>(p), x); }
GATUN_INLINE void stream_nibbles(uint8_t* p, Bytes x) {
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), pair_nibbles(x));
}
GATUN_INLINE void fence_streams() { _mm_sfence(); }

GATUN_INLINE F32 set1(float x) { return _mm512_set1_ps(x); }
GATUN_INLINE F32 zero_f32() { return _mm512_setzero_ps(); }
GATUN_INLINE F32 add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
GATUN_INLINE F32 sub(F32 a, F32 b) { return _mm512_sub_ps(a, b); }
GATUN_INLINE F32 mul(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
GATUN_INLINE F32 div(F32 a, F32 b) { return _mm512_div_ps(a, b); }
GATUN_INLINE F32 sqrt(F32 a) { return _mm512_sqrt_ps(a); }
GATUN_INLINE F32 fma(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
GATUN_INLINE F32 min(F32 a, F32 b) { return _mm512_min_ps(a, b); }
GATUN_INLINE F32 max(F32 a, F32 b) { return _mm512_max_ps(a, b); }
GATUN_INLINE F32 abs(F32 a) { return _mm512_abs_ps(a); }
GATUN_INLINE F32 min_magnitude(F32 a, F32 b) {
  constexpr int kMinOfMagnitudes = 2, kNoSign = 2 << 2;
  return _mm512_range_ps(a, b, kMinOfMagnitudes | kNoSign);
}
GATUN_INLINE F32 round_even(F32 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
GATUN_INLINE F32 floor(F32 a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
GATUN_INLINE F32 select_less(F32 a, F32 b, F32 x, F32 y) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), y, x);
}
GATUN_INLINE F32 keep_n(F32 a, int n) { return _mm512_maskz_mov_ps(first(n), a); }
GATUN_INLINE F32 to_f32(I32 a) { return _mm512_cvtepi32_ps(a); }
GATUN_INLINE I32 round_to_i32(F32 a) { return _mm512_cvtps_epi32(a); }
GATUN_INLINE F32 scale_by_power(F32 x, I32 n) {
  return mul(x, _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23)));
}

// Subnormal results, of lanes that count as 0, would take Intel's processors about 150 cycles of microcode.
GATUN_INLINE F32 times_power(F32 x, F32 n) {
  return _mm512_maskz_scalef_ps(_mm512_cmp_ps_mask(n, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ), x, n);
}

GATUN_INLINE float reduce_add(F32 a) {
  const __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
GATUN_INLINE float reduce_max(F32 a) {
  const __m256 b = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
  const __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_max_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}

GATUN_INLINE I32 set1_i32(int32_t x) { return _mm512_set1_epi32(x); }
GATUN_INLINE I32 zero_i32() { return _mm512_setzero_si512(); }
GATUN_INLINE I32 add_i32(I32 a, I32 b) { return _mm512_add_epi32(a, b); }
GATUN_INLINE I32 sub_i32(I32 a, I32 b) { return _mm512_sub_epi32(a, b); }
GATUN_INLINE I32 mul_i32(I32 a, I32 b) { return _mm512_mullo_epi32(a, b); }
template <int N>
GATUN_INLINE I32 shift_right(I32 a) {
  return _mm512_srai_epi32(a, N);
}
template <int N>
GATUN_INLINE I32 shift_left(I32 a) {
  return _mm512_slli_epi32(a, N);
}
GATUN_INLINE I32 and_i32(I32 a, I32 b) { return _mm512_and_si512(a, b); }
GATUN_INLINE I32 or_i32(I32 a, I32 b) { return _mm512_or_si512(a, b); }
GATUN_INLINE F32 as_f32(I32 a) { return _mm512_castsi512_ps(a); }
GATUN_INLINE I32 as_i32(F32 a) { return _mm512_castps_si512(a); }
template <int N>
GATUN_INLINE I32 shift_right_logical(I32 a) {
  return _mm512_srli_epi32(a, N);
}
GATUN_INLINE I32 xor_i32(I32 a, I32 b) { return _mm512_xor_si512(a, b); }
GATUN_INLINE I32 max_u32(I32 a, I32 b) { return _mm512_max_epu32(a, b); }
GATUN_INLINE I32 and_or_i32(I32 a, I32 b, I32 c) { return _mm512_ternarylogic_epi32(a, b, c, 0xea); }
GATUN_INLINE I32 select_bits(I32 mask, I32 a, I32 b) { return _mm512_ternarylogic_epi32(mask, a, b, 0xca); }
GATUN_INLINE I32 select_n(I32 a, I32 b, int n) { return _mm512_mask_mov_epi32(b, first(n), a); }
GATUN_INLINE int32_t reduce_max_i32(I32 a) {
  const __m256i b = _mm256_max_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
  const __m128i c = _mm_max_epi32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));
  const __m128i d = _mm_max_epi32(c, _mm_unpackhi_epi64(c, c));
  return _mm_cvtsi128_si32(_mm_max_epi32(d, _mm_shuffle_epi32(d, 1)));
}
GATUN_INLINE I32 min_i32(I32 a, I32 b) { return _mm512_min_epi32(a, b); }
GATUN_INLINE I32 max_i32(I32 a, I32 b) { return _mm512_max_epi32(a, b); }

// Packing leaves the four lanes that came from the same 128 bits of a, b, c and d together.
GATUN_INLINE Bytes quarters_in_order(__m512i x) {
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), x);
}
GATUN_INLINE Bytes pack_i8(I32 a, I32 b, I32 c, I32 d) {
  return quarters_in_order(_mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)));
}
GATUN_INLINE Bytes pack_u8(I32 a, I32 b, I32 c, I32 d) {
  return quarters_in_order(_mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d)));
}

GATUN_INLINE Bytes set1_u8(uint8_t x) { return _mm512_set1_epi8(static_cast<char>(x)); }
GATUN_INLINE Bytes min_u8(Bytes a, Bytes b) { return _mm512_min_epu8(a, b); }

GATUN_INLINE Bytes max_i8(Bytes a, Bytes b) { return _mm512_max_epi8(a, b); }
template <int E>
GATUN_INLINE Bytes keep_bits(Bytes x, uint64_t bits) {
  if (E == 1) return _mm512_maskz_mov_epi8(bits, x);
  if (E == 2) return _mm512_maskz_mov_epi16(static_cast<__mmask32>(bits), x);
  return _mm512_maskz_mov_epi32(static_cast<__mmask16>(bits), x);
}

GATUN_INLINE Bytes low_nibbles(Bytes x) { return _mm512_and_si512(x, _mm512_set1_epi8(15)); }
GATUN_INLINE Bytes high_nibbles(Bytes x) { return _mm512_and_si512(_mm512_srli_epi16(x, 4), _mm512_set1_epi8(15)); }
GATUN_INLINE Bytes broadcast4(const int8_t* p) {
  int32_t four;
  std::memcpy(&four, p, sizeof(four));
  return _mm512_set1_epi32(four);
}
GATUN_INLINE I32 truncate_to_i32(F32 a) { return _mm512_cvttps_epi32(a); }
GATUN_INLINE F32 copy_sign(F32 magnitude, F32 sign) {
  constexpr int kFirstSelectsSecondOrThird = 0xca;
  return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_set1_epi32(INT32_MIN), _mm512_castps_si512(sign),
                                                       _mm512_castps_si512(magnitude), kFirstSelectsSecondOrThird));
}
template <int N, int I>
GATUN_INLINE void store_part(uint8_t* p, Bytes x) {
  static_assert(N == 1 || N == 2 || N == 4);
  if (N == 1) {
    _mm512_storeu_si512(p, x);
  } else if (N == 2) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_extracti64x4_epi64(x, N == 2 ? I : 0));
  } else {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_extracti32x4_epi32(x, I));
  }
}
GATUN_INLINE uint32_t equal_mask(I32 a, I32 b) { return _mm512_cmpeq_epi32_mask(a, b); }
GATUN_INLINE uint32_t greater_mask(I32 a, I32 b) { return _mm512_cmpgt_epi32_mask(a, b); }
// Neighbours are folded together: what is left of x[l] moves to lane l.
GATUN_INLINE I32 reduce_max_each(const I32 (&x)[kLanes]) {
  __m512i four[4];  // lane 4 q + l % 4: the largest of quarter q of x[l]
  for (int i = 0; i < 4; ++i) {
    __m512i two[2];
    for (int j = 0; j < 2; ++j) {
      const __m512i a = x[4 * i + 2 * j], b = x[4 * i + 2 * j + 1];
      two[j] = _mm512_max_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    }
    four[i] = _mm512_max_epi32(_mm512_unpacklo_epi64(two[0], two[1]), _mm512_unpackhi_epi64(two[0], two[1]));
  }
  const auto fold = [](__m512i a, __m512i b) __attribute__((always_inline)) {
    return _mm512_max_epi32(_mm512_shuffle_i32x4(a, b, 0x88), _mm512_shuffle_i32x4(a, b, 0xdd));
  };
  return fold(fold(four[0], four[1]), fold(four[2], four[3]));
}
using Table16 = __m512;
GATUN_INLINE Table16 load_table16(const float* p) { return load_f32(p); }
GATUN_INLINE F32 lookup_f32(Table16 table, I32 index) { return _mm512_permutexvar_ps(index, table); }
struct Table32 {
  __m512 low, high;
};
GATUN_INLINE Table32 load_table32(const float* p) { return {load_f32(p), load_f32(p + 16)}; }
GATUN_INLINE F32 lookup_f32(Table32 table, I32 index) { return _mm512_permutex2var_ps(table.low, index, table.high); }
GATUN_INLINE F32 gather_f32(const float* table, I32 index) { return _mm512_i32gather_ps(index, table, 4); }
GATUN_INLINE Bytes broadcast16(const uint8_t* p) {
  return _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
GATUN_INLINE Bytes lookup16(Bytes table, Bytes index) { return _mm512_shuffle_epi8(table, index); }
template <int J>
GATUN_INLINE I32 byte_lane(Bytes x) {
  return _mm512_and_si512(_mm512_srli_epi32(x, 8 * J), _mm512_set1_epi32(255));
}
template <int J>
GATUN_INLINE I32 nibble_lane(Bytes x) {
  return _mm512_and_si512(_mm512_srli_epi32(x, 4 * J), _mm512_set1_epi32(15));
}

#if defined(__AVX512VNNI__)

// One instruction, written as such: around _mm512_dpbusd_epi32 GCC 12 copies accumulators between registers.
GATUN_INLINE I32 dot_u8_i8(I32 sum, Bytes w, Bytes a) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(a));
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
GATUN_INLINE I32 add_pairs(I32 sum, __m512i pairs) {
  return _mm512_add_epi32(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
GATUN_INLINE I32 dot_u4(I32 sum, Bytes w, Bytes a) { return add_pairs(sum, _mm512_maddubs_epi16(w, a)); }
inline constexpr bool kPairedDots = true;
GATUN_INLINE I32 dot_u4(I32 sum, Bytes w0, Bytes a0, Bytes w1, Bytes a1) {
  return add_pairs(sum, _mm512_add_epi16(_mm512_maddubs_epi16(w0, a0), _mm512_maddubs_epi16(w1, a1)));
}

inline constexpr int kU8Bias = 128;
struct U8Weights {
  __m512i magnitude;
  __mmask64 negative;
};
GATUN_INLINE U8Weights prepare_i8(Bytes w) { return {_mm512_abs_epi8(w), _mm512_movepi8_mask(w)}; }
GATUN_INLINE U8Weights prepare_u8(Bytes w) { return prepare_i8(_mm512_xor_si512(w, _mm512_set1_epi8(-128))); }
GATUN_INLINE I32 dot_u8(I32 sum, U8Weights w, Bytes a) {
  return dot_u4(sum, w.magnitude, _mm512_mask_sub_epi8(a, w.negative, _mm512_setzero_si512(), a));
}
inline constexpr int kI8Bias = 0;
using I8Weights = U8Weights;
GATUN_INLINE I32 dot_i8(I32 sum, const I8Weights& w, Bytes x) { return dot_u8(sum, w, x); }

#endif

GATUN_INLINE Bytes add_where_less(const F32 (&a)[4], const F32 (&b)[4], Bytes x, int amount) {
  __mmask16 less[4];
  for (int j = 0; j < 4; ++j) less[j] = _mm512_cmp_ps_mask(a[j], b[j], _CMP_LT_OQ);
  const __mmask64 mask = _mm512_kunpackd(_mm512_kunpackw(less[3], less[2]), _mm512_kunpackw(less[1], less[0]));
  return _mm512_mask_add_epi8(x, mask, x, _mm512_set1_epi8(static_cast<char>(amount)));
}
GATUN_INLINE I32 add_where_less(F32 a, F32 b, I32 x, int amount) {
  return _mm512_mask_add_epi32(x, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), x, _mm512_set1_epi32(amount));
}
GATUN_INLINE Bytes select_negative(const F32 (&x)[4], Bytes a, Bytes b) {
  __mmask16 negative[4];
  for (int j = 0; j < 4; ++j) negative[j] = _mm512_movepi32_mask(as_i32(x[j]));
  return _mm512_mask_blend_epi8(
      _mm512_kunpackd(_mm512_kunpackw(negative[3], negative[2]), _mm512_kunpackw(negative[1], negative[0])), b, a);
}
GATUN_INLINE Bytes add_bytes(Bytes x, int amount) {
  return _mm512_add_epi8(x, _mm512_set1_epi8(static_cast<char>(amount)));
}

GATUN_INLINE F32 widen_f16(I32 x) { return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(x)); }

// From 12 bytes.
GATUN_INLINE I32 widen_u6(__m128i x) {
  const __m512i bytes = _mm512_broadcast_i32x4(x);
  const __m512i quads = _mm512_shuffle_epi8(
      bytes,
      _mm512_set_epi32(0xff0b0a09, 0xff0b0a09, 0xff0b0a09, 0xff0b0a09, 0xff080706, 0xff080706, 0xff080706, 0xff080706,
                       0xff050403, 0xff050403, 0xff050403, 0xff050403, 0xff020100, 0xff020100, 0xff020100, 0xff020100));
  const __m512i shifts = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 6, 12, 18));
  return _mm512_and_si512(_mm512_srlv_epi32(quads, shifts), _mm512_set1_epi32(63));
}
GATUN_INLINE I32 load_u6_i32(const uint8_t* p) { return widen_u6(_mm_maskz_loadu_epi8(first(12), p)); }

// Six bits of a byte each:
//   bytes          aaaaaa.. bbbbbb.. cccccc.. dddddd..    (the low bit first)
//   pairs          aaaaaabbbbbb....  ccccccdddddd....     multiplied by 1 and 64, and added
//   quads          aaaaaabbbbbbccccccdddddd........       multiplied by 1 and 4096, and added; then three bytes of four
// The first 48 bytes count.
GATUN_INLINE __m512i join_sixes(Bytes x) {
  const __m512i quads =
      _mm512_madd_epi16(_mm512_maddubs_epi16(x, _mm512_set1_epi16(0x4001)), _mm512_set1_epi32(0x10000001));
  const __m512i three = _mm512_shuffle_epi8(
      quads, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1)));
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 3, 7, 11, 15), three);
}
GATUN_INLINE void store_sixes(uint8_t* p, Bytes x) { store_bytes_n(p, join_sixes(x), 48); }
GATUN_INLINE void store_sixes_n(uint8_t* p, Bytes x, int n) {
  store_bytes_n(p, join_sixes(_mm512_maskz_mov_epi8(first_bytes(n), x)), bytes_of_sixes(n));
}

#if defined(__AVX512VBMI__)

// A permutation selects among 128 bytes, so a table of 256 takes two and a blend; a table of floats is four tables, one
// for each byte of an entry, and what they give is interleaved: 21 instructions for 64 floats.
struct Table128 {
  Bytes part[2];
};
GATUN_INLINE Table128 load_table128(const uint8_t* p) { return {{load_bytes(p), load_bytes(p + 64)}}; }
GATUN_INLINE Bytes lookup128(const Table128& table, Bytes index) {
  return _mm512_permutex2var_epi8(table.part[0], index, table.part[1]);
}
struct ByteTable {
  Table128 half[2];
};
GATUN_INLINE ByteTable load_byte_table(const uint8_t* p) { return {{load_table128(p), load_table128(p + 128)}}; }
GATUN_INLINE Bytes lookup_in_halves(const ByteTable& table, Bytes index, __mmask64 upper) {
  return _mm512_mask_blend_epi8(upper, lookup128(table.half[0], index), lookup128(table.half[1], index));
}
GATUN_INLINE Bytes lookup(const ByteTable& table, Bytes index) {
  return lookup_in_halves(table, index, _mm512_movepi8_mask(index));
}

GATUN_INLINE void split_words(const I32 (&x)[4], Bytes& low, Bytes& high) {
  alignas(64) static constexpr uint16_t kWords[32] = {0,  2,  4,  6,  8,  10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30,
                                                      32, 34, 36, 38, 40, 42, 44, 46, 48, 50, 52, 54, 56, 58, 60, 62};
  const __m512i words = _mm512_load_si512(kWords);
  const __m512i a = _mm512_permutex2var_epi16(x[0], words, x[1]), b = _mm512_permutex2var_epi16(x[2], words, x[3]);
  alignas(64) static constexpr uint8_t kBytes[64] = {
      0,  2,  4,  6,  8,  10, 12,  14,  16,  18,  20,  22,  24,  26,  28,  30,  32,  34,  36,  38, 40, 42,
      44, 46, 48, 50, 52, 54, 56,  58,  60,  62,  64,  66,  68,  70,  72,  74,  76,  78,  80,  82, 84, 86,
      88, 90, 92, 94, 96, 98, 100, 102, 104, 106, 108, 110, 112, 114, 116, 118, 120, 122, 124, 126};
  const __m512i bytes = _mm512_load_si512(kBytes);
  low = _mm512_permutex2var_epi8(a, bytes, b);
  high = _mm512_permutex2var_epi8(a, _mm512_or_si512(bytes, _mm512_set1_epi8(1)), b);
}
GATUN_INLINE Bytes increase_where_above(Bytes a, Bytes b, Bytes x) {
  return _mm512_mask_add_epi8(x, _mm512_cmpgt_epu8_mask(a, b), x, _mm512_set1_epi8(1));
}
GATUN_INLINE uint64_t equal_bytes(Bytes a, Bytes b) { return _mm512_cmpeq_epi8_mask(a, b); }

struct FloatTable {
  ByteTable plane[4];  // byte 0 of all entries, byte 1, ..
};
template <int kByte>
GATUN_INLINE __m512i plane_of(const float* p) {
  I32 bytes[4];
  for (int i = 0; i < 4; ++i) {
    bytes[i] = _mm512_and_si512(_mm512_srli_epi32(as_i32(load_f32(p + 16 * i)), 8 * kByte), _mm512_set1_epi32(255));
  }
  return pack_u8(bytes[0], bytes[1], bytes[2], bytes[3]);
}
GATUN_INLINE FloatTable load_float_table(const float* p) {
  FloatTable table;
  for (int i = 0; i < 4; ++i) {
    table.plane[0].half[i / 2].part[i % 2] = plane_of<0>(p + 64 * i);
    table.plane[1].half[i / 2].part[i % 2] = plane_of<1>(p + 64 * i);
    table.plane[2].half[i / 2].part[i % 2] = plane_of<2>(p + 64 * i);
    table.plane[3].half[i / 2].part[i % 2] = plane_of<3>(p + 64 * i);
  }
  return table;
}
// Interleaving takes four bytes of each plane from the same 128 bits: out[j] lane 4 q + i is that of byte
// 16 q + 4 j + i.
GATUN_INLINE void lookup_in_parts(const FloatTable& table, Bytes index, F32 (&out)[4]) {
  const __mmask64 upper = _mm512_movepi8_mask(index);
  __m512i byte[4];
  for (int i = 0; i < 4; ++i) byte[i] = lookup_in_halves(table.plane[i], index, upper);
  const __m512i low0 = _mm512_unpacklo_epi8(byte[0], byte[1]), high0 = _mm512_unpacklo_epi8(byte[2], byte[3]);
  const __m512i low1 = _mm512_unpackhi_epi8(byte[0], byte[1]), high1 = _mm512_unpackhi_epi8(byte[2], byte[3]);
  out[0] = as_f32(_mm512_unpacklo_epi16(low0, high0));
  out[1] = as_f32(_mm512_unpackhi_epi16(low0, high0));
  out[2] = as_f32(_mm512_unpacklo_epi16(low1, high1));
  out[3] = as_f32(_mm512_unpackhi_epi16(low1, high1));
}
GATUN_INLINE void lookup(const FloatTable& table, Bytes index, F32 (&out)[4]) {
  lookup_in_parts(table, quarters_in_order(index), out);
}
GATUN_INLINE void lookup_each4(const FloatTable& table, Bytes index, F32 (&out)[4]) {
  const __m128i transposed = _mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  lookup_in_parts(table, _mm512_shuffle_epi8(index, _mm512_broadcast_i32x4(transposed)), out);
}

#endif

}  // namespace gatun::GATUN_ISA

#if defined(__AVX512BF16__)
#include "simd/x86_avx512_bf16.h"
#endif
#include "simd/x86_avx512_windows.h"
#if !defined(__AVX512VBMI__)
#include "simd/tables_in_memory.h"
#endif
