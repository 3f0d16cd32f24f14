// What the loops over GGUF blocks share: where the values of blocks lie, and what they need of numbers.
#pragma once

#include "gguf/block.h"
#include "gguf/kernel.h"
#include "simd/elements.h"

namespace gatun::GATUN_ISA {
namespace {

using gguf::Job;

// The table of IQ4_NL and IQ4_XS, and what lies between a value and the next.
struct Iq4Table {
  float values[16] = {}, midpoints[16] = {};
  constexpr Iq4Table() {
    for (int code = 0; code < 16; ++code) values[code] = gguf::kIq4Values[code];
    for (int code = 0; code < 15; ++code) midpoints[code] = (values[code] + values[code + 1]) / 2;
  }
};
constexpr Iq4Table kIq4;

GATUN_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// The least f32 that overflows binary16, as an integer: magnitudes compare as their bits do, NaN above all.
constexpr int32_t kF16Overflow = 0x477ff000;  // 65520
constexpr int32_t kInfinity = 0x7f800000;
GATUN_INLINE I32 magnitude_bits(F32 x) { return and_i32(as_i32(x), set1_i32(0x7fffffff)); }

GATUN_INLINE float to_float(f32, float x) { return x; }
GATUN_INLINE float to_float(f16, uint16_t x) { return f16_to_float(x); }
GATUN_INLINE float to_float(bf16, uint16_t x) {
  const uint32_t bits = uint32_t{x} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Calls visit(x, index, count) for up to kBatch blocks at a time, [index, index + count), whose values lie side by side
// from x on; until one returns false, which is returned.
template <class X, int kElements, int kBatch, class Visit>
GATUN_INLINE bool for_each_batch(const Job& job, int64_t begin, int64_t end, Visit visit) {
  while (begin < end) {
    const int64_t row = begin / job.row_blocks, first = begin % job.row_blocks;
    const int64_t row_end = begin + smaller(job.row_blocks - first, end - begin);
    auto* x = static_cast<typename X::Type*>(job.x) + row * job.x_row_stride + first * kElements;
    while (begin < row_end) {
      const int64_t count = smaller(kBatch, row_end - begin);
      if (!visit(x, begin, count)) return false;
      x += count * kElements;
      begin += count;
    }
  }
  return true;
}

}  // namespace
}  // namespace gatun::GATUN_ISA
