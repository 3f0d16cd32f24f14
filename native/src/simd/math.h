// Elementary functions on the contract of vec.h.
//
//   exp(x)       0 below -104, infinity above 88.73, NaN for NaN; error <= 2^-22 y + 2^-126
//   exp2(x)      for x <= 127; below
//   tanh(x)      NaN for NaN; error <= 2^-22 |y|
//   silu(x)      x / (1 + exp(-x)); error <= 2^-20 |y| + 2^-40
//   gelu(x)      x Phi(x), Phi the normal distribution function (Hendrycks and Gimpel 2016); the same bound
//   gelu_tanh(x) its tanh approximation; error <= 2^-19 |y| + 2^-40
#pragma once

#include "simd/vec.h"

namespace gatun::GATUN_ISA {

// x = n ln 2 + r with |r| <= ln 2 / 2; exp(r) by its Taylor series to r^7 (the next term is 5e-9); times 2^n in two
// steps, since n reaches -150 and 128.
GATUN_INLINE F32 exp(F32 x) {
  x = min(set1(89.0f), max(set1(-104.0f), x));
  const F32 n = round_even(mul(max(x, set1(-104.0f)), set1(1.44269504f)));  // of a NaN, too: it becomes an integer
  F32 r = fma(n, set1(-0.693359375f), x);
  r = fma(n, set1(2.12194440e-4f), r);  // ln 2 = 0.693359375 - 2.12194440e-4, the first part exact times n
  F32 p = set1(1.0f / 5040);
  p = fma(p, r, set1(1.0f / 720));
  p = fma(p, r, set1(1.0f / 120));
  p = fma(p, r, set1(1.0f / 24));
  p = fma(p, r, set1(1.0f / 6));
  p = fma(p, r, set1(0.5f));
  p = fma(p, r, set1(1.0f));
  p = fma(p, r, set1(1.0f));
  const I32 half = round_to_i32(mul(n, set1(0.5f)));
  return scale_by_power(scale_by_power(p, half), sub_i32(round_to_i32(n), half));
}

// 2^x for x <= 127, 0 below -151; relative error 2^-22.5 with kDegree 5, 2^-18.5 with 4. NaN for NaN. x = n + r with
// |r| <= 1/2, and 2^r by the polynomial with the least largest relative error, of degree 5 with 1 for 2^0.
template <int kDegree>
GATUN_INLINE F32 exp2(F32 x) {
  static_assert(kDegree == 4 || kDegree == 5);
  x = max(set1(-152.0f), x);
  const F32 n = round_even(x), r = sub(x, n);
  F32 p;
  if constexpr (kDegree == 5) {
    p = fma(set1(0.00132764726f), r, set1(0.00967554134f));
    p = fma(p, r, set1(0.0555071327f));
    p = fma(p, r, set1(0.240221197f));
    p = fma(p, r, set1(0.693146967f));
    p = fma(p, r, set1(1.0f));
  } else {
    p = fma(set1(0.00957010186f), r, set1(0.0559178603f));
    p = fma(p, r, set1(0.240247448f));
    p = fma(p, r, set1(0.693121815f));
    p = fma(p, r, set1(0.999999261f));
  }
  return times_power(p, n);
}

// Below 0.6 the polynomial in x^2 that interpolates (tanh(x) / x - 1) / x^2 at Chebyshev nodes.
GATUN_INLINE F32 tanh(F32 x) {
  const F32 magnitude = min(set1(10.0f), abs(x)), square = mul(x, x);
  F32 p = fma(set1(-0.00626911972f), square, set1(0.021110959f));
  p = fma(p, square, set1(-0.0538739488f));
  p = fma(p, square, set1(0.133329154f));
  p = fma(p, square, set1(-0.333333303f));
  const F32 small = fma(mul(x, square), p, x);
  const F32 large = sub(set1(1.0f), div(set1(2.0f), add(exp(add(magnitude, magnitude)), set1(1.0f))));
  return select_less(magnitude, set1(0.6f), small, copy_sign(large, x));
}

GATUN_INLINE F32 silu(F32 x) {
  x = max(set1(-104.0f), x);  // further down the result is 0 in f32; keeps -inf / inf away
  return div(x, add(set1(1.0f), exp(sub(zero_f32(), x))));
}

GATUN_INLINE F32 gelu_tanh(F32 x) {
  x = max(set1(-20.0f), x);
  // (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3)
  const F32 cubic = fma(mul(mul(x, x), x), set1(0.044715f), x);
  return div(x, add(set1(1.0f), exp(mul(cubic, set1(-1.59576912f)))));
}

// Phi(-|x|) = erfc(z) / 2 with z = |x| / sqrt(2), and erfc(z) = t exp(P(t) - z^2), t = 1 / (1 + z / 2); P interpolates
// ln(erfc(z) exp(z^2) / t) at the Chebyshev nodes of [0.1, 1] with an error of 9e-8.
GATUN_INLINE F32 gelu(F32 x) {
  x = max(set1(-20.0f), x);
  const F32 magnitude = min(set1(20.0f), abs(x));
  const F32 t = div(set1(1.0f), fma(magnitude, set1(0.353553391f), set1(1.0f)));
  F32 p = set1(0.1804211600f);
  p = fma(p, t, set1(-0.8679362905f));
  p = fma(p, t, set1(1.5811105671f));
  p = fma(p, t, set1(-1.2378463731f));
  p = fma(p, t, set1(0.3466895194f));
  p = fma(p, t, set1(-0.2134825876f));
  p = fma(p, t, set1(0.1032236886f));
  p = fma(p, t, set1(0.3732609934f));
  p = fma(p, t, set1(1.0000724174f));
  p = fma(p, t, set1(-1.2655130034f));
  // z^2 in two parts: its rounding error would be magnified by the exponential.
  const F32 square = mul(magnitude, magnitude);
  const F32 square_error = fma(magnitude, magnitude, sub(zero_f32(), square));
  const F32 e = exp(fma(square, set1(-0.5f), p));
  const F32 tail = mul(mul(t, set1(0.5f)), fma(e, mul(square_error, set1(-0.5f)), e));
  return mul(x, select_less(x, zero_f32(), tail, sub(set1(1.0f), tail)));
}
}  // namespace gatun::GATUN_ISA
