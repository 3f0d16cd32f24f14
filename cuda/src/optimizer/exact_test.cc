// Kernels against the CPU's definition, bit for bit: rules, states, types, sizes, blocks, options, values.
#include "optimizer/device_step.h"
#include "quantize/books.h"
#include "quantize/dynamic_cells.h"
#include "shapes.h"

namespace gatun::cuda::optimizer {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

// Usual params, with options that change from case to case.
gatun_optimizer_params params_of(int32_t rule, int32_t p_dtype, int32_t state, int64_t count, int64_t block, Rng& rng) {
  gatun_optimizer_params params = step_params(rule, p_dtype, state, count, block);
  params.weight_decay = rng.integer(0, 2) == 0 ? 0 : 0.1f;
  params.step = rng.integer(1, 3);
  params.gradient_scale = rng.pick<float>({1, 0.5f, 3});
  params.raw_gradient = (rule == GATUN_RMSPROP || rule == GATUN_ADAGRAD) && rng.integer(0, 1) == 0;
  if (p_dtype == GATUN_BF16 && rng.integer(0, 1) == 0) {
    params.rounding = GATUN_PARAMETER_STOCHASTIC;
    params.seed = rng.integer(INT64_MIN, INT64_MAX);
  }
  return params;
}

TEST(Optimizer, EveryRuleTypeStateAndSize) {
  Rng rng(1);
  int64_t cases = 0;
  for (const int32_t rule : kAllRules) {
    for (const int32_t p_dtype : kFloats) {
      for (const int32_t state : kStates) {
        const int64_t block = 128 * rng.integer(1, 2);
        for (const int64_t count : {int64_t{0}, int64_t{1}, rng.integer(2, 127), block, block + 1, 2 * block + 1}) {
          change_conditions(cases++);
          const gatun_optimizer_params params = params_of(rule, p_dtype, state, count, block, rng);
          compare(params, normal_tensors(params, rng), rng.integer(0, 1) * rng.integer(1, 7));
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Tiles of blocks of every number of rows, with and without rows that have no work; several tiles a thread block.
TEST(Optimizer, EveryBlock) {
  Rng rng(2);
  int64_t cases = 0;
  for (int64_t block = 128; block <= 2048; block += 128) {
    for (const int32_t state : {GATUN_STATE_DYNAMIC8, GATUN_STATE_F8E4M3, GATUN_STATE_DYNAMIC4}) {
      const int32_t rule = rng.pick<int32_t>({GATUN_ADAM, GATUN_ADEMAMIX, GATUN_MOMENTUM, GATUN_LION});
      const int64_t tile = 2048 / block * block;
      change_conditions(cases++);
      for (const int64_t count : {tile - 1, tile + 1, 2 * tile + block + 5}) {
        const gatun_optimizer_params params = params_of(rule, kFloats[rng.integer(0, 2)], state, count, block, rng);
        compare(params, normal_tensors(params, rng), rng.integer(0, 3) == 0);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// So many elements that thread blocks are of the largest size.
TEST(Optimizer, LargestTiles) {
  Rng rng(3);
  int64_t cases = 0;
  for (const int32_t rule : {GATUN_ADAM, GATUN_ADEMAMIX, GATUN_RMSPROP}) {
    for (const int32_t state : kStates) {
      change_conditions(5 * cases++);  // one multiprocessor
      const int64_t count = 2 * 8192 + rng.integer(-200, 200);
      const gatun_optimizer_params params =
          params_of(rule, kFloats[rng.integer(0, 2)], state, count, rng.pick<int64_t>({128, 256, 384, 1152}), rng);
      compare(params, normal_tensors(params, rng));
      if (HasFatalFailure()) return;
    }
  }
}

// Many steps, in which every difference would stay.
TEST(Optimizer, ManySteps) {
  Rng rng(4);
  int64_t cases = 0;
  for (const int32_t rule : kAllRules) {
    for (const int32_t state : kStates) {
      change_conditions(cases++);
      gatun_optimizer_params params = params_of(rule, GATUN_BF16, state, 300, 128, rng);
      Tensors actual = normal_tensors(params, rng), expected = actual;
      for (params.step = 1; params.step <= 12; ++params.step) {
        params.seed = params.step;
        actual.g = expected.g = test::from_floats(rng.normals(300), GATUN_BF16);
        actual = step_on_device(params, actual);
        expected = step_of_reference(params, expected);
        ASSERT_TRUE(same(params, actual, expected)) << describe(params);
      }
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

std::vector<float> any_values(int64_t count, Rng& rng, bool positive) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = positive ? std::fabs(any_finite(rng)) : any_finite(rng);
  return values;
}

Tensors hard_tensors(const gatun_optimizer_params& params, Rng& rng) {
  const bool square = params.rule == GATUN_RMSPROP || params.rule == GATUN_ADAGRAD;
  const std::vector<float> p = any_values(params.count, rng, false), g = any_values(params.count, rng, false);
  const std::vector<float> state1 = any_values(rows_of_state1(params.rule) * params.count, rng, square);
  return make_tensors(params, p, g, state1, any_values(rows_of_state2(params.rule) * params.count, rng, true));
}

// Subnormals, zeros, gradients whose square overflows, with every kind of parameters.
TEST(Optimizer, HardValuesAndParameters) {
  Rng rng(5);
  int64_t cases = 0;
  for (const int32_t rule : kAllRules) {
    for (const int32_t state : kStates) {
      for (int trial = 0; trial < 12; ++trial) {
        change_conditions(cases++);
        gatun_optimizer_params params =
            params_of(rule, rng.pick<int32_t>({GATUN_F32, GATUN_F32, GATUN_F16, GATUN_BF16}), state, 300, 128, rng);
        params.learning_rate = rng.pick<float>({1e-3f, 0.1f, 0, -0.01f, 100});
        params.beta1 = rng.pick<float>({0.9f, 0, 1, 0.5f, 0x1.fffffep-1f});
        params.beta2 = rng.pick<float>({0.999f, 0, 1, 0.99f});
        params.beta3 = rng.pick<float>({0.9999f, 0, 1});
        params.alpha = rng.pick<float>({5, 0, -1});
        params.epsilon = rng.pick<float>({1e-8f, 1e-30f, 1, 0x1p-140f, 0, 0x1p100f});
        params.weight_decay = rng.pick<float>({0, 0.01f, 10});
        params.gradient_scale = rng.pick<float>({1, 0x1p-10f, 3, 0, -1, 0x1p100f, 0x1p-140f});
        params.step = rng.pick<int64_t>({1, 2, 10, 1000000, INT64_MAX});
        compare(params, hard_tensors(params, rng));
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Magnitudes of every order, all elements alike: at the ends of where roots and quotients are made the short way.
TEST(Optimizer, EveryMagnitude) {
  Rng rng(6);
  for (const int32_t rule : {GATUN_ADAM, GATUN_ADEMAMIX, GATUN_RMSPROP, GATUN_ADAGRAD}) {
    for (int power = -149; power <= 127; power += 3) {
      change_conditions(power + 149);
      gatun_optimizer_params params = step_params(rule, GATUN_F32, GATUN_STATE_F32, 256);
      params.epsilon = rng.pick<float>({0, 1e-8f});
      Tensors tensors = normal_tensors(params, rng);
      std::vector<float> g = rng.normals(256);
      for (float& value : g) value = std::ldexp(value, power);
      tensors.g = bytes_of(g);
      if (rng.integer(0, 1) == 0) {
        std::fill(tensors.state1.begin(), tensors.state1.end(), uint8_t{0});
        std::fill(tensors.state2.begin(), tensors.state2.end(), uint8_t{0});
      }
      compare(params, tensors);
      if (HasFatalFailure()) return;
    }
  }
}

// NaN and infinities in p, g and the old state, among other elements: the element keeps p and loses its state.
TEST(Optimizer, WhatIsNotFinite) {
  Rng rng(7);
  constexpr int64_t kCount = 200;
  int64_t cases = 0;
  const auto spoil = [](Bytes& floats, int64_t at, float bad) {
    const Bytes bits = bytes_of({bad});
    std::copy(bits.begin(), bits.end(), floats.begin() + 4 * at);
  };
  for (const int32_t rule : kAllRules) {
    for (const int32_t state : kStates) {
      const gatun_optimizer_params params = params_of(rule, GATUN_F32, state, kCount, 128, rng);
      for (const float bad : {kNan, kInfinity, -kInfinity, std::numeric_limits<float>::max(), -1.0f}) {
        change_conditions(cases++);
        const int64_t at = rng.integer(0, kCount - 1);
        const Tensors good = normal_tensors(params, rng);
        Tensors spoilt = good;
        spoil(spoilt.g, at, bad);
        compare(params, spoilt);
        spoilt = good;
        state == GATUN_STATE_F32 ? spoil(spoilt.state1, at, bad) : spoil(spoilt.scales1, 1, bad);
        if (!good.state2.empty())
          state == GATUN_STATE_F32 ? spoil(spoilt.state2, at, bad) : spoil(spoilt.scales2, 0, bad);
        compare(params, spoilt);
        spoilt = good;
        spoil(spoilt.p, at, bad);
        compare(params, spoilt);
        if (HasFatalFailure()) return;
      }
    }
  }
}

// Codes of any bits, that of a NaN among them.
TEST(Optimizer, AnyCodes) {
  Rng rng(8);
  int64_t cases = 0;
  for (const int32_t rule : kAllRules) {
    for (const int32_t state : {GATUN_STATE_DYNAMIC8, GATUN_STATE_F8E4M3, GATUN_STATE_DYNAMIC4}) {
      change_conditions(cases++);
      const gatun_optimizer_params params = params_of(rule, GATUN_F32, state, 515, 256, rng);
      Tensors tensors = normal_tensors(params, rng);
      for (Bytes* bytes : {&tensors.state1, &tensors.state2}) {
        for (uint8_t& byte : *bytes) byte = static_cast<uint8_t>(rng.next());
      }
      compare(params, tensors, rng.integer(0, 1));
      if (HasFatalFailure()) return;
    }
  }
}

// New state at the thresholds between codes, and beside them: momentum without memory keeps the gradient, and a scale
// of 1 leaves it as it is.
TEST(Optimizer, Thresholds) {
  int64_t cases = 0;
  for (const int32_t state : {GATUN_STATE_DYNAMIC8, GATUN_STATE_DYNAMIC4}) {
    for (const bool second : {false, true}) {
      const float* const thresholds = state == GATUN_STATE_DYNAMIC8 ? quantize::dynamic_cells(!second).thresholds
                                                                    : quantize::state4_book(!second).thresholds;
      std::vector<float> wanted;
      for (int i = 0; i < (state == GATUN_STATE_DYNAMIC8 ? 255 : 15); ++i) {
        for (const float v : {std::nextafterf(thresholds[i], -2), thresholds[i], std::nextafterf(thresholds[i], 2)}) {
          if (!second || v >= 0) wanted.push_back(v);
        }
      }
      for (const float v :
           {0.0f, -0.0f, 0x1p-149f, -0x1p-149f, 0x1p-60f, -0x1p-60f, -0x1p-61f, -0x1.000002p-60f, -1.0f}) {
        if (!second || v >= 0) wanted.push_back(v);
      }
      std::vector<float> s;  // with a 1 in each block
      for (size_t i = 0; i < wanted.size(); ++i) {
        if (i % 127 == 0) s.push_back(1);
        s.push_back(wanted[i]);
      }
      const int64_t count = static_cast<int64_t>(s.size());
      change_conditions(cases++);
      gatun_optimizer_params params = step_params(second ? GATUN_ADAM : GATUN_MOMENTUM, GATUN_F32, state, count, 128);
      params.beta1 = params.weight_decay = 0;
      params.beta2 = 0;
      Tensors tensors =
          make_tensors(params, s, s, std::vector<float>(s.size()), std::vector<float>(second ? s.size() : 0));
      if (second) {
        // v is the gradient's square: near a threshold, above or below it.
        std::vector<float> g = s;
        for (float& value : g) value = std::sqrt(value);
        tensors.g = bytes_of(g);
      }
      compare(params, tensors);
      if (HasFatalFailure()) return;
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::optimizer
