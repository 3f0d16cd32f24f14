// From the codes of a unit (form.h) to left operands of matrix instructions.
//
// A lane's words of a unit give, for each step of 16 of depth, the four registers of mma.m16n8k16's left operand:
//   a[0] column r, k = 2 t, 2 t + 1      a[1] column r + 8, the same k
//   a[2] column r, k = 2 t + 8, 2 t + 9  a[3] column r + 8
// of values in f16 or bf16, exactly: integers minus their zero point, small floats; values of code books are rounded.
//
// Integers get there without a conversion: a code below 128 in the low mantissa bits of 128 (bf16) or a byte in those
// of 1024 (f16) is that number plus the code, and one fused operation takes it off together with the zero point. Small
// floats are shifted into place, and a power of two makes up for the difference of the biases, subnormals included.
#pragma once

#include <cstdint>

#include "ptx/memory.h"
#include "ptx/number.h"
#include "qmatmul/form.h"
#include "qmatmul/job.h"

namespace gatun::cuda::qmatmul {

// The codes of one column in one step, a byte each: of k = 2 t, 2 t + 8, 2 t + 1, 2 t + 9. `second`: column r + 8.
template <Codes kCodes>
GATUN_DEVICE uint32_t quad(const Words4& unit, int step, int second) {
  if constexpr (bits_of(kCodes) == 8) return unit.word[2 * step + second];
  if constexpr (bits_of(kCodes) == 4) return unit.word[step] >> 4 * second & 0x0f0f0f0fu;
  return unit.word[step / 2] >> (step % 2 * 4 + second * 2) & 0x03030303u;
}

// Of a quad, the two neighbours from 2 t (kOdd 0) or 2 t + 8 (kOdd 1) on, in the low bits of 16 each.
template <int kOdd>
GATUN_DEVICE uint32_t neighbours(uint32_t quad) {
  return quad >> 8 * kOdd & 0x00ff00ffu;
}

template <bool kBf16>
GATUN_DEVICE uint32_t fused_halves(uint32_t a, uint32_t b, uint32_t c) {
  return kBf16 ? fused_bf16x2(a, b, c) : fused_f16x2(a, b, c);
}
template <bool kBf16>
GATUN_DEVICE uint32_t pack_halves(float low, float high) {
  return kBf16 ? pack_bf16(low, high) : pack_f16(low, high);
}
template <bool kBf16>
GATUN_DEVICE uint32_t both_halves(float x) {
  return pack_halves<kBf16>(x, x);
}
template <bool kBf16>
inline constexpr uint32_t kOnes = kBf16 ? 0x3f803f80u : 0x3c003c00u;

// A decoder of one column: `lower` is the zero point that linear codes are lowered by.
template <Codes kCodes, bool kBf16>
class Decoder {
 public:
  GATUN_DEVICE explicit Decoder(int lower) {
    const int excess = kCodes == Codes::i8 ? 128 : 0;
    minus_ = kWide ? as_bits(-static_cast<float>((1 << 23) + excess + lower))
                   : both_halves<kBf16>(-static_cast<float>((kBf16 ? 128 : 1024) + excess + lower));
  }

  // Two codes in the low bits of 16 each -> two values.
  GATUN_DEVICE uint32_t operator()(uint32_t codes) const {
    if constexpr (kCodes == Codes::i8) codes ^= 0x00800080u;  // code + 128
    if constexpr (kWide) {
      const float minus = as_float(minus_);
      return pack_halves<kBf16>(as_float((codes & 0xffu) | 0x4b000000u) + minus,
                                as_float(codes >> 16 | 0x4b000000u) + minus);
    }
    return fused_halves<kBf16>(codes | (kBf16 ? 0x43004300u : 0x64006400u), kOnes<kBf16>, minus_);
  }

 private:
  // bf16 has 7 bits after the point: bytes take the way through f32.
  static constexpr bool kWide = kBf16 && bits_of(kCodes) == 8;
  uint32_t minus_;
};

// 1 sign bit, kExponents, kMantissas bits from the highest on, in the low bits of 16.
template <int kExponents, int kMantissas, int kBias, bool kBf16>
GATUN_DEVICE uint32_t small_floats(uint32_t codes) {
  constexpr int kMagnitudeBits = kExponents + kMantissas;
  constexpr uint32_t kMagnitude = ((1u << kMagnitudeBits) - 1) * 0x00010001u,
                     kSign = (1u << kMagnitudeBits) * 0x00010001u;
  constexpr int kUp = (kBf16 ? 7 : 10) - kMantissas, kRebias = (kBf16 ? 127 : 15) - kBias;
  const uint32_t placed = (codes & kMagnitude) << kUp | (codes & kSign) << (15 - kMagnitudeBits);
  if constexpr (kRebias == 0) return placed;
  constexpr uint32_t kPower = (kBf16 ? (kRebias + 127u) << 7 : (kRebias + 15u) << 10) * 0x00010001u;
  // -0 as the addend, so that a negative zero stays one.
  return fused_halves<kBf16>(placed, kPower, 0x80008000u);
}

template <bool kBf16>
class Decoder<Codes::f8e4m3, kBf16> {
 public:
  GATUN_DEVICE explicit Decoder(int) {}
  GATUN_DEVICE uint32_t operator()(uint32_t codes) const { return small_floats<4, 3, 7, kBf16>(codes); }
};
template <bool kBf16>
class Decoder<Codes::f8e5m2, kBf16> {
 public:
  GATUN_DEVICE explicit Decoder(int) {}
  GATUN_DEVICE uint32_t operator()(uint32_t codes) const { return small_floats<5, 2, 15, kBf16>(codes); }
};
template <bool kBf16>
class Decoder<Codes::f6e3m2, kBf16> {
 public:
  GATUN_DEVICE explicit Decoder(int) {}
  GATUN_DEVICE uint32_t operator()(uint32_t codes) const { return small_floats<3, 2, 3, kBf16>(codes); }
};
template <bool kBf16>
class Decoder<Codes::f6e2m3, kBf16> {
 public:
  GATUN_DEVICE explicit Decoder(int) {}
  GATUN_DEVICE uint32_t operator()(uint32_t codes) const { return small_floats<2, 3, 1, kBf16>(codes); }
};
template <bool kBf16>
class Decoder<Codes::f4e2m1, kBf16> {
 public:
  GATUN_DEVICE explicit Decoder(int) {}
  GATUN_DEVICE uint32_t operator()(uint32_t codes) const { return small_floats<2, 1, 1, kBf16>(codes); }
};

// The left operand of a step.
template <Codes kCodes, bool kBf16>
GATUN_DEVICE void fragment(const Words4& unit, int step, const Decoder<kCodes, kBf16> (&decoders)[2],
                           uint32_t (&a)[4]) {
  for (int second = 0; second < 2; ++second) {
    const uint32_t codes = quad<kCodes>(unit, step, second);
    a[second] = decoders[second](neighbours<0>(codes));
    a[2 + second] = decoders[second](neighbours<1>(codes));
  }
}

}  // namespace gatun::cuda::qmatmul
