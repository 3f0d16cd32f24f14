// Look-ups of bytes in tables of 256 entries, and the counting of a search through them, on the contract of vec.h.
//
//   FloatTable load_float_table(const float* p)       256 entries; only a pointer to them where there is no instruction
//                                                     that permutes bytes of two registers, so p stays
//   void lookup(const FloatTable&, Bytes index, F32 (&out)[4])
//                                                     out[j] lane l = entry index[j * kLanes + l]
//   ByteTable load_byte_table(const uint8_t* p); Bytes lookup(ByteTable, Bytes index)
//   Bytes add_where_less(const F32 (&a)[4], const F32 (&b)[4], Bytes x, int amount)
//                                                     byte j * kLanes + l of x, plus `amount` if a[j] < b[j] in lane l
//   I32 add_where_less(F32 a, F32 b, I32 x, int amount)
//   Bytes add_bytes(Bytes, int): mod 256, to each
//   Bytes select_negative(const F32 (&x)[4], Bytes a, Bytes b)
//                                                     byte j * kLanes + l of a if x[j] has its sign bit set in lane l,
//                                                     otherwise of b
//
// With AVX-512 VBMI a permutation selects among 128 bytes, so a table of bytes takes two and a blend; a table of floats
// is four tables, one for each byte of an entry, and what they give is interleaved: 21 instructions for 64 floats.
#pragma once

#include "simd/vec.h"

namespace gatun::GATUN_ISA {

#if defined(__AVX512VBMI__)

struct ByteTable {
  __m512i part[4];
};
GATUN_INLINE ByteTable load_byte_table(const uint8_t* p) {
  return {{load_bytes(p), load_bytes(p + 64), load_bytes(p + 128), load_bytes(p + 192)}};
}
GATUN_INLINE __m512i lookup_in_halves(const ByteTable& table, Bytes index, __mmask64 upper) {
  return _mm512_mask_blend_epi8(upper, _mm512_permutex2var_epi8(table.part[0], index, table.part[1]),
                                _mm512_permutex2var_epi8(table.part[2], index, table.part[3]));
}
GATUN_INLINE Bytes lookup(const ByteTable& table, Bytes index) {
  return lookup_in_halves(table, index, _mm512_movepi8_mask(index));
}

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
    table.plane[0].part[i] = plane_of<0>(p + 64 * i);
    table.plane[1].part[i] = plane_of<1>(p + 64 * i);
    table.plane[2].part[i] = plane_of<2>(p + 64 * i);
    table.plane[3].part[i] = plane_of<3>(p + 64 * i);
  }
  return table;
}
// Interleaving takes four bytes of each plane from the same 128 bits, so the index is put into that order first.
GATUN_INLINE void lookup(const FloatTable& table, Bytes index, F32 (&out)[4]) {
  const __m512i x = quarters_in_order(index);
  const __mmask64 upper = _mm512_movepi8_mask(x);
  __m512i byte[4];
  for (int i = 0; i < 4; ++i) byte[i] = lookup_in_halves(table.plane[i], x, upper);
  const __m512i low0 = _mm512_unpacklo_epi8(byte[0], byte[1]), high0 = _mm512_unpacklo_epi8(byte[2], byte[3]);
  const __m512i low1 = _mm512_unpackhi_epi8(byte[0], byte[1]), high1 = _mm512_unpackhi_epi8(byte[2], byte[3]);
  out[0] = as_f32(_mm512_unpacklo_epi16(low0, high0));
  out[1] = as_f32(_mm512_unpackhi_epi16(low0, high0));
  out[2] = as_f32(_mm512_unpacklo_epi16(low1, high1));
  out[3] = as_f32(_mm512_unpackhi_epi16(low1, high1));
}

#else

struct FloatTable {
  const float* entries;
};
GATUN_INLINE FloatTable load_float_table(const float* p) { return {p}; }
GATUN_INLINE void lookup(FloatTable table, Bytes index, F32 (&out)[4]) {
  uint8_t bytes[4 * kLanes];
  store_bytes(bytes, index);
  for (int j = 0; j < 4; ++j) {
#if defined(__AVX512F__)
    out[j] = _mm512_i32gather_ps(load_u8_i32(bytes + j * kLanes), table.entries, 4);
#elif defined(__AVX2__)
    out[j] = _mm256_i32gather_ps(table.entries, load_u8_i32(bytes + j * kLanes), 4);
#else
    out[j] = lanes<F32>([&](int l) { return table.entries[bytes[j * kLanes + l]]; });
#endif
  }
}

struct ByteTable {
  const uint8_t* entries;
};
GATUN_INLINE ByteTable load_byte_table(const uint8_t* p) { return {p}; }
GATUN_INLINE Bytes lookup(ByteTable table, Bytes index) {
  uint8_t bytes[4 * kLanes];
  store_bytes(bytes, index);
  for (uint8_t& byte : bytes) byte = table.entries[byte];
  return load_bytes(bytes);
}

#endif

#if defined(__AVX512F__)

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

#elif defined(__AVX2__)

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

#else

GATUN_INLINE Bytes add_where_less(const F32 (&a)[4], const F32 (&b)[4], Bytes x, int amount) {
  return bytes([&](int i) {
    return x.byte[i] + (a[i / kLanes].lane[i % kLanes] < b[i / kLanes].lane[i % kLanes] ? amount : 0);
  });
}
GATUN_INLINE I32 add_where_less(F32 a, F32 b, I32 x, int amount) {
  return lanes<I32>([&](int i) { return x.lane[i] + (a.lane[i] < b.lane[i] ? amount : 0); });
}
GATUN_INLINE Bytes select_negative(const F32 (&x)[4], Bytes a, Bytes b) {
  return bytes([&](int i) { return float_bits(x[i / kLanes].lane[i % kLanes]) >> 31 != 0 ? a.byte[i] : b.byte[i]; });
}
GATUN_INLINE Bytes add_bytes(Bytes x, int amount) {
  return bytes([=](int i) { return x.byte[i] + amount; });
}

#endif

}  // namespace gatun::GATUN_ISA
