// Changes during calls (changes.h): offsets, lists of blocks, orders of rows.
#include <gtest/gtest.h>

#include <cstddef>
#include <vector>

#include "changes.h"
#include "gatun/attention.h"
#include "gatun/attention_select.h"
#include "rng.h"

namespace gatun::test {
namespace {

constexpr int64_t kHeads = 2, kLength = 500, kSize = 16, kBlock = 16;
constexpr int64_t kBlocks = (kLength + kBlock - 1) / kBlock, kRows = kHeads * kBlocks;

class AttentionChanges : public ::testing::Test {
 protected:
  AttentionChanges() {
    params.struct_size = sizeof(params);
    params.dtype = params.out_dtype = GATUN_F32;
    params.threads = 1;
    params.scale = 0.25f;
    params.window_left = params.window_right = -1;
    params.batch = 1;
    params.query_heads = params.kv_heads = kHeads;
    params.query_length = params.kv_length = kLength;
    params.head_size = params.value_size = kSize;
    for (int64_t* stride : {&params.q_row_stride, &params.k_row_stride, &params.v_row_stride, &params.out_row_stride}) {
      *stride = kSize;
    }
    for (int64_t* stride :
         {&params.q_head_stride, &params.k_head_stride, &params.v_head_stride, &params.out_head_stride}) {
      *stride = kLength * kSize;
    }
    for (int64_t* stride :
         {&params.q_batch_stride, &params.k_batch_stride, &params.v_batch_stride, &params.out_batch_stride}) {
      *stride = kHeads * kLength * kSize;
    }
    params.lse_head_stride = kLength;
    params.lse_batch_stride = kHeads * kLength;
  }

  int32_t run(const Bytes& q_offsets, const Bytes& kv_offsets) {
    return gatun_attention(&params, x.data(), x.data(), x.data(), as<int64_t>(q_offsets), as<int64_t>(kv_offsets),
                           nullptr, nullptr, nullptr, as<int64_t>(full_offsets), as<int32_t>(full_blocks),
                           as<int64_t>(partial_offsets), as<int32_t>(partial_blocks),
                           full_offsets.empty() ? nullptr : bits.data(), out.data(), lse.data());
  }
  template <class T>
  static const T* as(const Bytes& bytes) {
    return bytes.empty() ? nullptr : reinterpret_cast<const T*>(bytes.data());
  }

