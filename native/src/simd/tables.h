// Look-ups of bytes in tables of 256 entries, and the counting of a search through them, on the contract of vec.h.
//
//   FloatTable load_float_table(const float* p)       256 entries; only a pointer to them where there is no instruction
//                                                     that permutes bytes of two registers, so p stays
//   void lookup(const FloatTable&, Bytes index, F32 (&out)[4])
//                                                     out[j] lane l = entry index[j * kLanes + l]
//   void lookup_each4(const FloatTable&, Bytes index, F32 (&out)[4])
//                                                     out[j] lane l = entry index[4 * l + j]
//   ByteTable load_byte_table(const uint8_t* p); Bytes lookup(ByteTable, Bytes index)
//   Bytes add_where_less(const F32 (&a)[4], const F32 (&b)[4], Bytes x, int amount)
//                                                     byte j * kLanes + l of x, plus `amount` if a[j] < b[j] in lane l
//   I32 add_where_less(F32 a, F32 b, I32 x, int amount)
//   Bytes add_bytes(Bytes, int): mod 256, to each
//   Bytes select_negative(const F32 (&x)[4], Bytes a, Bytes b)
//                                                     byte j * kLanes + l of a if x[j] has its sign bit set in lane l,
//                                                     otherwise of b
#pragma once

#include "simd/vec.h"
