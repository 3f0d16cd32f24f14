// Changes during choices of pages and sums of weights (changes.h): lengths, scores.
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <vector>

#include "changes.h"
#include "gatun/decode.h"
#include "rng.h"

namespace gatun::test {
namespace {

constexpr int64_t kBatch = 3, kHeads = 2, kPageSize = 4, kPages = 975, kBudget = 300;
constexpr int64_t kLongest = kPages * kPageSize;  // the last item's: no other one may be longer
constexpr uint8_t kLonger = 0x9c;                 // the last byte of 3996

class DecodeChooseChanges : public ::testing::Test {
 protected:
  const int64_t* lengths_of_items() const { return reinterpret_cast<const int64_t*>(lengths.data()); }
  // All of them; then that of the longest item alone.
  void change_lengths(const std::function<int32_t()>& call) {
    for (const uint8_t other : kOthers) change_during(lengths, other, call);
    Shared longest(lengths, 2 * sizeof(int64_t));
    longest.size = 1;
    for (int i = 0; i < 8; ++i) change_during(longest, kLonger, call);
  }

  Rng rng{80};
  Bytes lengths = bytes(std::vector<int64_t>{2000, 1, kLongest});
};

TEST_F(DecodeChooseChanges, Scores) {
  gatun_decode_scores_params params{};
  params.struct_size = sizeof(params);
  params.threads = 1;
  params.batch = kBatch;
  params.query_heads = params.heads = kHeads;
  params.query_length = params.table_heads = 1;
  params.lse_head_stride = 1;
  params.lse_batch_stride = kHeads;
  params.logits_row_stride = params.logits_head_stride = params.scores_head_stride = kLongest;
  params.logits_batch_stride = params.scores_batch_stride = kHeads * kLongest;
  const GuardBuffer<float> logits(rng.normals(kBatch * kHeads * kLongest)), lse(rng.normals(kBatch * kHeads));
  GuardBuffer<float> scores(kBatch * kHeads * kLongest);
  for (const int32_t accumulate : {0, 1}) {
    params.accumulate = accumulate;
    change_lengths(
        [&] { return gatun_decode_scores(&params, logits.data(), lse.data(), lengths_of_items(), scores.data()); });
  }
}

gatun_decode_choose_params choose_params(int64_t batch, int64_t heads) {
  gatun_decode_choose_params params{};
  params.struct_size = sizeof(params);
  params.threads = 1;
  params.batch = batch;
  params.heads = heads;
  params.table_heads = 1;
  params.table_stride = kPages;
  params.page_size = kPageSize;
  params.budget = params.chosen_stride = kBudget;
  params.keep_first = params.keep_last = 2;
  params.scores_head_stride = kPages;
  params.scores_batch_stride = heads * kPages;
  return params;
}

TEST_F(DecodeChooseChanges, LengthsOfChoices) {
  const gatun_decode_choose_params params = choose_params(kBatch, kHeads);
  const GuardBuffer<float> scores(rng.normals(kBatch * kHeads * kPages));
  const GuardBuffer<int32_t> table(kBatch * kPages);
  GuardBuffer<int32_t> chosen(kBatch * kHeads * kBudget);
  GuardBuffer<int64_t> chosen_lengths(kBatch * kHeads);
  change_lengths([&] {
    return gatun_decode_choose(&params, scores.data(), table.data(), lengths_of_items(), chosen.data(),
                               chosen_lengths.data());
  });
}

// To scores that are all better than those of the pages that had been found the best: no more are kept.
TEST_F(DecodeChooseChanges, ScoresOfChoices) {
  const gatun_decode_choose_params params = choose_params(1, 1);
  GuardBuffer<uint8_t> scores(kPages * 4);
  const std::vector<float> values = rng.normals(kPages);
  std::memcpy(scores.data(), values.data(), values.size() * sizeof(float));
  const GuardBuffer<int32_t> table(kPages);
  GuardBuffer<int32_t> chosen(kBudget);
  GuardBuffer<int64_t> chosen_lengths(1);
  const int64_t length = kLongest;
  for (int i = 0; i < 20; ++i) {
    change_during(scores, 0x7f, [&] {
      return gatun_decode_choose(&params, reinterpret_cast<const float*>(scores.data()), table.data(), &length,
                                 chosen.data(), chosen_lengths.data());
    });
  }
}

}  // namespace
}  // namespace gatun::test
