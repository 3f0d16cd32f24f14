// Changes during calls (changes.h): tables, lengths, the structs.
#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "changes.h"
#include "gatun/decode.h"
#include "rng.h"

namespace gatun::test {
namespace {

constexpr int64_t kBatch = 3, kHeads = 2, kSize = 16, kPageSize = 16, kTable = 10, kPages = 25, kLongest = 150;

class DecodeChanges : public ::testing::Test {
 protected:
  DecodeChanges() {
    params.struct_size = sizeof(params);
    params.dtype = params.out_dtype = GATUN_F32;
    params.threads = 1;
    params.scale = 0.25f;
    params.window_left = -1;
    params.batch = kBatch;
    params.query_heads = kHeads;
    params.query_length = 1;
    params.table_heads = 1;
    params.table_stride = kTable;
    params.q_head_stride = params.q_row_stride = params.out_head_stride = params.out_row_stride = kSize;
    params.q_batch_stride = params.out_batch_stride = kHeads * kSize;
    params.lse_head_stride = 1;
    params.lse_batch_stride = kHeads;
    params.logits_row_stride = params.logits_head_stride = kLongest;
    params.logits_batch_stride = kHeads * kLongest;
    set_layout(GATUN_KV_UNSCALED);
    std::vector<int32_t> pages;
    for (int64_t i = 0; i < kBatch * kTable; ++i) pages.push_back(static_cast<int32_t>(i * 7 % kPages));
    table = bytes(pages);
    lengths = bytes(std::vector<int64_t>{kLongest, 1, 77});
  }

  // F32, or U4 with zero points. A page has as many scales of tokens as of channels.
  void set_layout(int32_t scaling) {
    static_assert(kPageSize == kSize);
    const bool scaled = scaling != GATUN_KV_UNSCALED;
    layout = {};
    layout.struct_size = sizeof(layout);
    layout.dtype = scaled ? GATUN_U4 : GATUN_F32;
    layout.scaling = scaling;
    layout.zero_point = scaled ? GATUN_ZERO_FLOAT : GATUN_ZERO_NONE;
    layout.size = kSize;
    layout.group = scaled ? kSize : 0;
    layout.heads = kHeads;
    layout.pages = kPages;
    layout.page_size = kPageSize;
    layout.row_stride = scaled ? kSize / 2 : kSize * 4;
    layout.head_stride = kPageSize * layout.row_stride;
    layout.page_stride = kHeads * layout.head_stride;
    layout.scale_row_stride = scaling == GATUN_KV_PER_TOKEN ? 1 : kSize;
    layout.scale_head_stride = kSize;
    layout.scale_page_stride = kHeads * kSize;
  }

  template <class Test>
  void for_each_layout(Test test) {
    for (const int32_t scaling : {GATUN_KV_UNSCALED, GATUN_KV_PER_TOKEN, GATUN_KV_PER_CHANNEL}) {
      set_layout(scaling);
      test();
    }
  }

  template <class T>
  static const T* as(const Bytes& bytes) {
    return reinterpret_cast<const T*>(bytes.data());
  }

  int32_t run(const gatun_decode_params* p, const gatun_kv_layout* k, const gatun_kv_layout* v) {
    const bool scaled = layout.scaling != GATUN_KV_UNSCALED;
    const void* const pool = scaled ? static_cast<const void*>(codes.data()) : rows.data();
    const uint16_t* const of_codes = scaled ? scales.data() : nullptr;
    return gatun_decode(p, k, v, q.data(), pool, of_codes, of_codes, pool, of_codes, of_codes, as<int32_t>(table),
                        as<int64_t>(lengths), nullptr, nullptr, out.data(), lse.data(), logits.data());
  }

  Rng rng{78};
  gatun_decode_params params{};
  gatun_kv_layout layout{};
  // Inaccessible pages lie behind all of them.
  GuardBuffer<float> q{rng.normals(kBatch * kHeads * kSize)}, rows{rng.normals(kPages * kHeads * kPageSize * kSize)},
      out{kBatch * kHeads * kSize}, lse{kBatch * kHeads}, logits{kBatch * kHeads * kLongest};
  GuardBuffer<uint8_t> codes{std::vector<uint8_t>(kPages * kHeads * kPageSize * kSize / 2, 0x5a)};
  GuardBuffer<uint16_t> scales{std::vector<uint16_t>(kPages * kHeads * kSize, 0x3c00)};  // 1; zero points, too
  Bytes table, lengths;
};

TEST_F(DecodeChanges, Tables) {
  for_each_layout([&] {
    for (const uint8_t other : kOthers) change_during(table, other, [&] { return run(&params, &layout, &layout); });
  });
}

// Rows of logits end where the longest item did.
TEST_F(DecodeChanges, Lengths) {
  for_each_layout([&] {
    for (const uint8_t other : kOthers) change_during(lengths, other, [&] { return run(&params, &layout, &layout); });
    Shared last(lengths, 2 * sizeof(int64_t));
    last.size = 1;  // to kLongest + 6, which the table allows
    for (int i = 0; i < 20; ++i) change_during(last, kLongest + 6, [&] { return run(&params, &layout, &layout); });
  });
}

// They are read once: rows are divided by numbers that are 0 in the end.
TEST_F(DecodeChanges, Structs) {
  Bytes p = bytes(std::vector<gatun_decode_params>{params}), k = bytes(std::vector<gatun_kv_layout>{layout}), v = k;
  const auto call = [&] { return run(as<gatun_decode_params>(p), as<gatun_kv_layout>(k), as<gatun_kv_layout>(v)); };
  const auto change = [&](Bytes& of, size_t field) {
    Shared shared(of, field);
    shared.size = sizeof(int64_t);
    for (const uint8_t other : {uint8_t{0}, uint8_t{0x7f}}) change_during(shared, other, call);
  };
  for (const size_t field : {offsetof(gatun_decode_params, query_length), offsetof(gatun_decode_params, table_heads)}) {
    change(p, field);
  }
  for (Bytes* const of : {&k, &v}) {
    for (const size_t field : {offsetof(gatun_kv_layout, heads), offsetof(gatun_kv_layout, pages),
                               offsetof(gatun_kv_layout, page_size), offsetof(gatun_kv_layout, size)}) {
      change(*of, field);
    }
  }
}

}  // namespace
}  // namespace gatun::test
