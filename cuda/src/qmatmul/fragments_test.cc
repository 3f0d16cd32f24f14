// Every code becomes exactly what it stands for, in every place of a fragment.
#if defined(GATUN_EMULATED)
#include "qmatmul/fragments.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/dtype.h"
#include "qmatmul/values.h"

namespace gatun::cuda::qmatmul {
namespace {

// The value of a code from the definition of its type.
template <Codes kCodes>
float value_of(int code, int lower) {
  const auto byte = static_cast<uint8_t>(code);
  switch (kCodes) {
    case Codes::i8:
      return static_cast<float>(static_cast<int8_t>(byte) - lower);
    case Codes::f8e4m3:
      return small_to_f32<gatun::F8E4M3>(byte);
    case Codes::f8e5m2:
      return small_to_f32<gatun::F8E5M2>(byte);
    case Codes::f6e3m2:
      return small_to_f32<gatun::F6E3M2>(byte);
    case Codes::f6e2m3:
      return small_to_f32<gatun::F6E2M3>(byte);
    case Codes::f4e2m1:
      return small_to_f32<gatun::F4E2M1>(byte);
    default:
      return static_cast<float>(code - lower);
  }
}

template <Codes kCodes>
int code_count() {
  return kCodes == Codes::f6e3m2 || kCodes == Codes::f6e2m3 ? 64 : 1 << bits_of(kCodes);
}

// What is finite.
template <Codes kCodes>
bool is_weight(int code) {
  return std::isfinite(value_of<kCodes>(code, 0));
}

bool same(float a, float b) { return a == b && std::signbit(a) == std::signbit(b); }

template <Codes kCodes, bool kBf16>
void expect_pairs(int lower) {
  const Decoder<kCodes, kBf16> decoder(lower);
  for (int low = 0; low < code_count<kCodes>(); ++low) {
    const int high = code_count<kCodes>() - 1 - low;
    if (!is_weight<kCodes>(low) || !is_weight<kCodes>(high)) continue;
    const uint32_t pair = decoder(static_cast<uint32_t>(high << 16 | low));
    for (int half = 0; half < 2; ++half) {
      const auto bits = static_cast<uint16_t>(pair >> 16 * half);
      const float value = kBf16 ? gatun::bf16_to_f32(bits) : gatun::f16_to_f32(bits);
      const int code = half == 0 ? low : high;
      ASSERT_TRUE(same(value, value_of<kCodes>(code, lower)))
          << "codes " << static_cast<int>(kCodes) << ", bf16 " << kBf16 << ", code " << code << " - " << lower << ": "
          << value;
    }
  }
}

template <Codes kCodes>
void expect_codes() {
  const int highest = !is_linear(kCodes) || kCodes == Codes::i8 ? 0 : code_count<kCodes>() - 1;  // zero point
  for (int lower = 0; lower <= highest; ++lower) {
    expect_pairs<kCodes, false>(lower);
    expect_pairs<kCodes, true>(lower);
    constexpr Decoding kDecoding = decoding_of(kCodes);
    const Values<value_instance(kCodes)> values(kDecoding, lower, nullptr);
    for (int code = 0; code < code_count<kCodes>(); ++code) {
      if (!is_weight<kCodes>(code)) continue;
      for (int i = 0; i < 4; ++i) {
        const uint32_t others = code_count<kCodes>() == 256 ? 0x5a5a5a5au : 0x01010101u;
        const uint32_t quad = (others & ~(0xffu << 8 * i)) | static_cast<uint32_t>(code) << 8 * i;
        ASSERT_TRUE(same(values(quad, i), value_of<kCodes>(code, lower))) << code << " - " << lower;
      }
    }
  }
}

TEST(Fragments, EveryCodeIsExact) {
  expect_codes<Codes::u4>();
  expect_codes<Codes::u2>();
  expect_codes<Codes::i8>();
  expect_codes<Codes::u8>();
  expect_codes<Codes::f8e4m3>();
  expect_codes<Codes::f8e5m2>();
  expect_codes<Codes::f6e3m2>();
  expect_codes<Codes::f6e2m3>();
  expect_codes<Codes::f4e2m1>();
}

// A unit whose codes are their own places: each register of the operand must have those of its place.
template <Codes kCodes>
void expect_places() {
  constexpr int kBits = bits_of(kCodes), kCount = 1 << kBits;
  for (int lane = 0; lane < 32; ++lane) {
    const int t = lane % 4;
    const auto code_of = [t](int second, int k) { return (k * 5 + second * 7 + k / 16 + t) % kCount; };
    Words4 unit = {};
    for (int step = 0; step < unit_depth(kCodes) / kStepDepth; ++step) {
      for (int second = 0; second < 2; ++second) {
        for (int j = 0; j < 4; ++j) {
          const int k = step * 16 + 2 * t + (j % 2) * 8 + j / 2;
          // form.h: the word, and the bits of its byte j.
          const int word = kBits == 8 ? 2 * step + second : kBits == 4 ? step : step / 2;
          const int shift = kBits == 8 ? 0 : kBits == 4 ? 4 * second : 4 * (step % 2) + 2 * second;
          unit.word[word] |= static_cast<uint32_t>(code_of(second, k)) << (8 * j + shift);
        }
      }
    }
    const Decoder<kCodes, false> decoders[2] = {Decoder<kCodes, false>(1), Decoder<kCodes, false>(0)};
    for (int step = 0; step < unit_depth(kCodes) / kStepDepth; ++step) {
      uint32_t a[4];
      fragment<kCodes, false>(unit, step, decoders, a);
      for (int i = 0; i < 4; ++i) {
        for (int half = 0; half < 2; ++half) {
          const int k = step * 16 + 2 * t + half + (i >= 2 ? 8 : 0), second = i % 2;
          const float value = gatun::f16_to_f32(static_cast<uint16_t>(a[i] >> 16 * half));
          ASSERT_EQ(value, static_cast<float>(code_of(second, k) - (second == 0 ? 1 : 0)))
              << "codes " << static_cast<int>(kCodes) << ", lane " << lane << ", step " << step << ", a[" << i << "]."
              << half;
        }
      }
    }
  }
}

TEST(Fragments, EveryElementHasItsPlace) {
  expect_places<Codes::u4>();
  expect_places<Codes::u2>();
  expect_places<Codes::u8>();
}

}  // namespace
}  // namespace gatun::cuda::qmatmul
#endif
