// What selections do with rows of q and k and with rows of logits; see kernel.h.
//
// Operands: rows as the caller has them, contiguous logits; nothing is packed (but see tile_bf16.h).
// pool: the sums of a block stay in memory, in the first-level cache; a row is read twice, from there the second time:
//
//   row     [ v0 | v1 | .. | tail ]    sums[v] += row[v], square += row[v]^2
//                                      units[v] += row[v] * (1 / sqrt(sum of square))
//
// Overflow: squares of |x| beyond 2^60 or so are infinite, and the row counts as one of zeros; a NaN or infinity makes
// sums and units NaN or infinite. Tails: masked loads and stores of the same body.
// Measured (AMD EPYC 9004, one core): a selection by means of 8192 x 8192, bf16, head size 128, blocks of 64, in 0.3 %
// of the time of dense attention, at the speed of memory; with self-similarity in 0.5 %. Bounds, per element: sums
// 2^-24 rows sum |x|; units 2^-22 (rows + 8); exponentiate 2^-21 of itself.
#pragma once

#include "attention_select/kernel.h"
#include "simd/elements.h"
#include "simd/math.h"

namespace gatun::GATUN_ISA {
namespace {

GATUN_INLINE int lanes_from(int64_t k, int64_t n) { return n - k < kLanes ? static_cast<int>(n - k) : kLanes; }

template <class X>
void pool_rows(const void* x, int64_t row_stride, int64_t rows, int64_t columns, float* sums, float* units) {
  for (int64_t k = 0; k < columns; ++k) sums[k] = 0;
  for (int64_t k = 0; units != nullptr && k < columns; ++k) units[k] = 0;
  const auto* row = static_cast<const typename X::Type*>(x);
  for (int64_t r = 0; r < rows; ++r, row += row_stride) {
    F32 square = zero_f32();
    for (int64_t k = 0; k < columns; k += kLanes) {
      const int n = lanes_from(k, columns);
      const F32 value = X::load_n(row + k, n);
      store_f32_n(sums + k, add(load_f32_n(sums + k, n), value), n);
      square = fma(value, value, square);
    }
    if (units == nullptr) continue;
    const float norm = reduce_add(square);
    const F32 inverse = set1(norm == 0 ? 0.0f : 1 / __builtin_sqrtf(norm));
    for (int64_t k = 0; k < columns; k += kLanes) {
      const int n = lanes_from(k, columns);
      store_f32_n(units + k, fma(X::load_n(row + k, n), inverse, load_f32_n(units + k, n)), n);
    }
  }
}

template <class X>
void widen_rows(const void* x, int64_t row_stride, int64_t rows, int64_t columns, float* y) {
  const auto* row = static_cast<const typename X::Type*>(x);
  for (int64_t r = 0; r < rows; ++r, row += row_stride, y += columns) {
    for (int64_t k = 0; k < columns; k += kLanes) {
      const int n = lanes_from(k, columns);
      store_f32_n(y + k, X::load_n(row + k, n), n);
    }
  }
}

float largest_of(const float* x, int64_t n) {
  const F32 none = set1(-__builtin_inff());
  F32 most = none, poison = zero_f32();
  for (int64_t i = 0; i < n; i += kLanes) {
    const int lanes = lanes_from(i, n);
    const F32 value = load_f32_n(x + i, lanes);  // 0 where there is none
    poison = add(poison, sub(value, value));
    most = max(lanes == kLanes ? value : as_f32(select_n(as_i32(value), as_i32(none), lanes)), most);
  }
  return reduce_max(most) + reduce_add(poison);
}

void scale_logits(float* x, int64_t n, float scale, float cap) {
  const F32 scales = set1(scale), caps = set1(cap);
  for (int64_t i = 0; i < n; i += kLanes) {
    const int lanes = lanes_from(i, n);
    F32 value = mul(load_f32_n(x + i, lanes), scales);
    if (cap != 0) value = mul(tanh(div(value, caps)), caps);
    store_f32_n(x + i, value, lanes);
  }
}

float exponentiate_row(float* x, int64_t n, float shift) {
  const F32 shifts = set1(shift);
  F32 sum = zero_f32();
  for (int64_t i = 0; i < n; i += kLanes) {
    const int lanes = lanes_from(i, n);
    const F32 value = exp(sub(load_f32_n(x + i, lanes), shifts));
    store_f32_n(x + i, value, lanes);
    sum = add(sum, lanes == kLanes ? value : keep_n(value, lanes));
  }
  return reduce_add(sum);
}

void add_scaled_row(float* y, const float* x, int64_t n, float factor) {
  const F32 factors = set1(factor);
  for (int64_t i = 0; i < n; i += kLanes) {
    const int lanes = lanes_from(i, n);
    store_f32_n(y + i, fma(load_f32_n(x + i, lanes), factors, load_f32_n(y + i, lanes)), lanes);
  }
}

template <class X>
constexpr attention_select::Kernel kSelectKernel = {pool_rows<X>,     widen_rows<X>,  largest_of, scale_logits,
                                                    exponentiate_row, add_scaled_row, nullptr,    nullptr};

}  // namespace
}  // namespace gatun::GATUN_ISA
