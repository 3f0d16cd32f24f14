// What small floats need beyond the contract of vec.h:
//
//   F32 widen_f16(I32)                   the low 16 bits of each lane as an f16, subnormals and NaN included; the other
//                                        bits are 0
//   I32 load_u6_i32(const uint8_t*)      four lanes in three bytes, the first in the lowest bits
//   void store_sixes(uint8_t*, Bytes)    the reverse, of bytes in 0..63; bits from byte n on are 0; and _n, n counting
//                                        bytes of the vector: 0 <= n <= 4 * kLanes
#pragma once

#include "simd/vec.h"
