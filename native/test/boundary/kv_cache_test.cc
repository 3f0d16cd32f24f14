// gatun_kv_cache_write, gatun_kv_cache_read, gatun_kv_cache_move: every documented refusal.
#include "gatun/kv_cache.h"

#include <numeric>

#include "boundary.h"

namespace gatun::test {
namespace {

constexpr int64_t kHeads = 2, kPages = 3, kPageSize = 32, kSize = 32, kGroup = 16, kTokens = 32;
constexpr int64_t kRowBytes = kSize / 2, kScales = kSize / kGroup;

class KvCacheBoundary : public ::testing::Test {
 protected:
  KvCacheBoundary() {
    good_layout.struct_size = sizeof(good_layout);
    good_layout.dtype = GATUN_U4;
    good_layout.scaling = GATUN_KV_PER_TOKEN;
    good_layout.zero_point = GATUN_ZERO_FLOAT;
    good_layout.size = kSize;
    good_layout.group = kGroup;
    good_layout.heads = kHeads;
    good_layout.pages = kPages;
    good_layout.page_size = kPageSize;
    good_layout.row_stride = kRowBytes;
    good_layout.head_stride = kPageSize * kRowBytes;
    good_layout.page_stride = kHeads * kPageSize * kRowBytes;
    good_layout.scale_row_stride = kScales;
    good_layout.scale_head_stride = kPageSize * kScales;
    good_layout.scale_page_stride = kHeads * kPageSize * kScales;
    layout = good_layout;
    good.struct_size = sizeof(good);
    good.dtype = GATUN_F32;
    good.threads = 1;
    good.tokens = kTokens;
    good.x_row_stride = kSize;
    good.x_head_stride = kTokens * kSize;
    params = good;
    std::iota(slots.begin(), slots.end(), 32);
    std::iota(others.begin(), others.end(), 0);
  }

  int32_t write() { return gatun_kv_cache_write(given, given_layout, x_at, slots_at, pages_at, scales_at, zeros_at); }
  int32_t read() { return gatun_kv_cache_read(given, given_layout, pages_at, scales_at, zeros_at, slots_at, x_at); }
  int32_t move() {
    return gatun_kv_cache_move(given_layout, params.tokens, slots_at, others_at, pages_at, scales_at, zeros_at);
  }
  bool nothing_written() { return untouched(pages) && untouched(scales) && untouched(zeros) && untouched(x); }
  void reset() {
    params = good;
    layout = good_layout;
  }
  void refused(int32_t status, std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(status, words));
    EXPECT_TRUE(nothing_written()) << "an output was written";
  }
  // Of writing and reading; of all three.
  void rows_refused(std::initializer_list<const char*> words) {
    refused(write(), words);
    refused(read(), words);
    reset();
  }
  void all_refused(std::initializer_list<const char*> words) {
    refused(move(), words);
    rows_refused(words);
  }
  // One scale for each channel of 16 rows.
  void per_channel() {
    layout.scaling = GATUN_KV_PER_CHANNEL;
    layout.scale_row_stride = kSize;
    layout.scale_head_stride = kPageSize / kGroup * kSize;
    layout.scale_page_stride = kHeads * layout.scale_head_stride;
  }

