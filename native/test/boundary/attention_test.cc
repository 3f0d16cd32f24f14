// gatun_attention: every documented refusal.
#include "gatun/attention.h"

#include "boundary.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

constexpr int64_t kBatch = 2, kHeads = 4, kKvHeads = 2, kQueries = 40, kKeys = 50, kSize = 16, kValues = 8;
constexpr int64_t kQueryBlocks = 3, kKeyBlocks = 2, kMaskRows = kBatch * kHeads * kQueryBlocks;

// A good call; each test spoils one thing. With a mask, and ragged, on request.
class AttentionBoundary : public ::testing::Test {
 protected:
  AttentionBoundary() {
    good.struct_size = sizeof(good);
    good.dtype = good.out_dtype = GATUN_F32;
    good.threads = 1;
    good.scale = 0.25f;
    good.window_left = good.window_right = -1;
    good.batch = kBatch;
    good.query_heads = kHeads;
    good.kv_heads = kKvHeads;
    good.query_length = kQueries;
    good.kv_length = kKeys;
    good.head_size = kSize;
    good.value_size = kValues;
    good.q_row_stride = good.k_row_stride = kSize;
    good.v_row_stride = good.out_row_stride = kValues;
    good.q_head_stride = kQueries * kSize;
    good.k_head_stride = kKeys * kSize;
    good.v_head_stride = kKeys * kValues;
    good.out_head_stride = kQueries * kValues;
    good.q_batch_stride = kHeads * kQueries * kSize;
    good.k_batch_stride = kKvHeads * kKeys * kSize;
    good.v_batch_stride = kKvHeads * kKeys * kValues;
    good.out_batch_stride = kHeads * kQueries * kValues;
    good.lse_head_stride = kQueries;
    good.lse_batch_stride = kHeads * kQueries;
    params = good;
  }

  // Row r lists block r % 2 as full and the other one as partial.
  void use_mask() {
    for (int64_t r = 0; r < kMaskRows; ++r) {
      full_blocks.push_back(static_cast<int32_t>(r % 2));
      partial_blocks.push_back(static_cast<int32_t>((r + 1) % 2));
    }
    for (int64_t r = 0; r <= kMaskRows; ++r) {
      full_offsets.push_back(r);
      partial_offsets.push_back(r);
    }
    bits.resize(static_cast<size_t>(kMaskRows * 16 * 32 / 8), 0xff);
    good.query_block = 16;
    good.key_block = 32;
    good.mask_batch = kBatch;
    good.mask_heads = kHeads;
    good.query_blocks = kQueryBlocks;
    good.full_count = good.partial_count = kMaskRows;
    params = good;
    full_offsets_at = full_offsets.data();
    full_at = full_blocks.data();
    partial_offsets_at = partial_offsets.data();
    partial_at = partial_blocks.data();
    bits_at = bits.data();
  }
  void use_offsets() {
    q_offsets_at = q_offsets.data();
    kv_offsets_at = kv_offsets.data();
  }

  int32_t call() {
    return gatun_attention(given, q_at, k_at, v_at, q_offsets_at, kv_offsets_at, slopes_at, sinks_at, correction_at,
                           full_offsets_at, full_at, partial_offsets_at, partial_at, bits_at, out_at, lse_at);
  }
  void refused(std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(call(), words));
    EXPECT_TRUE(untouched(out) && untouched(lse)) << "an output was written";
    params = good;
  }
  void accepted() {
    EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
    params = good;
  }

  gatun_attention_params good{}, params{};
  const gatun_attention_params* given = &params;
  std::vector<float> q = std::vector<float>(kBatch * kHeads * kQueries * kSize, 0.5f),
                     k = std::vector<float>(kBatch * kKvHeads * kKeys * kSize, 0.5f),
                     v = std::vector<float>(kBatch * kKvHeads * kKeys * kValues, 2), slopes = {1, 2, 3, 4},
                     sinks = {0, 0, 0, 0}, correction = std::vector<float>(kBatch * kHeads * kQueries, 1);
  std::vector<int64_t> q_offsets = {0, 15, 40}, kv_offsets = {0, 50, 50}, full_offsets, partial_offsets;
  std::vector<int32_t> full_blocks, partial_blocks;
  std::vector<uint8_t> bits, out = std::vector<uint8_t>(kBatch * kHeads * kQueries * kValues * 4, kUntouched),
                             lse = std::vector<uint8_t>(kBatch * kHeads * kQueries * 4, kUntouched);
  const void *q_at = q.data(), *k_at = k.data(), *v_at = v.data();
  const int64_t *q_offsets_at = nullptr, *kv_offsets_at = nullptr;
  const float *slopes_at = slopes.data(), *sinks_at = sinks.data(), *correction_at = correction.data();
  const int64_t *full_offsets_at = nullptr, *partial_offsets_at = nullptr;
  const int32_t *full_at = nullptr, *partial_at = nullptr;
  const uint8_t* bits_at = nullptr;
  void* out_at = out.data();
  float* lse_at = reinterpret_cast<float*>(lse.data());
};

