// Quantized state: a step is gatun_dequantize, the step on f32 state, and gatun_quantize, all of them entries of this
// library; what the bytes mean is worked out here by hand.
#include <gtest/gtest.h>

#include <numeric>

#include "gatun/quantize.h"
#include "optimizer/test_step.h"

namespace gatun::optimizer {
namespace {

Bytes exchanged(const gatun_optimizer_params& params, Bytes codes) {
  if (params.state != GATUN_STATE_DYNAMIC4) return codes;
  for (uint8_t& byte : codes) byte = static_cast<uint8_t>((byte & 15) << 4 | byte >> 4);
  return codes;
}

struct Stored {
  Bytes codes, scales;
};

Bytes dequantized(const gatun_optimizer_params& params, const Bytes& codes, const Bytes& scales, bool second) {
  const int64_t rows = second ? rows_of_state2(params.rule) : rows_of_state1(params.rule);
  std::vector<float> values(static_cast<size_t>(rows * params.count));
  const gatun_quantize_params q = reference_quantize_params(params, rows, second);
  const std::vector<float> book = reference_book4(second);
  const Bytes readable = exchanged(params, codes);
  EXPECT_EQ(gatun_dequantize(&q, q.book == GATUN_BOOK_GIVEN ? book.data() : nullptr, readable.data(), scales.data(),
                             nullptr, values.data()),
            GATUN_OK)
      << gatun_last_error();
  return bytes_of(values);
}

Stored quantized(const gatun_optimizer_params& params, const Bytes& values, bool second) {
  const int64_t rows = second ? rows_of_state2(params.rule) : rows_of_state1(params.rule);
  Stored stored = {Bytes(static_cast<size_t>(rows * state_row_bytes(params))),
                   Bytes(static_cast<size_t>(4 * rows * state_row_scales(params)))};
  const gatun_quantize_params q = reference_quantize_params(params, rows, second);
  const std::vector<float> book = reference_book4(second);
  EXPECT_EQ(gatun_quantize(&q, values.data(), q.book == GATUN_BOOK_GIVEN ? book.data() : nullptr, nullptr,
                           stored.codes.data(), stored.scales.data(), nullptr),
            GATUN_OK)
      << gatun_last_error();
  stored.codes = exchanged(params, stored.codes);
  if (params.state != GATUN_STATE_DYNAMIC8 || second) return stored;
  const std::vector<float> x = floats_of(values), scales = floats_of(stored.scales);
  const size_t count = static_cast<size_t>(params.count), block = static_cast<size_t>(params.block);
  for (size_t i = 0; i < stored.codes.size(); ++i) {
    const float scale = scales[i / count * ((count - 1) / block + 1) + i % count / block];
    if (stored.codes[i] == 127 && scale != 0 && x[i] * (1 / scale) < -0x1p-60f) stored.codes[i] = 126;
  }
  return stored;
}

// A step in three.
Tensors three_steps(const gatun_optimizer_params& params, const Tensors& before) {
  gatun_optimizer_params plain = params;
  plain.state = GATUN_STATE_F32;
  plain.block = 0;
  Tensors f32 = {before.p, before.g, dequantized(params, before.state1, before.scales1, false), {}, {}, {}};
  if (rows_of_state2(params.rule) > 0) f32.state2 = dequantized(params, before.state2, before.scales2, true);
  f32 = step(plain, f32);
  const Stored first = quantized(params, f32.state1, false);
  Stored second;
  if (rows_of_state2(params.rule) > 0) second = quantized(params, f32.state2, true);
  return {f32.p, f32.g, first.codes, first.scales, second.codes, second.scales};
}

constexpr int32_t kQuantized[] = {GATUN_STATE_DYNAMIC8, GATUN_STATE_F8E4M3, GATUN_STATE_DYNAMIC4};

TEST(QuantizedState, IsQuantizedF32State) {
  Rng rng(1);
  for (const int32_t rule : kAllRules) {
    for (const int32_t state : kQuantized) {
      for (const int32_t p_dtype : kFloats) {
        for (const int64_t block : {128, 256, 2048}) {
          for (const int64_t count : {int64_t{1}, block - 1, block, block + 1, 2 * block + 129}) {
            const gatun_optimizer_params params = step_params(rule, p_dtype, state, count, block);
            const Tensors before = normal_tensors(params, rng);
            ASSERT_TRUE(same(params, step(params, before), three_steps(params, before))) << describe(params);
          }
        }
      }
    }
  }
}

// Any codes, among them NaN of F8E4M3, and scales of any size, zeros and NaN among them. Magnitudes differ within a
// block by so much that many codes are those of zero.
TEST(QuantizedState, AnyCodesAndMagnitudes) {
  Rng rng(2);
  for (const int32_t rule : kAllRules) {
    for (const int32_t state : kQuantized) {
      for (int trial = 0; trial < 30; ++trial) {
        gatun_optimizer_params params = step_params(rule, GATUN_F32, state, 700, 128);
        params.weight_decay = 0;
        Tensors before = normal_tensors(params, rng);
        std::vector<float> g(700);
        for (float& value : g) value = std::ldexp(rng.normal(), static_cast<int>(rng.integer(-60, 0)));
        const auto randomize = [&](Bytes& codes, Bytes& scales) {
          for (uint8_t& code : codes) code = static_cast<uint8_t>(rng.next());
          std::vector<float> floats(scales.size() / 4);
          for (float& scale : floats) {
            scale = std::ldexp(1.5f, static_cast<int>(rng.integer(-140, 60)));
            if (rng.integer(0, 9) == 0) scale = rng.integer(0, 1) == 0 ? 0 : std::fabs(rng.special());
          }
          scales = bytes_of(floats);
        };
        randomize(before.state1, before.scales1);
        randomize(before.state2, before.scales2);
        before.g = bytes_of(g);
        const Tensors after = step(params, before);
        ASSERT_TRUE(same_state(after, three_steps(params, before))) << describe(params);
        ASSERT_TRUE(same_p(params, after.p, three_steps(params, before).p)) << describe(params);
      }
    }
  }
}

// A negative value keeps its sign in state 1 of DYNAMIC8, however small it is beside its block's largest.
TEST(QuantizedState, SmallNegativeValuesKeepTheirSign) {
  for (const int32_t rule : {GATUN_MOMENTUM, GATUN_LION, GATUN_ADAM, GATUN_ADEMAMIX}) {
    gatun_optimizer_params params = step_params(rule, GATUN_F32, GATUN_STATE_DYNAMIC8, 6);
    params.beta1 = params.beta2 = params.beta3 = 0.5f;
    params.weight_decay = 0;
    params.step = 1;
    const float least = -0x1p-60f;
    Tensors a = make_tensors(params, std::vector<float>(6, 0.0f),
                             {1, -1e-17f, 1e-17f, -1e-19f, least, std::nextafter(least, -1.0f)},
                             std::vector<float>(static_cast<size_t>(6 * rows_of_state1(rule))),
                             std::vector<float>(static_cast<size_t>(6 * rows_of_state2(rule))));
    a = step(params, a);
    for (int64_t row = 0; row < rows_of_state1(rule); ++row) {
      EXPECT_EQ(Bytes(a.state1.begin() + 6 * row, a.state1.begin() + 6 * row + 6),
                (Bytes{255, 126, 127, 127, 127, 126}))
          << describe(params);
    }
  }
}

// The values of codes in ascending order.
std::vector<float> book_of(int32_t state, bool second) {
  if (state == GATUN_STATE_DYNAMIC4) return reference_book4(second);
  std::vector<float> book(256);
  EXPECT_EQ(gatun_code_book(second ? GATUN_BOOK_DYNAMIC_UNSIGNED : GATUN_BOOK_DYNAMIC, book.data()), GATUN_OK);
  return book;
}

// New state where codes part: values at and next to the middles of neighbouring codes' values, times scales. Momentum's
// first state is the gradient; with a beta2 of 0 ADAM's v is its square, which takes several scales to meet most f32.
TEST(QuantizedState, ValuesBetweenCodes) {
  for (const int32_t rule : {GATUN_MOMENTUM, GATUN_ADAM}) {
    const bool second = rule == GATUN_ADAM;
    for (const int32_t state : {GATUN_STATE_DYNAMIC8, GATUN_STATE_DYNAMIC4}) {
      const std::vector<float> book = book_of(state, second);
      std::vector<double> middles = {second ? 0x1p-60 : -0x1p-60};
      for (size_t i = 1; i < book.size(); ++i) middles.push_back((double{book[i - 1]} + double{book[i]}) / 2);
      for (const float largest : {1.0f, 1.125f, 1.25f, 1.375f, 1.5f, 1.625f, 1.75f, 1.875f}) {
        std::vector<float> g;
        for (const double middle : middles) {
          float value = largest * static_cast<float>(second ? std::sqrt(middle) : middle);
          for (int n = 0; n < 4; ++n) value = std::nextafter(value, -2.0f);
          for (int n = 0; n < 9; ++n, value = std::nextafter(value, 2.0f)) {
            if (g.size() % 128 == 0) g.push_back(largest);
            g.push_back(value);
          }
        }
        gatun_optimizer_params params = step_params(rule, GATUN_F32, state, static_cast<int64_t>(g.size()), 128);
        params.step = 1;
        params.beta1 = params.beta2 = params.weight_decay = 0;
        const std::vector<float> zeros(g.size());
        const Tensors before = make_tensors(params, g, g, zeros, second ? zeros : std::vector<float>());
        const Tensors after = step(params, before);
        ASSERT_TRUE(same(params, after, step_of_reference(params, before))) << describe(params);
        ASSERT_TRUE(same(params, after, three_steps(params, before))) << describe(params);
        const float scale = second ? largest * largest : largest;
        for (const float actual : floats_of(second ? after.scales2 : after.scales1)) ASSERT_EQ(actual, scale);
      }
    }
  }
}

// Zero bytes are a state of zeros.
TEST(QuantizedState, ZeroBytesAreZeros) {
  Rng rng(3);
  for (const int32_t rule : kAllRules) {
    for (const int32_t state : kStates) {
      const gatun_optimizer_params params = step_params(rule, GATUN_F32, state, 301, 128);
      gatun_optimizer_params plain = params;
      plain.state = GATUN_STATE_F32;
      plain.block = 0;
      Tensors before = normal_tensors(params, rng), f32 = before;
      for (Bytes* bytes : {&before.state1, &before.scales1, &before.state2, &before.scales2}) {
        std::fill(bytes->begin(), bytes->end(), uint8_t{0});
      }
      f32.scales1.clear();
      f32.scales2.clear();
      f32.state1.assign(static_cast<size_t>(4 * 301 * rows_of_state1(rule)), 0);
      f32.state2.assign(static_cast<size_t>(4 * 301 * rows_of_state2(rule)), 0);
      EXPECT_TRUE(same_p(params, step(params, before).p, step(plain, f32).p)) << describe(params);
    }
  }
}

// New state, byte by byte. Momentum with beta1 = 0 keeps the gradient, ADAM with betas of 0 the gradient and its
// square.
struct Layout {
  int32_t rule, state;
  int64_t block;
  std::vector<float> g;  // as many as the count; the rest are 0
  Bytes state1;          // the first codes
  std::vector<float> scales1;
  Bytes state2;
  std::vector<float> scales2;
};

void check_layout(const Layout& layout, int64_t count) {
  gatun_optimizer_params params = step_params(layout.rule, GATUN_F32, layout.state, count, layout.block);
  params.beta1 = params.beta2 = params.beta3 = 0;
  params.weight_decay = 0;
  std::vector<float> g = layout.g;
  g.resize(static_cast<size_t>(count));
  const std::vector<float> zeros1(static_cast<size_t>(count * rows_of_state1(layout.rule)));
  const std::vector<float> zeros2(static_cast<size_t>(count * rows_of_state2(layout.rule)));
  const Tensors after = step(params, make_tensors(params, g, g, zeros1, zeros2));
  const auto starts_with = [](const Bytes& bytes, const Bytes& wanted) {
    return bytes.size() >= wanted.size() && std::equal(wanted.begin(), wanted.end(), bytes.begin());
  };
  EXPECT_TRUE(starts_with(after.state1, layout.state1)) << ::testing::PrintToString(after.state1);
  EXPECT_TRUE(starts_with(after.state2, layout.state2)) << ::testing::PrintToString(after.state2);
  EXPECT_EQ(after.scales1, bytes_of(layout.scales1));
  EXPECT_EQ(after.scales2, bytes_of(layout.scales2));
}

// The dynamic tree (bitsandbytes' create_dynamic_map) has its 64 largest values, before 1, from 0.1 to 1 in steps of
// 0.9 / 64: code 191 + k is 0.1 + (k + 1/2) 0.9 / 64, and 127 zero; a negative value is 254 - code. Without a sign it
// has 128: code 127 + k is 0.1 + (k + 1/2) 0.9 / 128.
TEST(QuantizedState, Dynamic8ByHand) {
  // Scale 2; of +-1: (0.5 - 0.1) / 0.9 * 64 = 28.4: code 191 + 28.
  check_layout({GATUN_MOMENTUM, GATUN_STATE_DYNAMIC8, 256, {2, 1, -1, 0}, {255, 219, 35, 127}, {2}, {}, {}}, 4);
  // Blocks of 128 with scales of their own: 2 and, of the last element, 3. Its code is that of -1: the least value,
  // -(0.1 + 63.5 / 64 * 0.9).
  Layout blocks = {GATUN_MOMENTUM, GATUN_STATE_DYNAMIC8, 128, std::vector<float>(129), {}, {2, 3}, {}, {}};
  blocks.g[0] = 2;
  blocks.g[128] = -3;
  blocks.state1 = Bytes(129, 127);
  blocks.state1[0] = 255;
  blocks.state1[128] = 0;
  check_layout(blocks, 129);
  // Squares 4, 1, 0: scale 4; of 1: (0.25 - 0.1) / 0.9 * 128 = 21.3: code 127 + 21. Zero is code 0.
  check_layout({GATUN_ADAM, GATUN_STATE_DYNAMIC8, 256, {-2, 1, 0}, {0, 219, 127}, {2}, {255, 148, 0}, {4}}, 3);
  // ADEMAMIX: a row of m, a row of n, each with its scales.
  check_layout(
      {GATUN_ADEMAMIX, GATUN_STATE_DYNAMIC8, 256, {-2, 1, 0}, {0, 219, 127, 0, 219, 127}, {2, 2}, {255, 148, 0}, {4}},
      3);
}

// 1 sign bit, 4 of exponent (bias 7), 3 of mantissa: 448 = 1.75 * 2^8 is 0 1111 110.
TEST(QuantizedState, F8E4M3ByHand) {
  // Scale 448 / 448 = 1: 448, -1 (1 0111 000), 1.125 (0 0111 001), 2^-9, the least (0 0000 001), 0.
  check_layout({GATUN_MOMENTUM,
                GATUN_STATE_F8E4M3,
                256,
                {448, -1, 1.125f, 0x1p-9f, 0},
                {0x7e, 0xb8, 0x39, 0x01, 0x00},
                {1},
                {},
                {}},
               5);
  // Squares have a scale of their own: 400 and 16 of scale 400 / 448; 16 * 448 / 400 = 17.92 is 18 = 1.125 * 2^4
  // (0 1011 001). m: scale 20 / 448, 4 is 89.6, which is 88 = 1.375 * 2^6 (0 1101 011).
  check_layout(
      {GATUN_ADAM, GATUN_STATE_F8E4M3, 256, {20, 4}, {0x7e, 0x6b}, {20.0f / 448}, {0x7e, 0x59}, {400.0f / 448}}, 2);
}

// Two codes a byte, the first in the high half; the last one of an odd row is alone there.
TEST(QuantizedState, Dynamic4ByHand) {
  // Scale 1: 1 is code 15, -0.6 is nearest to -0.6625 (1), 0 is 7, 0.1 is nearest to 0.0775 (10), -1 to -0.8875 (0).
  check_layout({GATUN_MOMENTUM, GATUN_STATE_DYNAMIC4, 128, {1, -0.6f, 0, 0.1f, -1}, {0xf1, 0x7a, 0x00}, {1}, {}, {}},
               5);
  // Squares 4, 1, 0.0625 of scale 4: 1, 1/4, 1/64: codes 15, 3, 0 (1/16, the least value).
  check_layout({GATUN_ADAM, GATUN_STATE_DYNAMIC4, 128, {2, 1, 0.25f}, {0xfc, 0xa0}, {2}, {0xf3, 0x00}, {4}}, 3);
  // A row of an odd count starts on a byte.
  check_layout(
      {GATUN_ADEMAMIX, GATUN_STATE_DYNAMIC4, 128, {2, 1, 0.25f}, {0xfc, 0xa0, 0xfc, 0xa0}, {2, 2}, {0xf3, 0x00}, {4}},
      3);
}

// Many steps, in which every error would stay: state and p are those of the reference, bit for bit. Blocks are whole
// ones and a shorter last one; p of bf16 is rounded stochastically.
TEST(QuantizedState, ManySteps) {
  Rng rng(4);
  constexpr int64_t kCount = 2 * 128 + 37;
  for (const int32_t rule : kAllRules) {
    for (const int32_t state : kStates) {
      for (const int32_t p_dtype : kFloats) {
        gatun_optimizer_params params = step_params(rule, p_dtype, state, kCount, 128);
        params.learning_rate = 1e-2f;
        if (p_dtype == GATUN_BF16) params.rounding = GATUN_PARAMETER_STOCHASTIC;
        Tensors actual = normal_tensors(params, rng), expected = actual;
        const std::vector<float> target = rng.normals(kCount);
        const int64_t steps = p_dtype != GATUN_F32 ? 50 : rule == GATUN_ADAM ? 1000 : 250;
        for (int64_t t = 1; t <= steps; ++t) {
          params.step = params.seed = t;
          std::vector<float> g = rng.normals(kCount, 0.1f);
          const std::vector<double> p = test::to_doubles(actual.p.data(), p_dtype, kCount);
          for (size_t i = 0; i < g.size(); ++i) g[i] += static_cast<float>(p[i]) - target[i];
          actual.g = expected.g = test::from_floats(g, p_dtype);
          call_in_place(params, actual, entry(params));
          call_in_place(params, expected, reference(params));
          ASSERT_TRUE(same(params, actual, expected)) << describe(params);
        }
      }
    }
  }
}

}  // namespace
}  // namespace gatun::optimizer
