// Every kernel of the tier in use (GATUN_MAX_ISA) against reference.cc, through the C entry point.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "base/dtype.h"
#include "gatun/gatun.h"
#include "gatun/norm.h"
#include "guard_buffer.h"
#include "norm/reference.h"
#include "norm/table.h"
#include "rng.h"
#include "shapes.h"
#include "tolerance.h"

namespace gatun::norm {
namespace {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

constexpr int32_t kFloats[] = {GATUN_F32, GATUN_BF16};
constexpr int32_t kKinds[] = {GATUN_NORM_LAYER, GATUN_NORM_RMS};

gatun_norm_params make_params(int32_t kind, int64_t rows, int64_t columns, int32_t x_dtype = GATUN_F32,
                              int32_t y_dtype = GATUN_F32, float epsilon = 1e-5f) {
  return {sizeof(gatun_norm_params), kind, x_dtype, y_dtype, 1, epsilon, rows, columns, columns, columns};
}

std::string describe(const gatun_norm_params& p) {
  return std::string(p.kind == GATUN_NORM_LAYER ? "LAYER " : "RMS ") + dtype_name(p.x_dtype) + " to " +
         dtype_name(p.y_dtype) + ", " + std::to_string(p.rows) + " x " + std::to_string(p.columns) + ", epsilon " +
         std::to_string(p.epsilon) + ", strides " + std::to_string(p.x_row_stride) + " and " +
         std::to_string(p.y_row_stride);
}

int64_t extent(int64_t rows, int64_t columns, int64_t stride) {
  return rows == 0 || columns == 0 ? 0 : (rows - 1) * stride + columns;
}

// The bound that tile.h states.
double bound(const gatun_norm_params& p, double z, double weight, double bias, double y) {
  const double sums = static_cast<double>(p.columns) / kLanesOfSums + 8;
  return 0x1p-23 * ((std::fabs(z) + 1) * std::fabs(weight) * sums + std::fabs(bias)) +
         test::unit_in_last_place(p.y_dtype, y);
}

// Compares rows of y with the reference.
void check_rows(const gatun_norm_params& p, const void* x, const float* weight, const float* bias, const void* y) {
  const size_t columns = static_cast<size_t>(p.columns);
  for (int64_t row = 0; row < p.rows; ++row) {
    const char* x_row = static_cast<const char*>(x) + row * p.x_row_stride * dtype_bytes(p.x_dtype, 1);
    const char* y_row = static_cast<const char*>(y) + row * p.y_row_stride * dtype_bytes(p.y_dtype, 1);
    const std::vector<double> values = test::to_doubles(x_row, p.x_dtype, p.columns);
    std::vector<double> normalized(columns), expected(columns), allowed(columns);
    reference_row(p, values.data(), weight, bias, normalized.data(), expected.data());
    for (size_t k = 0; k < columns; ++k) {
      allowed[k] =
          bound(p, normalized[k], weight != nullptr ? weight[k] : 1, bias != nullptr ? bias[k] : 0, expected[k]);
    }
    ASSERT_TRUE(test::within(test::to_doubles(y_row, p.y_dtype, p.columns), expected, allowed)) << "row " << row;
  }
}

struct Parameters {
  Parameters(Rng& rng, int64_t columns, Edge edge, int64_t offset)
      : weight(rng.normals(columns), edge, offset), bias(rng.normals(columns), edge, offset) {
    weight.make_read_only();
    bias.make_read_only();
  }
  GuardBuffer<float> weight, bias;
};

void compare(const gatun_norm_params& p, const std::vector<float>& x, const float* weight, const float* bias,
             Edge edge = Edge::back, int64_t offset = 0) {
  SCOPED_TRACE(describe(p));
  const int64_t x_element = dtype_bytes(p.x_dtype, 1), y_element = dtype_bytes(p.y_dtype, 1);
  GuardBuffer<unsigned char> input(test::from_floats(x, p.x_dtype), edge, offset * x_element);
  input.make_read_only();
  GuardBuffer<unsigned char> y(extent(p.rows, p.columns, p.y_row_stride) * y_element, edge, offset * y_element);
  const std::vector<unsigned char> untouched = y.copy();
  ASSERT_EQ(gatun_norm(&p, input.data(), weight, bias, y.data()), GATUN_OK) << gatun_last_error();
  check_rows(p, input.data(), weight, bias, y.data());
  for (int64_t row = 0; row + 1 < p.rows && p.columns > 0; ++row) {
    const int64_t gap = (row * p.y_row_stride + p.columns) * y_element;
    ASSERT_TRUE(test::identical(y.data() + gap, untouched.data() + gap, (p.y_row_stride - p.columns) * y_element));
  }
}

TEST(Norm, EveryTypeAndSize) {
  Rng rng(1);
  int64_t cases = 0;
  std::vector<int64_t> sizes = test::prime_sizes();
  for (const int64_t tile : {8, 16, 32, 64}) {
    for (const int64_t size : test::edge_sizes(tile)) sizes.push_back(size);
  }
  sizes.push_back(384);
  sizes.push_back(4099);
  for (const int32_t kind : kKinds) {
    for (const int32_t x_dtype : kFloats) {
      for (const int32_t y_dtype : kFloats) {
        for (const int64_t columns : sizes) {
          for (const int64_t rows : {0, 1, 3}) {
            gatun_norm_params p = make_params(kind, rows, columns, x_dtype, y_dtype);
            p.x_row_stride += rng.integer(0, 3);
            p.y_row_stride += rng.integer(0, 3);
            const Edge edge = rng.integer(0, 1) ? Edge::front : Edge::back;
            const int64_t offset = rng.integer(0, 3);
            const Parameters parameters(rng, columns, edge, offset);
            compare(p, rng.normals(extent(rows, columns, p.x_row_stride)),
                    cases % 3 ? parameters.weight.data() : nullptr, cases % 4 ? parameters.bias.data() : nullptr, edge,
                    offset);
            if (HasFatalFailure()) return;
            ++cases;
          }
        }
      }
    }
  }
  EXPECT_GT(cases, 500);
}

// Rows whose squares leave f32, rows far from zero with a small spread, rows with one large value, small epsilons.
TEST(Norm, HardRows) {
  Rng rng(2);
  for (const int32_t kind : kKinds) {
    for (const float epsilon : {0.0f, 1e-38f, 1e-12f, 1e-5f, 1.0f}) {
      for (const int64_t columns : {1, 2, 7, 100, 1000}) {
        const gatun_norm_params p = make_params(kind, 1, columns, GATUN_F32, GATUN_F32, epsilon);
        for (const float scale : {0x1p-140f, 0x1p-120f, 0x1p-70f, 0x1p-50f, 0x1p-30f, 0x1p50f, 0x1p70f, 0x1p120f}) {
          // A single column under LAYER is a constant row; its own test has epsilon 0.
          if (columns == 1 && kind == GATUN_NORM_LAYER && epsilon == 0) continue;
          compare(p, rng.normals(columns, scale), nullptr, nullptr);
        }
        if (columns < 7) continue;
        std::vector<float> x = rng.normals(columns);
        for (float& value : x) value = 1000 + value / 64;
        compare(p, x, nullptr, nullptr);
        for (const size_t outlier : {size_t{0}, size_t{6}}) {
          x = rng.normals(columns);
          x[outlier] = 1e6f;
          compare(p, x, nullptr, nullptr);
        }
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Norm, ByHand) {
  const float x[] = {1, 3, -5, 5}, weight[] = {1, 1, 2, 0}, bias[] = {0, 1, 0, -1};
  float y[4];
  gatun_norm_params p = make_params(GATUN_NORM_LAYER, 2, 2, GATUN_F32, GATUN_F32, 0);
  ASSERT_EQ(gatun_norm(&p, x, nullptr, nullptr, y), GATUN_OK);
  EXPECT_EQ(std::vector<float>(y, y + 4), (std::vector<float>{-1, 1, -1, 1}));
  p = make_params(GATUN_NORM_LAYER, 1, 4, GATUN_F32, GATUN_F32, 1.0f);  // mean 1, squares 56, root of 15
  ASSERT_EQ(gatun_norm(&p, x, weight, bias, y), GATUN_OK);
  EXPECT_FLOAT_EQ(y[0], 0);
  EXPECT_FLOAT_EQ(y[1], 2 / std::sqrt(15.0f) + 1);
  EXPECT_FLOAT_EQ(y[2], -12 / std::sqrt(15.0f));
  EXPECT_FLOAT_EQ(y[3], -1);
  p = make_params(GATUN_NORM_RMS, 1, 4, GATUN_F32, GATUN_F32, 1.0f);  // squares 60, root of 16
  ASSERT_EQ(gatun_norm(&p, x, weight, bias, y), GATUN_OK);
  EXPECT_EQ(std::vector<float>(y, y + 4), (std::vector<float>{0.25f, 1.75f, -2.5f, -1}));
}

TEST(Norm, ConstantRows) {
  for (const float value : {0.1f, 1.0f, -3e38f, 1e-42f}) {
    for (const int64_t columns : {1, 3, 77}) {
      const std::vector<float> x(static_cast<size_t>(columns), value);
      std::vector<float> y(x.size());
      gatun_norm_params p = make_params(GATUN_NORM_LAYER, 1, columns, GATUN_F32, GATUN_F32, 0);
      ASSERT_EQ(gatun_norm(&p, x.data(), nullptr, nullptr, y.data()), GATUN_OK);
      for (const float z : y) EXPECT_TRUE(std::isnan(z)) << "0 / 0";
      for (const float epsilon : {1e-45f, 1e-20f, 1e-5f, 1e30f}) {
        p.epsilon = epsilon;
        ASSERT_EQ(gatun_norm(&p, x.data(), nullptr, nullptr, y.data()), GATUN_OK);
        for (const float z : y) EXPECT_EQ(z, 0) << value << ", epsilon " << epsilon;
      }
    }
  }
}

TEST(Norm, NanAndInfinityStayInTheirRow) {
  Rng rng(3);
  for (const int32_t kind : kKinds) {
    for (const int32_t x_dtype : kFloats) {
      for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity()}) {
        for (const int64_t columns : {1, 17, 100}) {
          std::vector<float> x = rng.normals(5 * columns);
          x[static_cast<size_t>(2 * columns + rng.integer(0, columns - 1))] = bad;
          compare(make_params(kind, 5, columns, x_dtype), x, nullptr, nullptr);
        }
      }
    }
  }
}

TEST(Norm, InPlaceAndAnyNumberOfThreads) {
  Rng rng(4);
  for (const int32_t kind : kKinds) {
    for (const int32_t dtype : kFloats) {
      gatun_norm_params p = make_params(kind, 700, 333, dtype, dtype);
      const std::vector<unsigned char> x = test::from_floats(rng.normals(700 * 333), dtype);
      const Parameters parameters(rng, 333, Edge::back, 0);
      std::vector<unsigned char> one(x.size());
      ASSERT_EQ(gatun_norm(&p, x.data(), parameters.weight.data(), parameters.bias.data(), one.data()), GATUN_OK);
      check_rows(p, x.data(), parameters.weight.data(), parameters.bias.data(), one.data());
      for (const int32_t threads : {0, 2, 3, 8}) {
        p.threads = threads;
        std::vector<unsigned char> y = x;
        ASSERT_EQ(gatun_norm(&p, y.data(), parameters.weight.data(), parameters.bias.data(), y.data()), GATUN_OK);
        ASSERT_TRUE(test::identical(y, one)) << threads << " threads";
      }
    }
  }
}

// The same bits on every tier that runs here.
TEST(Norm, EveryTierAgrees) {
  Rng rng(5);
  for (const int32_t kind : kKinds) {
    for (const int32_t x_dtype : kFloats) {
      for (const int32_t y_dtype : kFloats) {
        for (const int64_t columns : {1, 5, 31, 33, 384, 1000}) {
          const gatun_norm_params p = make_params(kind, 4, columns, x_dtype, y_dtype);
          const std::vector<unsigned char> x = test::from_floats(rng.normals(4 * columns), x_dtype);
          const Parameters parameters(rng, columns, Edge::back, 0);
          const size_t bytes = static_cast<size_t>(4 * dtype_bytes(y_dtype, columns));
          std::vector<unsigned char> scalar(bytes), mine(bytes);
          const float *weight = parameters.weight.data(), *bias = parameters.bias.data();
          ASSERT_EQ(run(Tier::scalar, &p, x.data(), weight, bias, scalar.data()), GATUN_OK);
          ASSERT_EQ(gatun_norm(&p, x.data(), weight, bias, mine.data()), GATUN_OK);
          ASSERT_TRUE(test::identical(mine, scalar)) << describe(p);
        }
      }
    }
  }
}

TEST(Norm, EmptyWorkNeedsNoMemory) {
  for (const auto& [rows, columns] : {std::pair<int64_t, int64_t>{0, 0}, {0, 5}, {5, 0}}) {
    const gatun_norm_params p = make_params(GATUN_NORM_LAYER, rows, columns);
    EXPECT_EQ(gatun_norm(&p, nullptr, nullptr, nullptr, nullptr), GATUN_OK) << gatun_last_error();
  }
}

TEST(Norm, ExplainNamesTheKernel) {
  char text[1024];
  for (const int32_t x_dtype : kFloats) {
    for (const int32_t y_dtype : kFloats) {
      const gatun_norm_params p = make_params(GATUN_NORM_RMS, 10, 100, x_dtype, y_dtype);
      ASSERT_EQ(gatun_norm_explain(&p, text, sizeof(text)), GATUN_OK) << gatun_last_error();
      const std::string name = table().select(x_dtype, y_dtype, static_cast<Tier>(gatun_tier())).name;
      EXPECT_NE(std::string(text).find(name), std::string::npos) << text;
      EXPECT_EQ(gatun_norm_explain(&p, text, 10), GATUN_INVALID_ARGUMENT);
    }
  }
}

}  // namespace
}  // namespace gatun::norm