std::string text(int64_t number) { return std::to_string(number); }

TEST_F(AttentionBoundary, TheGoodCallsAreAccepted) {
  accepted();
  EXPECT_FALSE(untouched(out) || untouched(lse));
  slopes_at = sinks_at = correction_at = nullptr;
  accepted();
  for (const int32_t dtype : {GATUN_F32, GATUN_BF16, GATUN_F16}) {
    for (const int32_t mode : {GATUN_ATTENTION_EXACT, GATUN_ATTENTION_INT8}) {
      for (const int32_t out_dtype : {int32_t{GATUN_F32}, dtype}) {
        params.dtype = dtype;
        params.out_dtype = out_dtype;
        params.mode = mode;
        accepted();
      }
    }
  }
  lse_at = nullptr;
  accepted();
  lse_at = reinterpret_cast<float*>(lse.data());
  v_at = out_at = nullptr;
  accepted();
  v_at = v.data();
  out_at = out.data();
  use_mask();
  accepted();
  bits_at = nullptr;
  accepted();
  params.mask_heads = params.mask_batch = 1;
  accepted();
}

TEST_F(AttentionBoundary, Struct) {
  check_struct(params, given, "params", [&](auto words) { refused(words); });
}

TEST_F(AttentionBoundary, AModeOfGpusAlone) {
  char answer[2048];
  params.mode = GATUN_ATTENTION_INT8_FP8;
  EXPECT_TRUE(unsupported(call(), {"params.mode = 2 (INT8_FP8)", "0 (EXACT) or 1 (INT8)"}));
  EXPECT_TRUE(unsupported(gatun_attention_explain(&params, answer, sizeof(answer)), {"params.mode = 2 (INT8_FP8)"}));
  EXPECT_TRUE(untouched(out) && untouched(lse)) << "an output was written";
}

