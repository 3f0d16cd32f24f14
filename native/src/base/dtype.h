// Element types: names, sizes, and conversions of single values for code outside the kernels.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "gatun/types.h"

namespace gatun {

// The conversions are inlined always, so that the scalar kernels have no symbol outside their namespace.
#define GATUN_CONVERSION inline __attribute__((always_inline))

inline const char* dtype_name(int32_t dtype) {
  switch (dtype) {
    case GATUN_F32:
      return "F32";
    case GATUN_F16:
      return "F16";
    case GATUN_BF16:
      return "BF16";
    case GATUN_I8:
      return "I8";
    case GATUN_U8:
      return "U8";
    case GATUN_I32:
      return "I32";
    case GATUN_U4:
      return "U4";
    default:
      return "no dtype";
  }
}

// Bytes of `count` consecutive elements; 0 for an unknown dtype.
inline int64_t dtype_bytes(int32_t dtype, int64_t count) {
  switch (dtype) {
    case GATUN_F32:
    case GATUN_I32:
      return count * 4;
    case GATUN_F16:
    case GATUN_BF16:
      return count * 2;
    case GATUN_I8:
    case GATUN_U8:
      return count;
    case GATUN_U4:
      return count / 2 + count % 2;
    default:
      return 0;
  }
}

GATUN_CONVERSION uint32_t float_bits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

GATUN_CONVERSION float float_from_bits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

GATUN_CONVERSION float bf16_to_f32(uint16_t value) { return float_from_bits(uint32_t{value} << 16); }

// To nearest, ties to even; NaN stays NaN (quiet), overflow gives infinity.
GATUN_CONVERSION uint16_t f32_to_bf16(float value) {
  const uint32_t bits = float_bits(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

GATUN_CONVERSION float f16_to_f32(uint16_t value) {
  const uint32_t sign = uint32_t{value} << 16 & 0x80000000u;
  const uint32_t exponent = value >> 10 & 0x1f, mantissa = value & 0x3ff;
  if (exponent == 0x1f) return float_from_bits(sign | 0x7f800000u | mantissa << 13 | (mantissa != 0) << 22);
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  return float_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

// To nearest, ties to even; NaN stays NaN (quiet), overflow gives infinity.
GATUN_CONVERSION uint16_t f32_to_f16(float value) {
  const uint32_t bits = float_bits(value);
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00 | (magnitude >> 13 & 0x1ff));
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00);  // 65520 and above
  if (magnitude < 0x38800000u) {                                              // below 2^-14: multiples of 2^-24
    const float scaled = std::nearbyint(float_from_bits(magnitude) * 0x1p24f);
    return static_cast<uint16_t>(sign | static_cast<uint16_t>(scaled));
  }
  return static_cast<uint16_t>(sign | (magnitude - 0x38000000u + 0xfffu + (magnitude >> 13 & 1)) >> 13);
}

#undef GATUN_CONVERSION

}  // namespace gatun
