// Scores of all kinds against the reference, and what the whole call makes of them.
#include <cmath>

#include "attention_select/test_problem.h"
#include "gatun/gatun.h"

namespace gatun::test {
namespace {

constexpr int32_t kScored[] = {GATUN_SELECT_MEANS, GATUN_SELECT_ANTIDIAGONAL, GATUN_SELECT_PROXY, GATUN_SELECT_MASS};

std::vector<float> scores_of(const Problem& x) {
  GuardBuffer<float> scores(x.map_size());
  EXPECT_EQ(gatun_attention_scores(&x.p, &x.s, x.q->data(), x.k->data(), x.q_starts(), x.kv_starts(), x.lse_or_null(),
                                   scores.data()),
            GATUN_OK)
      << gatun_last_error();
  return scores.copy();
}

std::vector<uint8_t> select(const Problem& x, const float* budgets = nullptr) {
  GuardBuffer<uint8_t> map(x.map_size());
  EXPECT_EQ(gatun_attention_select(&x.p, &x.s, budgets, x.q->data(), x.k->data(), x.q_starts(), x.kv_starts(),
                                   x.lse_or_null(), map.data()),
            GATUN_OK)
      << gatun_last_error();
  return map.copy();
}

// A row's scores are exp(logit - ln of their sum): an error of e in each logit is one of a factor exp(2 e).
void expect_reference(const Problem& x) {
  SCOPED_TRACE(x.name());
  const std::vector<float> actual = scores_of(x);
  std::vector<double> expected(actual.size()), allowed(actual.size());
  for (int64_t b = 0; b < x.p.batch; ++b) {
    Reference reference = x.reference(b);
    const int64_t columns = reference.key_blocks();
    for (int64_t head = 0; head < x.p.query_heads; ++head) {
      const std::vector<double> scores = x.reference_scores(reference, b, head);
      const double factor = std::expm1(2 * reference.logit_error() + 0x1p-20);
      for (int64_t a = 0; a < reference.query_blocks(); ++a) {
        for (int64_t c = 0; c < columns; ++c) {
          const size_t i = x.map_index(b, head, a, c);
          expected[i] = scores[static_cast<size_t>(a * columns + c)];
          allowed[i] = expected[i] * factor + 0x1p-110;
          if (std::isinf(expected[i])) allowed[i] = 0;
        }
      }
    }
  }
  EXPECT_TRUE(within({actual.begin(), actual.end()}, expected, allowed, x.s.key_blocks));
}

TEST(Scores, AgreeWithTheReference) {
  Rng rng(1);
  for (const int32_t kind : kScored) {
    for (const int32_t dtype : kDtypes) {
      for (int round = 0; round < 12; ++round) {
        Problem x = random_problem(rng, dtype);
        x.s.kind = kind;
        expect_reference(x);
        if (HasFailure()) return;
      }
    }
  }
}

// Every row and every column of tiles: lengths around blocks, groups and the 64 groups of a packed tile.
TEST(Scores, OfLengthsAroundTiles) {
  Rng rng(2);
  for (const int64_t length : {1, 15, 16, 17, 63, 64, 65, 127, 128, 129, 271}) {
    for (const int32_t kind : kScored) {
      Problem x = plain_problem(GATUN_BF16, 2, 1, length, 272 - length, 40);
      x.p.causal = length % 2 == 0;
      x.s.kind = kind;
      x.s.stride = 2;
      x.fill(rng, Edge::back);
      expect_reference(x);
      if (HasFailure()) return;
    }
  }
}

// From caps far below the logits to those that cap nothing.
TEST(Scores, OfAllSoftCaps) {
  Rng rng(16);
  for (const float cap : {1e-40f, 1e-3f, 0.1f, 1.0f, 30.0f, 1e3f, 1e5f, 1e8f, 1e12f, 3e38f}) {
    Problem x = plain_problem(GATUN_F32, 1, 1, 40, 100, 24);
    x.p.soft_cap = cap;
    x.s.kind = GATUN_SELECT_MASS;
    x.fill(rng, Edge::back);
    SCOPED_TRACE(cap);
    expect_reference(x);
  }
}

// Similar rows: a block's rows are one direction with some noise, another block's are none.
TEST(Scores, OfBlocksThatAreNotSimilar) {
  Rng rng(3);
  for (const int32_t dtype : kDtypes) {
    for (const bool causal : {false, true}) {
      Problem x = plain_problem(dtype, 2, 2, 250, 310, 24);
      x.p.causal = causal;
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
      expect_reference(x);
      const std::vector<float> scores = scores_of(x);
      EXPECT_TRUE(std::isinf(scores[x.map_index(0, 0, 1, 0)]));  // a block of queries
      EXPECT_TRUE(std::isinf(scores[x.map_index(0, 1, 3, 2)]));  // a block of keys
      EXPECT_FALSE(std::isinf(scores[x.map_index(0, 1, 3, 1)]));
      x.s.similarity = -1;
      for (const float score : scores_of(x)) EXPECT_LE(score, 1.0f);
    }
  }
}

TEST(Scores, RowsSumToOne) {
  Rng rng(4);
  for (const int32_t kind : {GATUN_SELECT_MEANS, GATUN_SELECT_ANTIDIAGONAL, GATUN_SELECT_PROXY}) {
    Problem x = plain_problem(GATUN_F32, 2, 2, 200, 300, 16);
    x.p.causal = 1;
    x.s.kind = kind;
    x.fill(rng, Edge::back);
    const std::vector<float> scores = scores_of(x);
    for (size_t row = 0; row < scores.size(); row += static_cast<size_t>(x.s.key_blocks)) {
      double sum = 0;
      for (size_t c = 0; c < static_cast<size_t>(x.s.key_blocks); ++c) sum += double{scores[row + c]};
      EXPECT_NEAR(sum, 1, 1e-5);
    }
  }
}

// A NaN or infinity makes all scores NaN of the rows that its block takes part in; MEANS keeps its block.
TEST(Scores, OfValuesThatAreNoNumbers) {
  Rng rng(5);
  for (const int32_t kind : kScored) {
    for (const double value : {std::nan(""), HUGE_VAL}) {
      if (kind == GATUN_SELECT_MASS && std::isinf(value))
        continue;  // exp(infinity) and exp(-infinity) are what they are
      Problem x = plain_problem(GATUN_F32, 1, 1, 256, 256, 16);
      x.s.kind = kind;
      x.p.causal = 1;
      x.fill(rng, Edge::back);
      std::vector<float> q(x.q_values.begin(), x.q_values.end()), k(x.k_values.begin(), x.k_values.end());
      const std::vector<float> before = scores_of(x);
      k[130 * 16] = static_cast<float>(value);  // block 2
      x.set(q, k, Edge::back);
      const std::vector<float> after = scores_of(x);
      for (size_t i = 0; i < 8; ++i) EXPECT_EQ(before[i], after[i]) << i;  // rows that do not see it
      if (kind == GATUN_SELECT_MEANS) {
        EXPECT_TRUE(std::isinf(after[x.map_index(0, 0, 2, 2)]) && std::isinf(after[x.map_index(0, 0, 3, 2)]));
        EXPECT_FALSE(std::isinf(after[x.map_index(0, 0, 3, 1)]) || std::isnan(after[x.map_index(0, 0, 3, 1)]));
      } else {
        EXPECT_TRUE(std::isnan(after[x.map_index(0, 0, 2, 2)]));
        EXPECT_TRUE(std::isnan(after[x.map_index(0, 0, 3, 2)]));
      }
      x.s.amount = 0;
      const std::vector<uint8_t> map = select(x);
      EXPECT_TRUE(map[x.map_index(0, 0, 2, 2)] == 1 && map[x.map_index(0, 0, 3, 2)] == 1);
    }
  }
}

TEST(Select, IsScoresAndChoice) {
  Rng rng(6);
  for (int round = 0; round < 24; ++round) {
    Problem x = random_problem(rng, kDtypes[round % 3]);
    x.s.kind = kScored[round % 4];
    SCOPED_TRACE(x.name());
    std::vector<float> budgets;
    for (int64_t i = 0; i < x.p.batch * x.p.query_heads; ++i) budgets.push_back(rng.uniform(0, 1));
    const float* const given = round % 2 == 0 ? nullptr : budgets.data();
    const std::vector<float> scores = scores_of(x);
    GuardBuffer<uint8_t> map(x.map_size());
    ASSERT_EQ(gatun_attention_choose(&x.p, &x.s, x.q_starts(), x.kv_starts(), scores.data(), given, map.data()),
              GATUN_OK)
        << gatun_last_error();
    EXPECT_TRUE(identical(select(x, given), map.copy(), x.s.key_blocks));
  }
}

TEST(Select, DoesNotDependOnThreads) {
  Rng rng(7);
  for (const int32_t kind : {0, 1, 2, 3, 4}) {
    Problem x = plain_problem(GATUN_BF16, 6, 3, 330, 450, 32);
    x.p.batch = 2;
    x.p.causal = 1;
    x.s.kind = kind;
    x.s.stride = 8;
    x.s.proxy_heads = 2;
    x.fill(rng, Edge::back);
    const std::vector<uint8_t> one = select(x);
    const std::vector<float> one_scores = kind == GATUN_SELECT_VERTICAL_SLASH ? std::vector<float>() : scores_of(x);
    for (const int32_t threads : {2, 8}) {
      x.p.threads = threads;
      EXPECT_TRUE(identical(select(x), one)) << kind;
      if (one_scores.empty()) continue;
      EXPECT_TRUE(identical(scores_of(x), one_scores)) << kind;
    }
  }
}

// Memory is that of the items' blocks, not of as many for each item as all have together: terabytes here. All rows are
// one row.
TEST(Select, ManyItems) {
  Rng rng(17);
  constexpr int64_t kItems = int64_t{1} << 18;
  Problem x = plain_problem(GATUN_F32, 1, 1, 16 * kItems, 16 * kItems, 8);
  x.p.batch = kItems;
  x.p.query_block = x.p.key_block = 16;
  x.p.query_blocks = x.s.key_blocks = 1;
  x.p.q_row_stride = x.p.k_row_stride = 0;
  for (int64_t i = 0; i <= kItems; ++i) x.q_offsets.push_back(16 * i);
  x.kv_offsets = x.q_offsets;
  x.set(rng.normals(8), rng.normals(8), Edge::back);
  for (const float similarity : {-1.0f, 0.9f}) {
    x.s.similarity = similarity;
    EXPECT_EQ(select(x), std::vector<uint8_t>(kItems, 1));
  }
}

// Strides of axes with one place, or of tensors with none, may be any numbers.
TEST(Select, StridesThatReachNothing) {
  Rng rng(18);
  for (const int32_t dtype : kDtypes) {
    for (const int32_t kind : {0, 1, 2, 3, 4}) {
      for (const int64_t keys : {0, 1}) {
        Problem x = plain_problem(dtype, 1 + 2 * (1 - keys), 3 - 2 * keys, 1, keys, 16);
        x.s.kind = kind;
        x.s.similarity = 0.5f;
        x.p.query_blocks = x.s.key_blocks = 1;
        x.fill(rng, Edge::back);
        const std::vector<uint8_t> expected = select(x);
        if (keys > 0) {
          x.p.q_row_stride = x.p.q_head_stride = x.p.q_batch_stride = x.p.lse_batch_stride = x.p.lse_head_stride =
              INT64_MAX;
        }
        x.p.k_row_stride = x.p.k_head_stride = x.p.k_batch_stride = INT64_MAX;
        EXPECT_EQ(select(x), expected) << kind;
      }
    }
  }
}

// A head alone, as in company.
TEST(Scores, OfAHeadDoNotDependOnOthers) {
  Rng rng(8);
  for (const int32_t kind : {GATUN_SELECT_MEANS, GATUN_SELECT_ANTIDIAGONAL, GATUN_SELECT_MASS}) {
    Problem x = plain_problem(GATUN_BF16, 4, 2, 150, 170, 32);
    x.s.kind = kind;
    x.fill(rng, Edge::back);
    const std::vector<float> all = scores_of(x);
    Problem alone = plain_problem(GATUN_BF16, 1, 1, 150, 170, 32);
    alone.s.kind = kind;
    const int64_t head = 3, size = alone.map_size();
    const auto part = [](const std::vector<double>& values, int64_t first, int64_t count) {
      return std::vector<float>(values.begin() + first, values.begin() + first + count);
    };
    alone.set(part(x.q_values, x.q_index(0, head, 0), 150 * 32), part(x.k_values, x.k_index(0, 1, 0), 170 * 32),
              Edge::back);
    alone.lse.assign(x.lse.begin() + x.lse_index(0, head, 0), x.lse.begin() + x.lse_index(0, head, 0) + 150);
    EXPECT_TRUE(identical(scores_of(alone), std::vector<float>(all.begin() + head * size, all.end())));
  }
}

TEST(Select, EmptyWork) {
  Rng rng(9);
  for (const int32_t kind : {0, 1, 2, 3, 4}) {
    Problem x = plain_problem(GATUN_F32, 2, 1, 0, 100, 16);
    x.s.kind = kind;
    x.fill(rng, Edge::back);
    EXPECT_TRUE(select(x).empty());
    x.p.query_blocks = 2;  // of nobody
    EXPECT_EQ(select(x), std::vector<uint8_t>(8));
    Problem no_keys = plain_problem(GATUN_F32, 2, 1, 100, 0, 16);
    no_keys.s.kind = kind;
    no_keys.s.key_blocks = 3;
    no_keys.fill(rng, Edge::back);
    EXPECT_EQ(select(no_keys), std::vector<uint8_t>(12));
    // More queries than keys: the first ones see nothing.
    Problem blind = plain_problem(GATUN_F32, 1, 1, 200, 64, 16);
    blind.p.causal = 1;
    blind.s.kind = kind;
    blind.fill(rng, Edge::back);
    EXPECT_EQ(select(blind), (std::vector<uint8_t>{0, 0, 1, 1}));
  }
}

}  // namespace
}  // namespace gatun::test
