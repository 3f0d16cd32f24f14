// Rows of bytes, on the contract of vec.h.
//
//   Bytes load_bytes_n(const uint8_t*, int n)      touches the first n bytes, 0 <= n <= 4 * kLanes; the rest is 0
//   void interleave4(const Bytes (&rows)[4], Bytes (&out)[4])
//                                                  byte 4 l + j of out[i] is byte interleaved_byte(i, l) of rows[j]
//   void interleave2(Bytes a, Bytes b, Bytes (&out)[2])
//                                                  words 2 l and 2 l + 1 of out[i] are word l / 4 * 8 + 4 * i + l % 4
//                                                  of a and of b; AVX-512 only
//   Bytes held(Bytes)                              the same, in a register: compilers load what is used twice twice
#pragma once

#include "simd/vec.h"

namespace gatun::GATUN_ISA {

constexpr int interleaved_byte(int i, int l) { return l / 4 * 16 + 4 * i + l % 4; }

#if defined(__AVX512F__)

GATUN_INLINE Bytes load_bytes_n(const uint8_t* p, int n) { return _mm512_maskz_loadu_epi8(first_bytes(n), p); }

GATUN_INLINE Bytes held(Bytes x) {
  asm("" : "+v"(x));
  return x;
}

GATUN_INLINE void interleave2(Bytes a, Bytes b, Bytes (&out)[2]) {
  out[0] = _mm512_unpacklo_epi16(a, b);
  out[1] = _mm512_unpackhi_epi16(a, b);
}

GATUN_INLINE void interleave4(const Bytes (&rows)[4], Bytes (&out)[4]) {
  const __m512i low01 = _mm512_unpacklo_epi8(rows[0], rows[1]), high01 = _mm512_unpackhi_epi8(rows[0], rows[1]);
  const __m512i low23 = _mm512_unpacklo_epi8(rows[2], rows[3]), high23 = _mm512_unpackhi_epi8(rows[2], rows[3]);
  out[0] = _mm512_unpacklo_epi16(low01, low23);
  out[1] = _mm512_unpackhi_epi16(low01, low23);
  out[2] = _mm512_unpacklo_epi16(high01, high23);
  out[3] = _mm512_unpackhi_epi16(high01, high23);
}

#else

GATUN_INLINE Bytes load_bytes_n(const uint8_t* p, int n) {
  uint8_t bytes[4 * kLanes] = {};
  std::memcpy(bytes, p, static_cast<size_t>(n));
  return load_bytes(bytes);
}

GATUN_INLINE Bytes held(Bytes x) { return x; }

#if defined(__AVX2__)

GATUN_INLINE void interleave4(const Bytes (&rows)[4], Bytes (&out)[4]) {
  const __m256i low01 = _mm256_unpacklo_epi8(rows[0], rows[1]), high01 = _mm256_unpackhi_epi8(rows[0], rows[1]);
  const __m256i low23 = _mm256_unpacklo_epi8(rows[2], rows[3]), high23 = _mm256_unpackhi_epi8(rows[2], rows[3]);
  out[0] = _mm256_unpacklo_epi16(low01, low23);
  out[1] = _mm256_unpackhi_epi16(low01, low23);
  out[2] = _mm256_unpacklo_epi16(high01, high23);
  out[3] = _mm256_unpackhi_epi16(high01, high23);
}

#elif defined(GATUN_NEON)

GATUN_INLINE void interleave4(uint8x16_t a, uint8x16_t b, uint8x16_t c, uint8x16_t d, uint8x16_t (&out)[4]) {
  const auto words = [](uint8x16_t x) GATUN_INLINE_LAMBDA { return vreinterpretq_u16_u8(x); };
  const uint16x8_t low01 = words(vzip1q_u8(a, b)), high01 = words(vzip2q_u8(a, b));
  const uint16x8_t low23 = words(vzip1q_u8(c, d)), high23 = words(vzip2q_u8(c, d));
  out[0] = vreinterpretq_u8_u16(vzip1q_u16(low01, low23));
  out[1] = vreinterpretq_u8_u16(vzip2q_u16(low01, low23));
  out[2] = vreinterpretq_u8_u16(vzip1q_u16(high01, high23));
  out[3] = vreinterpretq_u8_u16(vzip2q_u16(high01, high23));
}
GATUN_INLINE void interleave4(const Bytes (&rows)[4], Bytes (&out)[4]) {
  uint8x16_t low[4], high[4];
  interleave4(rows[0].low, rows[1].low, rows[2].low, rows[3].low, low);
  interleave4(rows[0].high, rows[1].high, rows[2].high, rows[3].high, high);
  for (int i = 0; i < 4; ++i) out[i] = {low[i], high[i]};
}

#else

GATUN_INLINE void interleave4(const Bytes (&rows)[4], Bytes (&out)[4]) {
  for (int i = 0; i < 4; ++i) {
    for (int b = 0; b < 4 * kLanes; ++b) out[i].byte[b] = rows[b % 4].byte[interleaved_byte(i, b / 4)];
  }
}

#endif
#endif

}  // namespace gatun::GATUN_ISA
