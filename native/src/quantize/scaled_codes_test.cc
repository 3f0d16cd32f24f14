// Small floats and code books: kernels and reference against examples worked out by hand, and what the definition says
// of all codes and values.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "gatun/gatun.h"
#include "gatun/quantize.h"
#include "quantize/reference.h"
#include "quantize/test_scaled.h"
#include "rng.h"
#include "shapes.h"
#include "tolerance.h"

namespace gatun::quantize::scaled {
namespace {

// With a scale of 1, every code's value becomes that code again; of codes with the same value, one of them.
TEST(Scaled, EveryCodeRoundTrips) {
  Rng rng(27);
  for (const Format& format : formats()) {
    gatun_quantize_params p = make_params(format, 1, 256, 256);
    p.scale_rule = GATUN_SCALE_GIVEN;
    p.tensor_scale = 1;
    SCOPED_TRACE(describe(p));
    const Extras extras(p, rng);
    const int bits = static_cast<int>(dtype_bytes(p.code_dtype, 256) * 8 / 256);
    Quantized all(p), again(p);
    for (int64_t byte = 0; byte < all.codes.size(); ++byte) all.codes[byte] = 0;
    for (int k = 0; k < 256; ++k) {
      for (int bit = 0; bit < bits; ++bit) {
        uint8_t& byte = all.codes[(k * bits + bit) / 8];
        byte = static_cast<uint8_t>(byte | (k >> bit & 1) << (k * bits + bit) % 8);
      }
    }
    const uint16_t half = f32_to_f16(1);
    const float one = 1;
    const uint8_t power = 127, small = 0x38;
    const void* scale = p.scale_dtype == GATUN_F32    ? static_cast<const void*>(&one)
                        : p.scale_dtype == GATUN_F16  ? static_cast<const void*>(&half)
                        : p.scale_dtype == GATUN_E8M0 ? &power
                                                      : &small;
    std::memcpy(all.scales.data(), scale, static_cast<size_t>(all.scales.size()));
    std::memcpy(again.scales.data(), scale, static_cast<size_t>(all.scales.size()));
    std::vector<float> x(256), y(256);
    ASSERT_EQ(gatun_dequantize(&p, extras.code_book(), all.codes.data(), all.scales.data(), nullptr, x.data()),
              GATUN_OK);
    for (float& value : x) value = std::isfinite(value) ? value : 0;
    forget_negative_zeros(p, x);
    for (const int32_t rounding : {GATUN_ROUND_NEAREST, GATUN_ROUND_STOCHASTIC}) {
      p.rounding = rounding;
      ASSERT_EQ(
          gatun_quantize(&p, x.data(), extras.code_book(), nullptr, again.codes.data(), again.scales.data(), nullptr),
          GATUN_OK)
          << gatun_last_error();
      ASSERT_EQ(gatun_dequantize(&p, extras.code_book(), again.codes.data(), again.scales.data(), nullptr, y.data()),
                GATUN_OK);
      forget_negative_zeros(p, y);
      ASSERT_TRUE(test::identical(y, x));
    }
  }
}

// Worked out by hand from the definition.
struct Example {
  Format format;
  std::vector<float> x;
  std::vector<uint8_t> scale;  // its bytes
  std::vector<int> codes;
  int64_t repeat = 1;  // of x, so that a group has as many values as it must
};

std::vector<uint8_t> bytes_of(float scale) {
  std::vector<uint8_t> bytes(4);
  std::memcpy(bytes.data(), &scale, 4);
  return bytes;
}

TEST(Scaled, Examples) {
  const Example examples[] = {
      // E4M3: 448 is code 0x7e; 1.0625 lies between 1 (0x38) and 1.125 (0x39), 1.1875 between 0x39 and 1.25 (0x3a):
      // ties go to the even mantissa; 2^-10 is half of the least one.
      {{GATUN_F8E4M3, 0, GATUN_F32, 0},
       {448, -448, 1, 1.0625f, 1.1875f, -1.1875f, 0x1p-9f, 0x1p-10f, 0x1.8p-9f, 0, -0.0f, 0x1.fp-7f},
       bytes_of(1),
       {0x7e, 0xfe, 0x38, 0x38, 0x3a, 0xba, 0x01, 0x00, 0x02, 0x00, 0x80, 0x08}},
      // E5M2: 57344 is 0x7b, 1 is 0x3c, 1.125 a tie to 1, 1.375 to 1.5; 2^-16 the least.
      {{GATUN_F8E5M2, 0, GATUN_F32, 0},
       {57344, -1, 1.125f, 1.375f, 0x1p-16f, 0x1p-17f, -0x1.8p-16f, 0x1p-14f},
       bytes_of(1),
       {0x7b, 0xbc, 0x3c, 0x3e, 0x01, 0x00, 0x82, 0x04}},
      // E3M2, floor(log2 28) - 4 = 0, so e = 127: 28 is 0x1f, 1 is 0x0c, 0.0625 the least.
      {{GATUN_F6E3M2, 0, GATUN_E8M0, GATUN_SCALE_FLOOR},
       {28, 1, -1, 0.0625f, 0.03125f, 0.09375f, 31, -24},
       {127},
       {0x1f, 0x0c, 0x2c, 0x01, 0x00, 0x02, 0x1f, 0x3e}},
      // E2M3: 7.5 is 0x1f, 1 is 0x08, 0.125 the least; 0.0625 and 0.1875 are ties.
      {{GATUN_F6E2M3, 0, GATUN_E8M0, GATUN_SCALE_FLOOR},
       {7.5f, 1, 0.125f, 0.0625f, 0.1875f, -2.125f, 7.9f},
       {127},
       {0x1f, 0x08, 0x01, 0x00, 0x02, 0x30, 0x1f}},
      // E2M1, floor(log2 7) - 2 = 0: 7 saturates at 6; 2.5 and 5 are ties, to 2 and 4.
      {{GATUN_F4E2M1, 0, GATUN_E8M0, GATUN_SCALE_FLOOR},
       {7, -6, 0.25f, 0.75f, 1.25f, 2.5f, 5, -3.5f},
       {127},
       {7, 15, 0, 2, 2, 4, 6, 14}},
      // ceil(log2 7) - 2 = 1: in steps of 2.
      {{GATUN_F4E2M1, 0, GATUN_E8M0, GATUN_SCALE_CEIL}, {7, -6, 0.5f, 1}, {128}, {6, 13, 0, 1}},
      // ceil(log2(7 / 6)) = 1, ceil(log2(6 / 6)) = 0
      {{GATUN_F4E2M1, 0, GATUN_E8M0, GATUN_SCALE_RCEIL}, {7, -6}, {128}, {6, 13}},
      {{GATUN_F4E2M1, 0, GATUN_E8M0, GATUN_SCALE_RCEIL}, {6, -6}, {127}, {7, 15}},
      // 7 rounds to 8 = 2^3, 6.9 to 6 (steps of 2 from 4 on): 3 - 2 and 2 - 2
      {{GATUN_F4E2M1, 0, GATUN_E8M0, GATUN_SCALE_EVEN}, {7, -6}, {128}, {6, 13}},
      {{GATUN_F4E2M1, 0, GATUN_E8M0, GATUN_SCALE_EVEN}, {6.9f, -6}, {127}, {7, 15}},
      {{GATUN_F4E2M1, 0, GATUN_E8M0, GATUN_SCALE_FLOOR}, {0, -0.0f}, {0}, {0, 8}},
      {{GATUN_F8E4M3, 0, GATUN_E8M0, GATUN_SCALE_FLOOR}, {0x1p-149f}, {0}, {0}},
      {{GATUN_F8E5M2, 0, GATUN_E8M0, GATUN_SCALE_FLOOR}, {0x1p127f, 0x1p112f}, {239}, {0x78, 0x3c}},
      // NVFP4 with a tensor scale of 1: 3 / 6 = 0.5 = 0x30; 6, -2, 1 in steps of 0.5
      {{GATUN_F4E2M1, 0, GATUN_F8E4M3, 0}, {3, -1, 0.5f, 0}, {0x30}, {7, 12, 2, 0}, 4},
      {{GATUN_F4E2M1, 0, GATUN_F8E4M3, 0}, {0, 0}, {0x08}, {0, 0}, 8},  // the least scale, 2^-6
      // NF4: at a threshold down, above it up.
      {{GATUN_U4, GATUN_BOOK_NF4, GATUN_F32, 0},
       {-1, 1, 0, 0.03979014977812767f, 0.0397901535f, -0.85f, 0.8f, 0.1f},
       bytes_of(1),
       {0, 15, 7, 7, 8, 0, 14, 8}},
      {{GATUN_U4, GATUN_BOOK_NF4, GATUN_F32, 0}, {0, -0.0f}, bytes_of(0), {7, 7}},
      // FP4: magnitudes 0, 1/192, 1/6, 1/4, 1/3, 1/2, 2/3, 1 are codes 0 1 6 7 4 5 2 3.
      {{GATUN_U4, GATUN_BOOK_FP4, GATUN_F32, 0},
       {-1, 1, 0.7f, 0.5f, 0.34f, 0.24f, 0.16f, 0.005f, 0.002f, -0.002f, 0, -0.0f, -0.26f, 0.0859375f, -0.0859375f},
       bytes_of(1),
       {11, 3, 2, 5, 4, 7, 6, 1, 0, 8, 0, 0, 15, 1, 9}},
      // Dynamic: 0.99296875 at most on the negative side; 0 is 127.
      {{GATUN_U8, GATUN_BOOK_DYNAMIC, GATUN_F32, 0},
       {2, -2, 0, -0.0f, 1e-7f, 2e-6f, 1.99f, -1e-6f},
       bytes_of(2),
       {255, 0, 127, 127, 127, 128, 254, 126}},
      {{GATUN_U8, GATUN_BOOK_DYNAMIC_UNSIGNED, GATUN_F32, 0}, {1, -0.5f, 0, 1e-7f}, bytes_of(1), {255, 0, 0, 0}},
      {{GATUN_U8, GATUN_BOOK_LINEAR, GATUN_F32, 0},
       {127, -127, 1, -1, 0, 0.25f, -0.25f, 63},
       bytes_of(127),
       {255, 0, 129, 126, 127, 128, 127, 191}},
      {{GATUN_U8, GATUN_BOOK_LINEAR_UNSIGNED, GATUN_F32, 0}, {255, -3, 1, 128.4f}, bytes_of(255), {255, 0, 1, 128}},
  };
  for (const Example& example : examples) {
    std::vector<float> x;
    for (int64_t i = 0; i < example.repeat; ++i) x.insert(x.end(), example.x.begin(), example.x.end());
    const int64_t depth = static_cast<int64_t>(x.size());
    gatun_quantize_params p = make_params(example.format, 1, depth, depth);
    p.tensor_scale = 1;
    SCOPED_TRACE(describe(p) + ", first value " + std::to_string(example.x[0]));
    const int bits = static_cast<int>(dtype_bytes(p.code_dtype, 8));
    for (const bool reference : {true, false}) {
      SCOPED_TRACE(reference ? "reference" : "kernel");
      Quantized q(p);
      if (reference) {
        reference_quantize(p, x.data(), nullptr, nullptr, q.codes.data(), q.scales.data(), nullptr);
      } else {
        ASSERT_EQ(gatun_quantize(&p, x.data(), nullptr, nullptr, q.codes.data(), q.scales.data(), nullptr), GATUN_OK);
      }
      EXPECT_EQ(q.scales.copy(), example.scale);
      for (int64_t k = 0; k < depth; ++k) {
        int code = 0;
        for (int64_t bit = 0; bit < bits; ++bit) {
          code |= (q.codes[(k * bits + bit) / 8] >> (k * bits + bit) % 8 & 1) << bit;
        }
        EXPECT_EQ(code, example.codes[static_cast<size_t>(k) % example.codes.size()]) << "element " << k;
      }
    }
  }
}

// F6E3M2, by hand: codes 0x01 0x02 0x03 0x3f are the bits 100000 010000 110000 111111, low ones first.
TEST(Scaled, SixBitsFollowEachOther) {
  gatun_quantize_params p = make_params({GATUN_F6E3M2, 0, GATUN_E8M0, GATUN_SCALE_GIVEN}, 1, 5, 5);
  const float x[] = {0.0625f, 0.125f, 0.1875f, -28, 0.0625f};
  uint8_t scale = 127, codes[4] = {};
  ASSERT_EQ(gatun_quantize(&p, x, nullptr, nullptr, codes, &scale, nullptr), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(codes[0], 0x81);
  EXPECT_EQ(codes[1], 0x30);
  EXPECT_EQ(codes[2], 0xfc);
  EXPECT_EQ(codes[3], 0x01);
}

// Larger values never become smaller ones; quantizing what came back changes nothing.
TEST(Scaled, MonotoneAndIdempotent) {
  Rng rng(28);
  for (const Format& format : formats()) {
    gatun_quantize_params p = make_params(format, 1, 2000, 2000);
    SCOPED_TRACE(describe(p));
    const Extras extras(p, rng);
    std::vector<float> x = values(rng, 2000, 0), y(x.size()), z(x.size());
    std::sort(x.begin(), x.end());
    Quantized q(p), again(p);
    ASSERT_EQ(gatun_quantize(&p, x.data(), extras.code_book(), nullptr, q.codes.data(), q.scales.data(), nullptr),
              GATUN_OK);
    ASSERT_EQ(gatun_dequantize(&p, extras.code_book(), q.codes.data(), q.scales.data(), nullptr, y.data()), GATUN_OK);
    EXPECT_TRUE(std::is_sorted(y.begin(), y.end()));
    p.scale_rule = GATUN_SCALE_GIVEN;
    std::memcpy(again.scales.data(), q.scales.data(), static_cast<size_t>(q.scales.size()));
    ASSERT_EQ(
        gatun_quantize(&p, y.data(), extras.code_book(), nullptr, again.codes.data(), again.scales.data(), nullptr),
        GATUN_OK);
    ASSERT_EQ(gatun_dequantize(&p, extras.code_book(), again.codes.data(), again.scales.data(), nullptr, z.data()),
              GATUN_OK);
    forget_negative_zeros(p, y);
    forget_negative_zeros(p, z);
    EXPECT_TRUE(test::identical(z, y));
  }
}

// The mean of many stochastic roundings of one value is the value.
TEST(Scaled, StochasticRoundingIsUnbiased) {
  Rng rng(29);
  for (const Format& format : formats()) {
    if (format.scale_rule != GATUN_SCALE_DEFAULT || format.book == GATUN_BOOK_GIVEN) continue;
    const int64_t count = 40000;
    gatun_quantize_params p = make_params(format, 1, count, count);
    p.rounding = GATUN_ROUND_STOCHASTIC;
    p.tensor_scale = 1;
    const float v = rng.uniform(0.2f, 0.9f);
    std::vector<float> x(static_cast<size_t>(count), v), y(x.size());
    x[0] = 1;  // the scale
    Quantized q(p);
    ASSERT_EQ(gatun_quantize(&p, x.data(), nullptr, nullptr, q.codes.data(), q.scales.data(), nullptr), GATUN_OK);
    ASSERT_EQ(gatun_dequantize(&p, nullptr, q.codes.data(), q.scales.data(), nullptr, y.data()), GATUN_OK);
    double sum = 0;
    for (size_t i = 1; i < y.size(); ++i) sum += double{y[i]};
    // Steps are at most 1/3 wide: five standard deviations of the mean.
    EXPECT_NEAR(sum / static_cast<double>(count - 1), double{v}, 5 * 0.5 / 3 / 200) << describe(p);
  }
}

}  // namespace
}  // namespace gatun::quantize::scaled
