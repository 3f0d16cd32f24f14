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

// A vector of a row of which `left` bytes are left.
GATUN_INLINE Bytes load_left(const uint8_t* at, int left) {
  return left >= kVectorBytes ? load_bytes(at) : load_bytes_n(at, left);
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

// body(count) with the number of rows that are taken together, known when compiled: 3 as 4, queries and sums having
// room for it.
template <class Body>
GATUN_INLINE void with_rows(int rows, Body&& body) {
  if (rows > 2) {
    body(Index<4>());
  } else if (rows == 2) {
    body(Index<2>());
  } else {
    body(Index<1>());
  }
}

// What pass number `pass` over a tile's keys asks of the tile to come: as many rows in each pass, evenly beside its
// keys, since a core forgets requests beyond those that it can have under way.
class Fetch {
 public:
  // `ahead` may be null.
  GATUN_INLINE Fetch(const decode::Tile& tile, const decode::Tile* ahead, int pass, int passes) {
    if (ahead == nullptr) return;
    const int first = pass * ahead->count / passes;
    rows_ = ahead->rows + first;
    count_ = (pass + 1) * ahead->count / passes - first;
    rate_ = (count_ * 65536 + tile.count - 1) / tile.count;
    bytes_ = ahead->row_bytes;
  }

  // Beside keys key .. key + kKeys - 1.
  template <int kKeys>
  GATUN_INLINE void beside(int key) const {
    const int last = (key + kKeys) * rate_ >> 16, end = last < count_ ? last : count_;
    for (int row = key * rate_ >> 16; row < end; ++row) {
      for (int b = 0; b < bytes_; b += 64) prefetch_far_line(rows_[row] + b);
    }
  }

 private:
  const uint8_t* const* rows_ = nullptr;
  int count_ = 0, rate_ = 0, bytes_ = 0;  // rate: rows beside a key, times 2^16
};

}  // namespace
}  // namespace gatun::GATUN_ISA
