// gatun_decode_scores, gatun_decode_choose: every documented refusal.
#include "boundary.h"
#include "gatun/decode.h"

namespace gatun::test {
namespace {

constexpr int64_t kBatch = 2, kHeads = 2, kQueryHeads = 4, kQueries = 3, kKeys = 10, kPages = 5, kPageSize = 2;

std::vector<uint8_t> outputs(int64_t bytes) { return std::vector<uint8_t>(static_cast<size_t>(bytes), kUntouched); }

class DecodeScoresBoundary : public ::testing::Test {
 protected:
  DecodeScoresBoundary() {
    good.struct_size = sizeof(good);
    good.threads = 1;
    good.batch = kBatch;
    good.query_heads = kQueryHeads;
    good.heads = kHeads;
    good.query_length = kQueries;
    good.table_heads = 1;
    good.lse_head_stride = kQueries;
    good.lse_batch_stride = kQueryHeads * kQueries;
    good.logits_row_stride = kKeys;
    good.logits_head_stride = kQueries * kKeys;
    good.logits_batch_stride = kQueryHeads * kQueries * kKeys;
    good.scores_head_stride = kKeys;
    good.scores_batch_stride = kHeads * kKeys;
    params = good;
  }
  int32_t call() { return gatun_decode_scores(given, logits_at, lse_at, lengths_at, scores_at); }
  void refused(std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(call(), words));
    EXPECT_TRUE(untouched(scores)) << "an output was written";
    params = good;
  }

  gatun_decode_scores_params good{}, params{};
  const gatun_decode_scores_params* given = &params;
  std::vector<float> logits = std::vector<float>(kBatch * kQueryHeads * kQueries * kKeys),
                     lse = std::vector<float>(kBatch * kQueryHeads * kQueries);
  std::vector<int64_t> lengths = std::vector<int64_t>(kBatch * kHeads, kKeys);
  std::vector<uint8_t> scores = outputs(kBatch * kHeads * kKeys * 4);
  const float *logits_at = logits.data(), *lse_at = lse.data();
  const int64_t* lengths_at = lengths.data();
  float* scores_at = reinterpret_cast<float*>(scores.data());
};

TEST_F(DecodeScoresBoundary, TheGoodCallsAreAccepted) {
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  params.table_heads = kHeads;
  params.accumulate = 1;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
}

TEST_F(DecodeScoresBoundary, Params) {
  check_struct(params, given, "params", [&](auto words) { refused(words); });
  for (const int32_t threads : {-1, 1025}) {
    params.threads = threads;
    refused({"params.threads", std::to_string(threads).c_str()});
  }
  for (const int32_t accumulate : {-1, 2}) {
    params.accumulate = accumulate;
    refused({"params.accumulate", std::to_string(accumulate).c_str()});
  }
  params.reserved = 1;
  refused({"params.reserved", "1"});
  using P = gatun_decode_scores_params;
  using Field = int64_t P::*;
  for (const auto& [field, name] : {std::pair<Field, const char*>{&P::batch, "params.batch"},
                                    {&P::query_heads, "params.query_heads"},
                                    {&P::heads, "params.heads"},
                                    {&P::query_length, "params.query_length"}}) {
    for (const int64_t size : {int64_t{-1}, kMin, kMax}) {
      params.*field = size;
      refused({name, std::to_string(size).c_str()});
    }
  }
  params.query_heads = 5;
  refused({"params.query_heads = 5", "params.heads = 2"});
  params.heads = 0;
  refused({"params.query_heads = 4", "params.heads = 0"});
  for (const int64_t heads : {int64_t{0}, int64_t{-1}, int64_t{3}, kMax}) {
    params.table_heads = heads;
    refused({"params.table_heads", std::to_string(heads).c_str(), "1, or params.heads = 2"});
  }
  params.batch = params.heads = params.query_heads = int64_t{1} << 40;
  refused({"params.batch", "2^59"});
  for (const auto& [field, name] : {std::pair<Field, const char*>{&P::lse_batch_stride, "params.lse_batch_stride"},
                                    {&P::lse_head_stride, "params.lse_head_stride"},
                                    {&P::logits_batch_stride, "params.logits_batch_stride"},
                                    {&P::logits_head_stride, "params.logits_head_stride"},
                                    {&P::logits_row_stride, "params.logits_row_stride"},
                                    {&P::scores_batch_stride, "params.scores_batch_stride"},
                                    {&P::scores_head_stride, "params.scores_head_stride"}}) {
    params.*field = -1;
    refused({name, "-1"});
    params.*field = kMax;
    refused({"exceed 2^59", std::to_string(kMax).c_str()});
  }
  params.scores_head_stride = kKeys - 1;
  refused({"params.scores_head_stride = 9", "at least 10"});
}

TEST_F(DecodeScoresBoundary, Arrays) {
  for (const int64_t length : {int64_t{-1}, kMin, kMax}) {
    lengths[1] = length;
    refused({"lengths[1, 0]", std::to_string(length).c_str(), "0.."});
  }
  lengths[1] = kKeys;
  logits_at = nullptr;
  refused({"logits is null"});
  logits_at = reinterpret_cast<const float*>(reinterpret_cast<const char*>(logits.data()) + 2);
  params.batch = 1;
  refused({"logits is at address", "4"});
  logits_at = logits.data();
  lse_at = nullptr;
  refused({"lse is null"});
  lse_at = lse.data();
  lengths_at = nullptr;
  refused({"lengths is null"});
  lengths_at = lengths.data();
  scores_at = nullptr;
  refused({"scores is null"});
  scores_at = logits.data();
  refused({"scores", "overlaps", "logits"});
  scores_at = lse.data();
  refused({"scores", "overlaps", "lse"});
  scores_at = reinterpret_cast<float*>(lengths.data());
  refused({"scores", "overlaps", "lengths"});
}

class DecodeChooseBoundary : public ::testing::Test {
 protected:
  DecodeChooseBoundary() {
    good.struct_size = sizeof(good);
    good.threads = 1;
    good.batch = kBatch;
    good.heads = kHeads;
    good.table_heads = 1;
    good.table_stride = kPages;
    good.page_size = kPageSize;
    good.budget = good.chosen_stride = 3;
    good.keep_last = 1;
    good.scores_head_stride = kPages;
    good.scores_batch_stride = kHeads * kPages;
    params = good;
  }
  int32_t call() { return gatun_decode_choose(given, scores_at, table_at, lengths_at, chosen_at, chosen_lengths_at); }
  void refused(std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(call(), words));
    EXPECT_TRUE(untouched(chosen) && untouched(chosen_lengths)) << "an output was written";
    params = good;
  }

