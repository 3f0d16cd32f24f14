// x as kernels read it, bit by bit, from every type at every address.
#include "qmatmul/prepare.h"

#include <cstring>

#include "qmatmul/test_product.h"

namespace gatun::cuda::qmatmul {
namespace {

struct Rows {
  int64_t rows = 3, depth = 100, group = 40, gap = 0, offset = 0;
  int32_t dtype = GATUN_F32;
  Arithmetic to = Arithmetic::f32, rounding = Arithmetic::f32;
  bool scales_of_groups = false, in_order = false;
};

int32_t dtype_of(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::f16    ? GATUN_F16
         : arithmetic == Arithmetic::bf16 ? GATUN_BF16
         : arithmetic == Arithmetic::i8   ? GATUN_I8
                                          : GATUN_F32;
}

// Where element k of a row of int8 lies: the inverse of what job.h says.
int64_t place_of(int64_t k) {
  for (int place = 0; place < 16; ++place) {
    const int t = place / 4, elements[] = {2 * t, 2 * t + 8, 2 * t + 1, 2 * t + 9};
    if (elements[place % 4] == k % 16) return k / 16 * 16 + place;
  }
  return -1;
}

void expect_prepared(const Rows& r, std::vector<float> special = {}) {
  SCOPED_TRACE(testing::Message() << r.rows << " rows, depth " << r.depth << ", group " << r.group << ", gap " << r.gap
                                  << ", offset " << r.offset << ", " << dtype_name(r.dtype) << " to "
                                  << static_cast<int>(r.to) << " rounded to " << static_cast<int>(r.rounding)
                                  << ", scales of groups " << r.scales_of_groups << ", in order " << r.in_order);
  Rng rng(static_cast<uint64_t>(r.depth * 7 + r.rows));
  const int64_t stride = r.depth + r.gap, padded = (r.depth + 127) / 128 * 128;
  const int64_t groups = (r.depth - 1) / r.group + 1;
  std::vector<float> values = rng.normals((r.rows - 1) * stride + r.depth);
  for (const float value : special) values[static_cast<size_t>(stride + rng.integer(0, r.depth - 1))] = value;
  const std::vector<uint8_t> bytes = as_bytes(values, r.dtype);
  const DeviceBuffer<uint8_t> from(bytes, r.offset * dtype_bytes(r.dtype, 1));
  const int64_t size = dtype_bytes(dtype_of(r.to), 1), scale_count = r.scales_of_groups ? groups : 1;
  DeviceBuffer<uint8_t> x(r.rows * padded * size), sums(r.rows * groups * 4);
  DeviceBuffer<float> scales(r.rows * scale_count);
  ASSERT_EQ(run_prepare({from.data(), r.dtype, stride, r.rows, r.depth, padded, r.group, groups, r.to, r.rounding,
                         r.scales_of_groups, r.in_order, x.data(), scales.data(), sums.data()},
                        nullptr),
            GATUN_OK)
      << gatun_last_error();
  const std::vector<uint8_t> got = x.copy(), got_sums = sums.copy();
  const std::vector<float> got_scales = scales.copy();
  for (int64_t m = 0; m < r.rows; ++m) {
    std::vector<double> row(static_cast<size_t>(padded), 0.0);
    for (int64_t k = 0; k < r.depth; ++k) row[static_cast<size_t>(k)] = element(bytes.data(), r.dtype, m * stride + k);
    if (r.to != Arithmetic::i8) {
      for (double& value : row) value = rounded_to(value, dtype_of(r.rounding));
    }
    for (int64_t g = 0; r.to == Arithmetic::i8 && g < scale_count; ++g) {
      const int64_t begin = r.scales_of_groups ? g * r.group : 0;
      const int64_t end = r.scales_of_groups ? std::min(r.depth, begin + r.group) : r.depth;
      bool finite = true;
      for (int64_t k = begin; k < end; ++k) finite = finite && std::isfinite(row[static_cast<size_t>(k)]);
      if (!finite) std::fill(row.begin() + begin, row.begin() + end, 0.0);
      const double scale = gatun::qmatmul::reference_quantize(row, begin, end);
      const float actual = got_scales[static_cast<size_t>(m * scale_count + g)];
      if (finite) {
        ASSERT_EQ(double{actual}, scale) << m << ", " << g;
      } else {
        ASSERT_TRUE(std::isnan(actual)) << m << ", " << g;
      }
    }
    for (int64_t k = 0; k < padded; ++k) {
      const double expected = row[static_cast<size_t>(k)];
      const int64_t at = m * padded + (r.to == Arithmetic::i8 && !r.in_order ? place_of(k) : k);
      const double actual = r.to == Arithmetic::i8
                                ? static_cast<double>(static_cast<int8_t>(got[static_cast<size_t>(at)]))
                                : element(got.data(), dtype_of(r.to), at);
      ASSERT_TRUE(actual == expected || (std::isnan(actual) && std::isnan(expected)))
          << "[" << m << ", " << k << "]: " << actual << ", expected " << expected;
    }
    for (int64_t g = 0; g < groups; ++g) {
      double sum = 0, magnitude = 0;
      for (int64_t k = g * r.group; k < std::min(r.depth, (g + 1) * r.group); ++k) {
        sum += row[static_cast<size_t>(k)];
        magnitude += std::fabs(row[static_cast<size_t>(k)]);
      }
      const size_t at = static_cast<size_t>(4 * (m * groups + g));
      int32_t integer;
      float number;
      std::memcpy(&integer, &got_sums[at], 4);
      std::memcpy(&number, &got_sums[at], 4);
      if (r.to == Arithmetic::i8) {
        ASSERT_EQ(integer, static_cast<int32_t>(sum)) << m << ", " << g;
      } else if (std::isfinite(sum)) {
        ASSERT_LE(std::fabs(double{number} - sum), 0x1p-23 * static_cast<double>(r.group) * magnitude)
            << m << ", " << g;
      } else {
        ASSERT_FALSE(std::isfinite(number)) << m << ", " << g;
      }
    }
  }
}

TEST(Prepare, EveryTypeOfRows) {
  for (const int32_t dtype : {GATUN_F32, GATUN_F16, GATUN_BF16}) {
    for (const int64_t depth : {1, 15, 128, 129, 700}) {
      for (const int64_t offset : {0, 1, 3}) {
        Rows r;
        r.dtype = dtype;
        r.depth = depth;
        r.group = depth > 128 ? 67 : depth;
        r.gap = offset == 3 ? 5 : 0;
        r.offset = offset;
        for (const Arithmetic to : {Arithmetic::f16, Arithmetic::bf16, Arithmetic::f32}) {
          r.to = r.rounding = to;
          expect_prepared(r);
          if (to == Arithmetic::f32) continue;
          r.to = Arithmetic::f32;
          expect_prepared(r);
        }
        r.to = r.rounding = Arithmetic::i8;
        expect_prepared(r);
        r.scales_of_groups = true;
        expect_prepared(r);
        r.in_order = true;
        expect_prepared(r);
      }
    }
  }
}

// Groups of a lane, of 2^n lanes, of a warp and more, that begin within a step, or are the row; rows of one turn of a
// block and of more, all of them aligned, every other one, or none.
TEST(Prepare, GroupsOfEverySizeInInt8) {
  for (const int64_t depth : {520, 4096, 4136}) {
    for (const int64_t group :
         {int64_t{16}, int64_t{32}, int64_t{48}, int64_t{100}, int64_t{128}, int64_t{512}, int64_t{513}, depth}) {
      for (const int64_t gap : {0, 4, 9}) {
        for (const int64_t offset : {0, 1}) {
          Rows r;
          r.depth = depth;
          r.group = group;
          r.gap = gap;
          r.offset = offset;
          r.dtype = group == 128 ? GATUN_F32 : group % 3 == 0 ? GATUN_F16 : GATUN_BF16;
          r.to = r.rounding = Arithmetic::i8;
          expect_prepared(r);
          r.scales_of_groups = true;
          r.in_order = gap == 4;
          expect_prepared(r);
        }
      }
    }
  }
}

TEST(Prepare, ScalesNearTheLeastAndRowsThatAreNotFinite) {
  for (const bool of_groups : {false, true}) {
    Rows r;
    r.to = r.rounding = Arithmetic::i8;
    r.scales_of_groups = of_groups;
    for (const int64_t group : {10, 16}) {
      r.group = group;
      for (const float value : {NAN, INFINITY, -INFINITY, 3e38f}) expect_prepared(r, {value});
    }
    // Groups of nothing but values that make the scale 2^-120, or less.
    r.depth = r.group = 16;
    for (const float value : {0x1.fcp-114f, 0x1.fap-114f, 0x1p-149f, 0.0f}) {
      expect_prepared(r, std::vector<float>(200, value));
    }
  }
  Rows halves;
  halves.to = halves.rounding = Arithmetic::f16;
  expect_prepared(halves, {65519.0f, 65520.0f, -1e30f, NAN, 0x1p-25f, 0x1.8p-25f, 0x1p-149f});
}

TEST(Prepare, EveryOrderOfThreads) {
  in_every_order([] {
    for (const int64_t group : {32, 40, 300}) {  // teams of lanes, of warps, and of blocks
      Rows r;
      r.depth = 600;
      r.group = group;
      r.to = r.rounding = Arithmetic::i8;
      expect_prepared(r);
      r.scales_of_groups = true;
      expect_prepared(r);
    }
  });
}

}  // namespace
}  // namespace gatun::cuda::qmatmul
