// Sums of squares.
//
//   x  [ chunk of 1024 | chunk | .. | rest ]     a chunk in f32: 32 sums, element k to sum k % 32, folded in halves;
//                                                chunks one after the other in f64
//
// The same on every tier. A chunk has at most 32 elements a sum, which are rounded 32 + 5 times, and the square once:
// relative error below 38 * 2^-24 < 2^-18.
// Overflow: a chunk whose sum leaves [2^-80, 2^120] is scaled by a power of 2 that brings its largest magnitude near 1.
#pragma once

#include "simd/elements.h"

namespace gatun::GATUN_ISA {
namespace {

constexpr int64_t kSquaresChunk = 1024;
constexpr int kSquaresLanes = 32, kSquaresParts = kSquaresLanes / kLanes;

// Of at most a chunk, each multiplied by `factor`.
template <class X>
GATUN_INLINE float chunk_squares(const typename X::Type* x, int64_t count, F32 factor) {
  F32 sums[kSquaresParts];
  for (F32& sum : sums) sum = zero_f32();
  for (int64_t k = 0; k < count; k += kSquaresLanes) {
    for (int i = 0; i < kSquaresParts; ++i) {
      const int64_t left = count - k - i * kLanes;
      const int n = static_cast<int>(left < 0 ? 0 : left < kLanes ? left : kLanes);
      const F32 value = mul(X::load_n(x + k + i * kLanes, n), factor);
      sums[i] = fma(value, value, sums[i]);
    }
  }
  for (int half = kSquaresParts / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sums[i] = add(sums[i], sums[i + half]);
  }
  return reduce_add(sums[0]);
}

template <class X>
__attribute__((noinline)) double scaled_squares(const typename X::Type* x, int64_t count) {
  F32 largest = zero_f32(), poison = zero_f32();
  for (int64_t k = 0; k < count; k += kLanes) {
    const F32 value = X::load_n(x + k, static_cast<int>(count - k < kLanes ? count - k : kLanes));
    largest = max(abs(value), largest);
    poison = add(poison, sub(value, value));
  }
  const float most = reduce_max(largest), not_finite = reduce_add(poison);
  if (not_finite != 0) return static_cast<double>(most) + not_finite * 0;
  double square = 1;
  float factor = 1;
  for (float m = most; m >= 2; m *= 0.5f, factor *= 0.5f) square *= 4;
  for (float m = most; m > 0 && m < 1 && factor < 0x1p126f; m *= 2, factor *= 2) square *= 0.25;
  return static_cast<double>(chunk_squares<X>(x, count, set1(factor))) * square;
}

template <class X>
GATUN_INLINE double sum_of(const typename X::Type* x, int64_t count) {
  double sum = 0;
  for (int64_t k = 0; k < count; k += kSquaresChunk) {
    const int64_t n = count - k < kSquaresChunk ? count - k : kSquaresChunk;
    const float chunk = chunk_squares<X>(x + k, n, set1(1));
    sum += chunk >= 0x1p-80f && chunk <= 0x1p120f ? static_cast<double>(chunk) : scaled_squares<X>(x + k, n);
  }
  return sum;
}

// Of elements in f32.
GATUN_INLINE double sum_of_squares(const float* x, int64_t count) { return sum_of<f32>(x, count); }

inline double squares_of(int32_t dtype, const void* x, int64_t begin, int64_t end) {
  if (dtype == GATUN_F32) return sum_of<f32>(static_cast<const float*>(x) + begin, end - begin);
  const auto* halves = static_cast<const uint16_t*>(x) + begin;
  return dtype == GATUN_F16 ? sum_of<f16>(halves, end - begin) : sum_of<bf16>(halves, end - begin);
}

}  // namespace
}  // namespace gatun::GATUN_ISA
