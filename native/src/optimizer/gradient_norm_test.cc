// gatun_gradient_norm against sums in double: a relative error below 2^-18.
#include <gtest/gtest.h>

#include "optimizer/test_step.h"
#include "shapes.h"

namespace gatun::optimizer {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

double norm(int32_t dtype, int64_t count, const void* g, int32_t threads = 1) {
  double sum = kNan;
  EXPECT_EQ(gatun_gradient_norm(dtype, count, g, threads, &sum), GATUN_OK) << gatun_last_error();
  return sum;
}

double check(int32_t dtype, const std::vector<float>& g, Edge edge = Edge::back, int64_t offset = 0) {
  GuardBuffer<uint8_t> buffer(test::from_floats(g, dtype), edge, offset * dtype_bytes(dtype, 1));
  buffer.make_read_only();
  const int64_t count = static_cast<int64_t>(g.size());
  const double expected = reference_sum_of_squares(dtype, count, buffer.data());
  const double actual = norm(dtype, count, buffer.data());
  EXPECT_LE(std::fabs(actual - expected), 0x1p-18 * expected) << dtype_name(dtype) << ", " << count;
  double scalar = kNan;
  EXPECT_EQ(run_gradient_norm(Tier::scalar, dtype, count, buffer.data(), 1, &scalar), GATUN_OK);
  EXPECT_EQ(actual, scalar) << dtype_name(dtype) << ", " << count;
  return actual;
}

TEST(GradientNorm, EverySizeAndType) {
  Rng rng(1);
  std::vector<int64_t> sizes = test::prime_sizes();
  for (const int64_t tile : {16, 32, 64, 1024}) {
    for (const int64_t size : test::edge_sizes(tile)) sizes.push_back(size);
  }
  sizes.push_back(100003);
  for (const int32_t dtype : kFloats) {
    for (const int64_t size : sizes) {
      check(dtype, rng.normals(size), rng.integer(0, 1) == 0 ? Edge::front : Edge::back, rng.integer(0, 3));
    }
  }
}

TEST(GradientNorm, ByHand) {
  for (const int32_t dtype : kFloats) {
    EXPECT_EQ(check(dtype, {}), 0);
    EXPECT_EQ(check(dtype, {0, -0.0f}), 0);
    EXPECT_EQ(check(dtype, {3, -4, 12}), 169);
    EXPECT_EQ(check(dtype, std::vector<float>(5000, -2.0f)), 20000);
  }
}

// Squares that f32 does not hold, or holds with few digits; in one chunk, and beside others.
TEST(GradientNorm, AnyMagnitude) {
  Rng rng(2);
  for (const int32_t dtype : {GATUN_F32, GATUN_BF16}) {
    for (int exponent = -149; exponent <= 127; exponent += 3) {
      const float scale = std::ldexp(1.0f, exponent);
      std::vector<float> g;
      for (int i = 0; i < 1500; ++i) g.push_back(scale * rng.uniform(-1, 1));
      if (dtype == GATUN_F32) {
        EXPECT_GT(check(dtype, g), 0) << exponent;
      }
      check(dtype, g);
      g.resize(3500, 1);
      check(dtype, g);
      g.assign(40, 0);
      g[rng.pick<size_t>({0, 7, 31, 32, 39})] = scale;
      check(dtype, g);
    }
    check(dtype, std::vector<float>(3000, 0x1.fep127f));
    check(dtype, std::vector<float>(3000, std::numeric_limits<float>::denorm_min()));
  }
  check(GATUN_F16, std::vector<float>(3000, 65504.0f));
  check(GATUN_F16, std::vector<float>(3000, 0x1p-24f));
}

TEST(GradientNorm, NanAndInfinity) {
  Rng rng(3);
  for (const int32_t dtype : kFloats) {
    for (const float bad : {kNan, kInfinity, -kInfinity}) {
      for (const size_t at : {size_t{0}, size_t{77}, size_t{1024}, size_t{2999}}) {
        std::vector<float> g = rng.normals(3000);
        g[at] = bad;
        const Bytes bytes = test::from_floats(g, dtype);
        for (const int32_t threads : {1, 8}) EXPECT_FALSE(std::isfinite(norm(dtype, 3000, bytes.data(), threads)));
      }
    }
  }
}

TEST(GradientNorm, AnyNumberOfThreads) {
  Rng rng(4);
  for (const int32_t dtype : kFloats) {
    for (const int64_t count : {1000, 70001, 900001}) {
      const Bytes g = test::from_floats(rng.normals(count), dtype);
      const double one = norm(dtype, count, g.data());
      for (const int32_t threads : {0, 2, 3, 8}) EXPECT_EQ(norm(dtype, count, g.data(), threads), one) << threads;
    }
  }
}

}  // namespace
}  // namespace gatun::optimizer
