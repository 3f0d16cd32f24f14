// Scales: from the extremes of a block to what is stored and what values are multiplied by. native/include/gatun/
// quantize.h is the definition; each operation rounds once.
#pragma once

#include <cstdint>

#include "gatun/quantize.h"
#include "ptx/number.h"
#include "quantize/team.h"

namespace gatun::cuda::quantize {

// What belongs to a block beside its codes. Its `value` is that of the type it is stored in.
struct Scale {
  float value;
  uint32_t stored;  // E8M0 and F8E4M3: the byte
  int32_t zero;     // integer zero point
  float offset;     // float zero point
};

// a / divisor, rounded once: the quotient by the rounded inverse, corrected once, is that for any divisor here (see
// arithmetic_test.cc) unless it is below 2^-120, which counts as 0. An infinite `a` gives NaN.
GATUN_DEVICE float divided(float a, float divisor, float inverse_divisor) {
  const float quotient = a * inverse_divisor, rest = fused(-quotient, divisor, a);
  return fused(rest, inverse_divisor, quotient);
}

// 2^(exponent - 127) from the bits of the largest magnitude: its exponent is the floor of the logarithm; adding all
// bits of a mantissa makes that the ceiling, and half a unit of the codes' mantissa rounds.
GATUN_DEVICE Scale power_scale(const ScaleMaker& maker, float magnitude) {
  constexpr uint32_t kMantissa = 0x7fffff;
  int32_t exponent;
  if (maker.rule == GATUN_SCALE_RCEIL) {
    const uint32_t ratio = as_bits(magnitude / maker.divisor);
    exponent = ratio > 0x400000 ? static_cast<int32_t>((ratio + kMantissa) >> 23) : 0;
  } else {
    const uint32_t up = maker.rule == GATUN_SCALE_CEIL   ? kMantissa
                        : maker.rule == GATUN_SCALE_EVEN ? 1u << (22 - maker.mantissa_bits)
                                                         : 0;
    exponent = static_cast<int32_t>((as_bits(magnitude) + up) >> 23) - maker.top;
    exponent = exponent > 0 ? exponent : 0;
  }
  const uint32_t power = static_cast<uint32_t>(exponent);
  return {as_float(power == 0 ? 0x400000 : power << 23), power, 0, 0};
}

// As F8E4M3, normal; to nearest, ties to even.
GATUN_DEVICE Scale nested_scale(const ScaleMaker& maker, float magnitude) {
  const float exact = divided(magnitude, maker.divisor, maker.inverse_divisor) / maker.tensor_scale;
  const uint32_t bits = as_bits(max_number(min_number(exact, 448), 0.015625f));
  const uint32_t rounded = (bits + 0x7ffff + (bits >> 20 & 1)) >> 20;
  return {as_float(rounded << 20), rounded - ((127 - 7) << 3), 0, 0};
}

// Of finite extremes; `extreme` is the first value of largest magnitude where that counts. Infinite if it overflows.
GATUN_DEVICE Scale make_scale(const Job& job, const Extremes& found, float extreme) {
  const ScaleMaker& maker = job.maker;
  // Of zeros it may be -0.
  if (maker.make == Make::power) return power_scale(maker, absolute(found.magnitude()));
  if (maker.make == Make::nested) return nested_scale(maker, found.magnitude());
  const bool span = maker.make == Make::span;
  const float low = span ? found.low : min_number(found.low, 0), high = span ? found.high : max_number(found.high, 0);
  float scale;
  if (maker.make == Make::sides) {
    scale = max_number(high / maker.divisor, low / -(maker.divisor + 1));
  } else {
    const float magnitude = max_number(high, -low);
    const float numerator = maker.make == Make::magnitude ? magnitude
                            : maker.make == Make::extreme ? extreme
                            : maker.make == Make::twice   ? magnitude + magnitude
                                                          : high - low;
    scale = divided(numerator, maker.divisor, maker.inverse_divisor);
  }
  if (job.scale_dtype == GATUN_F16) scale = f16_to_f32(f32_to_f16(scale));
  if (absolute(scale) < as_float(7u << 23)) scale = 0;  // 2^-120
  int32_t zero = 0;
  if (job.zero_point == GATUN_ZERO_INTEGER && scale != 0) {
    zero = round_to_i32(min_number(round_to_integer(-low / scale), maker.divisor));
  }
  return {scale, 0, zero, low == 0 ? 0 : low};
}

GATUN_DEVICE void store_scale(const Job& job, int64_t block, const Scale& scale) {
  if (job.scale_dtype == GATUN_F32) {
    static_cast<float*>(job.scales)[block] = scale.value;
  } else if (job.scale_dtype == GATUN_F16) {
    static_cast<uint16_t*>(job.scales)[block] = f32_to_f16(scale.value);
  } else {
    static_cast<uint8_t*>(job.scales)[block] = static_cast<uint8_t>(scale.stored);
  }
  if (job.zero_point == GATUN_ZERO_INTEGER) {
    static_cast<uint8_t*>(job.zero_points)[block] = static_cast<uint8_t>(scale.zero);
  } else if (job.zero_point == GATUN_ZERO_FLOAT) {
    static_cast<float*>(job.zero_points)[block] = scale.offset;
  }
}

GATUN_DEVICE Scale load_scale(const Job& job, int64_t block) {
  Scale scale = {0, 0, 0, 0};
  if (job.scale_dtype == GATUN_F32) {
    scale.value = static_cast<const float*>(job.scales)[block];
  } else if (job.scale_dtype == GATUN_F16) {
    scale.value = f16_to_f32(static_cast<const uint16_t*>(job.scales)[block]);
  } else {
    const uint32_t byte = static_cast<const uint8_t*>(job.scales)[block];
    if (job.scale_dtype == GATUN_E8M0) {
      scale.value = as_float(byte == 0xff ? 0x7fc00000 : byte == 0 ? 0x400000 : byte << 23);
    } else {
      const float magnitude = as_float((byte & 0x7f) << 20) * as_float((127 + 120) << 23);  // 2^120
      scale.value = (byte & 0x7f) == 0x7f ? as_float(0x7fc00000) : byte & 0x80 ? -magnitude : magnitude;
    }
  }
  if (job.zero_point == GATUN_ZERO_INTEGER) {
    scale.zero = static_cast<const uint8_t*>(job.zero_points)[block];
  } else if (job.zero_point == GATUN_ZERO_FLOAT) {
    scale.offset = static_cast<const float*>(job.zero_points)[block];
  }
  return scale;
}

GATUN_DEVICE bool is_finite(float x) { return absolute(x) < as_float(0x7f800000); }

// What values are multiplied by before they are rounded: 0 for a scale that is 0 or too small for an inverse.
GATUN_DEVICE float inverse_of(const Job& job, const Scale& scale) {
  // Of 1 it is an instruction or two less.
  const float inverse = job.maker.one == 1 ? 1 / scale.value : job.maker.one / scale.value;
  return is_finite(inverse) ? inverse : 0;
}

}  // namespace gatun::cuda::quantize
