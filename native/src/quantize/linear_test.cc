// Linear codes: the reference and the kernels against examples worked out by hand, properties, refusals.
#include <limits>

#include "quantize/test_linear.h"

namespace gatun::quantize {
namespace {

// Dequantization takes what a file may hold: any code, any scale.
TEST(Dequantize, AnyBitPattern) {
  Rng rng(5);
  for (const Scheme scheme : kSchemes) {
    for (const int32_t x_dtype : kFloats) {
      for (const int32_t scale_dtype : kScales) {
        const gatun_quantize_params p = make_params(scheme, 7, 133, 17, x_dtype, scale_dtype);
        SCOPED_TRACE(describe(p));
        Quantized q(p);
        for (int64_t i = 0; i < q.codes.size(); ++i) q.codes[i] = static_cast<uint8_t>(rng.next());
        for (int64_t i = 0; i < q.zero_points.size(); ++i) q.zero_points[i] = static_cast<uint8_t>(rng.next());
        std::vector<float> scales;
        for (int64_t i = 0; i < p.rows * groups_of(p); ++i) scales.push_back(rng.special());
        const std::vector<unsigned char> bytes = test::from_floats(scales, scale_dtype);
        std::memcpy(q.scales.data(), bytes.data(), bytes.size());
        const int64_t count = p.rows * p.depth;
        GuardBuffer<unsigned char> y(count * dtype_bytes(x_dtype, 1)), expected(count * dtype_bytes(x_dtype, 1));
        ASSERT_EQ(dequantize(p, q, y.data()), GATUN_OK);
        reference_back(p, q, expected.data());
        const std::vector<double> a = test::to_doubles(y.data(), x_dtype, count);
        const std::vector<double> b = test::to_doubles(expected.data(), x_dtype, count);
        ASSERT_TRUE(test::within(a, b, std::vector<double>(a.size(), 0.0), p.depth));
      }
    }
  }
}

// Worked out by hand from the definition.
struct Example {
  Scheme scheme;
  int32_t scale_dtype;
  std::vector<float> x;
  float scale;
  float zero_point;
  std::vector<int> codes;
};

TEST(Quantize, Examples) {
  const float third = 1.0f / 3;
  const Example examples[] = {
      {{GATUN_I8, 0}, GATUN_F32, {127, -127, 0.5f, 1.5f, -0.5f, 0}, 1, 0, {127, -127, 0, 2, 0, 0}},
      {{GATUN_I8, 0}, GATUN_F32, {-254, 1, 3, 5}, 2, 0, {-127, 0, 2, 2}},
      {{GATUN_U8, 1}, GATUN_F32, {0, 255, 0.5f, 1.5f}, 1, 0, {0, 255, 0, 2}},
      {{GATUN_U8, 1}, GATUN_F32, {-100, 155, 0, 2.5f}, 1, 100, {0, 255, 100, 102}},
      {{GATUN_U8, 1}, GATUN_F32, {-510, -1, 0}, 2, 255, {0, 255, 255}},
      {{GATUN_U4, 0}, GATUN_F32, {-8, 7, 8, 0, 0.5f}, 1, 8, {0, 15, 15, 8, 8}},
      {{GATUN_U4, 0}, GATUN_F32, {8, -8, 7, 1.5f}, -1, 8, {0, 15, 1, 6}},
      {{GATUN_U4, 0}, GATUN_F32, {3, -1, 4}, -0.5f, 8, {2, 10, 0}},
      {{GATUN_U4, 1}, GATUN_F32, {-5, 10, 0, 2.5f, 3.5f}, 1, 5, {0, 15, 5, 7, 9}},
      {{GATUN_U4, 1}, GATUN_F32, {15, 30}, 2, 0, {8, 15}},
      {{GATUN_I8, 0}, GATUN_F32, {0, -0.0f}, 0, 0, {0, 0}},
      {{GATUN_U8, 1}, GATUN_F32, {0, 0}, 0, 0, {0, 0}},
      {{GATUN_U4, 0}, GATUN_F32, {0, 0}, 0, 8, {8, 8}},
      {{GATUN_U4, 1}, GATUN_F32, {0, 0}, 0, 0, {0, 0}},
      {{GATUN_I8, 0}, GATUN_F32, {0x1p-114f, 0}, 0, 0, {0, 0}},  // scale 2^-114 / 127 < 2^-120
      {{GATUN_I8, 0}, GATUN_F32, {127 * 0x1p-120f, 0}, 0x1p-120f, 0, {127, 0}},
      {{GATUN_I8, 0}, GATUN_F16, {127 * 0x1p-25f, 0}, 0, 0, {0, 0}},                          // ties to even: 0
      {{GATUN_I8, 0}, GATUN_F16, {127 * 0x1.8p-24f, 0}, 0x1p-23f, 0, {95, 0}},                // 95.25
      {{GATUN_I8, 0}, GATUN_F16, {127 * 0x1.4p-24f, -1 * 0x1p-24f}, 0x1p-24f, 0, {127, -1}},  // 158.75, clamped
      {{GATUN_U4, 0}, GATUN_F16, {-8 * third, 1}, 0.33325195f, 8, {0, 11}},
      {{GATUN_U2, 0}, GATUN_F32, {-2, 1, 2, 0.5f, -0.5f}, 1, 0, {0, 3, 3, 2, 2}},
      {{GATUN_U2, 0}, GATUN_F32, {3, -1.5f, 2.25f, 0, 1}, -1.5f, 0, {0, 3, 0, 2, 1}},  // steps -2, 1, -1.5, 0, -0.67
      {{GATUN_U2, 1}, GATUN_F32, {-1, 5, 0, 2, 1}, 2, 0, {0, 2, 0, 1, 0}},  // zero point 0.5 to even; 5 / 2 = 2.5
      {{GATUN_U2, 1}, GATUN_F32, {-3, 3, 0}, 2, 2, {0, 3, 2}},              // zero point 1.5; -1.5 is -2
      {{GATUN_U8, 2}, GATUN_F32, {1, 256, 1.5f, 2.5f}, 1, 1, {0, 255, 0, 2}},
      {{GATUN_U4, 2}, GATUN_F32, {-31, -1, -2, -4}, 2, -31, {0, 15, 14, 14}},  // 14.5 and 13.5 to even
      {{GATUN_U2, 2}, GATUN_F32, {7, 7, 7}, 0, 7, {0, 0, 0}},
      {{GATUN_U2, 2}, GATUN_F16, {0, -0.0f, 6, 3}, 2, 0, {0, 0, 3, 2}},
      {{GATUN_I8, 0, GATUN_SCALE_FULL_RANGE}, GATUN_F32, {-255, 255, 1, 3}, 2, 0, {-128, 127, 0, 2}},
      {{GATUN_U4, 0, GATUN_SCALE_FULL_RANGE}, GATUN_F32, {-15, 15, 1, -7}, 2, 0, {0, 15, 8, 4}},
      {{GATUN_U2, 0, GATUN_SCALE_FULL_RANGE}, GATUN_F32, {1, -3, 0}, 2, 0, {2, 0, 2}},
      {{GATUN_I8, 0, GATUN_SCALE_NO_CLIPPING}, GATUN_F32, {-128, 64, 2.5f}, 1, 0, {-128, 64, 2}},
      {{GATUN_I8, 0, GATUN_SCALE_NO_CLIPPING}, GATUN_F32, {-128, 254, 2.5f}, 2, 0, {-64, 127, 1}},
      {{GATUN_U4, 0, GATUN_SCALE_NO_CLIPPING}, GATUN_F32, {-8, 14, 1, 3}, 2, 0, {4, 15, 8, 10}},
      {{GATUN_U2, 0, GATUN_SCALE_NO_CLIPPING}, GATUN_F32, {-8, -2}, 4, 0, {0, 2}},
  };
  for (const Example& example : examples) {
    gatun_quantize_params p = make_params(example.scheme, 1, static_cast<int64_t>(example.x.size()),
                                          static_cast<int64_t>(example.x.size()), GATUN_F32, example.scale_dtype);
    SCOPED_TRACE(describe(p) + ", first value " + std::to_string(example.x[0]));
    for (const bool by_definition : {true, false}) {
      Quantized q(p);
      if (by_definition) {
        reference(p, example.x.data(), q);
      } else {
        ASSERT_EQ(quantize(p, example.x.data(), q), GATUN_OK);
      }
      EXPECT_EQ(test::to_doubles(q.scales.data(), p.scale_dtype, 1)[0], static_cast<double>(example.scale));
      if (p.zero_point == GATUN_ZERO_INTEGER) {
        EXPECT_EQ(static_cast<float>(q.zero_points[0]), example.zero_point);
      } else if (p.zero_point == GATUN_ZERO_FLOAT) {
        EXPECT_EQ(test::identical(reinterpret_cast<const float*>(q.zeros), &example.zero_point, 1), true);
      }
      const int64_t per_byte = p.code_dtype == GATUN_U4 ? 2 : p.code_dtype == GATUN_U2 ? 4 : 1, bits = 8 / per_byte;
      for (int64_t k = 0; k < (p.depth + per_byte - 1) / per_byte * per_byte; ++k) {
        const int stored = q.codes[k / per_byte] >> k % per_byte * bits & ((1 << bits) - 1);
        const int code = p.code_dtype == GATUN_I8 ? static_cast<int8_t>(stored) : stored;
        // What no code uses is 0.
        EXPECT_EQ(code, k < p.depth ? example.codes[static_cast<size_t>(k)] : 0) << "element " << k;
      }
    }
  }
}

// Every code, by its value, comes back as itself, whatever the rounding.
TEST(Quantize, EveryCodeIsItsValue) {
  for (const Scheme scheme : kSchemes) {
    for (const int32_t rounding : {GATUN_ROUND_NEAREST, GATUN_ROUND_STOCHASTIC, GATUN_ROUND_GIVEN}) {
      gatun_quantize_params p = make_params(scheme, 1, 256, 256);
      p.scale_rule = GATUN_SCALE_GIVEN;
      p.rounding = rounding;
      const std::vector<uint8_t> up(256, rounding == GATUN_ROUND_GIVEN);
      Quantized q(p), again(p);
      for (int64_t i = 0; i < q.codes.size(); ++i) q.codes[i] = static_cast<uint8_t>(i);
      // Codes of 2 bits: bytes 0..63 have each of them in each place but the last, where 64 of 256 bytes do.
      if (p.code_dtype == GATUN_U2) {
        for (int64_t i = 0; i < 64; ++i) q.codes[i] = static_cast<uint8_t>(i * 5);
      }
      if (p.code_dtype == GATUN_I8) q.codes[128] = 0;  // not a code
      const float scale = 0.25f, offset = -3;
      for (Quantized* planes : {&q, &again}) {
        std::memcpy(planes->scales.data(), &scale, 4);
        if (p.zero_point == GATUN_ZERO_FLOAT) std::memcpy(planes->zeros, &offset, 4);
        if (p.zero_point == GATUN_ZERO_INTEGER) planes->zeros[0] = 2;
      }
      std::vector<float> x(256);
      ASSERT_EQ(dequantize(p, q, x.data()), GATUN_OK);
      ASSERT_EQ(quantize(p, x.data(), again, rounding == GATUN_ROUND_GIVEN ? up.data() : nullptr), GATUN_OK);
      EXPECT_TRUE(same(again, q, p)) << describe(p);
    }
  }
}

// What was quantized once stays what it is.
TEST(Quantize, OnceMoreChangesNothing) {
  Rng rng(8);
  for (const Scheme scheme : kSchemes) {
    gatun_quantize_params p = make_params(scheme, 20, 300, 50);
    const std::vector<float> x = values(rng, 6000, 0);
    Quantized q(p), again(p);
    std::vector<float> y(x.size());
    ASSERT_EQ(quantize(p, x.data(), q), GATUN_OK);
    ASSERT_EQ(dequantize(p, q, y.data()), GATUN_OK);
    p.scale_rule = GATUN_SCALE_GIVEN;
    if (scheme.code_dtype == GATUN_I8 && scheme.scale_rule != GATUN_SCALE_DEFAULT) continue;  // -128 is no given code
    std::memcpy(again.scales.data(), q.scales.data(), static_cast<size_t>(q.scales.size()));
    std::memcpy(again.zero_points.data(), q.zero_points.data(), static_cast<size_t>(q.zero_points.size()));
    ASSERT_EQ(quantize(p, y.data(), again), GATUN_OK);
    EXPECT_TRUE(same(again, q, p)) << describe(p);
  }
}

// A larger value has no smaller code, where scales are positive.
TEST(Quantize, CodesFollowTheOrderOfValues) {
  Rng rng(9);
  for (const Scheme scheme : {kSchemes[0], kSchemes[1], kSchemes[6], kSchemes[9], kSchemes[11]}) {
    const gatun_quantize_params p = make_params(scheme, 1, 5000, 5000);
    std::vector<float> x = values(rng, 5000, 0);
    std::sort(x.begin(), x.end());
    Quantized q(p);
    ASSERT_EQ(quantize(p, x.data(), q), GATUN_OK);
    for (int64_t k = 1; k < 5000; ++k) {
      if (p.code_dtype == GATUN_I8) {
        ASSERT_LE(static_cast<int8_t>(q.codes[k - 1]), static_cast<int8_t>(q.codes[k])) << describe(p) << k;
      } else {
        ASSERT_LE(q.codes[k - 1], q.codes[k]) << describe(p) << k;
      }
    }
  }
}

// The chance to go up is the distance from the code below: 0.3 of a step goes up in 30 % of all elements. With n
// = 400000 the share's standard deviation is 0.00072; five of them are allowed.
TEST(Quantize, StochasticRoundingIsFair) {
  constexpr int64_t kCount = 400000;
  std::vector<int8_t> codes[3];
  for (int seed = 0; seed < 3; ++seed) {
    gatun_quantize_params p = make_params({GATUN_I8, GATUN_ZERO_NONE, GATUN_SCALE_GIVEN}, 4, kCount / 4, kCount / 4);
    p.rounding = GATUN_ROUND_STOCHASTIC;
    p.seed = seed;
    const std::vector<float> x(kCount, -2.7f), scales(4, 1.0f);
    codes[seed].resize(kCount);
    ASSERT_EQ(
        gatun_quantize(&p, x.data(), nullptr, nullptr, codes[seed].data(), const_cast<float*>(scales.data()), nullptr),
        GATUN_OK);
    int64_t up = 0, repeated = 0;
    for (int64_t i = 0; i < kCount; ++i) {
      const int code = codes[seed][static_cast<size_t>(i)];
      ASSERT_TRUE(code == -3 || code == -2) << code;
      up += code == -2;
      repeated += i > 0 && code == codes[seed][static_cast<size_t>(i - 1)];
    }
    EXPECT_NEAR(static_cast<double>(up) / kCount, 0.3, 0.0036);
    EXPECT_NEAR(static_cast<double>(repeated) / kCount, 0.58, 0.005) << "neighbours depend on each other";
  }
  for (int other : {1, 2}) {
    int64_t same_code = 0;
    for (size_t i = 0; i < kCount; ++i) same_code += codes[0][i] == codes[other][i];
    EXPECT_NEAR(static_cast<double>(same_code) / kCount, 0.58, 0.005) << "seeds depend on each other";
  }
}

// The threshold of an element depends on all 64 bits of its index: rows around element 2^32, which a kernel reaches
// without the memory before it.
TEST(Quantize, StochasticRoundingBeyond32Bits) {
  constexpr int64_t kDepth = 4097, kRow = (int64_t{1} << 32) / kDepth;  // element 2^32 is inside this row
  const KernelRow<Kernel>& row = table().select(GATUN_I8, kNumber, static_cast<Tier>(gatun_tier()));
  std::vector<float> x(kDepth, 0.5f);
  std::vector<int8_t> codes(2 * kDepth);
  std::vector<float> scales(2, 1.0f);
  Job job{};
  job.x = x.data();
  job.codes = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(codes.data()) - kRow * kDepth);
  job.scales = reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(scales.data()) - kRow * sizeof(float));
  job.rows = kRow + 2;
  job.depth = job.group = kDepth;
  job.piece = kDepth;
  job.groups = job.pieces = job.x_column_stride = job.group_rows = job.unit_rows = 1;
  job.x_dtype = GATUN_F32;
  job.seed = 77;
  job.scale_dtype = GATUN_F32;
  job.scale_rule = GATUN_SCALE_GIVEN;
  job.fixed = true;
  job.rounding = GATUN_ROUND_STOCHASTIC;
  ASSERT_TRUE(row.kernel->quantize(job, kRow, kRow + 2));
  for (int64_t i = 0; i < 2 * kDepth; ++i) {
    const int32_t threshold = reference_threshold(77, kRow * kDepth + i);
    ASSERT_EQ(codes[static_cast<size_t>(i)], threshold < 1 << 23 ? 1 : 0) << i;
  }
  EXPECT_NE(reference_threshold(77, 5), reference_threshold(77, 5 + (int64_t{1} << 32)));
}

