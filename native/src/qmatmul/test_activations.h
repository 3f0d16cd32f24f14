// What the tests of ops that end as qmatmul does share: activations of the bias, which a product without depth gives.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "gatun/qmatmul.h"

namespace gatun::qmatmul {

inline const std::vector<int32_t> kActivations = {GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_RELU, GATUN_ACTIVATION_GELU,
                                                  GATUN_ACTIVATION_GELU_TANH, GATUN_ACTIVATION_SILU};

// From -120 to 120, densest where activations bend, tiny and huge ones; at last infinity, -infinity and NaN.
inline std::vector<float> activated_values() {
  std::vector<float> values;
  for (int i = -60000; i <= 60000; ++i) values.push_back(static_cast<float>(i) * 0x1p-12f);  // -14.6 .. 14.6
  for (int i = -2000; i <= 2000; ++i) values.push_back(static_cast<float>(i) * 0.06f);
  for (const float x : {0x1p-149f, 0x1p-127f, 1e-30f, 1e10f, 3e38f}) {
    values.push_back(x);
    values.push_back(-x);
  }
  const float infinity = std::numeric_limits<float>::infinity();
  values.insert(values.end(), {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()});
  return values;
}

// Activations of activated_values() beside the reference's, with the bounds of simd/math.h.
inline void expect_activated(int32_t activation, const std::vector<float>& values, const std::vector<double>& expected,
                             const std::vector<float>& y) {
  SCOPED_TRACE(testing::Message() << "activation " << activation);
  const bool exact = activation == GATUN_ACTIVATION_NONE || activation == GATUN_ACTIVATION_RELU;
  const double relative = exact ? 0 : activation == GATUN_ACTIVATION_GELU_TANH ? 0x1p-19 : 0x1p-20;
  const size_t finite = values.size() - 3;
  for (size_t i = 0; i < finite; ++i) {
    ASSERT_LE(std::fabs(y[i] - expected[i]), relative * std::fabs(expected[i]) + (exact ? 0 : 0x1p-40))
        << values[i] << ": " << y[i] << ", reference " << expected[i];
  }
  EXPECT_EQ(y[finite], values[finite]);
  EXPECT_EQ(y[finite + 1], activation == GATUN_ACTIVATION_NONE ? values[finite + 1] : 0);
  EXPECT_TRUE(std::isnan(y[finite + 2]));
}

}  // namespace gatun::qmatmul
