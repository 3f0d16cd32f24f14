// Stochastic rounding of bf16 parameters.
#include <gtest/gtest.h>

#include "optimizer/test_step.h"

namespace gatun::optimizer {
namespace {

// Steps that move every p by -0.5 * (g / 1): momentum's first step. So the f32 value is p - g / 2 exactly.
gatun_optimizer_params exact_params(int64_t count) {
  gatun_optimizer_params params = step_params(GATUN_MOMENTUM, GATUN_BF16, GATUN_STATE_F32, count);
  params.rounding = GATUN_PARAMETER_STOCHASTIC;
  params.learning_rate = 0.5f;
  params.weight_decay = 0;
  params.step = 1;
  return params;
}

std::vector<uint16_t> halves(const Bytes& bytes) {
  std::vector<uint16_t> result(bytes.size() / 2);
  std::memcpy(result.data(), bytes.data(), bytes.size());
  return result;
}

Tensors tensors(const gatun_optimizer_params& params, float p, float g) {
  const size_t count = static_cast<size_t>(params.count);
  return make_tensors(params, std::vector<float>(count, p), std::vector<float>(count, g),
                      std::vector<float>(count, 0.0f), {});
}

// p = +-1 moved by parts of the distance 2^-7 to the next bf16: up with that probability. Of n elements the share that
// went up has a standard deviation of sqrt(q (1 - q) / n); six of them are exceeded once in 5e8 tests.
TEST(StochasticRounding, IsUnbiased) {
  constexpr int64_t kCount = 1 << 18;
  for (const float sign : {1.0f, -1.0f}) {
    for (const float part : {1.0f / 256, 0.125f, 0.5f, 0.75f, 255.0f / 256}) {
      gatun_optimizer_params params = exact_params(kCount);
      params.seed = static_cast<int64_t>(part * 1000);
      const Bytes p = step(params, tensors(params, sign, -sign * 2 * part * 0x1p-7f)).p;
      const uint16_t one = f32_to_bf16(sign);
      int64_t away = 0;
      for (const uint16_t value : halves(p)) {
        ASSERT_TRUE(value == one || value == one + 1) << bf16_to_f32(value) << " is no neighbour";
        away += value == one + 1;
      }
      const double q = double{part}, n = static_cast<double>(kCount);
      EXPECT_NEAR(static_cast<double>(away), q * n, 6 * std::sqrt(q * (1 - q) * n)) << sign << ", " << part;
    }
  }
}

// Runs of equal decisions are as long as those of coins: neighbours are independent of each other.
TEST(StochasticRounding, NeighboursAreIndependent) {
  constexpr int64_t kCount = 1 << 18;
  gatun_optimizer_params params = exact_params(kCount);
  for (const int64_t distance : {1, 2, 8, 16, 64, 256}) {
    const std::vector<uint16_t> p = halves(step(params, tensors(params, 1, -0x1p-7f)).p);
    int64_t equal = 0;
    for (size_t i = static_cast<size_t>(distance); i < p.size(); ++i)
      equal += p[i] == p[i - static_cast<size_t>(distance)];
    const double n = static_cast<double>(kCount - distance);
    EXPECT_NEAR(static_cast<double>(equal), n / 2, 6 * std::sqrt(n) / 2) << distance;
    ++params.seed;
  }
}

TEST(StochasticRounding, DependsOnSeedAndIndexAlone) {
  constexpr int64_t kCount = 20000;
  gatun_optimizer_params params = exact_params(kCount);
  const Tensors before = tensors(params, 1, -0x1p-7f);  // up or down with equal probability
  const Tensors after = step(params, before);
  EXPECT_TRUE(same(params, step(params, before), after));
  for (const int64_t seed : {int64_t{1}, int64_t{-1}, INT64_MIN, INT64_MAX}) {
    params.seed = seed;
    const Tensors other = step(params, before);
    EXPECT_TRUE(same(params, other, step_of_reference(params, before)));
    EXPECT_TRUE(same_state(other, after));
    const std::vector<uint16_t> a = halves(other.p), b = halves(after.p);
    int64_t different = 0;
    for (size_t i = 0; i < a.size(); ++i) different += a[i] != b[i];
    EXPECT_NEAR(static_cast<double>(different), kCount / 2.0, 6 * std::sqrt(kCount / 4.0)) << seed;
  }
  // A longer tensor begins with the same bits.
  params = exact_params(123);
  Tensors shorter = before;
  shorter.p.resize(246);
  shorter.g.resize(246);
  shorter.state1.resize(492);
  EXPECT_TRUE(test::identical(step(params, shorter).p.data(), after.p.data(), 246));
}

// What is a bf16 already stays, zeros, subnormals, infinities and NaN included.
TEST(StochasticRounding, ExactValuesStay) {
  std::vector<float> p;
  for (uint32_t bits = 0; bits < 0x10000; ++bits) p.push_back(bf16_to_f32(static_cast<uint16_t>(bits)));
  const gatun_optimizer_params params = exact_params(0x10000);
  const Tensors before =
      make_tensors(params, p, std::vector<float>(p.size(), 0.0f), std::vector<float>(p.size(), 0.0f), {});
  const std::vector<uint16_t> after = halves(step(params, before).p), was = halves(before.p);
  for (size_t i = 0; i < was.size(); ++i) {
    const bool nan = std::isnan(bf16_to_f32(was[i]));
    ASSERT_TRUE(nan ? std::isnan(bf16_to_f32(after[i])) : after[i] == was[i]) << i;
  }
}

// Every rule and state goes through it, with values about which the reference in double knows only neighbours.
TEST(StochasticRounding, OfEveryRuleAndState) {
  Rng rng(2);
  for (const int32_t rule : kAllRules) {
    for (const int32_t state : kStates) {
      gatun_optimizer_params params = step_params(rule, GATUN_BF16, state, 777);
      params.rounding = GATUN_PARAMETER_STOCHASTIC;
      params.seed = rng.integer(INT64_MIN, INT64_MAX);
      const Tensors before = normal_tensors(params, rng);
      EXPECT_TRUE(same(params, step(params, before), step_of_reference(params, before))) << describe(params);
    }
  }
}

}  // namespace
}  // namespace gatun::optimizer
