// Squares of kLanes vectors, on the contract of vec.h.
//
//   void transpose(F32 (&x)[kLanes])               lane j of x[i] becomes lane i of x[j]
//   F32 reduce_add_each(const F32 (&x)[kLanes])    lane l is the sum of the lanes of x[l], in a fixed order
// which is fold_quarters of fold_four(x[0] .. x[3]), fold_four(x[4] .. x[7]), ..:
//   F32 fold_four(const F32 (&x)[4])               lane 4 q + l is the sum of the lanes 4 q .. 4 q + 3 of x[l]
//   F32 fold_quarters(const F32 (&four)[kLanes / 4])
// and the same of I32.
#pragma once

#include <type_traits>

#include "simd/vec.h"

namespace gatun::GATUN_ISA {

#if defined(__AVX512F__)

GATUN_INLINE F32 low_pairs(F32 a, F32 b) {
  return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}
GATUN_INLINE F32 high_pairs(F32 a, F32 b) {
  return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
}
GATUN_INLINE F32 low_singles(F32 a, F32 b) { return _mm512_unpacklo_ps(a, b); }
GATUN_INLINE F32 high_singles(F32 a, F32 b) { return _mm512_unpackhi_ps(a, b); }
// Of the 128-bit quarters of a, then of b, those with an even or an odd number.
GATUN_INLINE F32 even_quarters(F32 a, F32 b) { return _mm512_shuffle_f32x4(a, b, 0x88); }
GATUN_INLINE F32 odd_quarters(F32 a, F32 b) { return _mm512_shuffle_f32x4(a, b, 0xdd); }

#elif defined(__AVX2__)

GATUN_INLINE F32 low_pairs(F32 a, F32 b) {
  return _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
}
GATUN_INLINE F32 high_pairs(F32 a, F32 b) {
  return _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)));
}
GATUN_INLINE F32 low_singles(F32 a, F32 b) { return _mm256_unpacklo_ps(a, b); }
GATUN_INLINE F32 high_singles(F32 a, F32 b) { return _mm256_unpackhi_ps(a, b); }
GATUN_INLINE F32 even_quarters(F32 a, F32 b) { return _mm256_permute2f128_ps(a, b, 0x20); }
GATUN_INLINE F32 odd_quarters(F32 a, F32 b) { return _mm256_permute2f128_ps(a, b, 0x31); }

#elif defined(GATUN_NEON)

GATUN_INLINE float64x2_t pairs(float32x4_t x) { return vreinterpretq_f64_f32(x); }
GATUN_INLINE float32x4_t singles(float64x2_t x) { return vreinterpretq_f32_f64(x); }
GATUN_INLINE F32 low_pairs(F32 a, F32 b) {
  return {singles(vzip1q_f64(pairs(a.low), pairs(b.low))), singles(vzip1q_f64(pairs(a.high), pairs(b.high)))};
}
GATUN_INLINE F32 high_pairs(F32 a, F32 b) {
  return {singles(vzip2q_f64(pairs(a.low), pairs(b.low))), singles(vzip2q_f64(pairs(a.high), pairs(b.high)))};
}
GATUN_INLINE F32 low_singles(F32 a, F32 b) { return {vzip1q_f32(a.low, b.low), vzip1q_f32(a.high, b.high)}; }
GATUN_INLINE F32 high_singles(F32 a, F32 b) { return {vzip2q_f32(a.low, b.low), vzip2q_f32(a.high, b.high)}; }
GATUN_INLINE F32 even_quarters(F32 a, F32 b) { return {a.low, b.low}; }
GATUN_INLINE F32 odd_quarters(F32 a, F32 b) { return {a.high, b.high}; }

#endif

#if defined(__AVX2__) || defined(GATUN_NEON)

