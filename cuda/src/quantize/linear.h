// Linear codes: code = clamp(round((x - offset) * (1 / scale)) + zero), value = (code - zero) * scale + offset.
//
// Rounding is an addition: v + 1.5 * 2^23 has its last place at 1, so that its bits are those of 1.5 * 2^23 plus the
// nearest integer, ties to even. Sums of such bits, each shifted by the place of its code, are the word of codes and a
// constant, which comes off at the end together with what is added to all codes: one instruction a value. I8 is
// flipped to 0..255 meanwhile, as negative numbers would borrow from their neighbours.
// A code becomes a float by the reverse: 2^23 with the code as its last bits, minus 2^23 + zero, exactly.
//
// Steps are clamped as floats first, to integers, which rounding does not cross: -128 - 255 at the least.
#pragma once

#include <cstdint>

#include "quantize/scale.h"

namespace gatun::cuda::quantize {

struct NoTables {
  static NoTables of(const gatun::quantize::Book*, bool) { return {}; }
};

template <int kCodeBits, bool kSignedCodes>
struct Linear {
  static constexpr int kBits = kCodeBits;
  static constexpr int kTableBytes = 0;
  using Tables = NoTables;
  using Packed = CodeWords<kBits>;

  static constexpr uint32_t kEach = kBits == 8 ? 0x01010101u : kBits == 4 ? 0x11111111u : 0x55555555u;
  static constexpr uint32_t kRounder = 0x4b400000u;  // the bits of 1.5 * 2^23
  static constexpr uint32_t kFlip = kSignedCodes ? 0x80808080u : 0;
  static constexpr int kMiddle = kBits == 8 ? 128 : kBits == 4 ? 8 : 2;  // the code of 0 where there is no zero point

  struct Coding {
    float inverse, offset, low, high;
    uint32_t addend;  // to a word of sums
    bool offsets;     // whether there are float zero points: most calls need no difference
  };

  explicit GATUN_DEVICE Linear(const Tables&) {}

  static GATUN_DEVICE Coding coding(const Job& job, const Scale& scale) {
    const bool zeros = job.zero_point != GATUN_ZERO_NONE;
    const int zero = zeros ? scale.zero : kMiddle;
    const float low = static_cast<float>(zeros ? -zero : job.least);
    const float high = static_cast<float>(zeros ? (1 << kBits) - 1 - zero : job.most);
    const float offset = job.zero_point == GATUN_ZERO_FLOAT ? scale.offset : 0;
    return {inverse_of(job, scale),
            offset,
            low,
            high,
            (static_cast<uint32_t>(zero) - kRounder) * kEach,
            !kSignedCodes && job.zero_point == GATUN_ZERO_FLOAT};
  }

  GATUN_DEVICE Packed nearest(const Coding& c, const float (&x)[kChunk]) const {
    constexpr int kOfWord = 32 / kBits;
    float y[kChunk];
#pragma unroll
    for (int i = 0; i < kChunk; ++i) y[i] = x[i];
    if (c.offsets) {
#pragma unroll
      for (int i = 0; i < kChunk; ++i) y[i] = x[i] - c.offset;
    }
    Packed codes;
#pragma unroll
    for (int w = 0; w < Packed::kWords; ++w) {
      uint32_t sum = c.addend;
#pragma unroll
      for (int j = 0; j < kOfWord; ++j) {
        sum += as_bits(steps(c, y[w * kOfWord + j]) + as_float(kRounder)) << (kBits * j);
      }
      codes.word[w] = sum ^ kFlip;
    }
    return codes;
  }

  GATUN_DEVICE uint32_t above(const Coding& c, float x, float threshold) const {
    const float v = steps(c, x - c.offset), down = round_down(v), rounded = down + (threshold < v - down ? 1.0f : 0.0f);
    return ((as_bits(rounded + as_float(kRounder)) + c.addend) ^ kFlip) & ((1u << kBits) - 1);
  }

  struct Decoding {
    float scale, zero, offset;
  };
  static GATUN_DEVICE Decoding decoding(const Job& job, const Scale& scale) {
    const int zero = job.zero_point != GATUN_ZERO_NONE ? scale.zero : kMiddle;
    // -0 is what leaves every number as it is.
    const float offset = job.zero_point == GATUN_ZERO_FLOAT ? scale.offset : -0.0f;
    return {scale.value, 8388608.0f + static_cast<float>(zero), offset};
  }
  GATUN_DEVICE float value(const Decoding& d, const Packed& codes, int i) const {
    const uint32_t code = codes.get(i) ^ (kSignedCodes ? 0x80u : 0u);
    return (as_float(0x4b000000u | code) - d.zero) * d.scale + d.offset;
  }

 private:
  static GATUN_DEVICE float steps(const Coding& c, float x) {
    return min_number(max_number(x * c.inverse, c.low), c.high);
  }
};

using I8 = Linear<8, true>;
using U8 = Linear<8, false>;
using U4 = Linear<4, false>;
using U2 = Linear<2, false>;

}  // namespace gatun::cuda::quantize
