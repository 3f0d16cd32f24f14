// gatun_attention_merge: every documented refusal.
#include "boundary.h"
#include "gatun/attention.h"

namespace gatun::test {
namespace {

constexpr int64_t kBatch = 2, kHeads = 3, kLength = 5, kSize = 8, kRows = kBatch * kHeads * kLength;

class AttentionMergeBoundary : public ::testing::Test {
 protected:
  AttentionMergeBoundary() {
    good.struct_size = sizeof(good);
    good.dtype = GATUN_F32;
    good.threads = 1;
    good.batch = kBatch;
    good.heads = kHeads;
    good.length = kLength;
    good.value_size = kSize;
    good.a_row_stride = good.b_row_stride = good.out_row_stride = kSize;
    good.a_head_stride = good.b_head_stride = good.out_head_stride = kLength * kSize;
    good.a_batch_stride = good.b_batch_stride = good.out_batch_stride = kHeads * kLength * kSize;
    params = good;
  }
  int32_t call() { return gatun_attention_merge(given, a_at, a_lse_at, b_at, b_lse_at, out_at, lse_at); }
  void refused(std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(call(), words));
    EXPECT_TRUE(untouched(out) && untouched(lse)) << "an output was written";
    params = good;
  }

  gatun_attention_merge_params good{}, params{};
  const gatun_attention_merge_params* given = &params;
  std::vector<float> a = std::vector<float>(kRows * kSize, 1), b = std::vector<float>(kRows * kSize, 2),
                     a_lse = std::vector<float>(kRows, 1), b_lse = std::vector<float>(kRows, 1);
  std::vector<uint8_t> out = std::vector<uint8_t>(kRows * kSize * 4, kUntouched),
                       lse = std::vector<uint8_t>(kRows * 4, kUntouched);
  const void *a_at = a.data(), *b_at = b.data();
  const float *a_lse_at = a_lse.data(), *b_lse_at = b_lse.data();
  void* out_at = out.data();
  float* lse_at = reinterpret_cast<float*>(lse.data());
};

TEST_F(AttentionMergeBoundary, TheGoodCallsAreAccepted) {
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  lse_at = nullptr;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  out_at = a.data();
  lse_at = a_lse.data();
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
}

TEST_F(AttentionMergeBoundary, Params) {
  check_struct(params, given, "params", [&](auto words) { refused(words); });
  for (const int32_t dtype : {0, -1, int{GATUN_I8}}) {
    params.dtype = dtype;
    refused({"params.dtype", std::to_string(dtype).c_str(), "F32, BF16, F16"});
  }
  for (const int32_t threads : {-1, 1025}) {
    params.threads = threads;
    refused({"params.threads", std::to_string(threads).c_str()});
  }
  params.reserved = 1;
  refused({"params.reserved", "1"});
  using Field = int64_t gatun_attention_merge_params::*;
  using P = gatun_attention_merge_params;
  for (const auto& [field, name] : {std::pair<Field, const char*>{&P::batch, "params.batch"},
                                    {&P::heads, "params.heads"},
                                    {&P::length, "params.length"},
                                    {&P::value_size, "params.value_size"}}) {
    for (const int64_t size : {int64_t{-1}, kMin, kMax}) {
      params.*field = size;
      refused({name, std::to_string(size).c_str()});
    }
  }
  params.batch = params.heads = params.length = int64_t{1} << 50;
  refused({"2^59"});
}

TEST_F(AttentionMergeBoundary, Strides) {
  using Field = int64_t gatun_attention_merge_params::*;
  using P = gatun_attention_merge_params;
  const std::pair<Field, const char*> strides[] = {
      {&P::a_batch_stride, "params.a_batch_stride"},     {&P::a_head_stride, "params.a_head_stride"},
      {&P::a_row_stride, "params.a_row_stride"},         {&P::b_batch_stride, "params.b_batch_stride"},
      {&P::b_head_stride, "params.b_head_stride"},       {&P::b_row_stride, "params.b_row_stride"},
      {&P::out_batch_stride, "params.out_batch_stride"}, {&P::out_head_stride, "params.out_head_stride"},
      {&P::out_row_stride, "params.out_row_stride"}};
  for (const auto& [field, name] : strides) {
    params.*field = -1;
    refused({name, "-1"});
    params.*field = kMax;
    refused({"exceed", std::to_string(kMax).c_str()});
  }
  params.out_row_stride = kSize - 1;
  refused({"params.out_row_stride = 7", "at least 8"});
  params.out_head_stride = kLength * kSize - 1;
  refused({"params.out_head_stride = 39", "at least 40"});
}

TEST_F(AttentionMergeBoundary, NullsAndAlignment) {
  a_at = nullptr;
  refused({"a is null"});
  a_at = reinterpret_cast<const char*>(a.data()) + 2;
  params.batch = 1;
  refused({"a is at address", "4"});
  a_at = a.data();
  b_at = nullptr;
  refused({"b is null"});
  b_at = b.data();
  out_at = nullptr;
  refused({"out is null"});
  out_at = out.data();
  a_lse_at = nullptr;
  refused({"a_lse is null"});
  a_lse_at = a_lse.data();
  b_lse_at = nullptr;
  refused({"b_lse is null"});
}

TEST_F(AttentionMergeBoundary, Overlaps) {
  out_at = a.data();
  params.out_row_stride = kSize + 1;  // a itself, with other strides
  params.out_head_stride = kLength * (kSize + 1);
  params.out_batch_stride = kHeads * kLength * (kSize + 1);
  refused({"out", "overlaps", "a"});
  out_at = a.data() + kSize;
  refused({"out", "overlaps", "a"});
  out_at = b.data();
  refused({"out", "overlaps", "b"});
  out_at = out.data();
  lse_at = b_lse.data();
  refused({"lse", "overlaps", "b_lse"});
  lse_at = a_lse.data() + 1;
  refused({"lse", "overlaps", "a_lse"});
  lse_at = reinterpret_cast<float*>(out.data());
  refused({"lse", "overlaps", "out"});
}

}  // namespace
}  // namespace gatun::test
