// Scores against reference.cc, through the C entry point, on the tier in use (GATUN_MAX_ISA).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "decode_choose/reference.h"
#include "decode_choose/table.h"
#include "gatun/gatun.h"
#include "guard_buffer.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::decode_choose {
namespace {

using test::Edge;
using test::GuardBuffer;
using test::Rng;
using Params = gatun_decode_scores_params;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Params make_params(int64_t batch, int64_t heads, int64_t shared, int64_t queries, int64_t table_heads, int64_t keys,
                   int64_t gap = 0) {
  Params p{};
  p.struct_size = sizeof(p);
  p.threads = 1;
  p.batch = batch;
  p.heads = heads;
  p.query_heads = heads * shared;
  p.query_length = queries;
  p.table_heads = table_heads;
  p.lse_head_stride = queries + gap;
  p.lse_batch_stride = p.query_heads * p.lse_head_stride + gap;
  p.logits_row_stride = keys + gap;
  p.logits_head_stride = queries * p.logits_row_stride + gap;
  p.logits_batch_stride = p.query_heads * p.logits_head_stride + gap;
  p.scores_head_stride = keys + gap;
  p.scores_batch_stride = heads * p.scores_head_stride + gap;
  return p;
}

struct Problem {
  Params p;
  std::vector<int64_t> lengths;
  std::vector<float> logits, lse, before;

