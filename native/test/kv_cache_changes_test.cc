// Changes during calls (changes.h): lists of slots.
#include <gtest/gtest.h>

#include <functional>
#include <utility>
#include <vector>

#include "changes.h"
#include "gatun/kv_cache.h"
#include "rng.h"

namespace gatun::test {
namespace {

constexpr int64_t kHeads = 2, kSize = 16, kGroup = 16, kPageSize = 32, kPages = 20;
constexpr int64_t kSlots = kPages * kPageSize, kTokens = kSlots / 2;

const int64_t* as_slots(const Bytes& bytes) { return reinterpret_cast<const int64_t*>(bytes.data()); }

// A pool: F32, or U4 with zero points.
class KvCacheChanges : public ::testing::TestWithParam<int32_t> {
 protected:
  KvCacheChanges() {
    params.struct_size = sizeof(params);
    params.dtype = GATUN_F32;
    params.threads = 1;
    params.tokens = kTokens;
    params.x_row_stride = kSize;
    params.x_head_stride = kTokens * kSize;
    layout.struct_size = sizeof(layout);
    layout.dtype = scaled ? GATUN_U4 : GATUN_F32;
    layout.scaling = GetParam();
    layout.zero_point = scaled ? GATUN_ZERO_FLOAT : GATUN_ZERO_NONE;
    layout.size = kSize;
    layout.group = scaled ? kGroup : 0;
    layout.heads = kHeads;
    layout.pages = kPages;
    layout.page_size = kPageSize;
    layout.row_stride = row_bytes;
    layout.head_stride = kPageSize * layout.row_stride;
    layout.page_stride = kHeads * layout.head_stride;
    layout.scale_row_stride = scale_columns;
    layout.scale_head_stride = scale_rows * scale_columns;
    layout.scale_page_stride = kHeads * layout.scale_head_stride;
    std::vector<int64_t> list;  // groups in any order, the last one of the pool among them
    for (int64_t t = 0; t < kTokens; ++t) list.push_back(t / kGroup * 7 % (kSlots / kGroup) * kGroup + t % kGroup);
    slots = bytes(list);
  }

  int32_t write() {
    return gatun_kv_cache_write(&params, &layout, x.data(), as_slots(slots), pages.data(), scales_or_null(),
                                zeros_or_null());
  }
  int32_t read() {
    return gatun_kv_cache_read(&params, &layout, pages.data(), scales_or_null(), zeros_or_null(), as_slots(slots),
                               x.data());
  }
  int32_t move(const Bytes& from, const Bytes& to) {
    return gatun_kv_cache_move(&layout, kTokens, as_slots(from), as_slots(to), pages.data(), scales_or_null(),
                               zeros_or_null());
  }
  // All of `list`; then the first slot of its group 17 alone, which is in no group's place any more.
  void change(Bytes& list, const std::function<int32_t()>& call) {
    for (const uint8_t other : kOthers) change_during(list, other, call);
    Shared first(list, 17 * kGroup * sizeof(int64_t));
    first.size = 1;
    for (int i = 0; i < 4; ++i) change_during(first, 0x75, call);
  }

  const bool scaled = GetParam() != GATUN_KV_UNSCALED, per_token = GetParam() == GATUN_KV_PER_TOKEN;
  const int64_t row_bytes = scaled ? kSize / 2 : kSize * 4;
  const int64_t scale_rows = per_token ? kPageSize : kPageSize / kGroup, scale_columns = per_token ? 1 : kSize;
  Rng rng{79};
  gatun_kv_rows_params params{};
  gatun_kv_layout layout{};
  // Inaccessible pages lie behind all of them.
  GuardBuffer<float> x{rng.normals(kHeads * kTokens * kSize)};
  GuardBuffer<uint8_t> pages{kSlots * kHeads * row_bytes};
  GuardBuffer<uint16_t> scales{kPages * kHeads * scale_rows * scale_columns}, zeros{scales.size()};
  Bytes slots;

 private:
  uint16_t* scales_or_null() { return scaled ? scales.data() : nullptr; }
  uint16_t* zeros_or_null() { return scaled ? zeros.data() : nullptr; }
};

TEST_P(KvCacheChanges, Write) {
  change(slots, [&] { return write(); });
}

TEST_P(KvCacheChanges, Read) {
  ASSERT_EQ(write(), GATUN_OK) << gatun_last_error();
  change(slots, [&] { return read(); });
}

// To lower slots in ascending order; then to slots that are read later.
TEST_P(KvCacheChanges, Move) {
  ASSERT_EQ(write(), GATUN_OK) << gatun_last_error();
  std::vector<int64_t> low, high, back;
  for (int64_t t = 0; t < kTokens; ++t) {
    low.push_back(t);
    high.push_back(kTokens + t);
    back.push_back(kTokens - kGroup - t / kGroup * kGroup + t % kGroup);
  }
  for (const auto& [source, target] : {std::pair{high, low}, std::pair{low, back}, std::pair{back, high}}) {
    Bytes from = bytes(source), to = bytes(target);
    for (Bytes* const list : {&from, &to}) {
      change(*list, [&] { return move(from, to); });
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Scalings, KvCacheChanges,
                         ::testing::Values(GATUN_KV_UNSCALED, GATUN_KV_PER_TOKEN, GATUN_KV_PER_CHANNEL));

}  // namespace
}  // namespace gatun::test