  gatun_kv_layout good_layout{}, layout{};
  gatun_kv_rows_params good{}, params{};
  const gatun_kv_layout* given_layout = &layout;
  const gatun_kv_rows_params* given = &params;
  // As floats the bytes of x are finite: no call is refused for its values.
  std::vector<uint8_t> x = std::vector<uint8_t>(kHeads * kTokens * kSize * 4, kUntouched),
                       pages = std::vector<uint8_t>(kPages * kHeads * kPageSize * kRowBytes, kUntouched),
                       scales = std::vector<uint8_t>(kPages * kHeads * kPageSize * kScales * 2, kUntouched),
                       zeros = scales;
  std::vector<int64_t> slots = std::vector<int64_t>(kTokens), others = slots;
  void *x_at = x.data(), *pages_at = pages.data(), *scales_at = scales.data(), *zeros_at = zeros.data();
  const int64_t *slots_at = slots.data(), *others_at = others.data();
};

TEST_F(KvCacheBoundary, TheGoodCallsAreAccepted) {
  EXPECT_EQ(write(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(read(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(move(), GATUN_OK) << gatun_last_error();
  per_channel();
  EXPECT_EQ(write(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(move(), GATUN_OK) << gatun_last_error();
  slots[3] = -1;
  slots[4] = 7;
  EXPECT_EQ(read(), GATUN_OK) << gatun_last_error();
}

TEST_F(KvCacheBoundary, Params) {
  check_struct(params, given, "params", [&](auto words) { rows_refused(words); });
  check_struct(layout, given_layout, "layout", [&](auto words) { all_refused(words); });
  for (const int32_t dtype : {0, -1, int{GATUN_I8}, int{GATUN_F8E4M3}}) {
    params.dtype = dtype;
    rows_refused({"params.dtype", std::to_string(dtype).c_str(), "F32, BF16, F16"});
  }
  for (const int32_t threads : {-1, 1025}) {
    params.threads = threads;
    rows_refused({"params.threads", std::to_string(threads).c_str()});
  }
  params.reserved = 1;
  rows_refused({"params.reserved", "1"});
  for (const int64_t tokens : {int64_t{-1}, kMin, kMax}) {
    params.tokens = tokens;
    all_refused({"tokens", std::to_string(tokens).c_str()});
  }
  for (const int64_t stride : {int64_t{-1}, kMin}) {
    params.x_head_stride = stride;
    rows_refused({"params.x_head_stride", std::to_string(stride).c_str()});
    params.x_row_stride = stride;
    rows_refused({"params.x_row_stride", std::to_string(stride).c_str()});
  }
  params.x_row_stride = kSize - 1;
  rows_refused({"params.x_row_stride = 31", "32"});
  params.x_row_stride = kMax;
  rows_refused({"x", "exceed 2^59"});
  params.x_head_stride = kTokens * kSize - 1;
  refused(read(), {"params.x_head_stride = 1023", "at least 1024"});
}

TEST_F(KvCacheBoundary, Formats) {
  for (const int32_t dtype : {0, -1, int{GATUN_U8}, int{GATUN_F4E2M1}, 99}) {
    layout.dtype = dtype;
    all_refused({"layout.dtype", std::to_string(dtype).c_str(), "F32, BF16, F16, F8E4M3, F8E5M2, I8, U4, U2"});
  }
  for (const int32_t scaling : {-1, 0, 3}) {
    layout.scaling = scaling;
    all_refused({"layout.scaling", std::to_string(scaling).c_str()});
  }
  layout.dtype = GATUN_BF16;
  all_refused({"layout.scaling = 1", "values"});
  for (const int32_t zero_point : {-1, 1, 3}) {
    layout.zero_point = zero_point;
    all_refused({"layout.zero_point", std::to_string(zero_point).c_str(), "GATUN_ZERO_FLOAT"});
  }
  layout.dtype = GATUN_I8;
  all_refused({"layout.zero_point = 2", "GATUN_ZERO_NONE"});
  for (const int64_t size : {int64_t{0}, int64_t{-8}, int64_t{4}, int64_t{33}, int64_t{264}, kMin, kMax}) {
    layout.size = size;
    all_refused({"layout.size", std::to_string(size).c_str(), "8..256"});
  }
  for (const int64_t group : {int64_t{0}, int64_t{-16}, int64_t{8}, int64_t{24}, int64_t{48}, kMin, kMax}) {
    layout.group = group;
    all_refused({"layout.group", std::to_string(group).c_str(), "16", "layout.size = 32"});
  }
  for (const int64_t group : {int64_t{0}, int64_t{-16}, int64_t{8}, int64_t{24}, int64_t{48}, int64_t{64}}) {
    per_channel();
    layout.group = group;
    all_refused({"layout.group", std::to_string(group).c_str(), "16", "layout.page_size = 32"});
  }
  layout.dtype = GATUN_F8E4M3;
  layout.scaling = GATUN_KV_UNSCALED;
  layout.zero_point = GATUN_ZERO_NONE;
  all_refused({"layout.group = 16", "0"});
}

TEST_F(KvCacheBoundary, Pools) {
  using Field = int64_t gatun_kv_layout::*;
  using L = gatun_kv_layout;
  for (const auto& [field, name] : {std::pair<Field, const char*>{&L::heads, "layout.heads"},
                                    {&L::pages, "layout.pages"},
                                    {&L::page_size, "layout.page_size"}}) {
    for (const int64_t size : {int64_t{-1}, kMin, kMax}) {
      layout.*field = size;
      all_refused({name, std::to_string(size).c_str()});
    }
  }
  layout.page_size = 0;
  all_refused({"layout.page_size = 0"});
  layout.pages = int64_t{1} << 54;
  all_refused({"layout.pages", "2^59"});
  for (const auto& [field, name] : {std::pair<Field, const char*>{&L::page_stride, "layout.page_stride"},
                                    {&L::head_stride, "layout.head_stride"},
                                    {&L::row_stride, "layout.row_stride"},
                                    {&L::scale_page_stride, "layout.scale_page_stride"},
                                    {&L::scale_head_stride, "layout.scale_head_stride"},
                                    {&L::scale_row_stride, "layout.scale_row_stride"}}) {
    layout.*field = -1;
    all_refused({name, "-1"});
    layout.*field = kMax;
    all_refused({"exceed 2^59", std::to_string(kMax).c_str()});
  }
  // Rows that are written lie apart.
  layout.row_stride = kRowBytes - 1;
  refused(write(), {"layout.row_stride = 15", "at least 16"});
  refused(move(), {"layout.row_stride = 15", "at least 16"});
  reset();
  layout.scale_head_stride = kPageSize * kScales - 1;
  refused(write(), {"layout.scale_head_stride = 63", "at least 64"});
  reset();
  // Elements of more than a byte.
  layout.dtype = GATUN_BF16;
  layout.scaling = layout.zero_point = 0;
  layout.group = 0;
  layout.row_stride = 65;
  all_refused({"layout.row_stride = 65", "multiples of the 2"});
}

TEST_F(KvCacheBoundary, Slots) {
  for (const int64_t slot : {int64_t{-2}, kMin, kPages * kPageSize, kMax}) {
    slots[7] = slot;
    rows_refused({"slots[7]", std::to_string(slot).c_str(), "-1..95"});
    refused(move(), {"from[7]", std::to_string(slot).c_str(), "0..95"});
    slots[7] = 39;
    others[9] = slot;
    refused(move(), {"to[9]", std::to_string(slot).c_str(), "0..95"});
    others[9] = 9;
  }
  slots[0] = -1;
  refused(move(), {"from[0] = -1"});
  slots[0] = 32;

  const auto groups_refused = [&](std::initializer_list<const char*> words, bool moved) {
    per_channel();
    refused(write(), words);
    if (moved) refused(move(), {words.begin()[1]});
    reset();
  };
  params.tokens = 24;
  groups_refused({"params.tokens = 24", "tokens = 24", "layout.group = 16"}, false);
  params.tokens = 24;
  per_channel();
  refused(move(), {"tokens = 24", "layout.group = 16"});
  reset();
  std::iota(slots.begin(), slots.end(), 31);
  groups_refused({"slots[0] = 31", "[0] = 31", "multiples of 16"}, true);
  std::iota(slots.begin(), slots.end(), 32);
  std::swap(slots[17], slots[18]);
  groups_refused({"slots[17] = 50", "[17] = 50", "allowed: 49", "slots[16]"}, true);
  std::swap(slots[17], slots[18]);
  slots[5] = -1;
  groups_refused({"slots[5] = -1", "[5] = -1", "allowed: 37"}, false);
  std::fill_n(slots.begin(), 16, -1);
  slots[15] = 47;
  groups_refused({"slots[15] = 47", "[15] = 47", "allowed: -1"}, false);
  std::iota(slots.begin(), slots.end(), 32);
  std::swap(others[17], others[18]);
  per_channel();
  refused(move(), {"to[17] = 18", "allowed: 17"});
}

TEST_F(KvCacheBoundary, NullsAndAlignment) {
  x_at = nullptr;
  rows_refused({"x is null"});
  x_at = x.data() + 2;
  params.tokens = 1;
  rows_refused({"x is at address", "4"});
  x_at = x.data();
  pages_at = nullptr;
  all_refused({"pages is null"});
  pages_at = pages.data();
  scales_at = nullptr;
  all_refused({"scales is null"});
  scales_at = scales.data() + 1;
  layout.pages = 2;
  all_refused({"scales is at address", "2"});
  scales_at = scales.data();
  zeros_at = nullptr;
  all_refused({"zeros is null"});
  zeros_at = zeros.data() + 1;
  layout.pages = 2;
  all_refused({"zeros is at address", "2"});
  zeros_at = zeros.data();
  slots_at = nullptr;
  rows_refused({"slots is null"});
  refused(move(), {"from is null"});
  slots_at = slots.data();
  others_at = nullptr;
  refused(move(), {"to is null"});
  others_at = others.data();
  layout.zero_point = GATUN_ZERO_NONE;
  all_refused({"zeros", "GATUN_ZERO_NONE"});
  layout.dtype = GATUN_F8E4M3;
  layout.scaling = layout.zero_point = 0;
  layout.group = 0;
  all_refused({"scales", "values"});
}

TEST_F(KvCacheBoundary, Overlaps) {
  x_at = pages.data();
  rows_refused({"overlaps", "x", "pages"});
  x_at = x.data();
  scales_at = zeros.data();
  refused(write(), {"overlaps", "scales", "zeros"});
  refused(move(), {"overlaps", "scales", "zeros"});
  scales_at = pages.data() + 64;
  refused(write(), {"overlaps", "pages", "scales"});
  scales_at = scales.data();
  slots_at = reinterpret_cast<const int64_t*>(pages.data());
  refused(write(), {"overlaps", "pages", "slots"});
  refused(move(), {"overlaps", "pages", "from"});
  slots_at = reinterpret_cast<const int64_t*>(x.data());
  refused(read(), {"overlaps", "x", "slots"});
}

}  // namespace
}  // namespace gatun::test
