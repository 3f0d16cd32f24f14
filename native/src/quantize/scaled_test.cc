// Small floats and code books: every kernel of the tier in use (GATUN_MAX_ISA) against the reference, bit for bit,
// through the C entry points.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "gatun/gatun.h"
#include "gatun/quantize.h"
#include "quantize/reference.h"
#include "quantize/test_scaled.h"
#include "rng.h"
#include "shapes.h"
#include "tolerance.h"

namespace gatun::quantize::scaled {
namespace {

// Quantizes x by kernel and reference and compares; then the same back.
void compare(gatun_quantize_params p, const std::vector<float>& x, Rng& rng, Edge edge = Edge::back,
             int64_t offset = 0) {
  SCOPED_TRACE(describe(p));
  const Extras extras(p, rng);
  const std::vector<unsigned char> bytes = test::from_floats(x, p.x_dtype);
  const int64_t element = dtype_bytes(p.x_dtype, 1);
  GuardBuffer<unsigned char> input(bytes, edge, offset * element);
  input.make_read_only();
  Quantized actual(p, edge, offset), expected(p);
  if (p.scale_rule == GATUN_SCALE_GIVEN) {  // of a quantization of something else
    gatun_quantize_params other = p;
    other.scale_rule = GATUN_SCALE_DEFAULT;
    const std::vector<unsigned char> y = test::from_floats(values(rng, x_extent(p), 2), p.x_dtype);
    reference_quantize(other, y.data(), extras.code_book(), extras.up(), expected.codes.data(), expected.scales.data(),
                       nullptr);
    std::memcpy(actual.scales.data(), expected.scales.data(), static_cast<size_t>(actual.scales.size()));
  }
  ASSERT_EQ(gatun_quantize(&p, input.data(), extras.code_book(), extras.up(), actual.codes.data(), actual.scales.data(),
                           nullptr),
            GATUN_OK)
      << gatun_last_error();
  reference_quantize(p, input.data(), extras.code_book(), extras.up(), expected.codes.data(), expected.scales.data(),
                     nullptr);
  ASSERT_TRUE(same(actual, expected, p));

  gatun_quantize_params back = p;
  back.x_column_stride = 1;
  back.x_row_stride = p.depth + offset;
  GuardBuffer<unsigned char> y(x_extent(back) * element, edge, offset * element), reference_y(x_extent(back) * element);
  std::vector<unsigned char> wanted = y.copy();  // between rows nothing is written
  actual.codes.make_read_only();
  actual.scales.make_read_only();
  ASSERT_EQ(gatun_dequantize(&back, extras.code_book(), actual.codes.data(), actual.scales.data(), nullptr, y.data()),
            GATUN_OK)
      << gatun_last_error();
  reference_dequantize(back, extras.code_book(), actual.codes.data(), actual.scales.data(), nullptr,
                       reference_y.data());
  for (int64_t row = 0; row < p.rows && p.depth > 0; ++row) {
    const int64_t at = row * back.x_row_stride * element;
    std::memcpy(wanted.data() + at, reference_y.data() + at, static_cast<size_t>(p.depth * element));
  }
  ASSERT_TRUE(test::identical(y.copy(), wanted)) << " (bytes of x)";
}

TEST(Scaled, EveryFormatAndSize) {
  Rng rng(21);
  int64_t cases = 0;
  std::vector<int64_t> depths = test::prime_sizes();
  for (const int64_t tile : {16, 32, 64}) {
    for (const int64_t depth : test::edge_sizes(tile)) depths.push_back(depth);
  }
  for (const Format& format : formats()) {
    for (const int32_t x_dtype : kFloats) {
      for (const int64_t depth : depths) {
        for (const int64_t group : test::group_sizes(depth)) {
          gatun_quantize_params p = make_params(format, rng.integer(0, 3), depth, group, x_dtype);
          p.x_row_stride += rng.integer(0, 2);
          p.rounding = static_cast<int32_t>(rng.integer(0, 8)) % 3;
          if (rng.integer(0, 3) == 0) p.scale_rule = GATUN_SCALE_GIVEN;
          p.seed = rng.integer(INT64_MIN, INT64_MAX);
          const Edge edge = rng.integer(0, 1) ? Edge::front : Edge::back;
          const int64_t kind = cases % kValueKinds;
          if (p.rounding == GATUN_ROUND_GIVEN && p.rows * p.depth == 0) p.rounding = 0;
          compare(p, values(rng, x_extent(p), kind), rng, edge, rng.integer(0, 1) * rng.integer(1, 7));
          if (HasFatalFailure()) return;
          ++cases;
        }
      }
    }
  }
  EXPECT_GT(cases, 5000);
}

TEST(Scaled, StridedColumns) {
  Rng rng(22);
  for (const Format& format : formats()) {
    for (const int64_t rows : {1, 31, 32, 65}) {
      for (const int64_t depth : {1, 17, 64, 131}) {
        gatun_quantize_params p =
            make_params(format, rows, depth, rng.pick(test::group_sizes(depth)), kFloats[rng.integer(0, 2)]);
        if (rng.integer(0, 1) == 0) {  // a transposed matrix
          p.x_row_stride = 1;
          p.x_column_stride = rows + rng.integer(rows == 1, 2);
        } else {
          p.x_column_stride = rng.integer(2, 5);
          p.x_row_stride = p.x_column_stride * depth + rng.integer(0, 3);
        }
        compare(p, values(rng, x_extent(p), rng.integer(0, kValueKinds - 1)), rng);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Scaled, BlocksOfSeveralRows) {
  Rng rng(23);
  for (const int32_t codes : {GATUN_F8E4M3, GATUN_F8E5M2}) {
    for (const int32_t scales : {GATUN_F32, GATUN_F16, GATUN_E8M0}) {
      for (const int64_t rows : {1, 2, 33, 127, 128, 129, 257}) {
        for (const int64_t group_rows : {int64_t{2}, int64_t{31}, int64_t{32}, int64_t{128}, rows}) {
          if (group_rows > rows) continue;
          const int64_t depth = rng.integer(1, 300);
          gatun_quantize_params p =
              make_params({codes, 0, scales, 0}, rows, depth, std::min<int64_t>(depth, rng.integer(0, 1) ? 128 : 17),
                          kFloats[rng.integer(0, 2)]);
          if (p.group < 16) p.group = depth;
          p.group_rows = group_rows;
          p.rounding = static_cast<int32_t>(rng.integer(0, 2));
          if (rng.integer(0, 3) == 0) p.scale_rule = GATUN_SCALE_GIVEN;
          if (rng.integer(0, 3) == 0) {
            p.x_row_stride = 1;
            p.x_column_stride = rows + 1;
          }
          compare(p, values(rng, x_extent(p), rng.integer(0, kValueKinds - 1)), rng);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

// Bitwise the same for any number of threads, from the caches and past them, whatever the addresses.
TEST(Scaled, LargeAndInParallel) {
  Rng rng(24);
  struct Shape {
    int64_t rows, depth, group, group_rows;
  };
  for (const Format& format : formats()) {
    const bool bytes = format.code_dtype == GATUN_F8E4M3;
    for (const Shape& shape : {Shape{1, 70001, 33, 1}, {3, 20003, 20003, 1}, {110, 640, 64, bytes ? 100 : 1}}) {
      gatun_quantize_params p = make_params(format, shape.rows, shape.depth, shape.group);
      p.group_rows = shape.group_rows;
      p.rounding = static_cast<int32_t>(rng.integer(0, 1));
      const std::vector<float> x = values(rng, x_extent(p), 0);
      const Extras extras(p, rng);
      Quantized one(p);
      reference_quantize(p, x.data(), extras.code_book(), nullptr, one.codes.data(), one.scales.data(), nullptr);
      std::vector<float> reference_y(x.size());
      reference_dequantize(p, extras.code_book(), one.codes.data(), one.scales.data(), nullptr, reference_y.data());
      for (const int32_t threads : {1, 3}) {
        p.threads = threads;
        Quantized many(p);
        ASSERT_EQ(
            gatun_quantize(&p, x.data(), extras.code_book(), nullptr, many.codes.data(), many.scales.data(), nullptr),
            GATUN_OK);
        ASSERT_TRUE(same(many, one, p)) << describe(p);
        std::vector<float> y(x.size());
        ASSERT_EQ(gatun_dequantize(&p, extras.code_book(), many.codes.data(), many.scales.data(), nullptr, y.data()),
                  GATUN_OK);
        ASSERT_TRUE(test::identical(y, reference_y)) << describe(p);
      }
    }
  }
}

// Dequantization takes what a file may hold: any code, any scale.
TEST(Scaled, AnyBitPattern) {
  Rng rng(26);
  for (const Format& format : formats()) {
    for (const int32_t x_dtype : kFloats) {
      const gatun_quantize_params p = make_params(format, 7, 133, 17, x_dtype);
      SCOPED_TRACE(describe(p));
      const Extras extras(p, rng);
      Quantized q(p);
      for (int64_t i = 0; i < q.codes.size(); ++i) q.codes[i] = static_cast<uint8_t>(rng.next());
      for (int64_t i = 0; i < q.scales.size(); ++i) q.scales[i] = static_cast<uint8_t>(rng.next());
      const int64_t count = p.rows * p.depth;
      GuardBuffer<unsigned char> y(count * dtype_bytes(x_dtype, 1)), expected(count * dtype_bytes(x_dtype, 1));
      ASSERT_EQ(gatun_dequantize(&p, extras.code_book(), q.codes.data(), q.scales.data(), nullptr, y.data()), GATUN_OK);
      reference_dequantize(p, extras.code_book(), q.codes.data(), q.scales.data(), nullptr, expected.data());
      const std::vector<double> a = test::to_doubles(y.data(), x_dtype, count);
      const std::vector<double> b = test::to_doubles(expected.data(), x_dtype, count);
      ASSERT_TRUE(test::within(a, b, std::vector<double>(a.size(), 0.0), p.depth));
    }
  }
}

}  // namespace
}  // namespace gatun::quantize::scaled
