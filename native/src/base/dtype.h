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
    case GATUN_U2:
      return "U2";
    case GATUN_F8E4M3:
      return "F8E4M3";
    case GATUN_F8E5M2:
      return "F8E5M2";
    case GATUN_F6E3M2:
      return "F6E3M2";
    case GATUN_F6E2M3:
      return "F6E2M3";
    case GATUN_F4E2M1:
      return "F4E2M1";
    case GATUN_E8M0:
      return "E8M0";
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
    case GATUN_F8E4M3:
    case GATUN_F8E5M2:
    case GATUN_E8M0:
      return count;
    case GATUN_F6E3M2:
    case GATUN_F6E2M3:
      return count / 4 * 3 + count % 4;
    case GATUN_U4:
    case GATUN_F4E2M1:
      return count / 2 + count % 2;
    case GATUN_U2:
      return count / 4 + (count % 4 != 0);
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

// A float of 1 + kExponentBits + kMantissaBits bits, in the low bits of a byte: the value is
//   +-(1 + mantissa / 2^kMantissaBits) 2^(exponent - kBias), or with exponent 0 +-mantissa 2^(1 - kBias -
//   kMantissaBits).
// kHighest is the code of the largest finite value; codes above it are NaN, but that the one after it is infinity where
// kInfinity says so.
template <int kExponents, int kMantissas, int kBiases, int kLargest, bool kInfinite>
struct SmallFloat {
  static constexpr int kMantissaBits = kMantissas, kBias = kBiases, kHighest = kLargest;
  static constexpr int kSign = 1 << (kExponents + kMantissas);
  static constexpr bool kInfinity = kInfinite;
};
using F8E4M3 = SmallFloat<4, 3, 7, 0x7e, false>;
using F8E5M2 = SmallFloat<5, 2, 15, 0x7b, true>;
using F6E3M2 = SmallFloat<3, 2, 3, 0x1f, false>;
using F6E2M3 = SmallFloat<2, 3, 1, 0x1f, false>;
using F4E2M1 = SmallFloat<2, 1, 1, 0x07, false>;

// Bits above the float's own are ignored.
template <class Small>
GATUN_CONVERSION float small_to_f32(uint8_t code) {
  const uint32_t sign = code & Small::kSign ? 0x80000000u : 0;
  const int magnitude = code & (Small::kSign - 1);
  if (magnitude > Small::kHighest) {
    return float_from_bits(sign | (Small::kInfinity && magnitude == Small::kHighest + 1 ? 0x7f800000u : 0x7fc00000u));
  }
  const int exponent = magnitude >> Small::kMantissaBits;
  const int fraction = magnitude - (exponent > 1 ? exponent - 1 : 0) * (1 << Small::kMantissaBits);
  const int power = (exponent > 1 ? exponent : 1) - Small::kBias - Small::kMantissaBits;
  const float value = static_cast<float>(fraction) * float_from_bits(static_cast<uint32_t>(power + 127) << 23);
  return sign ? -value : value;
}

// To nearest, ties to even, values beyond the largest finite one to that. NaN gives the float's NaN of all ones where
// it has one, otherwise the largest value.
template <class Small>
GATUN_CONVERSION uint8_t f32_to_small(float value) {
  const uint32_t bits = float_bits(value);
  const int sign = bits >> 31 ? Small::kSign : 0;
  const float magnitude = float_from_bits(bits & 0x7fffffffu);
  if (!(magnitude <= 3.4028235e38f)) {
    return static_cast<uint8_t>(sign | (magnitude != magnitude ? Small::kSign - 1 : Small::kHighest));
  }
  constexpr int kLeast = 1 - Small::kBias;
  const int power = static_cast<int>(float_bits(magnitude) >> 23) - 127;
  const int exponent = power > kLeast ? power : kLeast;
  if (exponent > (Small::kHighest >> Small::kMantissaBits) - Small::kBias) {
    return static_cast<uint8_t>(sign | Small::kHighest);
  }
  // In units of the last place: at most 2^(kMantissaBits + 1), which carries into the exponent.
  const int up = Small::kMantissaBits - exponent;
  const float units = magnitude * float_from_bits(static_cast<uint32_t>(up + 127) << 23);
  const int code = (exponent - kLeast) * (1 << Small::kMantissaBits) + static_cast<int>(std::nearbyint(units));
  return static_cast<uint8_t>(sign | (code < Small::kHighest ? code : Small::kHighest));
}

// 2^(code - 127), of which the least is a subnormal; NaN for 0xff.
GATUN_CONVERSION float e8m0_to_f32(uint8_t code) {
  if (code == 0xff) return float_from_bits(0x7fc00000u);
  return float_from_bits(code == 0 ? 0x400000u : uint32_t{code} << 23);
}

// The exponent of a power of two within 2^-127..2^127, and of nothing else.
GATUN_CONVERSION uint8_t f32_to_e8m0(float power) { return static_cast<uint8_t>(float_bits(power) >> 23); }

#undef GATUN_CONVERSION

}  // namespace gatun
