// gatun_decode: every documented refusal.
#include "decode_boundary.h"

namespace gatun::test::decode {
namespace {

TEST_F(DecodeBoundary, TheGoodCallsAreAccepted) {
  accepted();
  EXPECT_FALSE(untouched(out) || untouched(lse) || untouched(logits));
  slopes_at = sinks_at = nullptr;
  for (const int32_t dtype : {GATUN_F32, GATUN_BF16, GATUN_F16}) {
    for (const int32_t mode : {GATUN_DECODE_EXACT, GATUN_DECODE_INT8}) {
      for (const int32_t out_dtype : {int32_t{GATUN_F32}, dtype}) {
        params.dtype = dtype;
        params.out_dtype = out_dtype;
        params.mode = mode;
        accepted();
      }
    }
  }
  lse_at = logits_at = nullptr;
  accepted();
  table_at = nullptr;
  params.table_stride = 1;
  lengths = {16, 0};
  accepted();
  table_at = table.data();
  v_given = nullptr;
  v_at = out_at = nullptr;
  lse_at = reinterpret_cast<float*>(lse.data());
  accepted();
}

TEST_F(DecodeBoundary, GoodCallsWithCodes) {
  use_codes();
  accepted();
  EXPECT_FALSE(untouched(out) || untouched(lse) || untouched(logits));
}

TEST_F(DecodeBoundary, Structs) {
  check_struct(params, given, "params", [&](auto words) { refused(words); });
  check_struct(k_layout, k_given, "k_layout", [&](auto words) { refused(words); });
  const gatun_kv_layout other{};
  v_given = &other;
  refused({"v_layout.struct_size = 0;"});
}

TEST_F(DecodeBoundary, Enums) {
  for (const int32_t dtype : {0, -1, 99, int{GATUN_I8}, int{GATUN_U4}}) {
    params.dtype = dtype;
    refused({"params.dtype", text(dtype).c_str(), "F32, BF16, F16"});
    params.out_dtype = dtype;
    refused({"params.out_dtype", text(dtype).c_str(), "F32"});
  }
  params.dtype = GATUN_BF16;
  params.out_dtype = GATUN_F16;
  refused({"params.out_dtype", "F16", "allowed: F32, BF16"});
  for (const int32_t number : {-1, 2, 1 << 30}) {
    params.mode = number;
    refused({"params.mode", text(number).c_str()});
    params.causal = number;
    refused({"params.causal", text(number).c_str()});
  }
  for (const int32_t threads : {-1, 1025}) {
    params.threads = threads;
    refused({"params.threads", text(threads).c_str(), "1024"});
  }
}

TEST_F(DecodeBoundary, Numbers) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  for (const float number : {kNan, kInfinity, -kInfinity}) {
    params.scale = number;
    refused({"params.scale", "finite"});
    params.soft_cap = number;
    refused({"params.soft_cap", "finite"});
  }
  params.soft_cap = -1;
  refused({"params.soft_cap", "-1"});
  for (const int64_t number : {int64_t{-2}, kMin}) {
    params.window_left = number;
    refused({"params.window_left", text(number).c_str(), "at least -1"});
    params.sink_keys = number;
    refused({"params.sink_keys", text(number).c_str(), "at least 0"});
  }
  params.window_left = params.sink_keys = kMax;
  accepted();
}

TEST_F(DecodeBoundary, Sizes) {
  for (const int64_t size : {int64_t{-1}, kMin, kMax}) {
    params.batch = size;
    refused({"params.batch", text(size).c_str()});
    params.query_heads = size;
    refused({"params.query_heads", text(size).c_str()});
    params.query_length = size;
    refused({"params.query_length", text(size).c_str(), "0..256"});
    params.table_heads = size;
    refused({"params.table_heads", text(size).c_str(), "k_layout.heads = 2"});
    params.table_stride = size;
    refused({"params.table_stride", text(size).c_str()});
  }
  params.query_length = 257;
  refused({"params.query_length = 257", "0..256"});
  params.query_heads = 3;
  refused({"params.query_heads = 3", "multiples of k_layout.heads = 2"});
  k_layout.heads = 0;
  refused({"params.query_heads = 4", "k_layout.heads = 0"});
  params.table_heads = 0;
  refused({"params.table_heads = 0", "1, or k_layout.heads = 2"});
  params.table_heads = 2;
  table_at = nullptr;
  refused({"params.table_stride = 3", "1, since table is null"});
  params.table_stride = 1;
  params.batch = kPages + 1;
  refused({"params.batch = 8", "0..7", "table is null"});
}

// What gatun/kv_cache.h says of each layout alone.
TEST_F(DecodeBoundary, Strides) {
  using Field = int64_t gatun_decode_params::*;
  using P = gatun_decode_params;
  const std::pair<Field, const char*> strides[] = {{&P::q_batch_stride, "q_batch_stride"},
                                                   {&P::q_head_stride, "q_head_stride"},
                                                   {&P::q_row_stride, "q_row_stride"},
                                                   {&P::out_batch_stride, "out_batch_stride"},
                                                   {&P::out_head_stride, "out_head_stride"},
                                                   {&P::out_row_stride, "out_row_stride"},
                                                   {&P::lse_batch_stride, "lse_batch_stride"},
                                                   {&P::lse_head_stride, "lse_head_stride"},
                                                   {&P::logits_batch_stride, "logits_batch_stride"},
                                                   {&P::logits_head_stride, "logits_head_stride"},
                                                   {&P::logits_row_stride, "logits_row_stride"}};
  for (const auto& [field, name] : strides) {
    for (const int64_t stride : {int64_t{-1}, kMin}) {
      params.*field = stride;
      refused({name, text(stride).c_str(), "at least 0"});
    }
    for (const int64_t huge : {kMax, int64_t{1} << 60}) {
      params.*field = huge;
      refused({std::string(name).substr(0, std::string(name).find('_')).c_str(), text(huge).c_str(), "exceed"});
    }
    // Rows of outputs may not be the same.
    if (*name == 'q') continue;
    params.*field = 0;
    refused({name, "at least"});
  }
  params.q_batch_stride = params.q_head_stride = params.q_row_stride = 0;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
}

TEST_F(DecodeBoundary, StridesOfWhatIsThereOnce) {
  slopes_at = sinks_at = nullptr;
  params.batch = params.query_heads = params.query_length = 1;
  k_layout.heads = v_layout.heads = 1;
  for (int64_t* const stride :
       {&params.q_batch_stride, &params.q_head_stride, &params.q_row_stride, &params.out_batch_stride,
        &params.out_head_stride, &params.out_row_stride, &params.lse_batch_stride, &params.lse_head_stride,
        &params.logits_batch_stride, &params.logits_head_stride, &params.logits_row_stride, &k_layout.head_stride,
        &v_layout.head_stride}) {
    *stride = kMax;
  }
  accepted();
  float first;
  std::memcpy(&first, out.data(), 4);
  EXPECT_NEAR(first, 2, 0x1p-20);  // as all values are
}

TEST_F(DecodeBoundary, Lengths) {
  for (const int64_t length : {int64_t{-1}, kTable * kPageSize + 1, kMin, kMax}) {
    lengths[1] = length;
    refused({"lengths[1, 0]", text(length).c_str(), "0..48"});
  }
  lengths = {kLongest, 0, 16, -1};
  params.table_heads = 2;
  table.resize(12);
  table_at = table.data();
  lengths_at = lengths.data();
  refused({"lengths[1, 1] = -1"});
}

TEST_F(DecodeBoundary, Tables) {
  for (const int32_t page : {-1, 7, INT32_MIN, INT32_MAX}) {
    table[2] = page;
    refused({"table[0, 0, 2]", text(page).c_str(), "0..6", "first 3"});
  }
  table[2] = 6;
  table[3] = 7;
  refused({"table[1, 0, 0] = 7"});
  lengths[1] = 0;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
}

TEST_F(DecodeBoundary, NothingToDo) {
  params.batch = 0;
  EXPECT_EQ(gatun_decode(&params, &k_layout, &v_layout, nullptr, k_at, nullptr, nullptr, v_at, nullptr, nullptr,
                         nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr),
            GATUN_INVALID_ARGUMENT)
      << "without a table its rows have one entry";
  params.table_stride = 1;
  EXPECT_EQ(gatun_decode(&params, &k_layout, &v_layout, nullptr, k_at, nullptr, nullptr, v_at, nullptr, nullptr,
                         nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr),
            GATUN_OK)
      << gatun_last_error();
  EXPECT_TRUE(untouched(out));
}

TEST_F(DecodeBoundary, Explain) {
  check_text(
      [&](char* text, int64_t capacity) { return gatun_decode_explain(&params, &k_layout, &v_layout, text, capacity); },
      2048);
  check_text(
      [&](char* text, int64_t capacity) { return gatun_decode_explain(&params, &k_layout, nullptr, text, capacity); },
      2048);
  char said[2048];
  EXPECT_TRUE(invalid(gatun_decode_explain(nullptr, &k_layout, &v_layout, said, 2048), {"params is null"}));
  EXPECT_TRUE(invalid(gatun_decode_explain(&params, nullptr, &v_layout, said, 2048), {"k_layout is null"}));
  params.scale = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(invalid(gatun_decode_explain(&params, &k_layout, &v_layout, said, 2048), {"params.scale"}));
}

}  // namespace
}  // namespace gatun::test::decode
