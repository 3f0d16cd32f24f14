// Codes of 8, 4 and 2 bits as the bytes that 8-bit dot products take.
//
// A vector of a row's bytes has kPer parts: part s holds field s of each byte, which is channel kPer * byte + s. Bytes
// are never negative: those of I8 are 128 more than the code.
#pragma once

#include "decode/kernel.h"
#include "simd/interleave.h"
#include "simd/vec.h"

namespace gatun::GATUN_ISA {
namespace {

inline constexpr int kVectorBytes = 4 * kLanes;

struct I8Codes {
  static constexpr int kPer = 1;
  static constexpr int kBias = 128 - kU8Bias;  // what dot adds to each code
  using Weights = U8Weights;
  template <int>
  static GATUN_INLINE Bytes part(Bytes x) {
    return as_bytes(xor_i32(as_lanes(x), set1_i32(static_cast<int32_t>(0x80808080))));
  }
  static GATUN_INLINE Weights prepare(Bytes x) { return prepare_u8(x); }
  static GATUN_INLINE I32 dot(I32 sum, const Weights& w, Bytes a) { return dot_u8(sum, w, a); }
};

// kZero: the code of 0 where there are no zero points.
template <int kBits, int kZero>
struct SmallCodes {
  static constexpr int kPer = 8 / kBits;
  static constexpr int kBias = kZero;
  using Weights = Bytes;
  template <int S>
  static GATUN_INLINE Bytes part(Bytes x) {
    constexpr int32_t kMask = ((1 << kBits) - 1) * 0x01010101;
    if constexpr (S == 0) return as_bytes(and_i32(as_lanes(x), set1_i32(kMask)));
    return as_bytes(and_i32(shift_right_logical<kBits * S>(as_lanes(x)), set1_i32(kMask)));
  }
  static GATUN_INLINE Weights prepare(Bytes x) { return x; }
  static GATUN_INLINE I32 dot(I32 sum, Weights w, Bytes a) { return dot_u4(sum, w, a); }
};
using U4Codes = SmallCodes<4, 8>;
using U2Codes = SmallCodes<2, 2>;

// Vector v of a row.
GATUN_INLINE Bytes load_row(const uint8_t* row, int v, int row_bytes) {
  const int left = row_bytes - v * kVectorBytes;
  return left >= kVectorBytes ? load_bytes(row + v * kVectorBytes) : load_bytes_n(row + v * kVectorBytes, left);
}

// A multiple of 1 / steps of the largest magnitude as two int8: code = 128 high + low.
struct Halves {
  int8_t high, low;
};
GATUN_INLINE Halves halves_of(int32_t code) {
  const int32_t high = (code + 64) >> 7;
  return {static_cast<int8_t>(high), static_cast<int8_t>(code - 128 * high)};
}

// body(S) for S = 0 .. kCount - 1, known when compiled.
template <int S>
struct Index {
  static constexpr int value = S;
};
template <int kCount, int S = 0, class Body>
GATUN_INLINE void for_each_index(Body&& body) {
  if constexpr (S < kCount) {
    body(Index<S>());
    for_each_index<kCount, S + 1>(body);
  }
}

// body(row, count) for rows that are taken together, their number known when compiled: 3 and 4 as 4, queries and sums
// having room for them, fewer one by one.
template <class Body>
GATUN_INLINE void for_rows(int rows, Body&& body) {
  if (rows > 2) {
    body(0, Index<4>());
  } else {
    for (int r = 0; r < rows; ++r) body(r, Index<1>());
  }
}

// Rows key .. key + kCount - 1 of the tile to come: a few at a time beside the products of this one, as memory gives
// them.
template <int kCount>
GATUN_INLINE void fetch_rows(const decode::Side& side, const decode::Tile& ahead, int key) {
  for (int k = key; k < key + kCount; ++k) {
    for (int b = 0; b < side.row_bytes; b += 64) prefetch_far_line(ahead.rows[k] + b);
  }
}

}  // namespace
}  // namespace gatun::GATUN_ISA
