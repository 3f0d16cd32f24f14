// The best n of every m keys, as a word of 64 bits for 64 keys.
//
//   key k is beaten by the keys of its group that are larger, and by equal ones that come before it;
//   kept = (number of keys that beat it) < n
//
//   keys   [ .. k .. | .. k + d .. ]   greater_mask of the keys d further and the keys: bit k says whether k + d
//                                      beats k; otherwise k beats k + d. d = 1 .. m - 1, where k + d is in the
//                                      group of k
//   ranks  bit planes: bit k of plane b is bit b of the rank of key k, a number below m; both masks of a d are added
//
// So nothing is transposed, and no lane looks for its group. m (m - 1) / 2 comparisons a group.
#pragma once

#include "simd/vec.h"

namespace gatun::GATUN_ISA {
namespace {

// Keys at a time, and what has to be readable behind them; their values play no part.
constexpr int kKeys = 64;
constexpr int kKeysBehind = 32;

// The order of floats, but NaN, as signed integers; -0 and +0 are equal.
GATUN_INLINE I32 key_of(F32 score) {
  const I32 bits = as_i32(add(score, zero_f32()));
  return xor_i32(bits, shift_right_logical<1>(shift_right<31>(bits)));
}
// Magnitudes are their own keys.
GATUN_INLINE I32 key_of_magnitude(F32 score) { return as_i32(score); }

constexpr int log2_of(int m) { return m == 1 ? 0 : 1 + log2_of(m / 2); }

// Bits k of a word with k % m < below.
constexpr uint64_t first_of_groups(int m, int below) {
  uint64_t bits = 0;
  for (int k = 0; k < 64; ++k) bits |= uint64_t{k % m < below} << k;
  return bits;
}

template <int kPlanes>
GATUN_INLINE void add_bits(uint64_t (&planes)[kPlanes], uint64_t bits) {
  for (int b = 0; b < kPlanes; ++b) {
    const uint64_t carry = planes[b] & bits;
    planes[b] ^= bits;
    bits = carry;
  }
}

// n in 1..M - 1.
template <int M>
GATUN_INLINE uint64_t best_of_groups(const int32_t* keys, int n) {
  constexpr int kPlanes = log2_of(M);
  uint64_t planes[kPlanes] = {};
  uint64_t inside = first_of_groups(M, M - 1);
  for (int d = 1; d < M; ++d) {
    uint64_t further = 0;
    for (int k = 0; k < kKeys; k += kLanes) {
      further |= uint64_t{greater_mask(load_i32(keys + k + d), load_i32(keys + k))} << k;
    }
    add_bits(planes, further & inside);
    add_bits(planes, (~further & inside) << d);
    inside &= inside >> 1;
  }
  uint64_t less = 0;  // of the planes so far
  for (int b = 0; b < kPlanes; ++b) less = n >> b & 1 ? ~planes[b] | less : ~planes[b] & less;
  return less;
}

GATUN_INLINE uint64_t best_of_groups(const int32_t* keys, int n, int m) {
  if (n >= m) return ~uint64_t{0};
  switch (m) {
    case 2:
      return best_of_groups<2>(keys, n);
    case 4:
      return best_of_groups<4>(keys, n);
    case 8:
      return best_of_groups<8>(keys, n);
    case 16:
      return best_of_groups<16>(keys, n);
    default:
      return best_of_groups<32>(keys, n);
  }
}

}  // namespace
}  // namespace gatun::GATUN_ISA
