// Scores of all kinds against the reference.
#include "attention_select/device_selection.h"
#include "attention_select/selection_plan.h"

namespace gatun::cuda::attention_select {
namespace {

TEST(Scores, AgreeWithTheReference) {
  Rng rng(1);
  int i = 0;
  for (int round = 0; round < 3; ++round) {
    for (const int32_t kind : kScored) {
      for (const int32_t dtype : kDtypes) {
        Problem x = random_problem(rng, dtype);
        x.s.kind = kind;
        next_way();
        expect_scores(x, OnDevice(x, i++ % 2).scores());
        if (HasFailure()) return;
      }
    }
  }
}

// Rows and columns around the edges of tiles, blocks and groups; of all kinds and dtypes.
TEST(Scores, OfLengthsAroundTiles) {
  Rng rng(2);
  int i = 0;
  for (const int64_t length : {1, 15, 17, 127, 128, 129, 257}) {
    for (const int32_t kind : kScored) {
      ++i;
      Problem x = plain_problem(kDtypes[i % 3], 2, 1, length, 258 - length, std::array{40, 72, 128}[i % 3]);
      x.p.causal = length % 2 == 0;
      x.p.query_block = std::array{16, 48, 128}[static_cast<size_t>(i % 3)];
      x.p.key_block = std::array{16, 112, 64, 128}[static_cast<size_t>(i / 2 % 4)];
      x.p.query_blocks = (length + x.p.query_block - 1) / x.p.query_block;
      x.s.key_blocks = (258 - length + x.p.key_block - 1) / x.p.key_block;
      x.s.kind = kind;
      x.s.stride = i % 2 == 0 ? 16 : 2;
      x.fill(rng, Edge::back);
      next_way();
      expect_scores(x, OnDevice(x).scores());
      if (HasFailure()) return;
    }
  }
}

// Parts of the work, one after the other, have the same bits as all at once.
TEST(Scores, InParts) {
  Rng rng(3);
  for (const int32_t kind : kScored) {
    Problem x = plain_problem(GATUN_BF16, 4, 2, 300, 140, 24);
    x.p.causal = 1;
    x.s.kind = kind;
    x.s.proxy_heads = 2;
    x.fill(rng, Edge::back);
    const OnDevice on(x);
    const std::vector<float> expected = on.scores();
    ScoresPlan plan = plan_scores(x.p, x.s);
    ASSERT_EQ(plan.units_at_once, plan.units);
    ASSERT_GT(plan.units, 1);
    plan.units_at_once = 1;
    Workspace workspace(plan.workspace_bytes);
    DeviceBuffer<float> scores(x.map_size());
    ASSERT_EQ(run_scores(plan, {x.p, x.s, nullptr, nullptr}, {on.q.data(), on.k.data(), on.lse_or_null(), nullptr},
                         scores.data(), nullptr, workspace.data(), nullptr),
              GATUN_OK)
        << gatun_last_error();
    EXPECT_TRUE(gatun::test::identical(scores.copy(), expected));
  }
}

TEST(Scores, OfAllSoftCaps) {
  Rng rng(16);
  for (const float cap : {1e-3f, 0.1f, 1.0f, 30.0f, 1e5f, 3e38f}) {
    Problem x = plain_problem(GATUN_F32, 1, 1, 20, 70, 24);
    x.p.soft_cap = cap;
    x.s.kind = GATUN_SELECT_MASS;
    x.fill(rng, Edge::back);
    SCOPED_TRACE(cap);
    expect_scores(x, OnDevice(x).scores());
  }
}

// Similar rows: a block's rows are one direction with some noise, another block's are none.
TEST(Scores, OfBlocksThatAreNotSimilar) {
  Rng rng(3);
  for (const int32_t dtype : kDtypes) {
    Problem x = plain_problem(dtype, 2, 2, 250, 310, 24);
    x.p.causal = dtype == GATUN_BF16;
    x.s.similarity = 0.4f;
    x.fill(rng, Edge::back);
    std::vector<float> q(x.q_values.begin(), x.q_values.end()), k(x.k_values.begin(), x.k_values.end());
    const auto align = [&](std::vector<float>& rows, int64_t length, int64_t of_three) {
      for (int64_t row = 0; row < 2 * length; ++row) {
        if (row % length / 64 % 3 == of_three) continue;
        for (int64_t d = 0; d < 24; ++d) rows[static_cast<size_t>(row * 24 + d)] += 3;
      }
    };
    align(q, 250, 1);
    align(k, 310, 2);
    x.set(q, k, Edge::back);
    next_way();
    const std::vector<float> scores = OnDevice(x).scores();
    expect_scores(x, scores);
    EXPECT_TRUE(std::isinf(scores[x.map_index(0, 0, 1, 0)]));  // a block of queries
    EXPECT_TRUE(std::isinf(scores[x.map_index(0, 1, 3, 2)]));  // a block of keys
    EXPECT_FALSE(std::isinf(scores[x.map_index(0, 1, 3, 1)]));
  }
}

// A NaN or infinity makes all scores NaN of the rows that its block takes part in; in MASS those of its block; MEANS
// keeps its block.
TEST(Scores, OfValuesThatAreNoNumbers) {
  Rng rng(5);
  for (const int32_t kind : kScored) {
    for (const double value : {std::nan(""), HUGE_VAL}) {
      Problem x = plain_problem(GATUN_F32, 1, 1, 256, 256, 16);
      x.s.kind = kind;
      x.p.causal = 1;
      x.fill(rng, Edge::back);
      std::vector<float> q(x.q_values.begin(), x.q_values.end()), k(x.k_values.begin(), x.k_values.end());
      const std::vector<float> before = OnDevice(x).scores();
      k[130 * 16] = static_cast<float>(value);  // block 2
      x.set(q, k, Edge::back);
      const std::vector<float> after = OnDevice(x).scores();
      for (size_t i = 0; i < 8; ++i) EXPECT_EQ(before[i], after[i]) << i;  // rows that do not see it
      const float own = after[x.map_index(0, 0, 2, 2)], later = after[x.map_index(0, 0, 3, 2)],
                  beside = after[x.map_index(0, 0, 3, 1)];
      if (kind == GATUN_SELECT_MEANS) {
        EXPECT_TRUE(std::isinf(own) && std::isinf(later));
      } else {
        EXPECT_TRUE(std::isnan(own) && std::isnan(later));
      }
      EXPECT_EQ(std::isnan(beside), kind == GATUN_SELECT_ANTIDIAGONAL || kind == GATUN_SELECT_PROXY) << kind;
      EXPECT_FALSE(std::isinf(beside));
      x.s.amount = 0;
      const std::vector<uint8_t> map = OnDevice(x).select();
      EXPECT_TRUE(map[x.map_index(0, 0, 2, 2)] == 1 && map[x.map_index(0, 0, 3, 2)] == 1);
    }
  }
}

TEST(Select, IsScoresAndChoice) {
  Rng rng(6);
  for (int round = 0; round < 8; ++round) {
    Problem x = random_problem(rng, kDtypes[round % 3]);
    x.s.kind = kScored[round % 4];
    SCOPED_TRACE(x.name());
    std::vector<float> budgets;
    for (int64_t i = 0; i < x.p.batch * x.p.query_heads; ++i) budgets.push_back(rng.uniform(0, 1));
    const DeviceBuffer<float> on_device(budgets);
    const bool given = round % 2 == 1;
    const OnDevice on(x);
    EXPECT_TRUE(gatun::test::identical(on.select(given ? on_device.data() : nullptr),
                                       choose(x, on.scores(), given ? &budgets : nullptr), x.s.key_blocks));
  }
}

// The same bits in each order of threads, and whatever takes effect when.
TEST(Select, InEveryOrder) {
  Rng rng(7);
  for (const int32_t kind : {0, 1, 2, 3, 4}) {
    Problem x = plain_problem(kDtypes[kind % 3], 2, 1, 70, 130, 16);
    x.s.kind = kind;
    x.s.keep = kind % 3;
    x.s.similarity = 0.1f;
    x.p.causal = 1;
    x.fill(rng, Edge::back);
    const OnDevice on(x);
    const std::vector<uint8_t> expected = on.select();
    in_every_order([&] { EXPECT_TRUE(gatun::test::identical(on.select(), expected)) << kind; });
  }
}

TEST(Select, EmptyWork) {
  Rng rng(9);
  for (const int32_t kind : {0, 1, 2, 3, 4}) {
    Problem x = plain_problem(GATUN_F32, 2, 1, 0, 100, 16);
    x.s.kind = kind;
    x.fill(rng, Edge::back);
    EXPECT_TRUE(OnDevice(x).select().empty());
    x.p.query_blocks = 2;  // of nobody
    EXPECT_EQ(OnDevice(x).select(), std::vector<uint8_t>(8));
    Problem no_keys = plain_problem(GATUN_F32, 2, 1, 100, 0, 16);
    no_keys.s.kind = kind;
    no_keys.s.key_blocks = 3;
    no_keys.fill(rng, Edge::back);
    EXPECT_EQ(OnDevice(no_keys).select(), std::vector<uint8_t>(12));
    // More queries than keys: the first ones see nothing.
    Problem blind = plain_problem(GATUN_F32, 1, 1, 200, 64, 16);
    blind.p.causal = 1;
    blind.s.kind = kind;
    blind.fill(rng, Edge::back);
    EXPECT_EQ(OnDevice(blind).select(), (std::vector<uint8_t>{0, 0, 1, 1}));
  }
}

// A selection by each kernel, short enough for valgrind.
TEST(SmallestOfEachKernel, IsRight) {
  Rng rng(10);
  for (const int32_t dtype : kDtypes) {
    Problem x = plain_problem(dtype, 2, 1, 17, 33, 8);
    x.p.query_block = x.p.key_block = 16;
    x.p.query_blocks = 2;
    x.s.key_blocks = 3;
    x.fill(rng, Edge::back);
    for (const int32_t kind : kScored) {
      x.s.kind = kind;
      x.s.keep = kind % 3;
      const OnDevice on(x);
      expect_scores(x, on.scores());
      on.select();
    }
    x.s.kind = GATUN_SELECT_VERTICAL_SLASH;
    OnDevice(x).select();
  }
}

}  // namespace
}  // namespace gatun::cuda::attention_select
