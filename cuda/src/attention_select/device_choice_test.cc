// Choices from given scores and sums, bit for bit; sums over lines, and budgets.
#include "attention_select/device_selection.h"
#include "attention_select/selection_plan.h"

namespace gatun::cuda::attention_select {
namespace {

std::string drawn(const std::vector<uint8_t>& map) {
  std::string text;
  for (const uint8_t byte : map) text += static_cast<char>('0' + byte);
  return text;
}

// Scores with ties, zeros, infinity and NaN, by every rule.
TEST(Choose, AgreesWithTheReference) {
  Rng rng(11);
  for (int round = 0; round < 30; ++round) {
    Problem x = random_problem(rng, GATUN_F32);
    x.s.keep = round % 3;
    if (round % 10 == 9) x.s.amount = 1;
    std::vector<float> scores, budgets;
    for (int64_t i = 0; i < x.map_size(); ++i) {
      const int64_t kind = rng.integer(0, 30);
      scores.push_back(kind == 0   ? INFINITY
                       : kind == 1 ? std::nanf("")
                       : kind < 9  ? static_cast<float>(rng.integer(0, 3)) / 8
                                   : rng.uniform(0, 1));
    }
    for (int64_t i = 0; i < x.p.batch * x.p.query_heads; ++i) budgets.push_back(rng.uniform(0, 1));
    const bool with_budgets = round % 4 == 3;
    next_way();
    expect_maps(x, choose(x, scores, with_budgets ? &budgets : nullptr),
                [&](const Reference& reference, int64_t b, int64_t head) {
                  return reference.choose(
                      scores_of_head(x, reference, scores, b, head),
                      with_budgets ? budgets[static_cast<size_t>(b * x.p.query_heads + head)] : x.s.amount);
                });
    if (HasFailure()) return;
  }
}

// Ten key blocks, one block of queries that may see all.
TEST(Choose, ByHand) {
  Problem x = plain_problem(GATUN_F32, 1, 1, 16, 160, 8);
  x.p.query_block = x.p.key_block = 16;
  x.p.query_blocks = 1;
  x.s.key_blocks = 10;
  const std::vector<float> scores = {1, 5, 2, 5, 3, 4, 5, 0, 0, 0};  // of 25
  const auto chosen = [&](int32_t keep, float amount, int32_t first = 0, int32_t diagonal = 0) {
    x.s.keep = keep;
    x.s.amount = amount;
    x.s.keep_first = first;
    x.s.keep_diagonal = diagonal;
    return drawn(choose(x, scores));
  };
  EXPECT_EQ(chosen(GATUN_KEEP_FRACTION, 0.0f), "0100000000");  // at least 1, of equal ones the first
  EXPECT_EQ(chosen(GATUN_KEEP_FRACTION, 0.7f), "1111111000");  // 0.7f is below 0.7, but the product is 7 in f32
  EXPECT_EQ(chosen(GATUN_KEEP_FRACTION, 1.0f), "1111111111");
  EXPECT_EQ(chosen(GATUN_KEEP_FRACTION, 0.3f, 1, 1), "1100000001");  // the forced ones count
  EXPECT_EQ(chosen(GATUN_KEEP_MASS, 0.0f), "0100000000");
  EXPECT_EQ(chosen(GATUN_KEEP_MASS, 0.5f), "0101001000");  // 10 do not reach 12.5
  EXPECT_EQ(chosen(GATUN_KEEP_MASS, 1.0f), "1111111000");
  EXPECT_EQ(chosen(GATUN_KEEP_MASS, 0.24f, 1), "1100000000");     // 1 and 5 reach 6
  EXPECT_EQ(chosen(GATUN_KEEP_BELOW_MASS, 0.59f), "0101000000");  // the one that crosses is left out
  EXPECT_EQ(chosen(GATUN_KEEP_BELOW_MASS, 0.6f), "0101001000");
  EXPECT_EQ(chosen(GATUN_KEEP_BELOW_MASS, 1.0f), "1111111111");
}

// Budgets that are none: as the nearest, and NaN as 1.
TEST(Choose, OfAnyBudgets) {
  Problem x = plain_problem(GATUN_F32, 4, 1, 16, 64, 8);
  x.p.query_block = x.p.key_block = 16;
  x.p.query_blocks = 1;
  x.s.key_blocks = 4;
  const std::vector<float> budgets = {-1, 2, std::nanf(""), 0.5f};
  EXPECT_EQ(drawn(choose(x, std::vector<float>(16, 1), &budgets)), "1000111111111100");
}

TEST(Lines, AgreeWithTheReference) {
  Rng rng(12);
  int i = 0;
  for (const int32_t dtype : kDtypes) {
    for (int round = 0; round < 4; ++round) {
      Problem x = random_problem(rng, dtype);
      if (round == 3) x.s.last_queries = 200;  // more than a tile
      SCOPED_TRACE(x.name());
      next_way();
      const Lines actual = lines_of(OnDevice(x, i++ % 2));
      std::vector<uint8_t> covered(actual.columns.size());
      for (int64_t b = 0; b < x.p.batch; ++b) {
        Reference reference = x.reference(b);
        for (int64_t head = 0; head < x.p.query_heads; ++head) {
          std::vector<double> columns, diagonals;
          reference.lines(x.q_rows(b, head), x.k_rows(b, head), &columns, &diagonals);
          const auto expect = [&](const std::vector<float>& sums, const std::vector<double>& expected) {
            const std::vector<float> part = sums_of_head(x, sums, b, head);
            std::vector<double> allowed(expected.size());
            for (size_t j = 0; j < allowed.size(); ++j) {
              allowed[j] = expected[j] * std::expm1(2 * reference.logit_error() + 0x1p-16) + 0x1p-100;
            }
            EXPECT_TRUE(gatun::test::within({part.begin(), part.end()}, expected, allowed));
          };
          expect(actual.columns, columns);
          expect(actual.diagonals, diagonals);
          if (!x.ragged()) continue;
          for (int64_t j = x.kv_offsets[static_cast<size_t>(b)]; j < x.kv_offsets[static_cast<size_t>(b) + 1]; ++j) {
            covered[static_cast<size_t>(head * x.p.kv_length + j)] = 1;
          }
        }
      }
      for (size_t j = 0; x.ragged() && j < covered.size(); ++j) {
        EXPECT_TRUE(covered[j] != 0 || (actual.columns[j] == 0 && actual.diagonals[j] == 0)) << j;
      }
      if (HasFailure()) return;
    }
  }
}

// Heads one after the other have the same bits as all at once.
TEST(Lines, InParts) {
  Rng rng(13);
  Problem x = plain_problem(GATUN_F16, 3, 1, 200, 150, 24);
  x.s.last_queries = 140;
  x.fill(rng, Edge::back);
  const OnDevice on(x);
  const Lines expected = lines_of(on);
  LinesPlan plan = plan_lines(x.p, x.s, false);
  ASSERT_EQ(plan.heads_at_once, 3);
  ASSERT_EQ(plan.row_tiles, 2);
  plan.heads_at_once = 2;
  Workspace workspace(plan.workspace_bytes);
  DeviceBuffer<float> columns(3 * 150), diagonals(3 * 150);
  ASSERT_EQ(run_sums(plan, {x.p, x.s, nullptr, nullptr}, {on.q.data(), on.k.data(), nullptr, nullptr}, columns.data(),
                     diagonals.data(), workspace.data(), nullptr),
            GATUN_OK)
      << gatun_last_error();
  EXPECT_TRUE(gatun::test::identical(columns.copy(), expected.columns));
  EXPECT_TRUE(gatun::test::identical(diagonals.copy(), expected.diagonals));
}

TEST(Lines, MapsAgreeWithTheReference) {
  Rng rng(13);
  for (int round = 0; round < 16; ++round) {
    Problem x = random_problem(rng, GATUN_F32);
    const int64_t count = (x.ragged() ? 1 : x.p.batch) * x.p.query_heads * x.p.kv_length;
    Lines lines;
    if (round % 4 != 0) lines = {rng.small_integers(count, 0, 9), rng.small_integers(count, 0, 9)};
    if (round % 8 == 1) lines.columns[static_cast<size_t>(count / 2)] = std::nanf("");
    next_way();
    expect_maps(x, draw(x, lines), [&](const Reference& reference, int64_t b, int64_t head) {
      return reference.vertical_slash(sums_of_head(x, lines.columns, b, head),
                                      sums_of_head(x, lines.diagonals, b, head));
    });
    if (HasFailure()) return;
  }
}

TEST(Lines, SelectIsBothSteps) {
  Rng rng(14);
  for (int round = 0; round < 6; ++round) {
    Problem x = random_problem(rng, kDtypes[round % 3]);
    SCOPED_TRACE(x.name());
    x.s.kind = GATUN_SELECT_VERTICAL_SLASH;
    const OnDevice on(x);
    EXPECT_TRUE(gatun::test::identical(on.select(), draw(x, lines_of(on)), x.s.key_blocks));
  }
}

TEST(Budgets, AgreeWithTheReference) {
  Rng rng(15);
  for (int round = 0; round < 9; ++round) {
    Problem x = random_problem(rng, kDtypes[round % 3]);
    SCOPED_TRACE(x.name());
    x.s.amount = rng.uniform(0.05f, 0.95f);
    const OnDevice on(x);
    int64_t bytes = 0;
    ASSERT_EQ(gatun_cuda_attention_lines_workspace_bytes(&x.p, &x.s, x.ragged(), 0, &bytes), GATUN_OK)
        << gatun_last_error();
    Workspace workspace(bytes);
    DeviceBuffer<float> budgets(x.p.batch * x.p.query_heads);
    next_way();
    ASSERT_EQ(gatun_cuda_attention_budgets(&x.p, &x.s, on.q.data(), on.k.data(), on.q_offsets(), on.kv_offsets(),
                                           budgets.data(), workspace.data(), bytes, nullptr),
              GATUN_OK)
        << gatun_last_error();
    const std::vector<float> actual = budgets.copy();
    for (int64_t b = 0; b < x.p.batch; ++b) {
      Reference reference = x.reference(b);
      for (int64_t head = 0; head < x.p.query_heads; ++head) {
        std::vector<double> columns, diagonals;
        reference.lines(x.q_rows(b, head), x.k_rows(b, head), &columns, &diagonals);
        EXPECT_FLOAT_EQ(actual[static_cast<size_t>(b * x.p.query_heads + head)],
                        static_cast<float>(reference.budget(columns)));
      }
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::attention_select