// A value comes back within half a step, where no clamping and no rounding of the scale interferes.
TEST(Quantize, ErrorIsHalfAStep) {
  Rng rng(6);
  for (const Scheme scheme :
       {kSchemes[0], kSchemes[1], kSchemes[3], kSchemes[5], kSchemes[6], kSchemes[8], kSchemes[11], kSchemes[13]}) {
    const gatun_quantize_params p = make_params(scheme, 20, 300, 50);
    const std::vector<float> x = values(rng, 6000, 0);
    Quantized q(p);
    std::vector<float> y(x.size());
    ASSERT_EQ(quantize(p, x.data(), q), GATUN_OK);
    ASSERT_EQ(dequantize(p, q, y.data()), GATUN_OK);
    for (size_t i = 0; i < x.size(); ++i) {
      const double scale = reinterpret_cast<const float*>(q.scales.data())[i / 50];
      // Rounding of the zero point shifts the range by up to half a step.
      ASSERT_LE(std::fabs(double{x[i]} - double{y[i]}), scale * (p.zero_point == GATUN_ZERO_INTEGER ? 1.001 : 0.501))
          << describe(p) << i;
    }
  }
}

TEST(Quantize, RefusesNanAndInfinityByIndex) {
  Rng rng(7);
  for (const Scheme scheme : kSchemes) {
    for (const int32_t x_dtype : kFloats) {
      for (const bool transposed : {false, true}) {
        for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                                -std::numeric_limits<float>::infinity()}) {
          gatun_quantize_params p = make_params(scheme, 70, 67, 17, x_dtype);
          p.threads = 0;
          if (transposed) {
            p.x_row_stride = 1;
            p.x_column_stride = 70;
          }
          const int64_t row = rng.integer(0, 69), column = rng.integer(0, 66);
          std::vector<float> x = values(rng, 70 * 67, 0);
          x[static_cast<size_t>(row * p.x_row_stride + column * p.x_column_stride)] = bad;
          if (row < 69) x[static_cast<size_t>(69 * p.x_row_stride)] = bad;  // a later one does not hide the first
          const std::vector<unsigned char> bytes = test::from_floats(x, x_dtype);
          Quantized q(p);
          ASSERT_EQ(quantize(p, bytes.data(), q), GATUN_INVALID_ARGUMENT);
          const std::string named = "x[" + std::to_string(row) + "][" + std::to_string(column) + "]";
          EXPECT_NE(std::string(gatun_last_error()).find(named), std::string::npos)
              << gatun_last_error() << ", expected " << named;
        }
      }
    }
  }
}

