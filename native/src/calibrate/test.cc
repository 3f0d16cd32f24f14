// Largest magnitudes and fake quantization: every kernel of the tier in use (GATUN_MAX_ISA) against reference.cc,
// through the C entry points.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "base/dtype.h"
#include "calibrate/reference.h"
#include "calibrate/table.h"
#include "gatun/calibrate.h"
#include "gatun/gatun.h"
#include "guard_buffer.h"
#include "rng.h"
#include "shapes.h"
#include "tolerance.h"

namespace gatun::calibrate {
namespace {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

constexpr int32_t kFloats[] = {GATUN_F32, GATUN_F16, GATUN_BF16};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

gatun_calibrate_params make_params(int32_t dtype, int64_t rows, int64_t depth, int64_t group_rows, int64_t group) {
  return {sizeof(gatun_calibrate_params), dtype, 1, -8, 7, 1.0f, rows, depth, group, group_rows, depth, depth};
}

std::string describe(const gatun_calibrate_params& p) {
  return std::string(dtype_name(p.x_dtype)) + " " + std::to_string(p.rows) + " x " + std::to_string(p.depth) +
         ", blocks of " + std::to_string(p.group_rows) + " x " + std::to_string(p.group) + ", strides " +
         std::to_string(p.x_row_stride) + " and " + std::to_string(p.y_row_stride) + ", codes " +
         std::to_string(p.lowest) + ".." + std::to_string(p.highest);
}

int64_t extent(const gatun_calibrate_params& p, int64_t stride) {
  return p.rows == 0 || p.depth == 0 ? 0 : (p.rows - 1) * stride + p.depth;
}

int64_t blocks(const gatun_calibrate_params& p) {
  return p.depth == 0 ? 0 : (p.rows + p.group_rows - 1) / p.group_rows * ((p.depth + p.group - 1) / p.group);
}

std::vector<float> random_scales(Rng& rng, int64_t count) {
  std::vector<float> scales(static_cast<size_t>(count));
  for (float& scale : scales) scale = rng.uniform(0.01f, 0.5f);
  return scales;
}

// amax of any values, bit for bit.
void compare_amax(const gatun_calibrate_params& p, const std::vector<float>& values, Edge edge, int64_t offset) {
  SCOPED_TRACE(describe(p));
  GuardBuffer<unsigned char> x(test::from_floats(values, p.x_dtype), edge, offset * dtype_bytes(p.x_dtype, 1));
  x.make_read_only();
  GuardBuffer<float> amax(blocks(p), edge, offset);
  std::vector<float> right(static_cast<size_t>(blocks(p)));
  ASSERT_EQ(gatun_amax(&p, x.data(), amax.data()), GATUN_OK) << gatun_last_error();
  reference_amax(p, x.data(), right.data());
  ASSERT_TRUE(test::identical(amax.copy(), right));
}

// y and dx bit for bit, but that NaNs may differ in theirs; ds within the rounding of a sum of doubles, which is below
// that of the result unless summands cancel.
void compare_fake(const gatun_calibrate_params& p, const std::vector<float>& values, Rng& rng, Edge edge,
                  int64_t offset) {
  SCOPED_TRACE(describe(p));
  const int64_t element = dtype_bytes(p.x_dtype, 1), out_bytes = extent(p, p.y_row_stride) * element;
  GuardBuffer<unsigned char> x(test::from_floats(values, p.x_dtype), edge, offset * element);
  GuardBuffer<unsigned char> dy(test::from_floats(rng.normals(extent(p, p.x_row_stride)), p.x_dtype), edge,
                                offset * element);
  GuardBuffer<float> scales(random_scales(rng, blocks(p)), edge, offset);
  x.make_read_only();
  dy.make_read_only();
  scales.make_read_only();
  GuardBuffer<unsigned char> y(out_bytes, edge, offset * element), dx(out_bytes, edge, offset * element);
  GuardBuffer<float> ds(blocks(p), edge, offset);
  std::vector<unsigned char> right_y = y.copy(), right_dx = dx.copy();
  std::vector<double> right_ds(static_cast<size_t>(blocks(p))), magnitudes(right_ds.size());
  ASSERT_EQ(gatun_fake_quantize(&p, x.data(), scales.data(), y.data()), GATUN_OK) << gatun_last_error();
  reference_fake_quantize(p, x.data(), scales.data(), right_y.data());
  const std::vector<double> none(static_cast<size_t>(extent(p, p.y_row_stride)));
  const auto doubles = [&](const std::vector<unsigned char>& bytes) {
    return test::to_doubles(bytes.data(), p.x_dtype, extent(p, p.y_row_stride));
  };
  ASSERT_TRUE(test::within(doubles(y.copy()), doubles(right_y), none));
  ASSERT_EQ(gatun_fake_quantize_backward(&p, x.data(), scales.data(), dy.data(), dx.data(), ds.data()), GATUN_OK)
      << gatun_last_error();
  reference_backward(p, x.data(), scales.data(), dy.data(), right_dx.data(), right_ds.data(), magnitudes.data());
  ASSERT_TRUE(test::within(doubles(dx.copy()), doubles(right_dx), none));
  for (size_t i = 0; i < right_ds.size(); ++i) {
    magnitudes[i] = 0x1p-24 * std::fabs(right_ds[i]) + 0x1p-44 * magnitudes[i] + 0x1p-149;
  }
  const std::vector<float> sums = ds.copy();
  ASSERT_TRUE(test::within(std::vector<double>(sums.begin(), sums.end()), right_ds, magnitudes));
}

std::vector<int64_t> depths() {
  std::vector<int64_t> sizes = test::prime_sizes();
  for (const int64_t tile : {8, 16, 64}) {
    for (const int64_t size : test::edge_sizes(tile)) sizes.push_back(size);
  }
  sizes.push_back(4096);
  sizes.push_back(9001);
  return sizes;
}

TEST(Calibrate, EveryTypeSizeAndBlock) {
  Rng rng(1);
  int64_t cases = 0;
  for (const int32_t dtype : kFloats) {
    for (const int64_t depth : depths()) {
      for (const int64_t rows : {0, 1, 5}) {
        for (const int64_t group : {depth, std::min<int64_t>(depth, 1), std::min<int64_t>(depth, 33)}) {
          for (const int64_t group_rows :
               {int64_t{1}, std::min<int64_t>(std::max<int64_t>(rows, 1), 2), std::max<int64_t>(rows, 1)}) {
            if (group == 1 && depth > 300) continue;
            gatun_calibrate_params p = make_params(dtype, rows, depth, group_rows, group);
            p.x_row_stride += rng.integer(0, 3);
            p.y_row_stride += rng.integer(0, 3);
            p.lowest = static_cast<int32_t>(rng.integer(-100, 5));
            p.highest = p.lowest + static_cast<int32_t>(rng.integer(1, 100));
            p.gradient_scale = rng.normal();
            const Edge edge = rng.integer(0, 1) ? Edge::front : Edge::back;
            const int64_t offset = rng.integer(0, 3);
            compare_amax(p, rng.normals(extent(p, p.x_row_stride)), edge, offset);
            compare_fake(p, rng.normals(extent(p, p.x_row_stride), 4), rng, edge, offset);
            if (HasFatalFailure()) return;
            ++cases;
          }
        }
      }
    }
  }
  EXPECT_GT(cases, 1000);
}

// Zero, subnormals, NaN, infinities, extremes, any bit pattern.
TEST(Calibrate, AnyValues) {
  Rng rng(2);
  for (const int32_t dtype : kFloats) {
    for (int i = 0; i < 100; ++i) {
      const int64_t depth = rng.integer(1, 70), rows = rng.integer(1, 4);
      const gatun_calibrate_params p =
          make_params(dtype, rows, depth, rng.integer(1, rows), rng.integer(std::min<int64_t>(16, depth), depth));
      std::vector<float> x(static_cast<size_t>(rows * depth));
      for (float& value : x) value = rng.integer(0, 9) ? rng.special_finite() : rng.special();
      compare_amax(p, x, Edge::back, 0);
      compare_fake(p, x, rng, Edge::back, 0);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(Calibrate, AmaxByHand) {
  const float x[] = {1, -3, 0, 2, -0.5f, 0, 0, -0.0f, 7};
  float amax[4];
  gatun_calibrate_params p = make_params(GATUN_F32, 3, 3, 2, 2);
  ASSERT_EQ(gatun_amax(&p, x, amax), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(std::vector<float>(amax, amax + 4), (std::vector<float>{3, 0, 0, 7}));
  p = make_params(GATUN_F32, 3, 3, 3, 3);
  ASSERT_EQ(gatun_amax(&p, x, amax), GATUN_OK);
  EXPECT_EQ(amax[0], 7);
  const float bad[] = {1, kNan, kInfinity, 2, -kInfinity, 5};
  p = make_params(GATUN_F32, 1, 6, 1, 3);
  ASSERT_EQ(gatun_amax(&p, bad, amax), GATUN_OK);
  EXPECT_TRUE(std::isnan(amax[0]));
  EXPECT_EQ(amax[1], kInfinity);
}

TEST(Calibrate, FakeByHand) {
  // Codes -2..1 of scale 0.5: v = -3, -2, -1.5, -0.5, 0.5, 0.25, 1, 9.
  const float x[] = {-1.5f, -1, -0.75f, -0.25f, 0.25f, 0.125f, 0.5f, 4.5f}, scale = 0.5f;
  const float dy[] = {1, 2, 4, 8, 16, 32, 64, 128};
  float y[8], dx[8], ds;
  gatun_calibrate_params p = make_params(GATUN_F32, 1, 8, 1, 8);
  p.lowest = -2;
  p.highest = 1;
  ASSERT_EQ(gatun_fake_quantize(&p, x, &scale, y), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(std::vector<float>(y, y + 8), (std::vector<float>{-1, -1, -1, 0, 0, 0, 0.5f, 0.5f}));
  ASSERT_EQ(gatun_fake_quantize_backward(&p, x, &scale, dy, dx, &ds), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(std::vector<float>(dx, dx + 8), (std::vector<float>{0, 0, 4, 8, 16, 32, 0, 0}));
  // 1 * -2 + 2 * -2 + 4 * (-2 + 1.5) + 8 * 0.5 + 16 * -0.5 + 32 * -0.25 + 64 + 128
  EXPECT_EQ(ds, -2 - 4 - 2 + 4 - 8 - 8 + 64 + 128);
}

// The gradient of the scale is that of y by finite differences where no code changes, with v for the rounding.
TEST(Calibrate, ScaleGradientOutsideTheRangeIsThatOfY) {
  const float x[] = {100, -90, 50};
  const float dy[] = {0.5f, 2, -1}, scale = 1, wider = 1.0625f;
  float y[3], moved[3], dx[3], ds;
  const gatun_calibrate_params p = make_params(GATUN_F32, 1, 3, 1, 3);
  ASSERT_EQ(gatun_fake_quantize(&p, x, &scale, y), GATUN_OK);
  ASSERT_EQ(gatun_fake_quantize(&p, x, &wider, moved), GATUN_OK);
  ASSERT_EQ(gatun_fake_quantize_backward(&p, x, &scale, dy, dx, &ds), GATUN_OK);
  float change = 0;
  for (int i = 0; i < 3; ++i) change += dy[i] * (moved[i] - y[i]);
  EXPECT_EQ(ds, change / 0.0625f);
}

TEST(Calibrate, FakeQuantizationIsIdempotentAndInPlace) {
  Rng rng(3);
  for (const int32_t dtype : kFloats) {
    const gatun_calibrate_params p = make_params(dtype, 7, 100, 2, 40);
    std::vector<float> scales = random_scales(rng, blocks(p));
    for (float& scale : scales) scale = std::exp2(std::floor(std::log2(scale)));  // so that f16 and bf16 hold y
    const std::vector<unsigned char> x = test::from_floats(rng.normals(700), dtype);
    std::vector<unsigned char> y(x.size()), again = x;
    ASSERT_EQ(gatun_fake_quantize(&p, x.data(), scales.data(), y.data()), GATUN_OK);
    ASSERT_EQ(gatun_fake_quantize(&p, again.data(), scales.data(), again.data()), GATUN_OK);
    EXPECT_TRUE(test::identical(again, y));
    ASSERT_EQ(gatun_fake_quantize(&p, y.data(), scales.data(), again.data()), GATUN_OK);
    EXPECT_TRUE(test::identical(again, y));
    EXPECT_FALSE(test::identical(x, y));
  }
}

// Blocks of one piece, of many, and few blocks of many pieces, which threads share.
TEST(Calibrate, AnyNumberOfThreadsAndEveryTierAgree) {
  Rng rng(4);
  struct Shape {
    int64_t rows, depth, group_rows, group;
  };
  for (const int32_t dtype : kFloats) {
    for (const Shape& shape : {Shape{300, 1001, 300, 1001}, Shape{300, 1001, 1, 1001}, Shape{1, 300300, 1, 300300},
                               Shape{300, 1001, 128, 128}, Shape{2000, 150, 1999, 37}}) {
      gatun_calibrate_params p = make_params(dtype, shape.rows, shape.depth, shape.group_rows, shape.group);
      SCOPED_TRACE(describe(p));
      const std::vector<unsigned char> x = test::from_floats(rng.normals(shape.rows * shape.depth), dtype),
                                       dy = test::from_floats(rng.normals(shape.rows * shape.depth), dtype);
      const std::vector<float> scales = random_scales(rng, blocks(p));
      struct Results {
        std::vector<float> amax, ds;
        std::vector<unsigned char> y, dx;
      };
      const auto results = [&](Tier tier) {
        Results r{std::vector<float>(scales.size()), std::vector<float>(scales.size()),
                  std::vector<unsigned char>(x.size()), std::vector<unsigned char>(x.size())};
        EXPECT_EQ(run_amax(tier, &p, x.data(), r.amax.data()), GATUN_OK);
        EXPECT_EQ(run_fake(tier, &p, x.data(), scales.data(), r.y.data()), GATUN_OK);
        EXPECT_EQ(run_gradients(tier, &p, x.data(), scales.data(), dy.data(), r.dx.data(), r.ds.data()), GATUN_OK);
        return r;
      };
      const Tier tier = static_cast<Tier>(gatun_tier());
      const Results one = results(tier);
      std::vector<float> right(scales.size());
      reference_amax(p, x.data(), right.data());
      ASSERT_TRUE(test::identical(one.amax, right));
      for (const int32_t threads : {0, 2, 3, 8}) {
        p.threads = threads;
        for (const Tier other : {tier, Tier::scalar}) {
          const Results many = results(other);
          ASSERT_TRUE(test::identical(many.amax, one.amax)) << threads;
          ASSERT_TRUE(test::identical(many.ds, one.ds)) << threads;
          ASSERT_TRUE(test::identical(many.y, one.y)) << threads;
          ASSERT_TRUE(test::identical(many.dx, one.dx)) << threads;
        }
      }
    }
  }
}

TEST(Calibrate, EmptyWorkNeedsNoMemory) {
  for (const auto& [rows, depth] : {std::pair<int64_t, int64_t>{0, 0}, {0, 5}, {5, 0}}) {
    const gatun_calibrate_params p = make_params(GATUN_F32, rows, depth, 1, depth);
    EXPECT_EQ(gatun_amax(&p, nullptr, nullptr), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(gatun_fake_quantize(&p, nullptr, nullptr, nullptr), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(gatun_fake_quantize_backward(&p, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK);
  }
}

TEST(Calibrate, ExplainNamesTheKernel) {
  char text[1024];
  const auto names = [&](const auto& row) {
    ASSERT_EQ(gatun_calibrate_explain(row.from, text, sizeof(text)), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(std::string(text).rfind(row.name, 0), 0u) << text;
  };
  const Tier tier = static_cast<Tier>(gatun_tier());
  for (const int32_t dtype : kFloats) names(table().select(dtype, 0, tier));
  for (const int32_t dtype : {GATUN_I8, GATUN_U8}) names(code_table().select(dtype, 0, tier));
}

}  // namespace
}  // namespace gatun::calibrate