GATUN_INLINE void transpose(F32 (&x)[kLanes]) {
  // Squares of 4 x 4: u[i + j], i a multiple of 4, has in quarter q rows i .. i + 3 of column 4 q + j.
  F32 u[kLanes];
  for (int i = 0; i < kLanes; i += 4) {
    const F32 a = low_singles(x[i], x[i + 1]), b = high_singles(x[i], x[i + 1]);
    const F32 c = low_singles(x[i + 2], x[i + 3]), d = high_singles(x[i + 2], x[i + 3]);
    u[i] = low_pairs(a, c);
    u[i + 1] = high_pairs(a, c);
    u[i + 2] = low_pairs(b, d);
    u[i + 3] = high_pairs(b, d);
  }
  for (int j = 0; j < 4; ++j) {
    const F32 even = even_quarters(u[j], u[j + 4]), odd = odd_quarters(u[j], u[j + 4]);
    if constexpr (kLanes == 8) {
      x[j] = even;
      x[j + 4] = odd;
    } else {
      constexpr int kLast = kLanes - 4;
      const F32 even_below = even_quarters(u[j + kLast - 4], u[j + kLast]);
      const F32 odd_below = odd_quarters(u[j + kLast - 4], u[j + kLast]);
      x[j] = even_quarters(even, even_below);
      x[j + 4] = even_quarters(odd, odd_below);
      x[j + kLast - 4] = odd_quarters(even, even_below);
      x[j + kLast] = odd_quarters(odd, odd_below);
    }
  }
}

// The sum as T of what shuffles of F32 have moved.
template <class T>
GATUN_INLINE T add_halves(F32 a, F32 b) {
  if constexpr (std::is_same_v<T, F32>) {
    return add(a, b);
  } else {
    return add_i32(as_i32(a), as_i32(b));
  }
}
GATUN_INLINE F32 bits_of(F32 x) { return x; }
GATUN_INLINE F32 bits_of(I32 x) { return as_f32(x); }

// Neighbours are folded together: what is left of x[l] moves to lanes l of the quarters.
template <class T>
GATUN_INLINE T fold_four(const T (&x)[4]) {
  const auto singles = [](T a, T b) GATUN_INLINE_LAMBDA {
    return bits_of(add_halves<T>(low_singles(bits_of(a), bits_of(b)), high_singles(bits_of(a), bits_of(b))));
  };
  const F32 first = singles(x[0], x[1]), last = singles(x[2], x[3]);
  return add_halves<T>(low_pairs(first, last), high_pairs(first, last));
}

template <class T>
GATUN_INLINE T fold_quarters(const T (&four)[kLanes / 4]) {
  const auto fold = [](T a, T b) GATUN_INLINE_LAMBDA {
    return add_halves<T>(even_quarters(bits_of(a), bits_of(b)), odd_quarters(bits_of(a), bits_of(b)));
  };
  if constexpr (kLanes == 8) {
    return fold(four[0], four[1]);
  } else {
    constexpr int kLast = kLanes / 4 - 1;
    return fold(fold(four[0], four[1]), fold(four[kLast - 1], four[kLast]));
  }
}

#else

GATUN_INLINE void transpose(F32 (&x)[kLanes]) {
  for (int i = 0; i < kLanes; ++i) {
    for (int j = 0; j < i; ++j) {
      const float below = x[i].lane[j];
      x[i].lane[j] = x[j].lane[i];
      x[j].lane[i] = below;
    }
  }
}

GATUN_INLINE F32 fold_four(const F32 (&x)[4]) {
  return lanes<F32>([&](int l) { return reduce_add(x[l]); });
}
GATUN_INLINE I32 fold_four(const I32 (&x)[4]) {
  return lanes<I32>([&](int l) { return x[l].lane[0] + x[l].lane[1] + x[l].lane[2] + x[l].lane[3]; });
}
template <class T>
GATUN_INLINE T fold_quarters(const T (&four)[kLanes / 4]) {
  return four[0];
}

#endif

GATUN_INLINE F32 reduce_add_each(const F32 (&x)[kLanes]) {
  F32 four[kLanes / 4];
  for (int i = 0; i < kLanes / 4; ++i) four[i] = fold_four({x[4 * i], x[4 * i + 1], x[4 * i + 2], x[4 * i + 3]});
  return fold_quarters(four);
}

}  // namespace gatun::GATUN_ISA
