// out[c] = a_weight a[c] + b_weight b[c]: a row of two partial results of attention.
//
// Operands: rows as the caller has them. The weights, two numbers a row, are the entry's (attention_merge.cc).
// Tails: a last round of the same body with fewer lanes. Error: 2^-23 (|a| + |b|), weights included, and the rounding
// to the dtype. One multiplication and one fma: every tier gives the same bits.
#pragma once

#include "attention_merge/kernel.h"
#include "simd/elements.h"

namespace gatun::GATUN_ISA {
namespace {

template <class Element>
void blend_row(const void* a, float a_weight, const void* b, float b_weight, void* out, int64_t size) {
  using Type = typename Element::Type;
  const Type *const from_a = static_cast<const Type*>(a), *const from_b = static_cast<const Type*>(b);
  Type* const to = static_cast<Type*>(out);
  const F32 weight_a = set1(a_weight), weight_b = set1(b_weight);
  const auto blend = [&](F32 x, F32 y) GATUN_INLINE_LAMBDA { return fma(x, weight_a, mul(y, weight_b)); };
  int64_t c = 0;
  for (; c + kLanes <= size; c += kLanes)
    Element::store(to + c, blend(Element::load(from_a + c), Element::load(from_b + c)));
  if (c < size) {
    const int n = static_cast<int>(size - c);
    Element::store_n(to + c, blend(Element::load_n(from_a + c, n), Element::load_n(from_b + c, n)), n);
  }
}

}  // namespace
}  // namespace gatun::GATUN_ISA
