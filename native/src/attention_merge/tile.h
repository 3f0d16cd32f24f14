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
  const F32 wa = set1(a_weight), wb = set1(b_weight);
  int64_t c = 0;
  for (; c + kLanes <= size; c += kLanes) {
    Element::store(to + c, fma(Element::load(from_a + c), wa, mul(Element::load(from_b + c), wb)));
  }
  if (c < size) {
    const int n = static_cast<int>(size - c);
    Element::store_n(to + c, fma(Element::load_n(from_a + c, n), wa, mul(Element::load_n(from_b + c, n), wb)), n);
  }
}

}  // namespace
}  // namespace gatun::GATUN_ISA