  Rng rng{77};
  gatun_attention_params params{};
  // Inaccessible pages lie behind all of them.
  GuardBuffer<float> x{rng.normals(kHeads * kLength * kSize)}, out{kHeads * kLength * kSize}, lse{kHeads * kLength};
  GuardBuffer<uint8_t> bits{std::vector<uint8_t>(static_cast<size_t>(kRows * kBlock * kBlock / 8), 0x5a)};
  Bytes full_offsets, full_blocks, partial_offsets, partial_blocks;
};

TEST_F(AttentionChanges, Lists) {
  params.query_block = params.key_block = kBlock;
  params.mask_batch = 1;
  params.mask_heads = kHeads;
  params.query_blocks = kBlocks;
  std::vector<int64_t> full{0}, partial{0};
  std::vector<int32_t> full_list, partial_list;
  for (int64_t r = 0; r < kRows; ++r) {
    partial_list.push_back(static_cast<int32_t>(r % kBlocks));
    for (int32_t block = 0; block < kBlocks; ++block) {
      if (block != r % kBlocks) full_list.push_back(block);
    }
    full.push_back(static_cast<int64_t>(full_list.size()));
    partial.push_back(static_cast<int64_t>(partial_list.size()));
  }
  params.full_count = static_cast<int64_t>(full_list.size());
  params.partial_count = static_cast<int64_t>(partial_list.size());
  full_offsets = bytes(full);
  full_blocks = bytes(full_list);
  partial_offsets = bytes(partial);
  partial_blocks = bytes(partial_list);
  for (Bytes* const list : {&full_offsets, &full_blocks, &partial_offsets, &partial_blocks}) {
    for (const uint8_t other : {uint8_t{0xff}, uint8_t{0x7f}, uint8_t{1}}) {
      change_during(*list, other, [&] { return run({}, {}); });
    }
  }
}

TEST_F(AttentionChanges, Offsets) {
  params.batch = 5;
  const std::vector<int64_t> offsets{0, 100, 101, 101, 300, kLength};
  Bytes q_offsets = bytes(offsets), kv_offsets = bytes(offsets);
  for (Bytes* const changed : {&q_offsets, &kv_offsets}) {
    for (const uint8_t other : {uint8_t{0xff}, uint8_t{0x7f}, uint8_t{1}}) {
      change_during(*changed, other, [&] { return run(q_offsets, kv_offsets); });
    }
  }
}

// Items that grow have no more rows of the mask than before.
TEST_F(AttentionChanges, OffsetsWithAMask) {
  params.batch = params.mask_batch = 5;
  params.mask_heads = kHeads;
  params.query_block = params.key_block = kBlock;
  const std::vector<int64_t> offsets{0, 100, 101, 101, 300, kLength};
  params.query_blocks = 13;  // of 200 queries
  const GuardBuffer<int64_t> no_blocks(std::vector<int64_t>(static_cast<size_t>(5 * kHeads * 13 + 1)));
  Bytes q_offsets = bytes(offsets);
  const Bytes kv_offsets = q_offsets;
  Shared last(q_offsets, 4 * sizeof(int64_t));
  last.size = sizeof(int64_t);
  for (int i = 0; i < 20; ++i) {
    change_during(last, 0, [&] {  // the last item has all queries then
      return gatun_attention(&params, x.data(), x.data(), x.data(), as<int64_t>(q_offsets), as<int64_t>(kv_offsets),
                             nullptr, nullptr, nullptr, no_blocks.data(), nullptr, no_blocks.data(), nullptr, nullptr,
                             out.data(), lse.data());
    });
  }
}

TEST_F(AttentionChanges, Orders) {
  gatun_attention_rows_params rows{};
  rows.struct_size = sizeof(rows);
  rows.dtype = GATUN_F32;
  rows.threads = 1;
  rows.batch = 1;
  rows.heads = kHeads;
  rows.length = rows.rows = kLength;
  rows.head_size = rows.x_row_stride = rows.y_row_stride = kSize;
  rows.x_head_stride = rows.y_head_stride = kLength * kSize;
  rows.x_batch_stride = rows.y_batch_stride = kHeads * kLength * kSize;
  std::vector<int32_t> order;
  for (int64_t i = 0; i < kHeads * kLength; ++i) order.push_back(static_cast<int32_t>(i % kLength));
  Bytes shared = bytes(order);
  for (const uint8_t other : {uint8_t{0xff}, uint8_t{0x7f}, uint8_t{1}}) {
    change_during(shared, other,
                  [&] { return gatun_attention_gather(&rows, x.data(), as<int32_t>(shared), out.data()); });
    change_during(shared, other,
                  [&] { return gatun_attention_scatter(&rows, x.data(), as<int32_t>(shared), out.data()); });
  }
}

// The struct is read once: rows are divided by a length that is 0 in the end.
TEST_F(AttentionChanges, LengthOfMerge) {
  gatun_attention_merge_params merge{};
  merge.struct_size = sizeof(merge);
  merge.dtype = GATUN_F32;
  merge.threads = 1;
  merge.batch = 1;
  merge.heads = kHeads;
  merge.length = kLength;
  merge.value_size = kSize;
  merge.a_row_stride = merge.b_row_stride = merge.out_row_stride = kSize;
  merge.a_head_stride = merge.b_head_stride = merge.out_head_stride = kLength * kSize;
  Bytes shared = bytes(std::vector<gatun_attention_merge_params>{merge});
  Shared length(shared, offsetof(gatun_attention_merge_params, length));
  length.size = sizeof(merge.length);
  const std::vector<float> sums = rng.normals(kHeads * kLength);
  change_during(length, 0, [&] {
    return gatun_attention_merge(as<gatun_attention_merge_params>(shared), x.data(), sums.data(), x.data(), sums.data(),
                                 out.data(), lse.data());
  });
}

}  // namespace
}  // namespace gatun::test
