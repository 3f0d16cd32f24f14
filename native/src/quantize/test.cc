// Every kernel of the tier in use (GATUN_MAX_ISA) against reference.cc, bit for bit, through the C entry points: types,
// sizes, strides, threads. linear_test.cc has the reference against examples worked out by hand.
#include "quantize/test_linear.h"

namespace gatun::quantize {
namespace {

// Quantizes x by kernel and reference and compares; then the same back.
void compare(gatun_quantize_params p, const std::vector<float>& x, Edge edge, int64_t offset) {
  SCOPED_TRACE(describe(p));
  const std::vector<unsigned char> bytes = test::from_floats(x, p.x_dtype);
  const int64_t element = dtype_bytes(p.x_dtype, 1);
  GuardBuffer<unsigned char> input(bytes, edge, offset * element);
  input.make_read_only();
  Quantized actual(p, edge, offset), expected(p);
  Rng rng(100);
  const std::vector<uint8_t> up = choices(rng, p);
  GuardBuffer<uint8_t> round_up(up, edge, offset);
  const void* const given = p.rounding == GATUN_ROUND_GIVEN ? round_up.data() : nullptr;
  if (p.scale_rule == GATUN_SCALE_GIVEN) {
    give_scales(rng, p, expected);
    std::memcpy(actual.scales.data(), expected.scales.data(), static_cast<size_t>(actual.scales.size()));
    std::memcpy(actual.zero_points.data(), expected.zero_points.data(), static_cast<size_t>(actual.zero_points.size()));
    actual.scales.make_read_only();
    actual.zero_points.make_read_only();
  }
  ASSERT_EQ(quantize(p, input.data(), actual, given), GATUN_OK) << gatun_last_error();
  reference(p, input.data(), expected, given);
  ASSERT_TRUE(same(actual, expected, p));

  gatun_quantize_params back = p;
  back.x_column_stride = 1;
  back.x_row_stride = p.depth + offset;
  GuardBuffer<unsigned char> y(x_extent(back) * element, edge, offset * element), reference_y(x_extent(back) * element);
  const std::vector<unsigned char> untouched = y.copy();
  actual.codes.make_read_only();
  actual.scales.make_read_only();
  actual.zero_points.make_read_only();
  ASSERT_EQ(dequantize(back, actual, y.data()), GATUN_OK) << gatun_last_error();
  reference_back(back, actual, reference_y.data());
  std::vector<unsigned char> wanted = untouched;  // between rows nothing is written
  for (int64_t row = 0; row < p.rows && p.depth > 0; ++row) {
    const int64_t at = row * back.x_row_stride * element;
    std::memcpy(wanted.data() + at, reference_y.data() + at, static_cast<size_t>(p.depth * element));
  }
  ASSERT_TRUE(test::identical(y.copy(), wanted)) << " (bytes of x)";
}

TEST(Quantize, EveryTypeAndSize) {
  Rng rng(1);
  int64_t cases = 0;
  for (const Scheme scheme : kSchemes) {
    for (const int32_t x_dtype : kFloats) {
      for (const int32_t scale_dtype : kScales) {
        std::vector<int64_t> depths = test::prime_sizes();
        for (const int64_t tile : {8, 16, 64}) {
          for (const int64_t depth : test::edge_sizes(tile)) depths.push_back(depth);
        }
        for (const int64_t depth : depths) {
          for (const int64_t group : test::group_sizes(depth)) {
            const int64_t rows = rng.integer(0, 3);
            gatun_quantize_params p = make_params(scheme, rows, depth, group, x_dtype, scale_dtype);
            p.x_row_stride += rng.integer(0, 2);
            p.rounding = static_cast<int32_t>(rng.integer(0, 2));
            p.seed = static_cast<int64_t>(rng.next());
            if (scheme.scale_rule == GATUN_SCALE_DEFAULT && rng.integer(0, 3) == 0) p.scale_rule = GATUN_SCALE_GIVEN;
            const Edge edge = rng.integer(0, 1) ? Edge::front : Edge::back;
            compare(p, values(rng, x_extent(p), cases % kValueKinds), edge, rng.integer(0, 1) * rng.integer(1, 7));
            if (HasFatalFailure()) return;
            ++cases;
          }
        }
      }
    }
  }
  EXPECT_GT(cases, 2000);
}

TEST(Quantize, StridedColumns) {
  Rng rng(2);
  int64_t cases = 0;
  for (const Scheme scheme : kSchemes) {
    for (const int64_t rows : {1, 2, 31, 32, 33, 65}) {
      for (const int64_t depth : {1, 17, 63, 64, 65, 131}) {
        for (const int64_t group : test::group_sizes(depth)) {
          gatun_quantize_params p = make_params(scheme, rows, depth, group, kFloats[cases / 2 % 3], GATUN_F16);
          if (cases % 2 == 0) {  // a transposed matrix
            p.x_row_stride = 1;
            p.x_column_stride = rows + rng.integer(rows == 1, 2);
          } else {
            p.x_column_stride = rng.integer(2, 5);
            p.x_row_stride = p.x_column_stride * depth + rng.integer(0, 3);
          }
          p.rounding = static_cast<int32_t>(cases % 3);
          compare(p, values(rng, x_extent(p), cases % kValueKinds), cases % 3 ? Edge::back : Edge::front, 0);
          if (HasFatalFailure()) return;
          ++cases;
        }
      }
    }
  }
  EXPECT_GT(cases, 1000);
}

TEST(Quantize, RowsThatAreTheSameMemory) {
  Rng rng(3);
  gatun_quantize_params p = make_params({GATUN_U4, GATUN_ZERO_INTEGER}, 5, 100, 32);
  p.x_row_stride = 0;
  compare(p, values(rng, 100, 0), Edge::back, 0);
}

// Bitwise the same for any number of threads, with one row, few long rows, many rows, groups that share bytes.
TEST(Quantize, AnyNumberOfThreads) {
  Rng rng(4);
  struct Shape {
    int64_t rows, depth, group, column_stride;
  };
  for (const Shape shape : {Shape{1, 131001, 33, 1},
                            {1, 131072, 32, 1},
                            {1, 200003, 200003, 1},
                            {200, 640, 64, 1},
                            {250, 513, 17, 1},
                            {130, 1000, 50, 130}}) {
    for (const Scheme scheme : kSchemes) {
      gatun_quantize_params p = make_params(scheme, shape.rows, shape.depth, shape.group);
      p.x_column_stride = shape.column_stride;
      if (shape.column_stride > 1) p.x_row_stride = 1;
      p.rounding = shape.group % 2 == 0 ? GATUN_ROUND_STOCHASTIC : GATUN_ROUND_NEAREST;
      const std::vector<float> x = values(rng, x_extent(p), 0);
      for (const int32_t threads : {1, 2, 3, 8, 0}) {
        p.threads = threads;
        if (threads == 1) {
          compare(p, x, Edge::back, 0);
          if (HasFatalFailure()) return;
        }
        Quantized one(p), many(p);
        gatun_quantize_params single = p;
        single.threads = 1;
        ASSERT_EQ(quantize(single, x.data(), one), GATUN_OK);
        ASSERT_EQ(quantize(p, x.data(), many), GATUN_OK);
        ASSERT_TRUE(same(many, one, p)) << describe(p);
        gatun_quantize_params back = p;
        back.x_column_stride = 1;
        back.x_row_stride = p.depth;
        std::vector<float> y(static_cast<size_t>(p.rows * p.depth)), reference_y(y.size());
        ASSERT_EQ(dequantize(back, many, y.data()), GATUN_OK);
        reference_back(back, many, reference_y.data());
        ASSERT_TRUE(test::identical(y, reference_y)) << describe(p);
      }
    }
  }
}

// Outputs of many MiB are written past the caches: the same values as row by row, at any alignment, and nothing else.
TEST(Dequantize, PastTheCaches) {
  Rng rng(10);
  struct Shape {
    int64_t depth, group, stride;
  };
  for (const Scheme scheme : {kSchemes[0], kSchemes[3], kSchemes[4], kSchemes[7]}) {
    for (const Shape shape : {Shape{1400000, 32, 1400000}, {1400001, 100, 1400003}, {1400000, 17, 1400000}}) {
      gatun_quantize_params p = make_params(scheme, 3, shape.depth, shape.group);
      p.x_row_stride = shape.stride;
      SCOPED_TRACE(describe(p));
      std::vector<uint8_t> codes(static_cast<size_t>(3 * dtype_bytes(p.code_dtype, p.depth)));
      for (uint8_t& code : codes) code = static_cast<uint8_t>(rng.next());
      std::vector<float> scales = rng.normals(3 * groups_of(p)), offsets = rng.normals(3 * groups_of(p));
      void* const zeros = p.zero_point == GATUN_ZERO_NONE ? nullptr : offsets.data();
      for (const int64_t offset : {0, 1}) {
        const int64_t count = 2 * shape.stride + shape.depth;
        std::vector<float> x(static_cast<size_t>(count + 64), -1.0f), expected = x;
        p.rows = 3;
        p.threads = 2;
        ASSERT_EQ(gatun_dequantize(&p, nullptr, codes.data(), scales.data(), zeros, x.data() + offset), GATUN_OK);
        p.rows = p.threads = 1;
        for (int64_t row = 0; row < 3; ++row) {
          const int64_t block = row * groups_of(p);
          void* const row_zeros = zeros == nullptr ? nullptr : static_cast<uint8_t*>(zeros) + block * zero_bytes(p);
          ASSERT_EQ(gatun_dequantize(&p, nullptr, codes.data() + row * dtype_bytes(p.code_dtype, p.depth),
                                     scales.data() + block, row_zeros, expected.data() + offset + row * shape.stride),
                    GATUN_OK);
        }
        ASSERT_TRUE(test::identical(x, expected)) << offset;
      }
    }
  }
}

}  // namespace
}  // namespace gatun::quantize
