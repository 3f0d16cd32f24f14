// Changes during selections (changes.h): offsets, budgets, and the structs themselves.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "changes.h"
#include "gatun/attention_select.h"
#include "rng.h"

namespace gatun::test {
namespace {

constexpr int64_t kHeads = 2, kLength = 500, kSize = 16, kBlock = 16, kItems = 5;
// Blocks of the longest item: what an item grows to has no rows in the map, nor in the lists that come of it.
constexpr int64_t kBlocks = (200 + kBlock - 1) / kBlock;

class SelectChanges : public ::testing::Test {
 protected:
  SelectChanges() {
    params.struct_size = sizeof(params);
    params.dtype = params.out_dtype = GATUN_F32;
    params.threads = 1;
    params.scale = 0.25f;
    params.window_left = params.window_right = -1;
    params.batch = kItems;
    params.query_heads = params.kv_heads = kHeads;
    params.query_length = params.kv_length = kLength;
    params.head_size = params.value_size = kSize;
    params.q_row_stride = params.k_row_stride = params.v_row_stride = params.out_row_stride = kSize;
    params.q_head_stride = params.k_head_stride = params.v_head_stride = params.out_head_stride = kLength * kSize;
    params.lse_head_stride = kLength;
    params.query_block = params.key_block = kBlock;
    params.query_blocks = kBlocks;
    selection.struct_size = sizeof(selection);
    selection.amount = 0.5f;
    selection.similarity = -1;
    selection.stride = 4;
    selection.key_blocks = kBlocks;
    selection.last_queries = 16;
    selection.verticals = selection.slashes = 20;
    selection.proxy_heads = 1;
    q_offsets = kv_offsets = bytes(std::vector<int64_t>{0, 100, 101, 101, 301, kLength});
    budgets = bytes(std::vector<float>(kItems * kHeads, 0.5f));
  }

  static const int64_t* offsets(const Bytes& bytes) { return reinterpret_cast<const int64_t*>(bytes.data()); }
  const float* amounts() const {
    return selection.kind == GATUN_SELECT_VERTICAL_SLASH ? nullptr : reinterpret_cast<const float*>(budgets.data());
  }
  int32_t attend() {
    const bool mass = selection.kind == GATUN_SELECT_MASS;
    return gatun_attention_selected(&params, &selection, amounts(), x.data(), x.data(), x.data(), offsets(q_offsets),
                                    offsets(kv_offsets), nullptr, nullptr, nullptr, mass ? before.data() : nullptr,
                                    out.data(), lse.data(), density.data());
  }

  Rng rng{78};
  gatun_attention_params params{};
  gatun_selection_params selection{};
  // Inaccessible pages lie behind all of them.
  GuardBuffer<float> x{rng.normals(kHeads * kLength * kSize)}, before{rng.normals(kHeads * kLength)},
      out{kHeads * kLength * kSize}, lse{kHeads * kLength}, density{kItems * kHeads};
  Bytes q_offsets, kv_offsets, budgets;
};

// All of them, which leaves items without rows, or the later half: then an item ends far beyond all rows.
TEST_F(SelectChanges, OffsetsAndBudgets) {
  for (const int32_t kind : {0, 1, 2, 3, 4}) {
    selection.kind = kind;
    for (Bytes* const changed : {&q_offsets, &kv_offsets, &budgets}) {
      for (const uint8_t other : {uint8_t{0xff}, uint8_t{0x7f}, uint8_t{1}}) {
        for (const size_t first : {size_t{0}, size_t{24}}) {
          change_during(Shared(*changed, first), other, [&] { return attend(); });
        }
      }
    }
  }
}

// Sizes that are others after their check: the memory that they are for is not left.
TEST_F(SelectChanges, Structs) {
  params.query_length = params.kv_length = kBlock;
  params.batch = 1;
  gatun_attention_rows_params rows{};
  rows.struct_size = sizeof(rows);
  rows.dtype = GATUN_F32;
  rows.threads = 1;
  rows.projections = 2;
  rows.batch = rows.heads = 1;
  rows.length = kBlock;
  rows.head_size = rows.x_row_stride = kSize;
  std::vector<uint8_t> map(kHeads * kBlocks * kBlocks);
  std::vector<int32_t> order(kBlock);
  std::atomic<bool> over{false};
  std::thread changer([&] {
    while (!over) {
      for (const int64_t size : {int64_t{1} << 24, kSize}) {
        __atomic_store_n(&params.head_size, size, __ATOMIC_RELAXED);
        __atomic_store_n(&rows.head_size, size, __ATOMIC_RELAXED);
      }
    }
  });
  int64_t taken = 0;
  for (int i = 0; i < 20000; ++i) {
    taken += gatun_attention_select(&params, &selection, nullptr, x.data(), x.data(), nullptr, nullptr, nullptr,
                                    map.data()) == GATUN_OK;
    gatun_attention_lsh(&rows, x.data(), order.data());
  }
  over = true;
  changer.join();
  EXPECT_GT(taken, 0);
}

}  // namespace
}  // namespace gatun::test
