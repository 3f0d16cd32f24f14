// The contract of vec.h on AVX-512: elements by their indices, out of windows in memory and within vectors, for N:M
// sparsity.
#pragma once

#include "simd/vec.h"

namespace gatun::GATUN_ISA {

GATUN_INLINE void store_u16(uint16_t* p, I32 x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(x));
}
template <int X>
GATUN_INLINE I32 swap_lanes(I32 x) {
  return _mm512_shuffle_epi32(x, X == 1 ? _MM_PERM_CDAB : _MM_PERM_BADC);
}
// To a register, since to memory the instruction is microcoded on some processors.
GATUN_INLINE I32 compress_lanes(I32 x, uint32_t mask) {
  return _mm512_maskz_compress_epi32(static_cast<__mmask16>(mask), x);
}

GATUN_INLINE F32 repeat4(const float* p) { return _mm512_broadcast_f32x4(_mm_loadu_ps(p)); }
template <int I>
GATUN_INLINE F32 repeat_lane(F32 x) {
  return _mm512_permute_ps(x, I * 0x55);
}
GATUN_INLINE Bytes as_bytes(I32 x) { return x; }
GATUN_INLINE I32 as_lanes(Bytes x) { return x; }
GATUN_INLINE Bytes sub_bytes(Bytes a, Bytes b) { return _mm512_sub_epi8(a, b); }
GATUN_INLINE I32 load_u16_i32(const uint16_t* p) {
  return _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
template <int N>
GATUN_INLINE F32 select_f32(const float* window, I32 index) {
  if constexpr (N == 16) return _mm512_permutexvar_ps(index, load_f32(window));
  return _mm512_permutex2var_ps(load_f32(window), index, load_f32(window + 16));
}

#if defined(__AVX512VBMI__)

inline constexpr int kLeastWindow = 64;
template <int N>
GATUN_INLINE Bytes select_bytes(const uint8_t* window, Bytes index) {
  if constexpr (N == 64) return _mm512_permutexvar_epi8(index, load_bytes(window));
  return _mm512_permutex2var_epi8(load_bytes(window), index, load_bytes(window + 64));
}
template <int N>
GATUN_INLINE Bytes select_words(const uint16_t* window, Bytes index) {
  const uint8_t* p = reinterpret_cast<const uint8_t*>(window);
  if constexpr (N == 32) return _mm512_permutexvar_epi16(index, load_bytes(p));
  return _mm512_permutex2var_epi16(load_bytes(p), index, load_bytes(p + 64));
}
template <int kBits, int I>
GATUN_INLINE Bytes spread_bytes(I32 x) {
  constexpr uint64_t kFirst = 4 * kBits * I % 32, kSteps = 0x0101010101010101 * kFirst;
  constexpr uint64_t kLow = kBits | 2 * kBits << 8 | 3 * kBits << 16;
  constexpr uint64_t kShifts = kSteps + (kLow << 8) + (((kLow << 8) + 0x20202020) << 32);
  return _mm512_multishift_epi64_epi8(_mm512_set1_epi64(static_cast<int64_t>(kShifts)), x);
}

#else

// A byte shuffle works on 16 bytes, and gives 0 where an index has its highest bit set.
inline constexpr int kLeastWindow = 16;
template <int N>
GATUN_INLINE Bytes select_bytes(const uint8_t* window, Bytes index) {
  if constexpr (N == 16) return lookup16(broadcast16(window), index);
  Bytes result = _mm512_setzero_si512();
  for (int i = 0; i < N; i += 16) {
    const Bytes within = _mm512_sub_epi8(index, _mm512_set1_epi8(static_cast<char>(i)));
    const Bytes or_none = _mm512_adds_epu8(within, _mm512_set1_epi8(0x70));
    result = _mm512_or_si512(result, lookup16(broadcast16(window + i), or_none));
  }
  return result;
}
template <int kBits, int I>
GATUN_INLINE Bytes spread_bytes(I32 x) {
  if constexpr (kBits == 8) return x;
  if constexpr (kBits == 4) {
    const I32 two = _mm512_and_si512(_mm512_srli_epi32(x, 16 * I), _mm512_set1_epi32(0xffff));
    const I32 apart = _mm512_and_si512(_mm512_or_si512(two, _mm512_slli_epi32(two, 8)), _mm512_set1_epi32(0xff00ff));
    return _mm512_or_si512(apart, _mm512_slli_epi32(apart, 4));
  }
  const I32 one = _mm512_and_si512(_mm512_srli_epi32(x, 8 * I), _mm512_set1_epi32(0xff));
  const I32 apart = _mm512_and_si512(_mm512_or_si512(one, _mm512_slli_epi32(one, 12)), _mm512_set1_epi32(0xf000f));
  return _mm512_or_si512(apart, _mm512_slli_epi32(apart, 6));
}

#endif

}  // namespace gatun::GATUN_ISA