  gatun_decode_choose_params good{}, params{};
  const gatun_decode_choose_params* given = &params;
  std::vector<float> scores = std::vector<float>(kBatch * kHeads * kPages);
  std::vector<int32_t> table = std::vector<int32_t>(kBatch * kHeads * kPages);
  std::vector<int64_t> lengths = std::vector<int64_t>(kBatch * kHeads, kKeys);
  std::vector<uint8_t> chosen = outputs(kBatch * kHeads * 3 * 4), chosen_lengths = outputs(kBatch * kHeads * 8);
  const float* scores_at = scores.data();
  const int32_t* table_at = table.data();
  const int64_t* lengths_at = lengths.data();
  int32_t* chosen_at = reinterpret_cast<int32_t*>(chosen.data());
  int64_t* chosen_lengths_at = reinterpret_cast<int64_t*>(chosen_lengths.data());
};

TEST_F(DecodeChooseBoundary, TheGoodCallsAreAccepted) {
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  params.table_heads = kHeads;
  params.keep_first = params.keep_last = kMax;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
}

TEST_F(DecodeChooseBoundary, Params) {
  check_struct(params, given, "params", [&](auto words) { refused(words); });
  for (const int32_t threads : {-1, 1025}) {
    params.threads = threads;
    refused({"params.threads", std::to_string(threads).c_str()});
  }
  using P = gatun_decode_choose_params;
  using Field = int64_t P::*;
  for (const auto& [field, name] : {std::pair<Field, const char*>{&P::batch, "params.batch"},
                                    {&P::heads, "params.heads"},
                                    {&P::table_stride, "params.table_stride"},
                                    {&P::page_size, "params.page_size"}}) {
    for (const int64_t size : {int64_t{-1}, kMin, kMax}) {
      params.*field = size;
      refused({name, std::to_string(size).c_str()});
    }
  }
  for (const auto& [field, name] : {std::pair<Field, const char*>{&P::budget, "params.budget"},
                                    {&P::keep_first, "params.keep_first"},
                                    {&P::keep_last, "params.keep_last"},
                                    {&P::chosen_stride, "params.chosen_stride"}}) {
    for (const int64_t size : {int64_t{-1}, kMin}) {
      params.*field = size;
      refused({name, std::to_string(size).c_str()});
    }
  }
  params.page_size = 0;
  refused({"params.page_size = 0", "1.."});
  params.keep_last = 0;
  refused({"params.keep_last = 0", "at least 1"});
  params.chosen_stride = 2;
  refused({"params.chosen_stride = 2", "at least 3"});
  for (const int64_t heads : {int64_t{0}, int64_t{-1}, int64_t{3}, kMax}) {
    params.table_heads = heads;
    refused({"params.table_heads", std::to_string(heads).c_str(), "1, or params.heads = 2"});
  }
  for (const auto& [field, name] :
       {std::pair<Field, const char*>{&P::scores_batch_stride, "params.scores_batch_stride"},
        {&P::scores_head_stride, "params.scores_head_stride"}}) {
    params.*field = -1;
    refused({name, "-1"});
    params.*field = kMax;
    refused({"exceed 2^59", std::to_string(kMax).c_str()});
  }
  params.chosen_stride = kMax;
  refused({"chosen", "exceed 2^59"});
}

TEST_F(DecodeChooseBoundary, Arrays) {
  for (const int64_t length : {int64_t{-1}, kMin, kKeys + 1, kMax}) {
    lengths[1] = length;
    refused({"lengths[1, 0]", std::to_string(length).c_str(), "0..10"});
  }
  lengths[1] = kKeys;
  scores_at = nullptr;
  refused({"scores is null"});
  scores_at = scores.data();
  table_at = nullptr;
  refused({"table is null"});
  table_at = table.data();
  lengths_at = nullptr;
  refused({"lengths is null"});
  lengths_at = lengths.data();
  chosen_at = nullptr;
  refused({"chosen is null"});
  chosen_at = table.data() + 1;
  refused({"chosen", "overlaps", "table"});
  chosen_at = reinterpret_cast<int32_t*>(scores.data());
  refused({"chosen", "overlaps", "scores"});
  chosen_at = reinterpret_cast<int32_t*>(chosen_lengths.data());
  refused({"chosen", "overlaps", "chosen_lengths"});
  chosen_at = reinterpret_cast<int32_t*>(chosen.data());
  chosen_lengths_at = nullptr;
  refused({"chosen_lengths is null"});
  chosen_lengths_at = lengths.data();
  refused({"chosen_lengths", "overlaps", "lengths"});
  chosen_lengths_at = reinterpret_cast<int64_t*>(chosen_lengths.data() + 4);
  params.batch = 1;
  refused({"chosen_lengths is at address", "8"});
}

}  // namespace
}  // namespace gatun::test
