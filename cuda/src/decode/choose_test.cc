// Scores and the choice of pages against the CPU's reference; then attention to what was chosen.
#include <cmath>
#include <limits>
#include <string>

#include "decode/test_device.h"
#include "decode_choose/reference.h"

namespace gatun::cuda::decode {
namespace {

using gatun::decode_choose::reference_choice;
using gatun::decode_choose::reference_score;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

TEST(DecodeScores, AgainstTheReference) {
  Rng rng(1);
  int64_t number = 0;
  for (const auto& [heads, shared, queries, table_heads, keys] :
       {std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t>{1, 1, 1, 1, 1},
        {2, 3, 2, 2, 300},
        {3, 1, 5, 1, 257},
        {2, 4, 1, 1, 1030},
        {1, 2, 0, 1, 9}}) {
    for (const int32_t accumulate : {0, 1}) {
      change_conditions(number++);
      gatun_decode_scores_params p{};
      p.struct_size = sizeof(p);
      p.accumulate = accumulate;
      p.batch = 2;
      p.heads = heads;
      p.query_heads = heads * shared;
      p.query_length = queries;
      p.table_heads = table_heads;
      p.lse_head_stride = queries + 1;
      p.lse_batch_stride = p.query_heads * p.lse_head_stride;
      p.logits_row_stride = keys + 2;
      p.logits_head_stride = queries * p.logits_row_stride;
      p.logits_batch_stride = p.query_heads * p.logits_head_stride;
      p.scores_head_stride = keys + 1;
      p.scores_batch_stride = heads * p.scores_head_stride + 3;
      std::vector<int64_t> lengths;
      // One beyond what the strides have room for, one below 0.
      for (int64_t i = 0; i < 2 * table_heads; ++i) lengths.push_back(i == 1 ? rng.integer(-1, keys) : keys);
      if (number % 2) lengths[0] = INT64_MAX;
      std::vector<float> logits = rng.normals(2 * p.logits_batch_stride, 4), lse = rng.normals(2 * p.lse_batch_stride);
      for (float& x : logits) x = rng.integer(0, 7) == 0 ? -kInfinity : x;
      for (float& x : lse) x = rng.integer(0, 7) == 0 ? -kInfinity : x + 6;
      const std::vector<float> before = rng.normals(2 * p.scores_batch_stride);
      const DeviceBuffer<float> device_logits(logits), device_lse(lse);
      const DeviceBuffer<int64_t> device_lengths(lengths);
      DeviceBuffer<float> scores(before);
      ASSERT_EQ(gatun_cuda_decode_scores(&p, device_logits.data(), device_lse.data(), device_lengths.data(),
                                         scores.data(), nullptr),
                GATUN_OK)
          << gatun_cuda_last_error();
      const std::vector<float> actual = scores.copy();
      std::vector<double> expected(before.begin(), before.end()), allowed(before.size(), 0.0);
      for (int64_t b = 0; b < 2; ++b) {
        for (int64_t g = 0; g < heads; ++g) {
          const int64_t length = lengths[static_cast<size_t>(b * table_heads + (table_heads > 1 ? g : 0))];
          for (int64_t j = 0; j < std::min(length, keys + 1); ++j) {
            const size_t at = static_cast<size_t>(b * p.scores_batch_stride + g * p.scores_head_stride + j);
            double magnitude;
            const double sum = reference_score(p, logits.data(), lse.data(), b, g, j, &magnitude);
            const double terms = static_cast<double>(shared * queries);
            expected[at] = sum + (accumulate != 0 ? expected[at] : 0);
            allowed[at] = (0x1p-22 + 0x1p-24 * terms) * sum + 0x1p-23 * magnitude + terms * 0x1p-126 +
                          (accumulate != 0 ? test::unit_in_last_place(GATUN_F32, expected[at]) : 0);
          }
        }
      }
      ASSERT_TRUE(test::within({actual.begin(), actual.end()}, expected, allowed));
    }
  }
}

TEST(DecodeChoose, AgainstTheReference) {
  Rng rng(2);
  for (int64_t number = 0; number < 40; ++number) {
    change_conditions(number);
    gatun_decode_choose_params p{};
    p.struct_size = sizeof(p);
    p.batch = rng.integer(1, 3);
    p.heads = rng.integer(1, 3);
    p.table_heads = rng.integer(0, 1) ? 1 : p.heads;
    p.table_stride = rng.pick(std::vector<int64_t>{1, 2, 33, 255, 256, 257, 700});
    p.page_size = rng.integer(1, 20);
    p.budget = rng.pick(std::vector<int64_t>{0, 1, 2, 7, 40, 256, 1000});
    p.keep_first = rng.pick(std::vector<int64_t>{0, 1, 3, 50, INT64_MAX});
    p.keep_last = rng.pick(std::vector<int64_t>{1, 2, 60, INT64_MAX});
    p.scores_head_stride = p.table_stride + 1;
    p.scores_batch_stride = p.heads * p.scores_head_stride;
    p.chosen_stride = std::min(p.budget, p.table_stride) + rng.integer(0, 2);
    const int64_t room = p.table_stride * p.page_size;
    std::vector<int64_t> lengths;
    for (int64_t i = 0; i < p.batch * p.table_heads; ++i) lengths.push_back(rng.integer(0, room));
    lengths[0] = number % 2 ? room : INT64_MAX;
    if (number % 7 == 0) lengths.back() = -3;
    std::vector<float> scores;
    for (int64_t i = 0; i < p.batch * p.scores_batch_stride; ++i) {
      const float special[] = {kNan, -kNan, kInfinity, -kInfinity, 0.0f, -0.0f};
      scores.push_back(rng.integer(0, 9) == 0   ? special[rng.integer(0, 5)]
                       : rng.integer(0, 1) == 0 ? static_cast<float>(rng.integer(-3, 3))
                                                : rng.normal());
    }
    const std::vector<int32_t> table = rng.integers<int32_t>(p.batch * p.table_heads * p.table_stride, 0, 1 << 20);
    const DeviceBuffer<float> device_scores(scores);
    const DeviceBuffer<int32_t> device_table(table);
    const DeviceBuffer<int64_t> device_lengths(lengths);
    DeviceBuffer<int32_t> chosen(p.batch * p.heads * p.chosen_stride);
    DeviceBuffer<int64_t> chosen_lengths(p.batch * p.heads);
    std::vector<int32_t> expected = chosen.copy();
    ASSERT_EQ(gatun_cuda_decode_choose(&p, device_scores.data(), device_table.data(), device_lengths.data(),
                                       chosen.data(), chosen_lengths.data(), nullptr),
              GATUN_OK)
        << gatun_cuda_last_error();
    std::vector<int64_t> expected_lengths;
    for (int64_t row = 0; row < p.batch * p.heads; ++row) {
      const int64_t b = row / p.heads, g = row % p.heads, table_row = b * p.table_heads + (p.table_heads > 1 ? g : 0);
      const int64_t length = std::clamp<int64_t>(lengths[static_cast<size_t>(table_row)], 0, room);
      int64_t tokens = 0, place = row * p.chosen_stride;
      for (const int64_t page :
           reference_choice(p, scores.data() + b * p.scores_batch_stride + g * p.scores_head_stride,
                            (length + p.page_size - 1) / p.page_size)) {
        expected[static_cast<size_t>(place++)] = table[static_cast<size_t>(table_row * p.table_stride + page)];
        tokens += std::min(p.page_size, length - page * p.page_size);
      }
      expected_lengths.push_back(tokens);
    }
    ASSERT_TRUE(test::identical(chosen.copy(), expected)) << number;
    ASSERT_TRUE(test::identical(chosen_lengths.copy(), expected_lengths)) << number;
  }
}

TEST(DecodeChoose, RefusesMoreHeadsThanAGridHasBlocks) {
  gatun_decode_choose_params p{};
  p.struct_size = sizeof(p);
  p.batch = int64_t{1} << 31;
  p.heads = p.table_heads = p.table_stride = p.page_size = p.budget = p.keep_last = p.chosen_stride = 1;
  p.scores_head_stride = p.scores_batch_stride = 1;
  DeviceBuffer<float> scores(1);
  DeviceBuffer<int32_t> table(1), chosen(1);
  DeviceBuffer<int64_t> lengths(1), chosen_lengths(1);
  EXPECT_EQ(gatun_cuda_decode_choose(&p, scores.data(), table.data(), lengths.data(), chosen.data(),
                                     chosen_lengths.data(), nullptr),
            GATUN_UNSUPPORTED);
  EXPECT_EQ(std::string(gatun_cuda_last_error()).find("params.batch * heads"), 0u) << gatun_cuda_last_error();
}

}  // namespace
}  // namespace gatun::cuda::decode
