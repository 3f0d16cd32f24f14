// Small floats as codes: a value is rounded to the nearest one, ties to the even mantissa, and magnitudes beyond the
// largest become that. native/include/gatun/types.h has their bits.
//
// To nearest. Let 2^e be the greatest power of two that is not above |v|, or the least normal one; floats from 2^e to
// 2^(e + 1) are 2^(e - m) apart, m = kMantissaBits. The sum |v| + 2^(e - m + 23) has its last place there, so that
// adding rounds, and the sum's last bits hold the units: 2^m to 2^(m + 1), or less below the least normal. The code is
// the units plus 2^m for each power of two above the least normal, of which the bits of 2^e, shifted, are 127 + e times
// 2^m. The constant difference goes into the sum as well, as an even number of units, modulo 256:
//
//   code = low bits of fma(2^e, 2^(23 - m) + constant * 2^-m, |v|) + (bits of 2^e >> (23 - m))
//
// Otherwise: v in units of the last place, rounded down, and one more if the distance is above the threshold; units of
// 2^m and more carry into the exponent by themselves.
//
// A code becomes a float by moving its magnitude to where an f32 has it: that is the value times 2^(bias - 127), of
// subnormals as well.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "quantize/linear.h"

namespace gatun::cuda::quantize {

constexpr float power_of_two(int n) {
  float power = 1;
  for (; n > 0; --n) power *= 2;
  for (; n < 0; ++n) power /= 2;
  return power;
}

template <class Small, int kCodeBits>
struct SmallFloats {
  static constexpr int kBits = kCodeBits;
  static constexpr int kTableBytes = 0;
  using Tables = NoTables;
  using Packed = CodeWords<kBits>;

  static constexpr int kMantissaBits = Small::kMantissaBits;
  static constexpr int kTop = (Small::kHighest >> kMantissaBits) - Small::kBias;  // exponent of the largest value
  static constexpr int kLeast = 1 - Small::kBias;                                 // of the least normal one
  static constexpr int kUnit = 1 << kMantissaBits;
  static constexpr float kLargest = (kUnit + Small::kHighest % kUnit) * power_of_two(kTop - kMantissaBits);
  static constexpr float kLeastNormal = power_of_two(kLeast);
  static constexpr uint32_t kMagnitude = Small::kSign - 1;
  static constexpr int kSignBit = kBits - 1;

  struct Coding {
    float inverse;
    float zero;  // -0 leaves a product as it is; 0, of a block whose scale is 0, makes -0 a 0
  };

  explicit GATUN_DEVICE SmallFloats(const Tables&) {}

  static GATUN_DEVICE Coding coding(const Job& job, const Scale& scale) {
    const float inverse = inverse_of(job, scale);
    return {inverse, inverse == 0 ? 0.0f : -0.0f};
  }

  static GATUN_DEVICE uint32_t nearest(const Coding& c, float x) {
    constexpr int kConstant = -(kLeast + 127) * kUnit & 255;
    static_assert(kConstant % 2 == 0 && kConstant % kUnit == 0);
    constexpr float kShift = power_of_two(23 - kMantissaBits) + kConstant / kUnit;
    const float v = fused(x, c.inverse, c.zero), magnitude = min_number(absolute(v), kLargest);
    const uint32_t power = as_bits(max_number(magnitude, kLeastNormal)) & 0x7f800000;
    const uint32_t sum = as_bits(fused(as_float(power), kShift, magnitude));
    return with_sign(sum + (power >> (23 - kMantissaBits)), v);
  }

  GATUN_DEVICE Packed nearest(const Coding& c, const float (&x)[kChunk]) const {
    Packed codes;
#pragma unroll
    for (int w = 0; w < Packed::kWords; ++w) codes.word[w] = 0;
#pragma unroll
    for (int i = 0; i < kChunk; ++i) codes.put(i, nearest(c, x[i]));
    return codes;
  }

  GATUN_DEVICE uint32_t above(const Coding& c, float x, float threshold) const {
    const float v = min_number(max_number(fused(x, c.inverse, c.zero), -kLargest), kLargest);
    const uint32_t power = as_bits(max_number(absolute(v), kLeastNormal)) & 0x7f800000;
    const float down = as_float((254u << 23) - power);  // 2^-e: its exponent counts downwards
    const float units = v * down * static_cast<float>(kUnit), low = round_down(units);
    const float rounded = low + (threshold < units - low ? 1.0f : 0.0f);
    constexpr uint32_t kPowers = (kLeast + 127) * kUnit;
    const uint32_t magnitude = static_cast<uint32_t>(round_to_i32(absolute(rounded)));
    return with_sign(magnitude + (power >> (23 - kMantissaBits)) - kPowers, v);
  }

  struct Decoding {
    float scale, tensor_scale;
  };
  static GATUN_DEVICE Decoding decoding(const Job& job, const Scale& scale) {
    return {scale.value, job.maker.tensor_scale};
  }
  GATUN_DEVICE float value(const Decoding& d, const Packed& codes, int i) const {
    const uint32_t code = codes.get(i), magnitude = code & kMagnitude;
    const uint32_t bits = magnitude << (23 - kMantissaBits) | (code >> kSignBit) << 31;
    constexpr float kUp = power_of_two(127 - Small::kBias);
    float value = as_float(bits) * kUp;
    if constexpr (Small::kHighest < static_cast<int>(kMagnitude)) {  // what is above the highest is no number
      if (magnitude > Small::kHighest) {
        const bool infinite = Small::kInfinity && magnitude == Small::kHighest + 1;
        value = as_float(infinite ? 0x7f800000 | (bits & 0x80000000) : 0x7fc00000);
      }
    }
    return value * d.scale * d.tensor_scale;
  }

 private:
  // The bits of a code's magnitude, of which others are set as well, below the sign of a value.
  static GATUN_DEVICE uint32_t with_sign(uint32_t magnitude, float v) {
    return (magnitude & kMagnitude) | (as_bits(v) >> (31 - kSignBit) & (1u << kSignBit));
  }
};

using F8E4M3 = SmallFloats<gatun::F8E4M3, 8>;
using F8E5M2 = SmallFloats<gatun::F8E5M2, 8>;
using F6E3M2 = SmallFloats<gatun::F6E3M2, 6>;
using F6E2M3 = SmallFloats<gatun::F6E2M3, 6>;
using F4E2M1 = SmallFloats<gatun::F4E2M1, 4>;

}  // namespace gatun::cuda::quantize