  int64_t length(int64_t item, int64_t head) const {
    return lengths[static_cast<size_t>(item * p.table_heads + (p.table_heads == 1 ? 0 : head))];
  }
};

// Rows with keys that are not seen, and such that see none.
Problem make_problem(Rng& rng, const Params& p, int64_t keys) {
  Problem problem{p, {}, {}, {}, {}};
  for (int64_t i = 0; i < p.batch * p.table_heads; ++i) {
    problem.lengths.push_back(i == 0 ? keys : rng.integer(0, 3) == 0 ? 0 : rng.integer(0, keys));
  }
  problem.logits = rng.normals(p.batch * p.logits_batch_stride, 4);
  for (float& logit : problem.logits) {
    if (rng.integer(0, 7) == 0) logit = -kInfinity;
  }
  problem.lse = rng.normals(p.batch * p.lse_batch_stride, 3);
  for (float& lse : problem.lse) lse = rng.integer(0, 7) == 0 ? -kInfinity : lse + 6;
  problem.before = rng.normals(p.batch * p.scores_batch_stride);
  return problem;
}

// All of the array: what is no score stays.
void check(const Problem& problem, const float* scores) {
  const Params& p = problem.p;
  std::vector<double> expected, allowed, actual;
  for (size_t i = 0; i < problem.before.size(); ++i) {
    expected.push_back(static_cast<double>(problem.before[i]));
    allowed.push_back(0);
    actual.push_back(static_cast<double>(scores[i]));
  }
  for (int64_t item = 0; item < p.batch; ++item) {
    for (int64_t head = 0; head < p.heads; ++head) {
      for (int64_t j = 0; j < problem.length(item, head); ++j) {
        const auto at = static_cast<size_t>(item * p.scores_batch_stride + head * p.scores_head_stride + j);
        double magnitude;
        const double sum = reference_score(p, problem.logits.data(), problem.lse.data(), item, head, j, &magnitude);
        const double terms = static_cast<double>(p.query_heads / p.heads * p.query_length);
        allowed[at] = (0x1p-22 + 0x1p-24 * terms) * sum + 0x1p-23 * magnitude + terms * 0x1p-126;
        expected[at] = sum + (p.accumulate != 0 ? expected[at] : 0);
        if (p.accumulate != 0) allowed[at] += test::unit_in_last_place(GATUN_F32, expected[at]);
      }
    }
  }
  ASSERT_TRUE(test::within(actual, expected, allowed));
}

void compare(Rng& rng, const Params& p, int64_t keys, Edge edge, int64_t offset) {
  SCOPED_TRACE(testing::Message() << p.batch << " x " << p.query_heads << "/" << p.heads << " heads x "
                                  << p.query_length << " x " << keys << " keys, table of " << p.table_heads);
  const Problem problem = make_problem(rng, p, keys);
  // Up to the last element that there is.
  const int64_t logits_extent = p.query_length == 0 ? 0
                                                    : (p.batch - 1) * p.logits_batch_stride +
                                                          (p.query_heads - 1) * p.logits_head_stride +
                                                          (p.query_length - 1) * p.logits_row_stride + keys;
  GuardBuffer<float> logits(std::vector<float>(problem.logits.begin(), problem.logits.begin() + logits_extent), edge,
                            offset);
  GuardBuffer<float> lse(problem.lse, edge, offset);
  GuardBuffer<int64_t> lengths(problem.lengths, edge, offset);
  GuardBuffer<float> scores(problem.before, edge, offset);
  logits.make_read_only();
  lse.make_read_only();
  lengths.make_read_only();
  ASSERT_EQ(gatun_decode_scores(&p, logits.data(), lse.data(), lengths.data(), scores.data()), GATUN_OK)
      << gatun_last_error();
  check(problem, scores.data());
}

TEST(DecodeScores, AnyShape) {
  Rng rng(1);
  for (const int64_t keys : {1, 7, 8, 15, 16, 17, 33, 100, 1023, 1024, 1025, 2100}) {
    for (const auto& [heads, shared] : {std::pair<int64_t, int64_t>{1, 1}, {3, 2}, {2, 5}}) {
      for (const int64_t queries : {0, 1, 3}) {
        for (const int64_t table_heads : {int64_t{1}, heads}) {
          for (const Edge edge : test::kEdges) {
            Params p = make_params(2, heads, shared, queries, table_heads, keys, edge == Edge::front ? 3 : 0);
            p.accumulate = static_cast<int32_t>(keys % 2);
            compare(rng, p, keys, edge, edge == Edge::front);
          }
        }
      }
    }
  }
}

TEST(DecodeScores, ByHand) {
  const Params p = make_params(1, 1, 2, 1, 1, 4);
  const float logits[8] = {0, std::log(2.0f), -kInfinity, std::log(0.5f), 3, 3, 3, 3};
  const float lse[2] = {std::log(4.0f), 3};
  const int64_t length = 4;
  float scores[4];
  ASSERT_EQ(gatun_decode_scores(&p, logits, lse, &length, scores), GATUN_OK) << gatun_last_error();
  const float expected[4] = {1.25f, 1.5f, 1, 1.125f};
  for (int j = 0; j < 4; ++j) EXPECT_NEAR(scores[j], expected[j], 1e-6f) << j;
}

// A sum of weights in another order is another number.
TEST(DecodeScores, AscendingOrder) {
  const Params p = make_params(1, 1, 3, 1, 1, 1);
  const float logits[3] = {0, -0.25f, std::log(0x1p-24f)}, lse[3] = {0, 0, 0};
  const int64_t length = 1;
  for (const int32_t accumulate : {0, 1}) {
    Params q = p;
    q.accumulate = accumulate;
    float weights[3], score = 0x1p-24f;
    for (int i = 0; i < 3; ++i) {
      const Params one = make_params(1, 1, 1, 1, 1, 1);
      ASSERT_EQ(gatun_decode_scores(&one, logits + i, lse, &length, weights + i), GATUN_OK);
    }
    ASSERT_EQ(gatun_decode_scores(&q, logits, lse, &length, &score), GATUN_OK);
    const float sum = weights[0] + weights[1] + weights[2];
    EXPECT_EQ(score, accumulate != 0 ? 0x1p-24f + sum : sum);
    EXPECT_NE(sum, weights[0] + (weights[1] + weights[2]));
  }
}

// NaN stays in its key, or in the keys of its row; a row that saw nothing counts 0, whatever its logits are.
TEST(DecodeScores, NoNumbers) {
  const int64_t length = 3;
  const Params p = make_params(1, 2, 2, 1, 1, 3);
  const float logits[12] = {0, kNan, 0, 0, 0, 0, kNan, kNan, kNan, 0, 0, 0};
  const float lse[4] = {1, 1, -kInfinity, 1};
  float scores[6];
  ASSERT_EQ(gatun_decode_scores(&p, logits, lse, &length, scores), GATUN_OK);
  for (int j = 0; j < 6; ++j) EXPECT_EQ(std::isnan(scores[j]), j == 1) << j;
  const float bad[4] = {1, 1, kNan, 1};
  ASSERT_EQ(gatun_decode_scores(&p, logits, bad, &length, scores), GATUN_OK);
  for (int j = 0; j < 6; ++j) EXPECT_EQ(std::isnan(scores[j]), j == 1 || j > 2) << j;
}

TEST(DecodeScores, AnyNumberOfThreadsAndEveryTier) {
  Rng rng(2);
  Params p = make_params(3, 2, 4, 2, 2, 3000);
  const Problem problem = make_problem(rng, p, 3000);
  std::vector<float> one = problem.before;
  ASSERT_EQ(gatun_decode_scores(&p, problem.logits.data(), problem.lse.data(), problem.lengths.data(), one.data()),
            GATUN_OK);
  ASSERT_NO_FATAL_FAILURE(check(problem, one.data()));
  for (const int32_t threads : {0, 2, 3, 8}) {
    p.threads = threads;
    std::vector<float> scores = problem.before;
    ASSERT_EQ(gatun_decode_scores(&p, problem.logits.data(), problem.lse.data(), problem.lengths.data(), scores.data()),
              GATUN_OK);
    ASSERT_TRUE(test::identical(scores, one)) << threads << " threads";
  }
  std::vector<float> scalar = problem.before;
  ASSERT_EQ(scores(Tier::scalar, &p, problem.logits.data(), problem.lse.data(), problem.lengths.data(), scalar.data()),
            GATUN_OK);
  ASSERT_TRUE(test::identical(scalar, one)) << "scalar";
}

TEST(DecodeScores, EmptyWorkNeedsNoMemory) {
  const int64_t none[2] = {0, 0};
  for (Params p : {make_params(0, 2, 2, 1, 1, 5), make_params(2, 0, 2, 1, 1, 5), make_params(2, 3, 2, 1, 1, 5)}) {
    EXPECT_EQ(gatun_decode_scores(&p, nullptr, nullptr, p.batch > 0 ? none : nullptr, nullptr), GATUN_OK)
        << gatun_last_error();
  }
  // Without queries nothing gets attention.
  const Params p = make_params(1, 1, 1, 0, 1, 2);
  const int64_t length = 2;
  float scores[2] = {1, 2};
  EXPECT_EQ(gatun_decode_scores(&p, nullptr, nullptr, &length, scores), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(scores[0] + scores[1], 0);
}

}  // namespace
}  // namespace gatun::decode_choose
