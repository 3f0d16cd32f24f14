// The choice of blocks from scores, lines and budgets.
#include <sys/mman.h>

#include <cmath>
#include <limits>

#include "attention_select/test_problem.h"
#include "gatun/gatun.h"

namespace gatun::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<uint8_t> choose(const Problem& x, const std::vector<float>& scores, const float* budgets = nullptr) {
  GuardBuffer<float> given(scores);
  GuardBuffer<uint8_t> map(x.map_size());
  EXPECT_EQ(gatun_attention_choose(&x.p, &x.s, x.q_starts(), x.kv_starts(), given.make_read_only().data(), budgets,
                                   map.data()),
            GATUN_OK)
      << gatun_last_error();
  return map.copy();
}

struct Lines {
  std::vector<float> columns, diagonals;
};

Lines lines_of(const Problem& x) {
  const int64_t count = (x.ragged() ? 1 : x.p.batch) * x.p.query_heads * x.p.kv_length;
  GuardBuffer<float> columns(count), diagonals(count);
  EXPECT_EQ(gatun_attention_lines(&x.p, &x.s, x.q->data(), x.k->data(), x.q_starts(), x.kv_starts(), columns.data(),
                                  diagonals.data()),
            GATUN_OK)
      << gatun_last_error();
  return {columns.copy(), diagonals.copy()};
}

std::vector<uint8_t> draw(const Problem& x, const Lines& lines) {
  GuardBuffer<uint8_t> map(x.map_size());
  const bool given = !lines.columns.empty();
  EXPECT_EQ(
      gatun_attention_vertical_slash(&x.p, &x.s, x.q_starts(), x.kv_starts(), given ? lines.columns.data() : nullptr,
                                     given ? lines.diagonals.data() : nullptr, map.data()),
      GATUN_OK)
      << gatun_last_error();
  return map.copy();
}

// The part of a head.
std::vector<float> head_of(const Problem& x, const std::vector<float>& sums, int64_t b, int64_t head) {
  if (sums.empty()) return {};
  const int64_t first = x.ragged() ? head * x.p.kv_length + x.kv_offsets[static_cast<size_t>(b)]
                                   : (b * x.p.query_heads + head) * x.p.kv_length;
  return std::vector<float>(sums.begin() + first, sums.begin() + first + x.keys(b));
}

// Expects the map of each head of the reference, and zeros elsewhere.
template <class MapOf>
void expect_maps(const Problem& x, const std::vector<uint8_t>& actual, MapOf map_of) {
  std::vector<uint8_t> expected(actual.size());
  for (int64_t b = 0; b < x.p.batch; ++b) {
    const Reference reference = x.reference(b);
    for (int64_t head = 0; head < x.p.query_heads; ++head) {
      const std::vector<uint8_t> map = map_of(reference, b, head);
      for (int64_t i = 0; i < static_cast<int64_t>(map.size()); ++i) {
        const int64_t columns = reference.key_blocks();
        expected[x.map_index(b, head, i / columns, i % columns)] = map[static_cast<size_t>(i)];
      }
    }
  }
  EXPECT_TRUE(identical(actual, expected, x.s.key_blocks));
}

std::vector<float> scores_of_head(const Problem& x, const Reference& reference, const std::vector<float>& scores,
                                  int64_t b, int64_t head) {
  std::vector<float> result;
  for (int64_t a = 0; a < reference.query_blocks(); ++a) {
    for (int64_t c = 0; c < reference.key_blocks(); ++c) result.push_back(scores[x.map_index(b, head, a, c)]);
  }
  return result;
}

TEST(Choose, AgreesWithTheReference) {
  Rng rng(11);
  for (int round = 0; round < 120; ++round) {
    Problem x = random_problem(rng, GATUN_F32);
    SCOPED_TRACE(x.name());
    x.p.threads = round % 2 == 0 ? 1 : 8;
    std::vector<float> scores = rng.small_integers(x.map_size(), 0, round % 3 == 0 ? 3 : 1000);
    for (float& score : scores) {
      const int64_t kind = rng.integer(0, 40);
      if (kind == 0) score = kNaN;
      if (kind == 1) score = kInfinity;
    }
    std::vector<float> budgets;
    for (int64_t i = 0; i < x.p.batch * x.p.query_heads; ++i) budgets.push_back(rng.uniform(0, 1));
    const bool with_budgets = rng.integer(0, 1) == 1;
    expect_maps(x, choose(x, scores, with_budgets ? budgets.data() : nullptr),
                [&](const Reference& reference, int64_t b, int64_t head) {
                  return reference.choose(
                      scores_of_head(x, reference, scores, b, head),
                      with_budgets ? budgets[static_cast<size_t>(b * x.p.query_heads + head)] : x.s.amount);
                });
    if (HasFailure()) return;
  }
}

