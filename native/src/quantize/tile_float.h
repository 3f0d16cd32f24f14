// Small floats as codes (base/dtype.h has their bits): a value is rounded to the nearest one, ties to the even
// mantissa, and magnitudes beyond the largest become that.
//
// To nearest. Let 2^e be the greatest power of two that is not above |v|, or the least normal one; floats from 2^e to
// 2^(e + 1) are 2^(e - m) apart, m = kMantissaBits. The sum |v| + 2^(e - m + 23) has its last place there, so that
// adding rounds, ties to even, and the sum's last bits hold the units: 2^m to 2^(m + 1), or less below the least
// normal. The code is the units plus 2^m for each power of two above the least normal, of which bits of 2^e, shifted,
// are 127 + e times 2^m. The constant difference, c units, goes into the sum as well; it is even, so ties stay. All of
// it modulo 256:
//
//   code = low bits of fma(2^e, 2^(23 - m) + c * 2^-m, |v|) + (bits(2^e) >> (23 - m))
//
// Otherwise: v in units of the last place, floor, and one more if the distance is above the threshold; units of 2^m
// from there on carry into the exponent by themselves.
//
// To f32: the bits of the magnitude, moved to where an f16 has them, are the value times a power of two, subnormals as
// well.
#pragma once

#include "base/dtype.h"
#include "quantize/codes.h"
#include "simd/small_floats.h"

namespace gatun::GATUN_ISA {
namespace {

constexpr float power_of_two(int n) {
  float power = 1;
  for (; n > 0; --n) power *= 2;
  for (; n < 0; ++n) power /= 2;
  return power;
}

struct u6 : u8 {
  static constexpr int kBits = 6;
  static GATUN_INLINE void store(uint8_t* p, Bytes codes) { store_sixes(p, codes); }
  static GATUN_INLINE void stream(uint8_t* p, Bytes codes) { store_sixes(p, codes); }  // no size that streams
  static GATUN_INLINE void store_n(uint8_t* p, Bytes codes, int n) { store_sixes_n(p, codes, n); }
  static GATUN_INLINE I32 load(const uint8_t* p) { return load_u6_i32(p); }
};

template <class Small, class Bits>
struct FloatCodes : Bits {
  static constexpr int kMantissaBits = Small::kMantissaBits;
  static constexpr int kTop = (Small::kHighest >> kMantissaBits) - Small::kBias;  // exponent of the largest value
  static constexpr int kLeast = 1 - Small::kBias;                                 // of the least normal one
  static constexpr int kUnit = 1 << kMantissaBits;
  static constexpr int kMagnitude = Small::kSign - 1;  // the bits of a code but its sign
  static constexpr bool kSmallScales = true;           // E8M0 and F8E4M3, too
  static constexpr float kLargest = (kUnit + Small::kHighest % kUnit) * power_of_two(kTop - kMantissaBits);
  static constexpr bool kNan = Small::kHighest < Small::kSign - 1 && !Small::kInfinity;  // infinity: as f16 has it

  struct Encoder {
    explicit Encoder(const Job&) {}

    // The codes of values in vectors of kLanes; `kept` has the bits that do not come from the value's sign: all, or all
    // but that of the sign.
    template <bool kLimited>
    static GATUN_INLINE Bytes nearest(const F32 (&v)[4], const I32 (&kept)[4]) {
      return pack_u8(nearest_one(v[0], kept[0]), nearest_one(v[1], kept[1]), nearest_one(v[2], kept[2]),
                     nearest_one(v[3], kept[3]));
    }
    // The upper of the two neighbours of a value if its distance to the lower one, in parts of theirs, is above the
    // threshold.
    static GATUN_INLINE Bytes above(const F32 (&v)[4], const I32 (&kept)[4], const F32 (&thresholds)[4]) {
      return pack_u8(above_one(v[0], kept[0], thresholds[0]), above_one(v[1], kept[1], thresholds[1]),
                     above_one(v[2], kept[2], thresholds[2]), above_one(v[3], kept[3], thresholds[3]));
    }
  };

  struct Decoder {
    explicit Decoder(const Job&) {}

    // What the codes from p on stand for.
    static GATUN_INLINE void values(const uint8_t* p, F32 (&out)[4]) {
      for (int j = 0; j < 4; ++j) out[j] = value(Bits::load(p + j * kLanes * Bits::kBits / 8));
    }
  };

 private:
  static GATUN_INLINE I32 nearest_one(F32 v, I32 kept) {
    constexpr int kConstant = -(kLeast + 127) * kUnit & 255;
    static_assert(kConstant % 2 == 0 && kConstant % kUnit == 0);
    constexpr float kShift = power_of_two(23 - kMantissaBits) + kConstant / kUnit;
    const F32 magnitude = min_magnitude(v, set1(kLargest));
    const I32 power = and_i32(as_i32(max(magnitude, set1(power_of_two(kLeast)))), set1_i32(0x7f800000));
    const I32 sum = as_i32(fma(as_f32(power), set1(kShift), magnitude));
    return with_sign(add_i32(sum, shift_right<23 - kMantissaBits>(power)), v, kept);
  }

  static GATUN_INLINE I32 above_one(F32 v, I32 kept, F32 threshold) {
    v = min(max(v, set1(-kLargest)), set1(kLargest));
    const I32 power = and_i32(as_i32(max(abs(v), set1(power_of_two(kLeast)))), set1_i32(0x7f800000));
    const F32 down = as_f32(sub_i32(set1_i32(254 << 23), power));  // 2^-e: its exponent counts downwards
    const F32 units = mul(mul(v, down), set1(kUnit)), low = floor(units);
    const F32 rounded = add(low, select_less(threshold, sub(units, low), set1(1), zero_f32()));
    const I32 powers = sub_i32(shift_right<23 - kMantissaBits>(power), set1_i32((kLeast + 127) * kUnit));
    return with_sign(add_i32(round_to_i32(abs(rounded)), powers), v, kept);
  }

  static GATUN_INLINE F32 value(I32 code) {
    constexpr int kShift = 10 - kMantissaBits;
    I32 magnitude = and_i32(code, set1_i32(Small::kSign - 1));
    if constexpr (kNan) {  // only NaN carries; the bit goes to where it makes the f16 exponent all ones
      const I32 carry = and_i32(add_i32(magnitude, set1_i32(1)), set1_i32(Small::kSign));
      magnitude = or_i32(magnitude, carry);
    }
    const I32 sign = and_i32(code, set1_i32(Small::kSign));
    const I32 half = or_i32(shift_left<kShift>(magnitude), shift_left<kSignShift>(sign));
    return mul(widen_f16(half), set1(power_of_two(15 - Small::kBias)));
  }

  static constexpr int log2(int power) { return power == 1 ? 0 : 1 + log2(power / 2); }
  static constexpr int kSignShift = 15 - log2(Small::kSign);

  // The bits of `code` that are in `kept`, the others of v's sign and what is beside it.
  static GATUN_INLINE I32 with_sign(I32 code, F32 v, I32 kept) {
    return select_bits(kept, code, shift_right_logical<31 - log2(Small::kSign)>(as_i32(v)));
  }
};

using f8e4m3 = FloatCodes<F8E4M3, u8>;
using f8e5m2 = FloatCodes<F8E5M2, u8>;
using f6e3m2 = FloatCodes<F6E3M2, u6>;
using f6e2m3 = FloatCodes<F6E2M3, u6>;
using f4e2m1 = FloatCodes<F4E2M1, u4>;

}  // namespace
}  // namespace gatun::GATUN_ISA
