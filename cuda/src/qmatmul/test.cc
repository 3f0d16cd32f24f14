// Products of the universal kernels against the oracle.
#include <initializer_list>

#include "qmatmul/test_activations.h"
#include "qmatmul/test_product.h"
#include "shapes.h"

namespace gatun::cuda::qmatmul {
namespace {

const KernelRow* simt(int32_t mode) {
  return kernel_rows().find(mode <= GATUN_QMATMUL_INT8_GROUP ? "qmatmul_i8_simt_sm80" : "qmatmul_f32_simt_sm80");
}

TEST(Simt, EveryFormatInEveryMode) {
  for (const Scheme& scheme : kSchemes) {
    for (const int32_t mode : kModes) {
      if (!takes(scheme, mode)) continue;
      for (const bool integers : {true, false}) {
        for (const int64_t rows : {1, 2, 7}) {
          Case c;
          c.scheme = scheme;
          c.mode = mode;
          c.rows = rows;
          c.columns = 19;
          c.depth = 200;
          c.group = rows == 2 ? 200 : 64;
          c.integers = integers && (scheme.book == 0 || scheme.book == GATUN_BOOK_GIVEN);
          expect_product(c, simt(mode), integers);
        }
      }
    }
  }
}

TEST(Simt, EveryGroup) {
  for (const int32_t mode : kModes) {
    for (const Scheme& scheme : {kU4Zero, kU2Float, kU8Zero, kI8}) {
      for (const int64_t group : gatun::test::group_sizes(300)) {
        Case c;
        c.scheme = scheme;
        c.mode = mode;
        c.rows = group % 3 == 0 ? 1 : 5;
        c.columns = 33;
        c.depth = 300;
        c.group = group;
        c.integers = group % 2 == 0;
        expect_product(c, simt(mode));
      }
    }
  }
}

TEST(Simt, EveryTypeOfScaleAndBlocksOfRows) {
  for (const int32_t scale_dtype : {GATUN_F32, GATUN_F16, GATUN_E8M0, GATUN_F8E4M3}) {
    for (const int32_t group_rows : {1, 3, 16, 128}) {
      for (const Scheme& scheme : {kU4Zero, kE4M3, kE2M1, kU8Float}) {
        for (const int32_t mode : {GATUN_QMATMUL_INT8_GROUP, GATUN_QMATMUL_PRECISE}) {
          if (!takes(scheme, mode)) continue;
          Case c;
          c.scheme = scheme;
          c.mode = mode;
          c.rows = 2;
          c.columns = 40;
          c.depth = 96;
          c.group = 32;
          c.scale_dtype = scale_dtype;
          c.group_rows = group_rows;
          c.tensor_scale = 0.375f;
          c.bias = true;
          expect_product(c, simt(mode));
        }
      }
    }
  }
}

TEST(Simt, EveryShape) {
  const int32_t modes[] = {GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_PRECISE, GATUN_QMATMUL_BF16};
  int count = 0;
  for (const int64_t rows : {0, 1, 2, 7, 8, 9, 16, 17, 33}) {
    for (const int64_t columns : {0, 1, 13, 16, 17, 61}) {
      for (const int64_t depth : {0, 1, 13, 64, 129}) {
        Case c;
        c.mode = modes[++count % 3];
        c.scheme = (rows + columns + depth) % 2 == 0 ? kU4 : kU8Float;
        c.rows = rows;
        c.columns = columns;
        c.depth = c.group = depth;
        if (depth == 129 && rows % 2 == 1) c.group = 43;
        c.bias = rows % 3 == 0;
        expect_product(c, nullptr);  // the entry, which knows empty ones
        if (rows > 0 && columns > 0) expect_product(c, simt(c.mode));
      }
    }
  }
}

TEST(Simt, EveryTypeOfXAndYAtAnyAddress) {
  for (const int32_t x_dtype : {GATUN_F32, GATUN_F16, GATUN_BF16}) {
    for (const int32_t y_dtype : {GATUN_F32, GATUN_F16, GATUN_BF16}) {
      for (const int32_t mode : kModes) {
        for (const int64_t offset : {0, 1, 3}) {
          Case c;
          c.mode = mode;
          c.rows = 3;
          c.columns = 35;
          c.depth = offset == 3 ? 100 : 128;
          c.group = 50;
          c.x_dtype = x_dtype;
          c.y_dtype = y_dtype;
          c.x_offset = c.y_offset = offset;
          c.x_gap = offset == 1 ? 8 : offset;  // rows 16 bytes apart or not
          c.y_gap = offset;
          c.residual = true;
          expect_product(c, nullptr);
        }
      }
    }
  }
}

TEST(Simt, BiasResidualActivationAndColumns) {
  for (const int32_t activation : {GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_RELU, GATUN_ACTIVATION_GELU,
                                   GATUN_ACTIVATION_GELU_TANH, GATUN_ACTIVATION_SILU}) {
    for (const int32_t y_dtype : {GATUN_F32, GATUN_F16, GATUN_BF16}) {
      for (const int64_t begin : {0, 1, 16, 47}) {
        for (const int64_t end : {47, 48, 50}) {
          Case c;
          c.mode = (begin + end) % 2 == 0 ? GATUN_QMATMUL_INT8_ROW : GATUN_QMATMUL_PRECISE;
          c.rows = 3;
          c.columns = 50;
          c.depth = 64;
          c.y_dtype = y_dtype;
          c.activation = activation;
          c.bias = begin != 1;
          c.residual = end != 48;
          c.in_place = c.residual && begin != 16;
          c.y_gap = 2;
          c.column_begin = begin;
          c.column_end = end;
          expect_product(c, nullptr);
        }
      }
    }
  }
}

TEST(Finish, ActivationsKeepTheirBounds) {
  // A product without depth gives act(bias).
  const std::vector<float> values = gatun::qmatmul::activated_values();
  for (const int32_t activation : gatun::qmatmul::kActivations) {
    Case c;
    c.columns = static_cast<int64_t>(values.size());
    c.depth = c.group = 0;
    c.activation = activation;
    Rng rng;
    const Weights weights(rng, c);
    const Product product(rng, c);
    const DeviceBuffer<uint8_t> packed(weights.pack());
    const DeviceBuffer<float> bias(values);
    DeviceBuffer<float> y(c.columns);
    ASSERT_EQ(gatun_cuda_qmatmul(&product.params, &weights.description, nullptr, packed.data(), packed.count(),
                                 bias.data(), nullptr, y.data(), nullptr, 0, nullptr),
              GATUN_OK)
        << gatun_last_error();
    const bool exact = activation <= GATUN_ACTIVATION_RELU;
    std::vector<double> actual, expected, allowed;
    const std::vector<float> got = y.copy();
    for (size_t i = 0; i < values.size(); ++i) {
      const double value = gatun::qmatmul::reference_activate(double{values[i]}, activation);
      actual.push_back(double{got[i]});
      // An infinity is no sum: it can only come of the bias.
      expected.push_back(std::isinf(values[i]) && values[i] < 0 && !exact ? 0.0 : value);
      allowed.push_back(exact ? 0 : 0x1p-18 * std::fabs(value) + 0x1p-40);
    }
    EXPECT_TRUE(gatun::test::within(actual, expected, allowed)) << "activation " << activation;
  }
}

TEST(Simt, RowsWithNanOrInfinityAreNan) {
  const float infinity = INFINITY;
  const std::vector<std::vector<float>> all = {{NAN}, {infinity}, {-infinity, infinity}, {infinity, NAN}};
  for (const std::vector<float>& special : all) {
    for (const int32_t mode : kModes) {
      for (const Scheme& scheme : {kU4, kU2Float, kI8}) {
        Case c;
        c.scheme = scheme;
        c.mode = mode;
        c.rows = 7;
        c.depth = 100;
        c.group = 50;
        c.x_dtype = GATUN_F32;
        c.special = special;
        c.activation = GATUN_ACTIVATION_RELU;
        expect_product(c, nullptr);
      }
    }
  }
}

TEST(Simt, XBeyondF16IsNan) {
  Case c;
  c.rows = 3;
  c.x_dtype = GATUN_F32;
  c.special = {65520.0f};
  expect_product(c, nullptr);
  c.special = {65519.0f};
  expect_product(c, nullptr);
}

TEST(Simt, TinyAndHugeX) {
  for (const float value : {0.0f, 0x1p-149f, 0x1p-127f, 0x1p-114f, 0x1p-113f, 0x1p-40f, 0x1p40f}) {
    for (const int32_t mode : {GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP, GATUN_QMATMUL_PRECISE}) {
      Case c;
      c.mode = mode;
      c.rows = 3;
      c.depth = 64;
      c.group = 16;
      c.x_dtype = GATUN_F32;
      c.special.assign(400, value);  // most of the row, more or less
      expect_product(c, nullptr);
    }
  }
}

TEST(Simt, SplitDepth) {
  for (const int32_t mode : kModes) {
    for (const int64_t group : {64, 100, 8192}) {
      for (const int64_t depth : {4096, 8192, 8191}) {
        Case c;
        c.mode = mode;
        c.rows = depth == 4096 ? 5 : 1;
        c.depth = depth;
        c.columns = 17;
        c.group = std::min(group, depth);
        c.bias = c.residual = true;
        c.integers = depth == 8192;
        Problem problem = {};
        Rng rng;
        problem.params = Product(rng, c).params;
        const Weights weights(rng, c);
        ASSERT_EQ(form_of(&weights.description, &problem.form), GATUN_OK);
        if (group != 100 || depth > 4096) {
          EXPECT_GT(plan_on(*simt(mode), problem).parts, 1) << c;
        }
        expect_product(c, nullptr);
      }
    }
  }
}

TEST(Simt, LongGroupsOfExtremeIntegers) {
  // 255 * 127 * 70000 is beyond int32, as is every product with the zero point 0 or 255.
  for (const int32_t mode : {GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP}) {
    Case c;
    c.scheme = kU8Zero;
    c.mode = mode;
    c.columns = 1;
    c.depth = c.group = 70000;
    c.x_dtype = GATUN_F32;
    expect_product(c, nullptr, 1);
  }
}

TEST(Simt, EveryOrderOfThreads) {
  in_every_order([] {
    for (const int32_t mode : kModes) {
      Case c;
      c.scheme = mode <= GATUN_QMATMUL_INT8_GROUP ? kU4Zero : kNF4;
      c.mode = mode;
      c.rows = 5;
      c.columns = 33;
      c.depth = 1300;
      c.group = mode % 2 == 0 ? 128 : 100;
      c.bias = c.residual = true;
      expect_product(c, nullptr);
    }
  });
}

}  // namespace
}  // namespace gatun::cuda::qmatmul