// Ten key blocks, one block of queries that may see all.
Problem ten_blocks() {
  Problem x = plain_problem(GATUN_F32, 1, 1, 16, 160, 8);
  x.p.query_block = x.p.key_block = 16;
  x.p.query_blocks = 1;
  x.s.key_blocks = 10;
  return x;
}

std::string drawn(const std::vector<uint8_t>& map) {
  std::string text;
  for (const uint8_t byte : map) text += static_cast<char>('0' + byte);
  return text;
}

TEST(Choose, ByHand) {
  Problem x = ten_blocks();
  const std::vector<float> scores = {1, 5, 2, 5, 3, 4, 5, 0, 0, 0};  // of 25
  const auto chosen = [&](int32_t keep, float amount, int32_t first = 0, int32_t diagonal = 0) {
    x.s.keep = keep;
    x.s.amount = amount;
    x.s.keep_first = first;
    x.s.keep_diagonal = diagonal;
    return drawn(choose(x, scores));
  };
  EXPECT_EQ(chosen(GATUN_KEEP_FRACTION, 0.0f), "0100000000");  // at least 1, of equal ones the first
  EXPECT_EQ(chosen(GATUN_KEEP_FRACTION, 0.29f), "0101000000");
  EXPECT_EQ(chosen(GATUN_KEEP_FRACTION, 0.7f), "1111111000");  // 0.7f is below 0.7, but the product is 7 in f32
  EXPECT_EQ(chosen(GATUN_KEEP_FRACTION, 1.0f), "1111111111");
  EXPECT_EQ(chosen(GATUN_KEEP_FRACTION, 0.3f, 1, 1), "1100000001");  // the forced ones count
  EXPECT_EQ(chosen(GATUN_KEEP_FRACTION, 0.1f, 1, 1), "1000000001");
  EXPECT_EQ(chosen(GATUN_KEEP_MASS, 0.0f), "0100000000");
  EXPECT_EQ(chosen(GATUN_KEEP_MASS, 0.5f), "0101001000");  // 10 do not reach 12.5
  EXPECT_EQ(chosen(GATUN_KEEP_MASS, 0.61f), "0101011000");
  EXPECT_EQ(chosen(GATUN_KEEP_MASS, 1.0f), "1111111000");
  EXPECT_EQ(chosen(GATUN_KEEP_MASS, 0.24f, 1), "1100000000");  // 1 and 5 reach 6
  EXPECT_EQ(chosen(GATUN_KEEP_BELOW_MASS, 0.1f), "0100000000");
  EXPECT_EQ(chosen(GATUN_KEEP_BELOW_MASS, 0.59f), "0101000000");  // the one that crosses is left out
  EXPECT_EQ(chosen(GATUN_KEEP_BELOW_MASS, 0.6f), "0101001000");
  EXPECT_EQ(chosen(GATUN_KEEP_BELOW_MASS, 1.0f), "1111111111");
}

// An amount of 1 is everything, in whatever order a row's scores are added up.
TEST(Choose, AllOfTheMassIsAllBlocks) {
  Rng rng(12);
  Problem x = plain_problem(GATUN_F32, 1, 1, 64 * 50, 64 * 50, 8);
  x.s.keep = GATUN_KEEP_BELOW_MASS;
  x.s.amount = 1;
  std::vector<float> scores;
  for (int64_t i = 0; i < x.map_size(); ++i) scores.push_back(std::exp(8 * rng.normal()));
  EXPECT_EQ(choose(x, scores), std::vector<uint8_t>(scores.size(), 1));
}

TEST(Lines, AgreeWithTheReference) {
  Rng rng(12);
  for (const int32_t dtype : kDtypes) {
    for (int round = 0; round < 12; ++round) {
      Problem x = random_problem(rng, dtype);
      SCOPED_TRACE(x.name());
      const Lines actual = lines_of(x);
      for (int64_t b = 0; b < x.p.batch; ++b) {
        Reference reference = x.reference(b);
        for (int64_t head = 0; head < x.p.query_heads; ++head) {
          std::vector<double> columns, diagonals;
          reference.lines(x.q_rows(b, head), x.k_rows(b, head), &columns, &diagonals);
          const auto expect = [&](const std::vector<float>& sums, const std::vector<double>& expected) {
            const std::vector<float> part = head_of(x, sums, b, head);
            std::vector<double> allowed(expected.size());
            for (size_t i = 0; i < allowed.size(); ++i) {
              allowed[i] = expected[i] * std::expm1(2 * reference.logit_error() + 0x1p-17) + 0x1p-110;
            }
            EXPECT_TRUE(within({part.begin(), part.end()}, expected, allowed));
          };
          expect(actual.columns, columns);
          expect(actual.diagonals, diagonals);
        }
      }
      if (HasFailure()) return;
    }
  }
}

