// gatun_prune_scores and gatun_prune_observe.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "prune/table.h"
#include "prune/test_prune.h"
#include "shapes.h"

namespace gatun::prune {
namespace {

std::vector<int64_t> depths() {
  std::vector<int64_t> depths = test::prime_sizes();
  for (const int64_t tile : {8, 16, 512}) {
    for (const int64_t depth : test::edge_sizes(tile)) depths.push_back(depth);
  }
  return depths;
}

TEST(PruneScores, EveryTypeAndScoreAndSize) {
  Rng rng(11);
  int kind = 0;
  for (const int32_t dtype : kFloats) {
    for (const int32_t score : {GATUN_SCORE_MAGNITUDE, GATUN_SCORE_WANDA, GATUN_SCORE_LAMP}) {
      for (const int64_t depth : depths()) {
        for (const int64_t columns : {0, 1, 5}) {
          gatun_prune_params p = make_params(77, score, columns, depth, dtype);  // the pattern is nobody's business
          p.m = -1;
          const Edge edge = rng.integer(0, 1) ? Edge::front : Edge::back;
          const Matrix matrix(p, some_weights(rng, columns * depth, kind++), some_norms(rng, depth), edge);
          GuardBuffer<float> scores(columns * depth, edge);
          ASSERT_EQ(gatun_prune_scores(&p, matrix.w(), matrix.norms_at(), scores.data()), GATUN_OK)
              << gatun_last_error();
          ASSERT_TRUE(test::identical(scores.copy(), reference_scores(p, matrix.values(), matrix.norms_at()), depth))
              << describe(p);
        }
      }
    }
  }
}

// Magnitudes whose upper bits agree, and all of one magnitude.
TEST(PruneScores, LampOfManyWeights) {
  Rng rng(12);
  for (const float spread : {1.0f, 1e-4f, 0.0f}) {
    gatun_prune_params p = make_params(GATUN_PATTERN_NM, GATUN_SCORE_LAMP, 300, 333);
    std::vector<float> w = rng.normals(300 * 333, spread);
    for (float& value : w) value += 1;
    const std::vector<float> expected = reference_scores(p, w, nullptr);
    std::vector<float> scores(w.size());
    for (const int32_t threads : {1, 2, 8}) {
      p.threads = threads;
      ASSERT_EQ(gatun_prune_scores(&p, w.data(), nullptr, scores.data()), GATUN_OK) << gatun_last_error();
      ASSERT_TRUE(test::identical(scores, expected)) << spread << ", " << threads << " threads";
    }
  }
}

TEST(PruneScores, LampByHand) {
  const float w[] = {-1, 2, 1, 0};
  float scores[4];
  const gatun_prune_params p = make_params(GATUN_PATTERN_NM, GATUN_SCORE_LAMP, 2, 2);
  ASSERT_EQ(gatun_prune_scores(&p, w, nullptr, scores), GATUN_OK) << gatun_last_error();
  // 4 / 4, and both ones 1 of 4 + 1 + 1
  EXPECT_EQ(std::vector<float>(scores, scores + 4), (std::vector<float>{1.0f / 6, 1, 1.0f / 6, 0}));
  const float zeros[4] = {0, -0.0f, 0, 0};
  ASSERT_EQ(gatun_prune_scores(&p, zeros, nullptr, scores), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(std::vector<float>(scores, scores + 4), std::vector<float>(4, 0.0f));
}

TEST(PruneObserve, EveryTypeAndSize) {
  Rng rng(13);
  for (const int32_t dtype : kFloats) {
    for (const int64_t depth : depths()) {
      for (const int64_t rows : {0, 1, 7}) {
        const int64_t stride = depth + rng.integer(0, 3);
        const int64_t extent = rows == 0 || depth == 0 ? 0 : (rows - 1) * stride + depth;
        const Edge edge = rng.integer(0, 1) ? Edge::front : Edge::back;
        GuardBuffer<unsigned char> x(test::from_floats(rng.normals(extent), dtype), edge);
        x.make_read_only();
        const std::vector<double> values = test::to_doubles(x.data(), dtype, extent);
        std::vector<double> sums(static_cast<size_t>(depth), 0.25), squares(sums.size(), 3);
        GuardBuffer<double> sums_at(sums, edge), squares_at(squares, edge);
        for (int64_t row = 0; row < rows; ++row) {
          for (size_t k = 0; k < sums.size(); ++k) {
            const double value = values[static_cast<size_t>(row * stride) + k];
            sums[k] += value;
            squares[k] += value * value;
          }
        }
        ASSERT_EQ(gatun_prune_observe(dtype, rows, depth, stride, x.data(), 1, sums_at.data(), squares_at.data()),
                  GATUN_OK)
            << gatun_last_error();
        ASSERT_TRUE(test::identical(sums_at.copy(), sums));
        ASSERT_TRUE(test::identical(squares_at.copy(), squares));
      }
    }
  }
}

TEST(PruneObserve, AnyNumberOfThreadsAndNoSums) {
  Rng rng(14);
  const std::vector<float> x = rng.normals(300 * 2000);
  std::vector<double> one(2000), sums(2000), more(2000);
  ASSERT_EQ(gatun_prune_observe(GATUN_F32, 300, 2000, 2000, x.data(), 1, sums.data(), one.data()), GATUN_OK);
  for (const int32_t threads : {0, 2, 8}) {
    std::fill(more.begin(), more.end(), 0.0);
    ASSERT_EQ(gatun_prune_observe(GATUN_F32, 300, 2000, 2000, x.data(), threads, nullptr, more.data()), GATUN_OK);
    EXPECT_TRUE(test::identical(more, one));
  }
  for (size_t k = 0; k < 2000; ++k) {
    double sum = 0;
    for (size_t row = 0; row < 300; ++row) sum += static_cast<double>(x[row * 2000 + k]);
    ASSERT_EQ(sums[k], sum);
  }
}

// What is no number stays in its depth.
TEST(PruneObserve, NanAndInfinity) {
  const float x[] = {1, std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity(), 2};
  double sums[4] = {}, squares[4] = {};
  ASSERT_EQ(gatun_prune_observe(GATUN_F32, 1, 4, 4, x, 1, sums, squares), GATUN_OK);
  EXPECT_EQ(sums[0] + sums[3], 3);
  EXPECT_EQ(squares[0] + squares[3], 5);
  EXPECT_TRUE(std::isnan(sums[1]) && std::isnan(squares[1]));
  EXPECT_TRUE(std::isinf(sums[2]) && sums[2] < 0 && std::isinf(squares[2]) && squares[2] > 0);
}

}  // namespace
}  // namespace gatun::prune
