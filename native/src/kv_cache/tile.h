// Rows of values to f32 and back.
//
// Operands: rows as the caller has them. Tails: a last round of the same body with fewer lanes, the rest read as 0 and
// not stored. Bound: none, all tiers agree with the reference bit for bit.
#pragma once

#include "kv_cache/kernel.h"
#include "quantize/stretch.h"
#include "quantize/tile_float.h"

namespace gatun::GATUN_ISA {
namespace {

template <class X>
void widen_halves(const void* from, float* to, int64_t count) {
  const auto* x = static_cast<const typename X::Type*>(from);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) store_f32(to + i, X::load(x + i));
  if (i < count) {
    const int n = static_cast<int>(count - i);
    store_f32_n(to + i, X::load_n(x + i, n), n);
  }
}

template <class X>
void narrow_halves(const float* from, void* to, int64_t count) {
  auto* x = static_cast<typename X::Type*>(to);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) X::store(x + i, load_f32(from + i));
  if (i < count) {
    const int n = static_cast<int>(count - i);
    X::store_n(x + i, load_f32_n(from + i, n), n);
  }
}

constexpr int64_t kStep = 4 * kLanes;  // bytes at once

template <class Codes>
void widen_bytes(const void* from, float* to, int64_t count) {
  const auto* codes = static_cast<const uint8_t*>(from);
  F32 values[4];
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    Codes::Decoder::values(codes + i, values);
    for (int j = 0; j < 4; ++j) store_f32(to + i + j * kLanes, values[j]);
  }
  if (i == count) return;
  uint8_t last[kStep] = {};
  std::memcpy(last, codes + i, static_cast<size_t>(count - i));
  Codes::Decoder::values(last, values);
  for (int j = 0; j < 4; ++j) store_f32_n(to + i + j * kLanes, values[j], lanes_left(count - i - j * kLanes));
}

// Of a NaN quantize makes no code: all bits but the sign become 1.
template <class Codes>
GATUN_INLINE Bytes codes_of(const F32 (&values)[4]) {
  const I32 magnitude = set1_i32(Codes::kMagnitude);
  I32 kept[4], nan[4];
  for (int j = 0; j < 4; ++j) {
    kept[j] = magnitude;
    const I32 bits = and_i32(as_i32(values[j]), set1_i32(0x7fffffff));
    nan[j] = and_i32(shift_right<31>(sub_i32(set1_i32(0x7f800000), bits)), magnitude);
  }
  const Bytes codes = Codes::Encoder::template nearest<true>(values, kept);
  return as_bytes(or_i32(as_lanes(codes), as_lanes(pack_u8(nan[0], nan[1], nan[2], nan[3]))));
}

template <class Codes>
void narrow_bytes(const float* from, void* to, int64_t count) {
  auto* codes = static_cast<uint8_t*>(to);
  F32 values[4];
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    for (int j = 0; j < 4; ++j) values[j] = load_f32(from + i + j * kLanes);
    store_bytes(codes + i, codes_of<Codes>(values));
  }
  if (i == count) return;
  const int64_t left = count - i;
  for (int j = 0; j < 4; ++j) values[j] = load_f32_n(from + i + j * kLanes, lanes_left(left - j * kLanes));
  store_bytes_n(codes + i, codes_of<Codes>(values), static_cast<int>(left));
}

}  // namespace
}  // namespace gatun::GATUN_ISA
