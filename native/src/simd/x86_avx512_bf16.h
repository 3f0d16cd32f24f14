// What vec.h has in units of tier avx512vnni alone: dot products of bf16, and elements for them from codes.
#pragma once

#include "simd/vec.h"

namespace gatun::GATUN_ISA {

GATUN_INLINE F32 dot_bf16(F32 sum, Bytes a, Bytes b) {
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}

// Words 0, 32, 1, 33 .. 15, 47 of both.
GATUN_INLINE __m512i interleaving() {
  const __m512i even = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  return _mm512_or_si512(even, _mm512_slli_epi32(_mm512_add_epi32(even, _mm512_set1_epi32(32)), 16));
}
GATUN_INLINE Bytes interleave_first(Bytes a, Bytes b) { return _mm512_permutex2var_epi16(a, interleaving(), b); }
GATUN_INLINE Bytes interleave_last(Bytes a, Bytes b) {
  return _mm512_permutex2var_epi16(a, _mm512_add_epi16(interleaving(), _mm512_set1_epi16(16)), b);
}

GATUN_INLINE void store_bf16_of_two(uint16_t* p, F32 a, F32 b) {
  const __m512bh both = _mm512_cvtne2ps_pbh(b, a);
  std::memcpy(p, &both, sizeof(both));
}

template <int N>
GATUN_INLINE Bytes shift_words(Bytes x) {
  return _mm512_srli_epi16(x, N);
}
GATUN_INLINE Bytes lookup_words(Bytes table, Bytes index) { return _mm512_permutexvar_epi16(index, table); }
GATUN_INLINE Bytes flip_bits(Bytes x, Bytes bits, Bytes mask) { return _mm512_ternarylogic_epi32(x, bits, mask, 0x78); }
GATUN_INLINE Bytes evens_first(Bytes x) {
  return _mm512_shuffle_epi8(
      x, _mm512_broadcast_i32x4(_mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15)));
}
GATUN_INLINE Bytes join_first(Bytes low, Bytes high) { return _mm512_unpacklo_epi8(low, high); }
GATUN_INLINE Bytes join_last(Bytes low, Bytes high) { return _mm512_unpackhi_epi8(low, high); }

}  // namespace gatun::GATUN_ISA
