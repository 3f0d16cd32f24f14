// A good call of gatun_decode, of which each test spoils one thing.
#pragma once

#include <cstring>
#include <type_traits>

#include "boundary.h"
#include "gatun/decode.h"

namespace gatun::test::decode {

inline constexpr int64_t kBatch = 2, kHeads = 4, kKvHeads = 2, kQueries = 3, kSize = 32, kValues = 16;
inline constexpr int64_t kPages = 7, kPageSize = 16, kTable = 3;

inline std::string text(int64_t number) { return std::to_string(number); }

inline gatun_kv_layout layout_of(int64_t size) {
  gatun_kv_layout l{};
  l.struct_size = sizeof(l);
  l.dtype = GATUN_F32;
  l.size = size;
  l.heads = kKvHeads;
  l.pages = kPages;
  l.page_size = kPageSize;
  l.row_stride = size * 4;
  l.head_stride = kPageSize * l.row_stride;
  l.page_stride = kKvHeads * l.head_stride;
  return l;
}

// Keys of U4 and values of I8 on request.
class DecodeBoundary : public ::testing::Test {
 protected:
  DecodeBoundary() {
    good.struct_size = sizeof(good);
    good.dtype = good.out_dtype = GATUN_F32;
    good.threads = 1;
    good.scale = 0.25f;
    good.window_left = -1;
    good.batch = kBatch;
    good.query_heads = kHeads;
    good.query_length = kQueries;
    good.table_heads = 1;
    good.table_stride = kTable;
    good.q_row_stride = kSize;
    good.q_head_stride = kQueries * kSize;
    good.q_batch_stride = kHeads * kQueries * kSize;
    good.out_row_stride = kValues;
    good.out_head_stride = kQueries * kValues;
    good.out_batch_stride = kHeads * kQueries * kValues;
    good.lse_head_stride = kQueries;
    good.lse_batch_stride = kHeads * kQueries;
    good.logits_row_stride = kLongest;
    good.logits_head_stride = kQueries * kLongest;
    good.logits_batch_stride = kHeads * kQueries * kLongest;
    reset();
  }

  void use_codes() {
    good_k.dtype = GATUN_U4;
    good_k.scaling = GATUN_KV_PER_TOKEN;
    good_k.zero_point = GATUN_ZERO_FLOAT;
    good_k.group = 16;
    good_k.scale_row_stride = 2;
    good_k.scale_head_stride = kPageSize * 2;
    good_k.scale_page_stride = kKvHeads * kPageSize * 2;
    good_v.dtype = GATUN_I8;
    good_v.scaling = GATUN_KV_PER_CHANNEL;
    good_v.group = 16;
    good_v.scale_row_stride = good_v.scale_head_stride = kValues;
    good_v.scale_page_stride = kKvHeads * kValues;
    k_scales_at = k_zeros_at = scales.data();
    v_scales_at = scales.data();
    reset();
  }
  void reset() {
    params = good;
    k_layout = good_k;
    v_layout = good_v;
  }

  int32_t call() {
    return gatun_decode(given, k_given, v_given, q_at, k_at, k_scales_at, k_zeros_at, v_at, v_scales_at, v_zeros_at,
                        table_at, lengths_at, slopes_at, sinks_at, out_at, lse_at, logits_at);
  }
  void refused(std::initializer_list<const char *> words) {
    EXPECT_TRUE(invalid(call(), words));
    EXPECT_TRUE(untouched(out) && untouched(lse) && untouched(logits)) << "an output was written";
    reset();
  }
  void accepted() {
    EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
    reset();
  }

  static constexpr int64_t kLongest = 40;
  static constexpr int64_t kSpare = 1 << 16;  // behind outputs: an input from within one on overlaps it alone
  gatun_decode_params good{}, params{};
  gatun_kv_layout good_k = layout_of(kSize), good_v = layout_of(kValues), k_layout{}, v_layout{};
  const gatun_decode_params *given = &params;
  const gatun_kv_layout *k_given = &k_layout, *v_given = &v_layout;
  std::vector<float> q = std::vector<float>(kBatch * kHeads * kQueries * kSize, 0.5f),
                     k = std::vector<float>(kPages * kKvHeads * kPageSize * kSize, 0.5f),
                     v = std::vector<float>(kPages * kKvHeads * kPageSize * kValues, 2), slopes = {1, 2, 3, 4},
                     sinks = {0, 0, 0, 0};
  std::vector<uint16_t> scales = std::vector<uint16_t>(kPages * kKvHeads * kPageSize * 2, 0x3c00);
  std::vector<int32_t> table = {6, 0, 3, 1, -1, 99};
  std::vector<int64_t> lengths = {kLongest, 16};
  std::vector<uint8_t> out = std::vector<uint8_t>(kBatch * kHeads * kQueries * kValues * 4 + kSpare, kUntouched),
                       lse = std::vector<uint8_t>(kBatch * kHeads * kQueries * 4 + kSpare, kUntouched),
                       logits = std::vector<uint8_t>(kBatch * kHeads * kQueries * kLongest * 4 + kSpare, kUntouched);
  const void *q_at = q.data(), *k_at = k.data(), *v_at = v.data();
  const void *k_scales_at = nullptr, *k_zeros_at = nullptr, *v_scales_at = nullptr, *v_zeros_at = nullptr;
  const int32_t *table_at = table.data();
  const int64_t *lengths_at = lengths.data();
  const float *slopes_at = slopes.data(), *sinks_at = sinks.data();
  void *out_at = out.data();
  float *lse_at = reinterpret_cast<float *>(lse.data()), *logits_at = reinterpret_cast<float *>(logits.data());
};

}  // namespace gatun::test::decode
