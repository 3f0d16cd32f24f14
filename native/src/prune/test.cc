// gatun_prune of rows by N:M, with kernels of the tier in use (GATUN_MAX_ISA), and of all other patterns, against
// reference.cc.
#include <gtest/gtest.h>

#include <limits>

#include "prune/table.h"
#include "prune/test_prune.h"
#include "shapes.h"

namespace gatun::prune {
namespace {

constexpr int32_t kGroups[] = {2, 4, 8, 16, 32};
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(PruneNm, EveryNAndMAndTypeAndScore) {
  Rng rng(1);
  int kind = 0;
  for (const int32_t dtype : kFloats) {
    for (const int32_t score : kScores) {
      for (const int32_t m : kGroups) {
        for (int32_t n = 1; n <= m; ++n) {
          gatun_prune_params p = make_params(GATUN_PATTERN_NM, score, rng.integer(1, 4), rng.integer(1, 5 * m), dtype);
          p.n = n;
          p.m = m;
          for (int repeat = 0; repeat < 4; ++repeat, ++kind) {
            const Edge edge = rng.integer(0, 1) ? Edge::front : Edge::back;
            compare(p, Matrix(p, some_weights(rng, p.columns * p.depth, kind), some_norms(rng, p.depth), edge), edge);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST(PruneNm, EveryDepth) {
  Rng rng(2);
  std::vector<int64_t> depths = test::prime_sizes();
  for (const int64_t tile : {2, 4, 8, 16, 32, 64, 512}) {
    for (const int64_t depth : test::edge_sizes(tile)) depths.push_back(depth);
  }
  for (const int32_t dtype : kFloats) {
    for (const int32_t m : kGroups) {
      for (const int32_t vector : {1, 2, 3, 5}) {
        for (const int64_t depth : depths) {
          for (const int64_t columns : {int64_t{0}, rng.integer(1, 7)}) {
            const int32_t score = rng.pick(std::vector<int32_t>(std::begin(kScores), std::end(kScores)));
            gatun_prune_params p = make_params(GATUN_PATTERN_NM, score, columns, depth, dtype);
            p.n = static_cast<int32_t>(rng.integer(1, m));
            p.m = m;
            p.vector = vector;
            compare(p, Matrix(p, some_weights(rng, columns * depth, static_cast<int>(rng.integer(0, 1))),
                              some_norms(rng, depth)));
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST(PruneNm, ByHand) {
  const float w[] = {1, -2, 3, 0.5f, 2, 2, -2, 2, 0, -0.0f, 7, 0, -5};
  uint8_t mask[2];
  gatun_prune_params p = make_params(GATUN_PATTERN_NM, GATUN_SCORE_MAGNITUDE, 1, 13);
  ASSERT_EQ(gatun_prune(&p, w, nullptr, nullptr, mask), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(mask[0], 0x36);  // 1 and 2; of equal ones 0 and 1
  EXPECT_EQ(mask[1], 0x15);  // 0 and 2; all of the group of one
  const float norms[] = {10, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 0};
  p.score = GATUN_SCORE_WANDA;
  p.n = 1;
  ASSERT_EQ(gatun_prune(&p, w, norms, nullptr, mask), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(mask[0], 0x81);
  EXPECT_EQ(mask[1], 0x14);
  const float scores[] = {-1, -2, -3, -0.5f, -0.0f, 0, 0, 0, -kInfinity, -kInfinity, kInfinity, kInfinity, -kInfinity};
  p.score = GATUN_SCORE_GIVEN;
  p.n = 3;
  ASSERT_EQ(gatun_prune(&p, nullptr, nullptr, scores, mask), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(mask[0], 0x7b);
  EXPECT_EQ(mask[1], 0x1d);
}

// Two rows share the position whose sum is largest.
TEST(PruneNm, VectorsByHand) {
  const float w[] = {4, 3, 0, 0, /**/ 0, 3, 0, 0, /**/ 1, 2, 9, 4};
  uint8_t mask[3];
  gatun_prune_params p = make_params(GATUN_PATTERN_NM, GATUN_SCORE_MAGNITUDE, 3, 4);
  p.n = 1;
  p.vector = 2;
  ASSERT_EQ(gatun_prune(&p, w, nullptr, nullptr, mask), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(std::vector<uint8_t>(mask, mask + 3), (std::vector<uint8_t>{2, 2, 4}));
}

// Infinity is the largest magnitude where scores are compared.
TEST(PruneNm, InfiniteWeights) {
  for (const int32_t dtype : kFloats) {
    for (const int32_t m : kGroups) {
      std::vector<float> values(static_cast<size_t>(2 * m), 1.0f);
      values[static_cast<size_t>(m - 1)] = -kInfinity;
      values[static_cast<size_t>(m)] = kInfinity;
      gatun_prune_params p = make_params(GATUN_PATTERN_NM, GATUN_SCORE_MAGNITUDE, 1, 2 * m, dtype);
      p.n = 1;
      p.m = m;
      compare(p, Matrix(p, values, {}));
    }
  }
  // A product beyond f32 is infinite, too.
  gatun_prune_params p = make_params(GATUN_PATTERN_NM, GATUN_SCORE_WANDA, 1, 8);
  p.n = 1;
  compare(p, Matrix(p, {1e30f, 3e38f, -3e38f, 1, 5, kInfinity, 3e38f, 3}, {1, 1e10f, 2, 1e38f, 1, 1e-30f, 3, 1}));
}

TEST(Prune, EveryPattern) {
  Rng rng(3);
  int kind = 0;
  for (int32_t pattern = GATUN_PATTERN_TRANSPOSABLE; pattern <= GATUN_PATTERN_BLOCKS; ++pattern) {
    for (const int32_t score : kScores) {
      for (const int64_t columns : {1, 2, 3, 4, 5, 9, 16}) {
        for (const int64_t depth : {1, 2, 3, 4, 5, 7, 8, 12, 33, 530}) {
          const int32_t dtype = kFloats[kind % 3];
          gatun_prune_params p = make_params(pattern, score, columns, depth, dtype);
          p.block_rows = rng.integer(1, columns + 1);
          p.block_depth = rng.integer(1, depth + 1);
          const int64_t down = (columns + p.block_rows - 1) / p.block_rows;
          const int64_t across = (depth + p.block_depth - 1) / p.block_depth;
          const int64_t choices[] = {0, 0, columns * depth, depth, columns, depth, down * across};
          const int64_t most = choices[pattern];
          const Matrix matrix(p, some_weights(rng, columns * depth, kind++), some_norms(rng, depth));
          for (const int64_t keep : {int64_t{0}, most / 3, rng.integer(0, most), most}) {
            p.keep = keep;
            compare(p, matrix);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

// Blocks that begin and end inside of what is scored at a time, and rows and columns longer than that.
TEST(Prune, LongBlocks) {
  Rng rng(6);
  for (const int64_t block_depth : {1, 3, 200, 511, 512, 513, 600, 1024, 1025}) {
    for (const int64_t block_rows : {1, 2, 5}) {
      gatun_prune_params p = make_params(GATUN_PATTERN_BLOCKS, GATUN_SCORE_MAGNITUDE, 7, 1300);
      p.block_rows = block_rows;
      p.block_depth = block_depth;
      p.keep = (7 + block_rows - 1) / block_rows * ((1300 + block_depth - 1) / block_depth) / 2;
      compare(p, Matrix(p, rng.normals(7 * 1300), {}));
      for (const int32_t pattern : {GATUN_PATTERN_ROWS, GATUN_PATTERN_COLUMNS}) {
        p.pattern = pattern;
        p.keep = 3;
        compare(p, Matrix(p, rng.small_integers(7 * 1300, -2, 2), {}));
      }
    }
  }
}

TEST(Prune, TransposableByHand) {
  // The best two of each row are in the first two columns; two rows have to give way.
  const float w[] = {9, 8, 1, 1, /**/ 9, 8, 1, 1, /**/ 3, 3, 2, 2, /**/ 3, 3, 2, 2};
  uint8_t mask[4];
  const gatun_prune_params p = make_params(GATUN_PATTERN_TRANSPOSABLE, GATUN_SCORE_MAGNITUDE, 4, 4);
  ASSERT_EQ(gatun_prune(&p, w, nullptr, nullptr, mask), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(std::vector<uint8_t>(mask, mask + 4), (std::vector<uint8_t>{3, 3, 12, 12}));
  const float equal[16] = {};
  ASSERT_EQ(gatun_prune(&p, equal, nullptr, nullptr, mask), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(std::vector<uint8_t>(mask, mask + 4), (std::vector<uint8_t>{3, 3, 12, 12}));
}

TEST(Prune, StructuresByHand) {
  const float w[] = {1, 5, 1, /**/ 2, 2, 2, /**/ 0, 4, 1};
  uint8_t mask[3];
  const auto pruned = [&](int32_t pattern, int64_t keep) {
    gatun_prune_params p = make_params(pattern, GATUN_SCORE_MAGNITUDE, 3, 3);
    p.keep = keep;
    p.block_rows = p.block_depth = 2;
    EXPECT_EQ(gatun_prune(&p, w, nullptr, nullptr, mask), GATUN_OK) << gatun_last_error();
    return std::vector<uint8_t>(mask, mask + 3);
  };
  EXPECT_EQ(pruned(GATUN_PATTERN_UNSTRUCTURED, 4), (std::vector<uint8_t>{2, 3, 2}));
  EXPECT_EQ(pruned(GATUN_PATTERN_ROW, 1), (std::vector<uint8_t>{2, 1, 2}));
  EXPECT_EQ(pruned(GATUN_PATTERN_ROWS, 2), (std::vector<uint8_t>{7, 7, 0}));
  EXPECT_EQ(pruned(GATUN_PATTERN_COLUMNS, 1), (std::vector<uint8_t>{2, 2, 2}));
  EXPECT_EQ(pruned(GATUN_PATTERN_BLOCKS, 2), (std::vector<uint8_t>{3, 3, 3}));
}

// The same bits on every tier that runs here.
TEST(Prune, EveryTierAgrees) {
  Rng rng(5);
  for (const KernelRow<Kernel>& row : table()) {
    if (!tier_supported(row.tier)) continue;
    const KernelRow<Kernel>& scalar = table().select(row.from, row.to, Tier::scalar);
    const std::vector<unsigned char> w = test::from_floats(rng.normals(3 * 999), row.from);
    const std::vector<float> norms = some_norms(rng, 999);
    const Weights weights = {w.data(), norms.data(), false, 999};
    for (const int32_t m : kGroups) {
      std::vector<uint8_t> mine(3 * 125), expected(mine.size());
      row.kernel->nm(weights, m / 2, m, 0, 3, mine.data());
      scalar.kernel->nm(weights, m / 2, m, 0, 3, expected.data());
      ASSERT_TRUE(test::identical(mine, expected)) << row.name << ", m = " << m;
    }
    std::vector<float> mine(999), expected(999);
    row.kernel->score(weights, 1, 3, 700, mine.data());
    scalar.kernel->score(weights, 1, 3, 700, expected.data());
    ASSERT_TRUE(test::identical(mine, expected)) << row.name;
    EXPECT_EQ(row.kernel->largest(weights, 1, 3, 700), scalar.kernel->largest(weights, 1, 3, 700)) << row.name;
  }
}

TEST(Prune, ExplainNamesTheKernel) {
  char text[1024];
  for (const int32_t dtype : kFloats) {
    for (const int32_t score : kScores) {
      const gatun_prune_params p = make_params(GATUN_PATTERN_NM, score, 100, 100, dtype);
      ASSERT_EQ(gatun_prune_explain(&p, text, sizeof(text)), GATUN_OK) << gatun_last_error();
      const int32_t read = score == GATUN_SCORE_GIVEN ? int32_t{GATUN_F32} : dtype;
      const std::string name = table().select(read, read, static_cast<Tier>(gatun_tier())).name;
      EXPECT_NE(std::string(text).find(name), std::string::npos) << text;
      EXPECT_NE(std::string(text).find("2 of every 4"), std::string::npos) << text;
    }
  }
}

TEST(Prune, AnyNumberOfThreads) {
  Rng rng(4);
  for (int32_t pattern = GATUN_PATTERN_NM; pattern <= GATUN_PATTERN_BLOCKS; ++pattern) {
    for (const int32_t score : kScores) {
      gatun_prune_params p = make_params(pattern, score, 301, 1111, GATUN_BF16);
      p.keep = pattern == GATUN_PATTERN_UNSTRUCTURED ? 301 * 500 : 123;
      p.block_rows = 7;
      p.block_depth = 9;
      p.vector = score == GATUN_SCORE_GIVEN ? 3 : 1;
      const Matrix matrix(p, rng.small_integers(301 * 1111, -9, 9), some_norms(rng, 1111));
      std::vector<uint8_t> one(301 * 139), more(one.size());
      ASSERT_EQ(gatun_prune(&p, matrix.w(), matrix.norms_at(), matrix.scores(), one.data()), GATUN_OK);
      for (const int32_t threads : {0, 2, 3, 8}) {
        p.threads = threads;
        ASSERT_EQ(gatun_prune(&p, matrix.w(), matrix.norms_at(), matrix.scores(), more.data()), GATUN_OK);
        ASSERT_TRUE(test::identical(more, one)) << describe(p) << threads << " threads";
      }
    }
  }
}

}  // namespace
}  // namespace gatun::prune
