// Lists from maps, and merging.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "attention_merge/reference.h"
#include "base/dtype.h"
#include "device_buffer.h"
#include "gatun/cuda.h"
#include "gatun/cuda_attention.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::cuda::attention {
namespace {

using gatun::test::DeviceBuffer;
using gatun::test::Rng;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(BlockMaskFromMap, ListsEachKindOfARow) {
  Rng rng(10);
  for (const auto& [rows, key_blocks] : {std::pair{0, 5}, {3, 0}, {1, 1}, {5, 31}, {1030, 33}}) {
    const std::vector<uint8_t> map = rng.integers<uint8_t>(int64_t{rows} * key_blocks, 0, 3);
    std::vector<int64_t> offsets[2] = {{0}, {0}};
    std::vector<int32_t> blocks[2];
    for (int row = 0; row < rows; ++row) {
      for (int block = 0; block < key_blocks; ++block) {
        const uint8_t seen = map[static_cast<size_t>(row * key_blocks + block)];
        if (seen == 1 || seen == 2) blocks[seen - 1].push_back(block);
      }
      for (int i : {0, 1}) offsets[i].push_back(static_cast<int64_t>(blocks[i].size()));
    }
    for (const int64_t missing : {0, 1}) {  // room for as many too few
      const DeviceBuffer<uint8_t> on_map(map);
      DeviceBuffer<int64_t> full_offsets(rows + 1), partial_offsets(rows + 1);
      const auto room = [&](int i) { return std::max<int64_t>(0, static_cast<int64_t>(blocks[i].size()) - missing); };
      DeviceBuffer<int32_t> full(room(0)), partial(room(1));
      ASSERT_EQ(gatun_cuda_block_mask_from_map(rows, key_blocks, on_map.data(), full_offsets.data(),
                                               room(0) > 0 ? full.data() : nullptr, room(0), partial_offsets.data(),
                                               room(1) > 0 ? partial.data() : nullptr, room(1), nullptr),
                GATUN_OK)
          << gatun_cuda_last_error();
      EXPECT_EQ(full_offsets.copy(), offsets[0]);
      EXPECT_EQ(partial_offsets.copy(), offsets[1]);
      const auto first = [&](int i) { return std::vector<int32_t>(blocks[i].begin(), blocks[i].begin() + room(i)); };
      EXPECT_EQ(full.copy(), first(0));
      EXPECT_EQ(partial.copy(), first(1));
    }
  }
}

TEST(BlockMaskFromMap, RefusesBadArguments) {
  DeviceBuffer<uint8_t> map(8);
  DeviceBuffer<int64_t> offsets(4), more(4);
  const auto refused = [&](int64_t rows, int64_t key_blocks, const uint8_t* from, int64_t* to, const char* name) {
    EXPECT_EQ(gatun_cuda_block_mask_from_map(rows, key_blocks, from, to, nullptr, 0, more.data(), nullptr, 0, nullptr),
              GATUN_INVALID_ARGUMENT);
    EXPECT_EQ(std::string(gatun_cuda_last_error()).find(name), 0u) << gatun_cuda_last_error();
  };
  EXPECT_EQ(gatun_cuda_block_mask_from_map((int64_t{1} << 33) - 3, 0, nullptr, offsets.data(), nullptr, 0, more.data(),
                                           nullptr, 0, nullptr),
            GATUN_UNSUPPORTED);
  refused(-1, 1, map.data(), offsets.data(), "rows");
  refused(1, -1, map.data(), offsets.data(), "key_blocks");
  refused(1, 1, nullptr, offsets.data(), "map");
  refused(1, 1, map.data(), nullptr, "full_offsets");
  refused(1, 1, map.data(), more.data(), "partial_offsets");
}

gatun_attention_merge_params merge_params(int32_t dtype, int64_t length, int64_t size, int64_t gap) {
  gatun_attention_merge_params p{};
  p.struct_size = sizeof(p);
  p.dtype = dtype;
  p.batch = 2;
  p.heads = 3;
  p.length = length;
  p.value_size = size;
  p.a_row_stride = p.b_row_stride = p.out_row_stride = size + gap;
  p.a_head_stride = p.b_head_stride = p.out_head_stride = length * (size + gap);
  p.a_batch_stride = p.b_batch_stride = p.out_batch_stride = 3 * p.a_head_stride;
  return p;
}

TEST(AttentionMerge, IsThatOfTheUnion) {
  Rng rng(11);
  for (const int32_t dtype : {GATUN_F32, GATUN_BF16, GATUN_F16}) {
    for (const auto& [length, size, gap] : {std::tuple{1, 1, 0}, {5, 33, 3}, {7, 128, 0}, {3, 72, 8}, {1, 520, 0}}) {
      for (const auto& [in_place, aligned] : {std::pair{false, false}, {false, true}, {true, false}, {true, true}}) {
        const gatun_attention_merge_params p = merge_params(dtype, length, size, gap);
        const int64_t rows = 6 * length, stride = size + gap, element = dtype_bytes(dtype, 1);
        const auto values = [&] { return gatun::test::from_floats(rng.normals(rows * stride), dtype); };
        const auto sums = [&] {
          std::vector<float> lse = rng.normals(rows, 3.0f);
          for (float& value : lse) {
            if (rng.integer(0, 4) == 0) value = -kInfinity;
            if (rng.integer(0, 9) == 0) value += 1000;
          }
          return lse;
        };
        const std::vector<uint8_t> a = values(), b = values();
        const std::vector<float> a_lse = sums(), b_lse = sums();
        const int64_t before_a = aligned ? 0 : element;  // aligned ones are taken in pieces
        DeviceBuffer<uint8_t> on_a(a, before_a), on_out(rows * stride * element, before_a);
        const DeviceBuffer<uint8_t> on_b(b);
        DeviceBuffer<float> on_a_lse(a_lse), lse(rows);
        const DeviceBuffer<float> on_b_lse(b_lse);
        DeviceBuffer<uint8_t>& out = in_place ? on_a : on_out;
        DeviceBuffer<float>& sum = in_place ? on_a_lse : lse;
        const std::vector<uint8_t> before = out.copy();
        ASSERT_EQ(gatun_cuda_attention_merge(&p, on_a.data(), on_a_lse.data(), on_b.data(), on_b_lse.data(), out.data(),
                                             sum.data(), nullptr),
                  GATUN_OK)
            << gatun_cuda_last_error();
        const std::vector<uint8_t> after = out.copy();
        const std::vector<float> lse_after = sum.copy();
        for (int64_t row = 0; row < rows; ++row) {
          const auto at = [&](const std::vector<uint8_t>& x) {
            return gatun::test::to_doubles(x.data() + row * stride * element, dtype, size);
          };
          const std::vector<double> of_a = at(a), of_b = at(b);
          std::vector<double> expected(of_a.size()), allowed(of_a.size());
          const size_t i = static_cast<size_t>(row);
          const double expected_lse = gatun::attention_merge::reference_row(of_a.data(), double{a_lse[i]}, of_b.data(),
                                                                            double{b_lse[i]}, size, expected.data());
          for (size_t c = 0; c < allowed.size(); ++c) {
            allowed[c] = 0x1p-21 * (std::fabs(of_a[c]) + std::fabs(of_b[c])) +
                         gatun::test::unit_in_last_place(dtype, expected[c]);
          }
          EXPECT_TRUE(gatun::test::within(at(after), expected, allowed)) << "row " << row;
          if (std::isinf(expected_lse)) {
            EXPECT_EQ(double{lse_after[i]}, expected_lse);
          } else {
            EXPECT_NEAR(double{lse_after[i]}, expected_lse, 0x1p-21 * (1 + std::fabs(expected_lse)));
          }
          for (int64_t byte = (row * stride + size) * element; byte < (row + 1) * stride * element; ++byte) {
            EXPECT_EQ(after[static_cast<size_t>(byte)], before[static_cast<size_t>(byte)]);
          }
        }
      }
    }
  }
}

TEST(AttentionMerge, RefusesMoreRowsThanAGridHas) {
  gatun_attention_merge_params p = merge_params(GATUN_F32, 1, 2, 0);
  p.batch = int64_t{1} << 33;
  p.heads = 1;
  DeviceBuffer<float> memory(6);
  EXPECT_EQ(gatun_cuda_attention_merge(&p, memory.data(), memory.data(), memory.data(), memory.data(), memory.data(),
                                       nullptr, nullptr),
            GATUN_UNSUPPORTED);
  EXPECT_EQ(std::string(gatun_cuda_last_error()).find("params.batch * heads * length"), 0u) << gatun_cuda_last_error();
}

// What a side without keys holds does not matter; NaN stays in its row.
TEST(AttentionMerge, NoKeysAndNan) {
  const float nan = std::nanf("");
  gatun_attention_merge_params p = merge_params(GATUN_F32, 1, 2, 0);
  p.batch = 1;
  const DeviceBuffer<float> a(std::vector<float>{nan, nan, 1, 2, 3, nan}), b(std::vector<float>{5, 6, nan, nan, 7, 8});
  const DeviceBuffer<float> a_lse(std::vector<float>{-kInfinity, 0, 0}), b_lse(std::vector<float>{1, -kInfinity, 0});
  DeviceBuffer<float> out(6), lse(3);
  ASSERT_EQ(
      gatun_cuda_attention_merge(&p, a.data(), a_lse.data(), b.data(), b_lse.data(), out.data(), lse.data(), nullptr),
      GATUN_OK)
      << gatun_cuda_last_error();
  const std::vector<float> y = out.copy();
  EXPECT_EQ(std::vector<float>(y.begin(), y.begin() + 5), (std::vector<float>{5, 6, 1, 2, 5}));
  EXPECT_TRUE(std::isnan(y[5]));
  EXPECT_EQ(lse.copy()[0], 1);
  EXPECT_EQ(lse.copy()[1], 0);
  EXPECT_EQ(
      gatun_cuda_attention_merge(&p, nullptr, a_lse.data(), b.data(), b_lse.data(), out.data(), lse.data(), nullptr),
      GATUN_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace gatun::cuda::attention