TEST_F(AttentionBoundary, Enums) {
  for (const int32_t dtype : {0, -1, 99, int{GATUN_I8}, int{GATUN_U4}}) {
    params.dtype = dtype;
    refused({"params.dtype", text(dtype).c_str(), "F32, BF16, F16"});
    params.out_dtype = dtype;
    refused({"params.out_dtype", text(dtype).c_str(), "F32"});
  }
  params.out_dtype = GATUN_BF16;
  refused({"params.out_dtype", "BF16", "allowed: F32"});
  params.dtype = GATUN_BF16;
  params.out_dtype = GATUN_F16;
  refused({"params.out_dtype", "F16", "allowed: F32, BF16"});
  for (const int32_t number : {-1, 3, 1 << 30}) {
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

TEST_F(AttentionBoundary, Numbers) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
  for (const float number : {kNan, kInfinity, -kInfinity}) {
    params.scale = number;
    refused({"params.scale", "finite"});
    params.soft_cap = number;
    refused({"params.soft_cap", "finite"});
  }
  params.soft_cap = -1;
  refused({"params.soft_cap", "-1"});
  for (const int64_t window : {int64_t{-2}, kMin}) {
    params.window_left = window;
    refused({"params.window_left", text(window).c_str(), "at least -1"});
    params.window_right = window;
    refused({"params.window_right", text(window).c_str(), "at least -1"});
  }
  for (const int64_t sink_keys : {int64_t{-1}, kMin}) {
    params.sink_keys = sink_keys;
    refused({"params.sink_keys", text(sink_keys).c_str()});
  }
  params.window_left = params.window_right = params.sink_keys = kMax;
  accepted();
}

TEST_F(AttentionBoundary, Sizes) {
  for (const int64_t size : {int64_t{-1}, kMin, kMax}) {
    params.batch = size;
    refused({"params.batch", text(size).c_str()});
    params.query_heads = size;
    refused({"params.query_heads", text(size).c_str()});
    params.kv_heads = size;
    refused({"params.kv_heads", text(size).c_str()});
    params.query_length = size;
    refused({"params.query_length", text(size).c_str()});
    params.kv_length = size;
    refused({"params.kv_length", text(size).c_str()});
  }
  params.kv_heads = 3;
  refused({"params.query_heads = 4", "multiples of params.kv_heads = 3"});
  params.kv_heads = 0;
  refused({"params.query_heads = 4", "params.kv_heads = 0"});
  for (const int64_t size : {int64_t{-8}, int64_t{0}, int64_t{4}, int64_t{12}, int64_t{264}, kMax, kMin}) {
    params.head_size = size;
    refused({"params.head_size", text(size).c_str(), "multiples of 8 in 8..256"});
    params.value_size = size;
    refused({"params.value_size", text(size).c_str(), "multiples of 8 in 8..256"});
  }
}

TEST_F(AttentionBoundary, Strides) {
  using Field = int64_t gatun_attention_params::*;
  using P = gatun_attention_params;
  const std::pair<Field, const char*> strides[] = {
      {&P::q_batch_stride, "q_batch_stride"},     {&P::q_head_stride, "q_head_stride"},
      {&P::q_row_stride, "q_row_stride"},         {&P::k_batch_stride, "k_batch_stride"},
      {&P::k_head_stride, "k_head_stride"},       {&P::k_row_stride, "k_row_stride"},
      {&P::v_batch_stride, "v_batch_stride"},     {&P::v_head_stride, "v_head_stride"},
      {&P::v_row_stride, "v_row_stride"},         {&P::out_batch_stride, "out_batch_stride"},
      {&P::out_head_stride, "out_head_stride"},   {&P::out_row_stride, "out_row_stride"},
      {&P::lse_batch_stride, "lse_batch_stride"}, {&P::lse_head_stride, "lse_head_stride"}};
  for (const auto& [field, name] : strides) {
    for (const int64_t stride : {int64_t{-1}, kMin}) {
      params.*field = stride;
      refused({name, text(stride).c_str(), "at least 0"});
    }
    for (const int64_t huge : {kMax, int64_t{1} << 60}) {
      params.*field = huge;
      refused({std::string(name).substr(0, std::string(name).find('_')).c_str(), text(huge).c_str(), "exceed"});
    }
  }
  // Rows of inputs may be the same, those of outputs may not.
  params.q_batch_stride = params.k_row_stride = params.v_head_stride = 0;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  out.assign(out.size(), kUntouched);
  lse.assign(lse.size(), kUntouched);
  params = good;
  for (const int64_t less : {int64_t{0}, kValues - 1}) {
    params.out_row_stride = less;
    refused({"params.out_row_stride", text(less).c_str(), "at least 8"});
  }
  params.out_head_stride = kQueries * kValues - 1;
  refused({"params.out_head_stride", "at least 320"});
  params.out_batch_stride = kHeads * kQueries * kValues - 1;
  refused({"params.out_batch_stride", "at least 1280"});
  params.lse_head_stride = kQueries - 1;
  refused({"params.lse_head_stride", "at least 40"});
  params.lse_batch_stride = kHeads * kQueries - 1;
  refused({"params.lse_batch_stride", "at least 160"});
  // Heads within rows.
  params.out_head_stride = kValues;
  params.out_row_stride = kHeads * kValues;
  accepted();
}

TEST_F(AttentionBoundary, Nulls) {
  q_at = nullptr;
  refused({"q is null"});
  q_at = q.data();
  k_at = nullptr;
  refused({"k is null"});
  k_at = k.data();
  v_at = nullptr;
  refused({"v is null", "out"});
  v_at = v.data();
  out_at = nullptr;
  refused({"out is null", "v"});
  v_at = nullptr;
  lse_at = nullptr;
  refused({"lse is null", "out"});
}

TEST_F(AttentionBoundary, Alignment) {
  const auto shifted = [](const auto* data, int64_t bytes) { return reinterpret_cast<const char*>(data) + bytes; };
  q_at = shifted(q.data(), 2);
  params.batch = 1;
  refused({"q is at address", "4"});
  q_at = q.data();
  k_at = shifted(k.data(), 1);
  params.batch = 1;
  refused({"k is at address", "4"});
  k_at = k.data();
  v_at = shifted(v.data(), 3);
  params.batch = 1;
  refused({"v is at address", "4"});
  v_at = v.data();
  out_at = out.data() + 2;
  params.batch = 1;
  refused({"out is at address", "4"});
  out_at = out.data();
  lse_at = reinterpret_cast<float*>(lse.data() + 1);
  params.batch = 1;
  refused({"lse is at address", "4"});
  lse_at = reinterpret_cast<float*>(lse.data());
  slopes_at = reinterpret_cast<const float*>(shifted(q.data(), 1));
  refused({"slopes is at address", "4"});
  slopes_at = nullptr;
  sinks_at = reinterpret_cast<const float*>(shifted(q.data(), 1));
  refused({"sinks is at address", "4"});
  sinks_at = nullptr;
  correction_at = reinterpret_cast<const float*>(shifted(q.data(), 2));
  refused({"correction is at address", "4"});
  correction_at = nullptr;
  use_offsets();
  q_offsets_at = reinterpret_cast<const int64_t*>(shifted(q.data(), 4 - reinterpret_cast<intptr_t>(q.data()) % 8));
  refused({"q_offsets is at address", "8"});
}

TEST_F(AttentionBoundary, Overlaps) {
  const auto overlap = [&](const char* name) { refused({"overlaps", name}); };
  q_at = out.data();
  overlap("q");
  q_at = q.data();
  k_at = out.data() + 16;
  overlap("k");
  k_at = k.data();
  v_at = lse.data();
  overlap("v");
  v_at = v.data();
  slopes_at = reinterpret_cast<const float*>(out.data());
  overlap("slopes");
  slopes_at = nullptr;
  sinks_at = reinterpret_cast<const float*>(lse.data() + lse.size() - 4);
  overlap("sinks");
  sinks_at = nullptr;
  correction_at = reinterpret_cast<const float*>(lse.data());
  overlap("correction");
  correction_at = nullptr;
  lse_at = reinterpret_cast<float*>(out.data());
  overlap("lse");
}

TEST_F(AttentionBoundary, Offsets) {
  use_offsets();
  params.q_batch_stride = params.out_batch_stride = params.lse_batch_stride = -1;  // ignored
  correction_at = nullptr;
  accepted();
  out.assign(out.size(), kUntouched);
  lse.assign(lse.size(), kUntouched);
  kv_offsets_at = nullptr;
  refused({"kv_offsets is null"});
  kv_offsets_at = kv_offsets.data();
  q_offsets_at = nullptr;
  refused({"q_offsets is null"});
  q_offsets_at = q_offsets.data();
  const auto spoiled = [&](std::vector<int64_t>& offsets, const char* name, int64_t length) {
    const std::vector<int64_t> before = offsets;
    for (const int64_t first : {int64_t{-1}, kMin, length + 1, kMax}) {
      offsets[0] = first;
      refused({(std::string(name) + "[0]").c_str(), text(first).c_str()});
    }
    offsets = before;
    for (const int64_t last : {length + 1, kMax, offsets[1] - 1, int64_t{-1}, kMin}) {
      offsets[2] = last;
      refused({(std::string(name) + "[2]").c_str(), text(last).c_str(), text(length).c_str()});
    }
    offsets = before;
  };
  spoiled(q_offsets, "q_offsets", kQueries);
  spoiled(kv_offsets, "kv_offsets", kKeys);
}

TEST_F(AttentionBoundary, MaskSizes) {
  using Field = int64_t gatun_attention_params::*;
  using P = gatun_attention_params;
  const std::pair<Field, const char*> fields[] = {{&P::query_block, "query_block"},    {&P::key_block, "key_block"},
                                                  {&P::mask_batch, "mask_batch"},      {&P::mask_heads, "mask_heads"},
                                                  {&P::query_blocks, "query_blocks"},  {&P::full_count, "full_count"},
                                                  {&P::partial_count, "partial_count"}};
  for (const auto& [field, name] : fields) {
    params.*field = 16;
    refused({name, "16", "without a mask", "0"});
  }
  use_mask();
  for (const int64_t block : {int64_t{0}, int64_t{-16}, int64_t{8}, int64_t{24}, int64_t{144}, kMax}) {
    params.query_block = block;
    refused({"params.query_block", text(block).c_str(), "multiples of 16 in 16..128"});
    params.key_block = block;
    refused({"params.key_block", text(block).c_str(), "multiples of 16 in 16..128"});
  }
  for (const int64_t count : {int64_t{-1}, int64_t{0}, int64_t{3}, kMax}) {
    params.mask_batch = count;
    refused({"params.mask_batch", text(count).c_str(), "1, or params.batch = 2"});
    params.mask_heads = count;
    refused({"params.mask_heads", text(count).c_str(), "1, or params.query_heads = 4"});
  }
  params.query_blocks = kQueryBlocks - 1;
  refused({"params.query_blocks = 2", "at least 3", "40 queries"});
  params.query_blocks = kMax;
  refused({"params.query_blocks", text(kMax).c_str()});
  params.query_blocks = int64_t{1} << 60;
  refused({"a mask of 2 x 4 x 1152921504606846976 rows", "2^60"});
  for (const int64_t count : {int64_t{-1}, kMin}) {
    params.full_count = count;
    refused({"full_count", text(count).c_str()});
    params.partial_count = count;
    refused({"partial_count", text(count).c_str()});
  }
  params.partial_count = kMax;
  refused({"partial_count", text(kMax).c_str()});
  params.full_count = kMaskRows - 1;
  refused({"full_offsets", "full_count = 23"});
  params.partial_count = kMaskRows - 1;
  refused({"partial_offsets", "partial_count = 23"});
}

TEST_F(AttentionBoundary, MaskLists) {
  use_mask();
  const auto null = [&](auto& pointer, const char* words) {
    const auto before = pointer;
    pointer = nullptr;
    refused({words});
    pointer = before;
  };
  null(full_offsets_at, "full_offsets is null");
  null(full_at, "full_blocks is null");
  null(partial_offsets_at, "partial_offsets is null");
  null(partial_at, "partial_blocks is null");
  full_blocks[7] = kKeyBlocks;
  refused({"full_blocks[7] = 2", "row 7", "0..1"});
  full_blocks[7] = -1;
  refused({"full_blocks[7] = -1", "row 7"});
  full_blocks[7] = 0;
  refused({"[7]", "row 7", "in one list"});
  full_blocks[7] = 1;
  full_offsets[0] = 1;
  refused({"full_offsets[0]"});
  full_offsets[0] = 0;
  full_offsets[5] = 3;
  refused({"full_offsets[5] = 3", "after 4", "ascending"});
  full_offsets[5] = 5;
  partial_offsets[3] = 4;
  refused({"partial_blocks[3] = 0", "after 1", "row 2", "ascending"});
  partial_offsets[3] = 3;
  partial_offsets[kMaskRows] = kMaskRows + 1;
  refused({"partial_offsets[24] = 25", "partial_count = 24"});
  partial_offsets[kMaskRows] = kMaskRows;
  for (void* const written : {static_cast<void*>(full_offsets.data()), static_cast<void*>(full_blocks.data()),
                              static_cast<void*>(partial_blocks.data()), static_cast<void*>(bits.data())}) {
    lse_at = static_cast<float*>(written);
    refused({"lse", "overlaps"});
  }
}

// Lists fit the keys of their own item; shared ones those of each item that has queries.
TEST_F(AttentionBoundary, MaskListsOfRaggedItems) {
  use_mask();
  use_offsets();
  correction_at = nullptr;
  refused({"row 12", "blocks of keys"});  // item 1 has no keys
  kv_offsets = {0, 18, 50};               // item 0 has one block
  refused({"row 0", "partial_blocks[0] = 1", "0..0"});
  params.mask_batch = 1;
  refused({"row 0", "0..0"});
  q_offsets = {0, 0, 40};  // item 0 has no queries
  params.mask_batch = 1;
  kv_offsets = {0, 18, 50};
  for (int32_t& block : partial_blocks) block = 0;
  for (size_t r = 0; r <= kMaskRows; ++r) full_offsets[r] = 0;
  accepted();
}

TEST_F(AttentionBoundary, Explain) {
  check_text([&](char* written, int64_t capacity) { return gatun_attention_explain(given, written, capacity); }, 2048);
  std::vector<char> explained(2048, '\x7f');
  EXPECT_TRUE(invalid(gatun_attention_explain(nullptr, explained.data(), 2048), {"params"}));
  params.head_size = 7;
  EXPECT_TRUE(invalid(gatun_attention_explain(given, explained.data(), 2048), {"head_size", "7"}));
  EXPECT_EQ(explained, std::vector<char>(2048, '\x7f'));
}

}  // namespace
}  // namespace gatun::test