TEST(Lines, MapsAgreeWithTheReference) {
  Rng rng(13);
  for (int round = 0; round < 60; ++round) {
    Problem x = random_problem(rng, GATUN_F32);
    SCOPED_TRACE(x.name());
    const int64_t count = (x.ragged() ? 1 : x.p.batch) * x.p.query_heads * x.p.kv_length;
    Lines lines;
    if (round % 4 != 0) lines = {rng.small_integers(count, 0, 9), rng.small_integers(count, 0, 9)};
    expect_maps(x, draw(x, lines), [&](const Reference& reference, int64_t b, int64_t head) {
      return reference.vertical_slash(head_of(x, lines.columns, b, head), head_of(x, lines.diagonals, b, head));
    });
    if (HasFailure()) return;
  }
}

// Forced lines alone are sinks and a window.
TEST(Lines, AShape) {
  Problem x = plain_problem(GATUN_F32, 1, 1, 96, 96, 8);
  x.p.causal = 1;
  x.p.query_block = x.p.key_block = 16;
  x.p.query_blocks = x.s.key_blocks = 6;
  x.s.forced_verticals = 1;
  x.s.forced_slashes = 17;
  EXPECT_EQ(drawn(draw(x, {})),
            "100000"
            "110000"
            "111000"
            "101100"
            "100110"
            "100011");
}

TEST(Lines, SelectIsBothSteps) {
  Rng rng(14);
  for (int round = 0; round < 12; ++round) {
    Problem x = random_problem(rng, kDtypes[round % 3]);
    SCOPED_TRACE(x.name());
    x.s.kind = GATUN_SELECT_VERTICAL_SLASH;
    GuardBuffer<uint8_t> map(x.map_size());
    ASSERT_EQ(gatun_attention_select(&x.p, &x.s, nullptr, x.q->data(), x.k->data(), x.q_starts(), x.kv_starts(),
                                     nullptr, map.data()),
              GATUN_OK)
        << gatun_last_error();
    EXPECT_TRUE(identical(map.copy(), draw(x, lines_of(x)), x.s.key_blocks));
  }
}

// Forced lines alone need no sums: q and k, in memory that nobody may read, are not read.
TEST(Lines, SelectOfForcedLinesReadsNothing) {
  Rng rng(17);
  Problem x = plain_problem(GATUN_F32, 2, 1, 300, 400, 16);
  x.p.causal = 1;
  x.s.kind = GATUN_SELECT_VERTICAL_SLASH;
  x.s.verticals = x.s.forced_verticals = 5;
  x.s.slashes = 20;
  x.s.forced_slashes = 90;
  x.fill(rng, Edge::back);
  const std::vector<uint8_t> expected = draw(x, {});
  constexpr size_t kBytes = 2 * 400 * 16 * 4;
  void* const closed = mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(closed, MAP_FAILED);
  GuardBuffer<uint8_t> map(x.map_size());
  EXPECT_EQ(gatun_attention_select(&x.p, &x.s, nullptr, closed, closed, nullptr, nullptr, nullptr, map.data()),
            GATUN_OK)
      << gatun_last_error();
  EXPECT_TRUE(identical(map.copy(), expected, x.s.key_blocks));
  munmap(closed, kBytes);
}

TEST(Budgets, AgreeWithTheReference) {
  Rng rng(15);
  for (int round = 0; round < 36; ++round) {
    Problem x = random_problem(rng, kDtypes[round % 3]);
    SCOPED_TRACE(x.name());
    x.s.amount = rng.uniform(0.05f, 0.95f);
    GuardBuffer<float> budgets(x.p.batch * x.p.query_heads);
    ASSERT_EQ(
        gatun_attention_budgets(&x.p, &x.s, x.q->data(), x.k->data(), x.q_starts(), x.kv_starts(), budgets.data()),
        GATUN_OK)
        << gatun_last_error();
    for (int64_t b = 0; b < x.p.batch; ++b) {
      Reference reference = x.reference(b);
      for (int64_t head = 0; head < x.p.query_heads; ++head) {
        std::vector<double> columns, diagonals;
        reference.lines(x.q_rows(b, head), x.k_rows(b, head), &columns, &diagonals);
        EXPECT_FLOAT_EQ(budgets[b * x.p.query_heads + head], static_cast<float>(reference.budget(columns)));
      }
    }
  }
}

}  // namespace
}  // namespace gatun::test
