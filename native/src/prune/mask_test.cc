// gatun_mask_apply with kernels of the tier in use (GATUN_MAX_ISA), and gatun_mask_count.
#include "prune/mask.h"

#include <gtest/gtest.h>

#include <cstring>

#include "base/dtype.h"
#include "gatun/gatun.h"
#include "gatun/prune.h"
#include "guard_buffer.h"
#include "prune/kernel.h"
#include "prune/table.h"
#include "rng.h"
#include "shapes.h"
#include "tolerance.h"

namespace gatun::prune {
namespace {

using test::Edge;
using test::GuardBuffer;
using test::Rng;
using Bytes = std::vector<unsigned char>;

constexpr int32_t kDtypes[] = {GATUN_F32, GATUN_F16, GATUN_BF16, GATUN_I8, GATUN_U8};

int64_t extent(int64_t rows, int64_t depth, int64_t stride) {
  return rows == 0 || depth == 0 ? 0 : (rows - 1) * stride + depth;
}

// Element by element; between rows y keeps what it has.
Bytes reference(int64_t rows, int64_t depth, int64_t bytes, const Bytes& x, int64_t x_stride, const Bytes& mask,
                Bytes y, int64_t y_stride) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t k = 0; k < depth; ++k) {
      for (int64_t b = 0; b < bytes; ++b) {
        const bool kept = mask[static_cast<size_t>(row * ((depth + 7) / 8) + k / 8)] >> k % 8 & 1;
        y[static_cast<size_t>((row * y_stride + k) * bytes + b)] =
            kept ? x[static_cast<size_t>((row * x_stride + k) * bytes + b)] : 0;
      }
    }
  }
  return y;
}

TEST(MaskApply, EveryTypeAndSize) {
  Rng rng(31);
  std::vector<int64_t> depths = test::prime_sizes();
  for (const int64_t tile : {8, 16, 32, 64, 128}) {
    for (const int64_t depth : test::edge_sizes(tile)) depths.push_back(depth);
  }
  for (const int32_t dtype : kDtypes) {
    const int64_t bytes = dtype_bytes(dtype, 1);
    for (const int64_t depth : depths) {
      for (const int64_t rows : {0, 1, 3}) {
        for (int repeat = 0; repeat < 3; ++repeat) {
          const Edge edge = rng.integer(0, 1) ? Edge::front : Edge::back;
          const int64_t offset = rng.integer(0, 5);
          const int64_t x_stride = depth + rng.integer(0, 3), y_stride = depth + rng.integer(0, 3);
          // Any bits, unused ones too; values are bytes, so that NaN and -0 are kept as they are.
          const Bytes mask = rng.integers<unsigned char>(rows * mask_bytes(depth), 0, 255);
          const Bytes x = rng.integers<unsigned char>(extent(rows, depth, x_stride) * bytes, 0, 255);
          GuardBuffer<unsigned char> x_at(x, edge, offset * bytes), mask_at(mask, edge, offset);
          x_at.make_read_only();
          mask_at.make_read_only();
          GuardBuffer<unsigned char> y(extent(rows, depth, y_stride) * bytes, edge, offset * bytes);
          const Bytes expected = reference(rows, depth, bytes, x, x_stride, mask, y.copy(), y_stride);
          ASSERT_EQ(gatun_mask_apply(dtype, rows, depth, x_stride, x_at.data(), mask_at.data(), 1, y_stride, y.data()),
                    GATUN_OK)
              << gatun_last_error();
          ASSERT_TRUE(test::identical(y.copy(), expected)) << dtype_name(dtype) << ", " << rows << " x " << depth;
          GuardBuffer<unsigned char> both(x, edge, offset * bytes);
          const Bytes in_place = reference(rows, depth, bytes, x, x_stride, mask, x, x_stride);
          ASSERT_EQ(
              gatun_mask_apply(dtype, rows, depth, x_stride, both.data(), mask_at.data(), 1, x_stride, both.data()),
              GATUN_OK)
              << gatun_last_error();
          ASSERT_TRUE(test::identical(both.copy(), in_place)) << "in place";
        }
      }
    }
  }
}

// y is written past the caches: rows that are not aligned to vectors, heads of every length; and threads.
TEST(MaskApply, LargeMatrices) {
  Rng rng(32);
  for (const int32_t dtype : kDtypes) {
    const int64_t bytes = dtype_bytes(dtype, 1), depth = 4099, rows = (int64_t{17} << 20) / (depth * bytes);
    ASSERT_GE(rows * depth * bytes, int64_t{16} << 20);
    const Bytes mask = rng.integers<unsigned char>(rows * mask_bytes(depth), 0, 255);
    Bytes x(static_cast<size_t>(rows * depth * bytes));
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<unsigned char>(i * 2654435761u >> 13);
    Bytes one(x.size(), 0xee), more(x.size(), 0xdd);
    ASSERT_EQ(gatun_mask_apply(dtype, rows, depth, depth, x.data(), mask.data(), 1, depth, one.data()), GATUN_OK);
    ASSERT_EQ(gatun_mask_apply(dtype, rows, depth, depth, x.data(), mask.data(), 8, depth, more.data()), GATUN_OK);
    const Bytes expected = reference(rows, depth, bytes, x, depth, mask, one, depth);
    ASSERT_TRUE(one == expected) << dtype_name(dtype);
    ASSERT_TRUE(more == expected) << dtype_name(dtype);
  }
}

// The streaming body on small rows, in every alignment.
TEST(MaskApply, StreamedRows) {
  Rng rng(33);
  for (const KernelRow<MaskKernel>& row : mask_table()) {
    if (&mask_table().select(row.from, row.to, static_cast<Tier>(gatun_tier())) != &row) continue;
    const int64_t bytes = dtype_bytes(row.from, 1);
    for (const int64_t depth : {1, 2, 15, 63, 64, 65, 127, 200, 331}) {
      for (int64_t offset = 0; offset < 64; ++offset) {
        const Bytes mask = rng.integers<unsigned char>(2 * mask_bytes(depth), 0, 255);
        const Bytes x = rng.integers<unsigned char>(2 * depth * bytes, 0, 255);
        GuardBuffer<unsigned char> x_at(x), mask_at(mask), y(2 * depth * bytes, Edge::front, offset * bytes);
        const Bytes expected = reference(2, depth, bytes, x, depth, mask, y.copy(), depth);
        row.kernel->apply({x_at.data(), mask_at.data(), y.data(), depth, depth, depth, true}, 0, 2);
        ASSERT_TRUE(test::identical(y.copy(), expected)) << row.name << ", depth " << depth << ", offset " << offset;
      }
    }
  }
}

TEST(MaskCount, EverySize) {
  Rng rng(34);
  for (const int64_t depth : {0, 1, 7, 8, 9, 64, 100}) {
    for (const int64_t rows : {0, 1, 5}) {
      Bytes mask(static_cast<size_t>(rows * mask_bytes(depth)));
      int64_t expected = 0;
      for (int64_t i = 0; i < rows * depth; ++i) {
        const bool one = rng.integer(0, 2) > 0;
        expected += one;
        mask[static_cast<size_t>(i / depth * mask_bytes(depth) + i % depth / 8)] |=
            static_cast<unsigned char>(int{one} << i % depth % 8);
      }
      GuardBuffer<unsigned char> at(mask);
      int64_t ones = -1;
      ASSERT_EQ(gatun_mask_count(rows, depth, at.data(), &ones), GATUN_OK) << gatun_last_error();
      EXPECT_EQ(ones, expected);
    }
  }
}

}  // namespace
}  // namespace gatun::prune