TEST(Quantize, RefusesScalesThatOverflow) {
  struct Overflow {
    Scheme scheme;
    int32_t scale_dtype;
    float low, high;
  };
  for (const Overflow& o : {Overflow{{GATUN_I8, 0}, GATUN_F16, 0, 65520.0f * 127},
                            {{GATUN_U4, 0}, GATUN_F16, -65520.0f * 8, 0},
                            {{GATUN_U4, 1}, GATUN_F16, -65520.0f * 7, 65520.0f * 8},
                            {{GATUN_U2, 2}, GATUN_F16, -65520.0f, 65520.0f * 2},
                            {{GATUN_I8, 0, GATUN_SCALE_FULL_RANGE}, GATUN_F16, -65520.0f * 127.5f, 0},
                            {{GATUN_U4, 0, GATUN_SCALE_NO_CLIPPING}, GATUN_F16, -1, 65520.0f * 7},
                            {{GATUN_U8, 2}, GATUN_F32, -3e38f, 3e38f},
                            {{GATUN_U8, 1}, GATUN_F32, -3e38f, 3e38f}}) {
    gatun_quantize_params p = make_params(o.scheme, 3, 40, 20, GATUN_F32, o.scale_dtype);
    std::vector<float> x(120, 1.0f);
    x[2 * 40 + 21] = o.low;
    x[2 * 40 + 25] = o.high;
    Quantized q(p);
    ASSERT_EQ(quantize(p, x.data(), q), GATUN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(gatun_last_error()).find("group 1 in row 2"), std::string::npos) << gatun_last_error();
    x[2 * 40 + 21] = o.low * 0.99f;
    x[2 * 40 + 25] = o.high * (o.scheme.code_dtype == GATUN_U8 ? 0.01f : 0.99f);
    EXPECT_EQ(quantize(p, x.data(), q), GATUN_OK) << gatun_last_error();
  }
}

