// The choice of pages against reference.cc and by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "decode_choose/reference.h"
#include "gatun/gatun.h"
#include "guard_buffer.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::decode_choose {
namespace {

using test::Edge;
using test::GuardBuffer;
using test::Rng;
using Params = gatun_decode_choose_params;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

Params make_params(int64_t batch, int64_t heads, int64_t table_heads, int64_t table_stride, int64_t page_size,
                   int64_t budget, int64_t keep_first, int64_t keep_last, int64_t gap = 0) {
  Params p{};
  p.struct_size = sizeof(p);
  p.threads = 1;
  p.batch = batch;
  p.heads = heads;
  p.table_heads = table_heads;
  p.table_stride = table_stride;
  p.page_size = page_size;
  p.budget = budget;
  p.keep_first = keep_first;
  p.keep_last = keep_last;
  p.scores_head_stride = table_stride + gap;
  p.scores_batch_stride = heads * p.scores_head_stride + gap;
  p.chosen_stride = std::min(budget, table_stride) + gap;
  return p;
}

std::vector<int32_t> choose(const Params& p, const std::vector<float>& scores, int64_t length, int64_t* chosen_length) {
  std::vector<int32_t> table(static_cast<size_t>(p.table_stride)), chosen(static_cast<size_t>(p.chosen_stride), -7);
  for (size_t i = 0; i < table.size(); ++i) table[i] = 100 + static_cast<int32_t>(i);
  EXPECT_EQ(gatun_decode_choose(&p, scores.data(), table.data(), &length, chosen.data(), chosen_length), GATUN_OK)
      << gatun_last_error();
  return chosen;
}

TEST(DecodeChoose, ByHand) {
  const std::vector<float> scores = {0, 5, kNan, 5, -1, 9};
  const auto best = [&](int64_t budget, int64_t keep_first, int64_t keep_last) {
    int64_t length;
    std::vector<int32_t> chosen =
        choose(make_params(1, 1, 1, 6, 10, budget, keep_first, keep_last), scores, 53, &length);
    EXPECT_EQ(length, budget == 0 ? 0 : std::min<int64_t>(budget, 6) * 10 - 7);  // the last page has 3
    return chosen;
  };
  using Pages = std::vector<int32_t>;
  EXPECT_EQ(best(0, 0, 1), Pages());
  EXPECT_EQ(best(1, 3, 1), (Pages{105}));
  EXPECT_EQ(best(2, 0, 1), (Pages{102, 105}));
  EXPECT_EQ(best(3, 0, 1), (Pages{101, 102, 105}));
  EXPECT_EQ(best(3, 1, 1), (Pages{100, 102, 105}));
  EXPECT_EQ(best(3, 2, 2), (Pages{100, 104, 105}));
  EXPECT_EQ(best(3, 0, 5), (Pages{103, 104, 105}));
  EXPECT_EQ(best(5, 0, 1), (Pages{100, 101, 102, 103, 105}));
  EXPECT_EQ(best(6, 0, 1), (Pages{100, 101, 102, 103, 104, 105}));
  EXPECT_EQ(best(99, 9, 9), (Pages{100, 101, 102, 103, 104, 105}));
}

void compare(Rng& rng, const Params& p, Edge edge) {
  SCOPED_TRACE(testing::Message() << p.batch << " x " << p.heads << " heads, tables of " << p.table_heads << " with "
                                  << p.table_stride << " pages of " << p.page_size << ", budget " << p.budget
                                  << ", keep " << p.keep_first << " and " << p.keep_last);
  std::vector<int64_t> sizes;
  for (int64_t i = 0; i < p.batch * p.table_heads; ++i) {
    sizes.push_back(i == 0 ? p.table_stride * p.page_size : rng.integer(0, p.table_stride * p.page_size));
  }
  GuardBuffer<int64_t> lengths(sizes, edge);
  // Many equal ones, NaN and infinity among them.
  std::vector<float> values;
  for (int64_t i = 0; i < (p.batch - 1) * p.scores_batch_stride + (p.heads - 1) * p.scores_head_stride + p.table_stride;
       ++i) {
    const float special[] = {kNan, -kNan, kInfinity, -kInfinity, 0.0f, -0.0f};
    values.push_back(rng.integer(0, 9) == 0   ? special[rng.integer(0, 5)]
                     : rng.integer(0, 1) == 0 ? static_cast<float>(rng.integer(-3, 3))
                                              : rng.normal());
  }
  GuardBuffer<float> scores(values, edge);
  GuardBuffer<int32_t> table(rng.integers<int32_t>(p.batch * p.table_heads * p.table_stride, 0, 1 << 20), edge);
  GuardBuffer<int32_t> chosen((p.batch * p.heads - 1) * p.chosen_stride + std::min(p.budget, p.table_stride), edge);
  GuardBuffer<int64_t> chosen_lengths(p.batch * p.heads, edge);
  std::vector<int32_t> expected = chosen.copy();
  std::vector<int64_t> expected_lengths;
  for (int64_t row = 0; row < p.batch * p.heads; ++row) {
    const int64_t item = row / p.heads, head = row % p.heads;
    const int64_t table_row = item * p.table_heads + (p.table_heads == 1 ? 0 : head), length = lengths[table_row];
    const int64_t pages = (length + p.page_size - 1) / p.page_size;
    int64_t tokens = 0, place = row * p.chosen_stride;
    for (const int64_t page :
         reference_choice(p, scores.data() + item * p.scores_batch_stride + head * p.scores_head_stride, pages)) {
      expected[static_cast<size_t>(place++)] = table[table_row * p.table_stride + page];
      tokens += std::min(p.page_size, length - page * p.page_size);
    }
    expected_lengths.push_back(tokens);
  }
  lengths.make_read_only();
  scores.make_read_only();
  table.make_read_only();
  ASSERT_EQ(gatun_decode_choose(&p, scores.data(), table.data(), lengths.data(), chosen.data(), chosen_lengths.data()),
            GATUN_OK)
      << gatun_last_error();
  ASSERT_TRUE(test::identical(chosen.copy(), expected));
  ASSERT_TRUE(test::identical(chosen_lengths.copy(), expected_lengths));
}

TEST(DecodeChoose, AnyBudget) {
  Rng rng(3);
  for (const int64_t pages : {1, 2, 5, 16, 33, 100}) {
    for (const int64_t budget : {int64_t{0}, int64_t{1}, int64_t{2}, pages / 2, pages - 1, pages, pages + 3}) {
      for (const int64_t keep_first : {0, 1, 4, 200}) {
        for (const int64_t keep_last : {1, 2, 5, 200}) {
          for (const int64_t table_heads : {1, 3}) {
            const Edge edge = rng.next() & 1 ? Edge::front : Edge::back;
            compare(rng,
                    make_params(2, 3, table_heads, pages, rng.integer(1, 20), budget, keep_first, keep_last,
                                rng.integer(0, 2)),
                    edge);
          }
        }
      }
    }
  }
}

TEST(DecodeChoose, AnyNumberOfThreads) {
  Rng rng(4);
  Params p = make_params(4, 8, 1, 2000, 16, 100, 2, 4);
  const std::vector<int64_t> lengths = {32000, 31999, 17, 16000};
  const std::vector<float> scores = rng.normals(p.batch * p.scores_batch_stride);
  const std::vector<int32_t> table = rng.integers<int32_t>(4 * 2000, 0, 1 << 20);
  std::vector<int32_t> one;
  std::vector<int64_t> one_lengths;
  for (const int32_t threads : {1, 0, 2, 3, 8}) {
    p.threads = threads;
    std::vector<int32_t> chosen(32 * 100, -1);
    std::vector<int64_t> chosen_lengths(32, -1);
    ASSERT_EQ(
        gatun_decode_choose(&p, scores.data(), table.data(), lengths.data(), chosen.data(), chosen_lengths.data()),
        GATUN_OK);
    if (threads == 1) one = chosen, one_lengths = chosen_lengths;
    ASSERT_TRUE(test::identical(chosen, one)) << threads << " threads";
    ASSERT_TRUE(test::identical(chosen_lengths, one_lengths)) << threads << " threads";
  }
}

TEST(DecodeChoose, EmptyWorkNeedsNoMemory) {
  Params p = make_params(0, 2, 1, 5, 4, 3, 0, 1);
  EXPECT_EQ(gatun_decode_choose(&p, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK) << gatun_last_error();
  p = make_params(2, 2, 1, 5, 4, 3, 0, 1);
  const int64_t none[2] = {0, 0};
  int64_t lengths[4] = {1, 1, 1, 1};
  EXPECT_EQ(gatun_decode_choose(&p, nullptr, nullptr, none, nullptr, lengths), GATUN_OK) << gatun_last_error();
  for (const int64_t length : lengths) EXPECT_EQ(length, 0);
  // Nor do strides along which there is nothing.
  p.budget = 0;
  p.chosen_stride = std::numeric_limits<int64_t>::max() / 4;
  const int64_t some[2] = {20, 20};
  const std::vector<float> scores(static_cast<size_t>(p.batch * p.scores_batch_stride));
  const int32_t table[10] = {};
  int32_t chosen = 7;
  EXPECT_EQ(gatun_decode_choose(&p, scores.data(), table, some, &chosen, lengths), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(chosen, 7);
}

}  // namespace
}  // namespace gatun::decode_choose
