// Steps of the tier in use (GATUN_MAX_ISA) against the reference, through the C entry point: bit for bit, and, with f32
// state, within the bounds of reference_number.h about values in double. A bound is what f32 may lose in the operations
// of the rule, one by one: half a unit in the last place of each result (2^-24 of it, or 2^-150), carried on to the
// end by the derivative of what follows; p is then rounded to its dtype.
#include <gtest/gtest.h>

#include "optimizer/test_step.h"
#include "shapes.h"

namespace gatun::optimizer {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

// Elements whose bound is infinite.
struct Checked {
  int64_t elements = 0, unbounded = 0;

  void expect_few_unbounded() const { EXPECT_LT(static_cast<double>(unbounded), 0.02 * static_cast<double>(elements)); }
};

::testing::AssertionResult within(const std::vector<Expected>& expected, const std::vector<double>& actual,
                                  int32_t dtype, int32_t rounding, const char* name, Checked& checked) {
  if (expected.size() != actual.size()) return ::testing::AssertionFailure() << name << " has another size";
  for (size_t i = 0; i < actual.size(); ++i) {
    ++checked.elements;
    checked.unbounded += std::isinf(expected[i].error);
    if (expected[i].allows(static_cast<float>(actual[i]), dtype, rounding)) continue;
    return ::testing::AssertionFailure() << name << "[" << i << "] = " << actual[i] << ", in double "
                                         << expected[i].value << ", allowed " << expected[i].error;
  }
  return ::testing::AssertionSuccess();
}

// What a step of `before` gave against doubles. Quantized state has its own rounding, so p alone is compared.
::testing::AssertionResult bounded(const gatun_optimizer_params& params, const Tensors& before, const Tensors& after,
                                   Checked& checked) {
  const auto scales = [](const Bytes& bytes) { return floats_of(bytes); };
  const std::vector<float> scales1 = scales(before.scales1), scales2 = scales(before.scales2);
  const ExpectedStep expected = reference_bounds(params, before.p.data(), before.g.data(),
                                                 reference_state(params, before.state1.data(), scales1.data(), false),
                                                 reference_state(params, before.state2.data(), scales2.data(), true));
  ::testing::AssertionResult result = within(expected.p, test::to_doubles(after.p.data(), params.p_dtype, params.count),
                                             params.p_dtype, params.rounding, "p", checked);
  if (!result || params.state != GATUN_STATE_F32) return result;
  const auto doubles = [](const Bytes& bytes) {
    return test::to_doubles(bytes.data(), GATUN_F32, static_cast<int64_t>(bytes.size() / 4));
  };
  result = within(expected.state1, doubles(after.state1), GATUN_F32, 0, "state 1", checked);
  if (result) result = within(expected.state2, doubles(after.state2), GATUN_F32, 0, "state 2", checked);
  return result;
}

// One step, both comparisons. With max_update_norm the reference has no p.
void check(const gatun_optimizer_params& params, const Tensors& before, Checked& checked, Edge edge = Edge::back,
           int64_t offset = 0) {
  SCOPED_TRACE(describe(params));
  const Tensors after = step(params, before, edge, offset), expected = step_of_reference(params, before);
  ASSERT_TRUE(same_state(after, expected));
  if (params.max_update_norm == 0) {
    ASSERT_TRUE(same_p(params, after.p, expected.p));
  }
  ASSERT_TRUE(bounded(params, before, after, checked));
}

std::vector<int64_t> sizes() {
  std::vector<int64_t> all = test::prime_sizes();
  for (const int64_t part : {8, 16, 32, 64, 128}) {
    for (const int64_t size : test::edge_sizes(part)) all.push_back(size);
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

TEST(Optimizer, EveryRuleTypeStateAndSize) {
  Rng rng(1);
  Checked checked;
  for (const int32_t rule : kAllRules) {
    for (const int32_t p_dtype : kFloats) {
      for (const int32_t state : kStates) {
        for (const int64_t count : sizes()) {
          gatun_optimizer_params params = step_params(rule, p_dtype, state, count, 128);
          params.weight_decay = rng.integer(0, 2) == 0 ? 0 : 0.1f;
          params.step = rng.integer(1, 3);
          const Edge edge = rng.integer(0, 1) == 0 ? Edge::front : Edge::back;
          check(params, normal_tensors(params, rng), checked, edge, rng.integer(0, 3));
          if (HasFatalFailure()) return;
        }
      }
    }
  }
  EXPECT_GT(checked.elements, 30000);
  EXPECT_EQ(checked.unbounded, 0);
}

TEST(Optimizer, EveryBlock) {
  Rng rng(2);
  Checked checked;
  for (const int32_t rule : kAllRules) {
    for (const int32_t state : kStates) {
      for (const int64_t block : {128, 256, 384, 2048}) {
        // The last one ends within the second batch of blocks: codes are made of 2048 elements at once.
        for (const int64_t count : {block - 1, block, block + 1, 2 * block + 1, 2048 + block + 1}) {
          const gatun_optimizer_params params = step_params(rule, rng.pick<int32_t>({1, 2, 3}), state, count, block);
          const Edge edge = rng.integer(0, 1) == 0 ? Edge::front : Edge::back;
          check(params, normal_tensors(params, rng), checked, edge, rng.integer(0, 3));
          if (HasFatalFailure()) return;
        }
      }
    }
  }
  EXPECT_EQ(checked.unbounded, 0);
}

// The bounds are worth something: a few units in the last place of p and of the step.
TEST(Optimizer, BoundsAreTight) {
  Rng rng(3);
  for (const int32_t rule : kAllRules) {
    const gatun_optimizer_params params = step_params(rule, GATUN_F32, GATUN_STATE_F32, 1000);
    const Tensors a = normal_tensors(params, rng);
    const ExpectedStep expected =
        reference_bounds(params, a.p.data(), a.g.data(), floats_of(a.state1), floats_of(a.state2));
    const std::vector<float> p = floats_of(a.p);
    for (size_t i = 0; i < p.size(); ++i) {
      const Expected& e = expected.p[i];
      const double moved = std::fabs(e.value - double{p[i]});
      // Where g and wd p, or m and g, cancel, the step is uncertain: p or g is about 1.
      EXPECT_LT(e.error, 0x1p-22 * (std::fabs(e.value) + 1 + 8 * moved)) << describe(params) << ", " << i;
      for (const double way : {-2.5, 2.5}) {
        const float beyond = static_cast<float>(e.value + way * e.error);
        EXPECT_FALSE(e.allows(beyond, GATUN_F32, GATUN_PARAMETER_NEAREST)) << e.value << " and " << beyond;
      }
      EXPECT_FALSE(e.allows(kNan, GATUN_F32, GATUN_PARAMETER_NEAREST));
    }
  }
}

// An element's value: mostly about 1, else anything finite.
float any_finite(Rng& rng) {
  switch (rng.integer(0, 5)) {
    case 0:
      return rng.special_finite();
    case 1:
      return rng.integer(0, 1) == 0 ? 0.0f : -0.0f;
    case 2:
      return std::ldexp(rng.normal(), static_cast<int>(rng.integer(-140, 120)));
    default:
      return rng.normal();
  }
}

std::vector<float> values(int64_t count, Rng& rng, bool positive) {
  std::vector<float> result(static_cast<size_t>(count));
  for (float& value : result) value = positive ? std::fabs(any_finite(rng)) : any_finite(rng);
  return result;
}

Tensors hard_tensors(const gatun_optimizer_params& params, Rng& rng) {
  const bool square = params.rule == GATUN_RMSPROP || params.rule == GATUN_ADAGRAD;
  const std::vector<float> p = values(params.count, rng, false), g = values(params.count, rng, false);
  const std::vector<float> state1 = values(rows_of_state1(params.rule) * params.count, rng, square);
  return make_tensors(params, p, g, state1, values(rows_of_state2(params.rule) * params.count, rng, true));
}

// Subnormals, zeros, gradients whose square overflows, with every kind of parameters.
TEST(Optimizer, HardValuesAndParameters) {
  Rng rng(4);
  Checked checked;
  for (const int32_t rule : kAllRules) {
    for (const int32_t state : kStates) {
      for (int trial = 0; trial < 40; ++trial) {
        gatun_optimizer_params params = step_params(rule, rng.pick<int32_t>({1, 1, 2, 3}), state, 300, 128);
        params.learning_rate = rng.pick<float>({1e-3f, 0.1f, 0, -0.01f, 100});
        params.beta1 = rng.pick<float>({0.9f, 0, 1, 0.5f, 0x1.fffffep-1f});
        params.beta2 = rng.pick<float>({0.999f, 0, 1, 0.99f});
        params.beta3 = rng.pick<float>({0.9999f, 0, 1});
        params.alpha = rng.pick<float>({5, 0, -1});
        params.epsilon = rng.pick<float>({1e-8f, 1e-30f, 1, 0x1p-140f, 0});
        params.weight_decay = rng.pick<float>({0, 0.01f, 10});
        params.gradient_scale = rng.pick<float>({1, 0x1p-10f, 3, 0, -1, 0x1p100f, 0x1p-140f});
        params.step = rng.pick<int64_t>({1, 2, 10, 1000000, INT64_MAX});
        params.raw_gradient = (rule == GATUN_RMSPROP || rule == GATUN_ADAGRAD) && rng.integer(0, 1) == 0;
        const Tensors before = hard_tensors(params, rng);
        check(params, before, checked);
        if (HasFatalFailure()) return;
      }
    }
  }
  checked.expect_few_unbounded();
}

// NaN and infinities in p, g and the old state, among other elements: the element keeps p and loses its state.
TEST(Optimizer, WhatIsNotFinite) {
  Rng rng(5);
  constexpr int64_t kCount = 200;
  const float largest = std::numeric_limits<float>::max();
  for (const int32_t rule : kAllRules) {
    for (const int32_t state : kStates) {
      const gatun_optimizer_params params = step_params(rule, GATUN_F32, state, kCount, 128);
      for (const float bad : {kNan, kInfinity, -kInfinity}) {
        const int64_t at = rng.integer(0, kCount - 1);
        const Tensors good = normal_tensors(params, rng);
        Checked checked;
        // In the gradient; in f32 state, the old state's row 0; in codes, the scale of the last block.
        Tensors spoilt = good;
        const Bytes bits = bytes_of({bad});
        std::copy(bits.begin(), bits.end(), spoilt.g.begin() + 4 * at);
        check(params, spoilt, checked);
        const Tensors after = step(params, spoilt);
        EXPECT_TRUE(test::identical(after.p.data() + 4 * at, good.p.data() + 4 * at, 4)) << "p moved";
        for (int64_t row = 0; row < rows_of_state1(rule) && state == GATUN_STATE_F32; ++row) {
          EXPECT_EQ(floats_of(after.state1)[static_cast<size_t>(row * kCount + at)], 0);
        }
        spoilt = good;
        Bytes& old = state == GATUN_STATE_F32 ? spoilt.state1 : spoilt.scales1;
        std::copy(bits.begin(), bits.end(), old.begin() + 4 * (state == GATUN_STATE_F32 ? at : 1));
        check(params, spoilt, checked);
        if (state != GATUN_STATE_F32) {
          const Tensors lost = step(params, spoilt);
          EXPECT_EQ(floats_of(lost.scales1)[1], 0);
          EXPECT_TRUE(test::identical(lost.p.data() + 4 * 128, good.p.data() + 4 * 128, 4 * (kCount - 128)));
        }
        // In p, where only weight decay brings it to the state.
        spoilt = good;
        std::copy(bits.begin(), bits.end(), spoilt.p.begin() + 4 * at);
        check(params, spoilt, checked);
        if (HasFatalFailure()) return;
      }
      // A square beyond f32, where the rule has one; the largest gradient, where it has none.
      Tensors huge = normal_tensors(params, rng);
      const Bytes bits = bytes_of({largest});
      std::copy(bits.begin(), bits.end(), huge.g.begin());
      Checked checked;
      check(params, huge, checked);
      const bool squares = rule != GATUN_MOMENTUM && rule != GATUN_LION;
      const Tensors after = step(params, huge);
      EXPECT_EQ(test::identical(after.p.data(), huge.p.data(), 4), squares) << describe(params);
    }
  }
}

TEST(Optimizer, UpdateNorm) {
  Rng rng(6);
  Checked checked;
  int64_t limited = 0, unlimited = 0;
  for (const int32_t rule : kAllRules) {
    for (const int32_t state : kStates) {
      for (const int64_t count : {0, 1, 17, 300, 2500}) {
        for (const float most : {1.0f, 0.02f, 1e-6f, 1e6f}) {
          const int32_t p_dtype = rng.pick<int32_t>({GATUN_F32, GATUN_F16, GATUN_BF16});
          gatun_optimizer_params params = step_params(rule, p_dtype, state, count, 128);
          params.max_update_norm = most;
          params.weight_decay = rng.integer(0, 1) == 0 ? 0 : 0.1f;
          const Tensors before = normal_tensors(params, rng);
          check(params, before, checked);
          if (HasFatalFailure()) return;
          const std::vector<float> scales1 = floats_of(before.scales1), scales2 = floats_of(before.scales2);
          const Expected factor = reference_bounds(params, before.p.data(), before.g.data(),
                                                   reference_state(params, before.state1.data(), scales1.data(), false),
                                                   reference_state(params, before.state2.data(), scales2.data(), true))
                                      .factor;
          EXPECT_LE(factor.error, 0x1p-16 * factor.value);
          (factor.value == 1 ? unlimited : limited) += 1;
        }
      }
    }
  }
  EXPECT_GT(limited, 100);
  EXPECT_GT(unlimited, 100);
  EXPECT_EQ(checked.unbounded, 0);
}

// A tensor of zeros, or an update of zeros, has no limit.
TEST(Optimizer, UpdateNormOfNothing) {
  for (const int32_t rule : kAllRules) {
    gatun_optimizer_params params = step_params(rule, GATUN_F32, GATUN_STATE_F32, 20);
    params.max_update_norm = 0.02f;
    gatun_optimizer_params free = params;
    free.max_update_norm = 0;
    const std::vector<float> none(20, 0.0f), some(20, 2.0f);
    const std::vector<float> state1(static_cast<size_t>(20 * rows_of_state1(rule)));
    const std::vector<float> state2(static_cast<size_t>(20 * rows_of_state2(rule)));
    for (const bool p_is_zero : {true, false}) {
      const Tensors before = make_tensors(params, p_is_zero ? none : some, p_is_zero ? some : none, state1, state2);
      params.weight_decay = free.weight_decay = 0;
      EXPECT_TRUE(same(params, step(params, before), step_of_reference(free, before))) << describe(params);
    }
  }
}

// p, state after two steps with gradients of 1 and -1, in numbers worked by hand; g = 2 * gradient, no decay but where
// the name says so.
// A mean of squares below 0 is none: p would become NaN.
TEST(Optimizer, NegativeSquaresAreForgotten) {
  for (const int32_t rule : {GATUN_ADAM, GATUN_ADEMAMIX, GATUN_RMSPROP, GATUN_ADAGRAD}) {
    const gatun_optimizer_params params = step_params(rule, GATUN_F32, GATUN_STATE_F32, 1);
    const size_t rows1 = static_cast<size_t>(rows_of_state1(rule)), rows2 = static_cast<size_t>(rows_of_state2(rule));
    const Tensors a =
        step(params, make_tensors(params, {2}, {1e-3f}, std::vector<float>(rows1, rows2 > 0 ? 0.5f : -1.0f),
                                  std::vector<float>(rows2, -1.0f)));
    EXPECT_EQ(floats_of(a.p), std::vector<float>{2}) << describe(params);
    EXPECT_EQ(floats_of(a.state1), std::vector<float>(rows1, 0)) << describe(params);
    EXPECT_EQ(floats_of(a.state2), std::vector<float>(rows2, 0)) << describe(params);
  }
}

TEST(Optimizer, ByHand) {
  struct Case {
    int32_t rule;
    float decay;
    std::vector<float> p, state1, state2;  // after each step
  };
  // lr = 0.5, beta1 = 0.5, beta2 = 0.75, beta3 = 0.75, alpha = 2, epsilon = 0.
  const std::vector<Case> cases = {
      // m = 1, -1/2; v = 1, 7/4; m / c1 = 2, -2/3; sqrt(v) / c2 = 2, 2.
      {GATUN_ADAM, 0, {0.5f, 0.5f + 1.0f / 6}, {1, -0.5f}, {1, 1.75f}},
      // Decay by 1/2 in the first step: p = (1 - 1/2) / 2; then (1/4 + 1/6) / 2.
      {GATUN_ADAM, 1, {0.25f, (0.25f + 1.0f / 6) / 2}, {1, -0.5f}, {1, 1.75f}},
      // m as above, n = 1/2, -1/8: d = (2 + 2/2) / 2 = 3/2; (-2/3 - 1/4) / 2.
      {GATUN_ADEMAMIX, 0, {0.25f, 0.25f + 0.5f * (11.0f / 12) / 2}, {1, 0.5f, -0.5f, -0.125f}, {1, 1.75f}},
      {GATUN_MOMENTUM, 0, {0, 0.5f}, {2, -1}, {}},
      // g = 2 + 1/2 = 5/2, p = 1 - 5/4; g = -2 - 1/8, m = 5/4 - 17/8 = -7/8.
      {GATUN_MOMENTUM, 0.5f, {-0.25f, -0.25f + 7.0f / 16}, {2.5f, -0.875f}, {}},
      // beta1 = 0.75: v = 1, 7/4.
      {GATUN_RMSPROP, 0, {0, 1 / std::sqrt(1.75f)}, {1, 1.75f}, {}},
      {GATUN_ADAGRAD, 0, {0.5f, 0.5f + 1 / std::sqrt(8.0f)}, {4, 8}, {}},
      // m = 1/2, then way = 1/4 - 1 < 0, m = 3/8 - 1/2.
      {GATUN_LION, 0, {0.5f, 1}, {0.5f, -0.125f}, {}},
      // Decay by 1/2, then the step: 1/2 - 1/2; 0 + 1/2.
      {GATUN_LION, 1, {0, 0.5f}, {0.5f, -0.125f}, {}}};
  for (const Case& c : cases) {
    gatun_optimizer_params params = step_params(c.rule, GATUN_F32, GATUN_STATE_F32, 1);
    params.learning_rate = 0.5f;
    params.beta1 = c.rule == GATUN_RMSPROP ? 0.75f : 0.5f;  // 1 - beta1 has a root
    params.beta2 = params.beta3 = 0.75f;
    params.alpha = 2;
    params.epsilon = 0;
    params.weight_decay = c.decay;
    params.gradient_scale = 2;
    const size_t rows1 = static_cast<size_t>(rows_of_state1(c.rule)),
                 rows2 = static_cast<size_t>(rows_of_state2(c.rule));
    Tensors a = make_tensors(params, {1}, {1}, std::vector<float>(rows1, 0.0f), std::vector<float>(rows2, 0.0f));
    for (size_t t = 0; t < 2; ++t) {
      params.step = static_cast<int64_t>(t) + 1;
      a.g = bytes_of({t == 0 ? 1.0f : -1.0f});
      a = step(params, a);
      const std::string trace = describe(params);
      EXPECT_NEAR(floats_of(a.p)[0], c.p[t], 2e-7) << trace;
      for (size_t row = 0; row < rows1; ++row) EXPECT_EQ(floats_of(a.state1)[row], c.state1[t * rows1 + row]) << trace;
      for (size_t row = 0; row < rows2; ++row) EXPECT_EQ(floats_of(a.state2)[row], c.state2[t * rows2 + row]) << trace;
    }
  }
}

// The gradient as it came moves p; state is made of the scaled and decayed one.
TEST(Optimizer, RawGradient) {
  for (const int32_t rule : {GATUN_RMSPROP, GATUN_ADAGRAD}) {
    gatun_optimizer_params params = step_params(rule, GATUN_F32, GATUN_STATE_F32, 1);
    params.raw_gradient = 1;
    params.learning_rate = 0.25f;
    params.beta1 = 0;
    params.epsilon = 0;
    params.weight_decay = 1;
    params.gradient_scale = 2;
    const Tensors after = step(params, make_tensors(params, {2}, {3}, {0}, {}));
    EXPECT_EQ(floats_of(after.state1)[0], 64) << "(2 * 3 + 2)^2";
    EXPECT_EQ(floats_of(after.p)[0], 2 - 0.25f * (3.0f / 8));
  }
}

// Momentum's first step is the gradient, whatever its state was.
TEST(Optimizer, MomentumStartsFromAnything) {
  for (const float old : {kNan, kInfinity, 5.0f}) {
    gatun_optimizer_params params = step_params(GATUN_MOMENTUM, GATUN_F32, GATUN_STATE_F32, 1);
    params.step = 1;
    params.learning_rate = 0.5f;
    params.weight_decay = 0;
    const Tensors after = step(params, make_tensors(params, {1}, {3}, {old}, {}));
    EXPECT_EQ(floats_of(after.state1)[0], 3);
    EXPECT_EQ(floats_of(after.p)[0], -0.5f);
  }
}

// p is rounded to its dtype, once: the f32 in between is 1 + 2^-11 + 2^-20, above the middle of two f16. What is beyond
// f16 becomes infinite.
TEST(Optimizer, ParametersAreRoundedOnce) {
  gatun_optimizer_params params = step_params(GATUN_MOMENTUM, GATUN_F16, GATUN_STATE_F32, 2);
  params.step = 1;
  params.learning_rate = -1;
  params.weight_decay = 0;
  params.gradient_scale = 0x1p-11f + 0x1p-20f;
  const Tensors after = step(params, make_tensors(params, {1, 65504}, {1, 65504}, {0, 0}, {}));
  const std::vector<double> p = test::to_doubles(after.p.data(), GATUN_F16, 2);
  EXPECT_EQ(p[0], 1 + 0x1p-10);
  EXPECT_EQ(p[1], kInfinity);
}

TEST(Optimizer, ExplainNamesTheKernel) {
  char text[1024];
  for (const int32_t state : kStates) {
    const gatun_optimizer_params params = step_params(GATUN_ADAM, GATUN_F32, state, 1000);
    ASSERT_EQ(gatun_optimizer_explain(&params, text, sizeof(text)), GATUN_OK) << gatun_last_error();
    const std::string name = table().select(state, state, static_cast<Tier>(gatun_tier())).name;
    EXPECT_NE(std::string(text).find(name), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace gatun::optimizer