TEST(Quantize, RefusesGivenScalesThatAreNotFinite) {
  for (const Scheme scheme : {Scheme{GATUN_I8, GATUN_ZERO_NONE}, Scheme{GATUN_U4, GATUN_ZERO_FLOAT}}) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
      gatun_quantize_params p = make_params({scheme.code_dtype, scheme.zero_point, GATUN_SCALE_GIVEN}, 3, 40, 20);
      const std::vector<float> x(120, 1.0f);
      Quantized q(p);
      std::vector<float> scales(6, 1.0f), zeros(6, 0.0f);
      const auto call = [&] {
        return gatun_quantize(&p, x.data(), nullptr, nullptr, q.codes.data(), scales.data(),
                              p.zero_point == GATUN_ZERO_FLOAT ? zeros.data() : nullptr);
      };
      ASSERT_EQ(call(), GATUN_OK) << gatun_last_error();
      scales[3] = bad;
      ASSERT_EQ(call(), GATUN_INVALID_ARGUMENT);
      EXPECT_NE(std::string(gatun_last_error()).find("scales[1][1]"), std::string::npos) << gatun_last_error();
      if (p.zero_point != GATUN_ZERO_FLOAT) continue;
      scales[3] = 1;
      zeros[4] = bad;
      ASSERT_EQ(call(), GATUN_INVALID_ARGUMENT);
      EXPECT_NE(std::string(gatun_last_error()).find("zero_points[2][0]"), std::string::npos) << gatun_last_error();
    }
  }
}

