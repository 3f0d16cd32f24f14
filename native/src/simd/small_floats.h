// What small floats need beyond the contract of vec.h:
//
//   F32 widen_f16(I32)                   the low 16 bits of each lane as an f16, subnormals and NaN included; the other
//                                        bits are 0
//   I32 load_u6_i32(const uint8_t*)      four lanes in three bytes, the first in the lowest bits     and _n
//   void store_sixes(uint8_t*, Bytes)    the reverse, of bytes in 0..63; bits from byte n on are 0   and _n, n counting
//                                        bytes of the vector: 0 <= n <= 4 * kLanes
//
//   bytes          aaaaaa.. bbbbbb.. cccccc.. dddddd..    (the low bit first)
//   pairs          aaaaaabbbbbb....  ccccccdddddd....     multiplied by 1 and 64, and added
//   quads          aaaaaabbbbbbccccccdddddd........       multiplied by 1 and 4096, and added; then three bytes of four
#pragma once

#include "simd/vec.h"

namespace gatun::GATUN_ISA {

// Bytes that n codes of 6 bits take.
GATUN_INLINE int bytes_of_sixes(int n) { return (6 * n + 7) / 8; }

#if defined(__AVX512F__)

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
GATUN_INLINE I32 load_u6_i32_n(const uint8_t* p, int n) {
  return _mm512_maskz_mov_epi32(first(n), widen_u6(_mm_maskz_loadu_epi8(first(bytes_of_sixes(n)), p)));
}
GATUN_INLINE I32 load_u6_i32(const uint8_t* p) { return widen_u6(_mm_maskz_loadu_epi8(first(12), p)); }

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

#elif defined(__AVX2__)

GATUN_INLINE F32 widen_f16(I32 x) { return _mm256_cvtph_ps(narrow_i32_to_16(x)); }

// From 6 bytes.
GATUN_INLINE I32 widen_u6(__m128i x) {
  const __m256i quads = _mm256_shuffle_epi8(
      _mm256_broadcastsi128_si256(x), _mm256_setr_epi32(0xff020100, 0xff020100, 0xff020100, 0xff020100, 0xff050403,
                                                        0xff050403, 0xff050403, 0xff050403));
  const __m256i shifts = _mm256_broadcastsi128_si256(_mm_setr_epi32(0, 6, 12, 18));
  return _mm256_and_si256(_mm256_srlv_epi32(quads, shifts), _mm256_set1_epi32(63));
}
GATUN_INLINE I32 load_u6_i32_n(const uint8_t* p, int n) {
  return _mm256_and_si256(first(n), widen_u6(load_part(p, bytes_of_sixes(n))));
}
GATUN_INLINE I32 load_u6_i32(const uint8_t* p) {
  int64_t eight = 0;
  std::memcpy(&eight, p, 6);
  return widen_u6(_mm_cvtsi64_si128(eight));
}

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

#else

GATUN_INLINE F32 widen_f16(I32 x) {
  return lanes<F32>([=](int i) { return f16_to_f32(static_cast<uint16_t>(x.lane[i])); });
}
GATUN_INLINE I32 load_u6_i32_n(const uint8_t* p, int n) {
  uint32_t quad = 0;
  for (int i = 0; i < bytes_of_sixes(n); ++i) quad |= uint32_t{p[i]} << 8 * i;
  return lanes<I32>([=](int i) { return i < n ? static_cast<int32_t>(quad >> 6 * i & 63) : 0; });
}
GATUN_INLINE I32 load_u6_i32(const uint8_t* p) { return load_u6_i32_n(p, kLanes); }
GATUN_INLINE void store_sixes_n(uint8_t* p, Bytes x, int n) {
  for (int i = 0; i < n; i += 4) {
    uint32_t quad = 0;
    for (int j = i; j < n && j < i + 4; ++j) quad |= uint32_t{x.byte[j]} << 6 * (j - i);
    for (int byte = 0; byte < 3 && i / 4 * 3 + byte < bytes_of_sixes(n); ++byte) {
      p[i / 4 * 3 + byte] = static_cast<uint8_t>(quad >> 8 * byte);
    }
  }
}
GATUN_INLINE void store_sixes(uint8_t* p, Bytes x) { store_sixes_n(p, x, 4 * kLanes); }

#endif

}  // namespace gatun::GATUN_ISA