TEST(Quantize, EmptyWorkNeedsNoMemory) {
  for (const Scheme scheme : kSchemes) {
    for (const auto& [rows, depth] : {std::pair<int64_t, int64_t>{0, 0}, {0, 64}, {5, 0}}) {
      const gatun_quantize_params p = make_params(scheme, rows, depth, depth);
      EXPECT_EQ(gatun_quantize(&p, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK)
          << gatun_last_error();
      EXPECT_EQ(gatun_dequantize(&p, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK) << gatun_last_error();
    }
  }
}

TEST(Quantize, ExplainNamesTheKernels) {
  char text[1024];
  for (const Scheme scheme : kSchemes) {
    for (const int32_t x_dtype : kFloats) {
      const gatun_quantize_params p = make_params(scheme, 100, 100, 100, x_dtype);
      ASSERT_EQ(gatun_quantize_explain(&p, text, sizeof(text)), GATUN_OK) << gatun_last_error();
      const Tier tier = static_cast<Tier>(gatun_tier());
      const std::string name = table().select(p.code_dtype, kNumber, tier).name;
      EXPECT_NE(std::string(text).find(name), std::string::npos) << text;
      EXPECT_EQ(gatun_quantize_explain(&p, text, 10), GATUN_INVALID_ARGUMENT);
    }
  }
}

}  // namespace
}  // namespace gatun::quantize
