// Every kernel of the tier in use (GATUN_MAX_ISA) against reference.cc, bit for bit, through the C entry points; and
// the reference against examples worked out by hand.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "base/dtype.h"
#include "gatun/gatun.h"
#include "gatun/quantize.h"
#include "guard_buffer.h"
#include "quantize/reference.h"
#include "quantize/table.h"
#include "rng.h"
#include "shapes.h"
#include "tolerance.h"

namespace gatun::quantize {
namespace {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

struct Scheme {
  int32_t code_dtype, asymmetric;
};
constexpr Scheme kSchemes[] = {{GATUN_I8, 0}, {GATUN_U8, 1}, {GATUN_U4, 0}, {GATUN_U4, 1}};
constexpr int32_t kFloats[] = {GATUN_F32, GATUN_F16, GATUN_BF16};
constexpr int32_t kScales[] = {GATUN_F32, GATUN_F16};

gatun_quantize_params make_params(Scheme scheme, int64_t rows, int64_t depth, int64_t group,
                                  int32_t x_dtype = GATUN_F32, int32_t scale_dtype = GATUN_F32) {
  return {sizeof(gatun_quantize_params),
          x_dtype,
          scheme.code_dtype,
          scheme.asymmetric,
          scale_dtype,
          1,
          rows,
          depth,
          group,
          depth,
          1};
}

std::string describe(const gatun_quantize_params& p) {
  return std::string(dtype_name(p.x_dtype)) + " to " + dtype_name(p.code_dtype) + (p.asymmetric ? " asymmetric" : "") +
         ", scales " + dtype_name(p.scale_dtype) + ", " + std::to_string(p.rows) + " x " + std::to_string(p.depth) +
         ", group " + std::to_string(p.group) + ", strides " + std::to_string(p.x_row_stride) + " and " +
         std::to_string(p.x_column_stride) + ", threads " + std::to_string(p.threads);
}

int64_t groups_of(const gatun_quantize_params& p) { return p.depth == 0 ? 0 : (p.depth + p.group - 1) / p.group; }

// Elements from the first to past the last one of x.
int64_t x_extent(const gatun_quantize_params& p) {
  if (p.rows == 0 || p.depth == 0) return 0;
  return (p.rows - 1) * p.x_row_stride + (p.depth - 1) * p.x_column_stride + 1;
}

// Codes, scales and zero points beside inaccessible memory, as many as the parameters say.
struct Quantized {
  explicit Quantized(const gatun_quantize_params& p, Edge edge = Edge::back, int64_t offset = 0)
      : codes(p.rows * dtype_bytes(p.code_dtype, p.depth), edge, offset),
        scales(p.rows * groups_of(p) * dtype_bytes(p.scale_dtype, 1), edge, offset * dtype_bytes(p.scale_dtype, 1)),
        zero_points(p.asymmetric ? p.rows * groups_of(p) : 0, edge, offset),
        zeros(p.asymmetric ? zero_points.data() : nullptr) {}

  GuardBuffer<uint8_t> codes, scales, zero_points;
  uint8_t* zeros;  // null if symmetric
};

::testing::AssertionResult same(const Quantized& a, const Quantized& b, const gatun_quantize_params& p) {
  if (auto result = test::identical(a.scales.copy(), b.scales.copy()); !result) return result << " (bytes of scales)";
  if (auto result = test::identical(a.zero_points.copy(), b.zero_points.copy(), groups_of(p)); !result) {
    return result << " (zero points)";
  }
  return test::identical(a.codes.copy(), b.codes.copy(), dtype_bytes(p.code_dtype, p.depth)) << " (bytes of codes)";
}

// Values that make each step of the definition matter.
std::vector<float> values(Rng& rng, int64_t count, int64_t kind) {
  std::vector<float> x = rng.normals(count);
  for (float& value : x) {
    switch (kind) {
      case 0:
        break;
      case 1:
        value = static_cast<float>(rng.integer(-8, 8));
        break;  // ties, extremes of both signs
      case 2:
        value = std::fabs(value);
        break;  // no negative values
      case 3:
        value = 0;
        break;
      case 4:
        value *= std::ldexp(1.0f, static_cast<int>(rng.integer(-30, -10)));
        break;  // f16 scales underflow
      case 5:
        value = rng.integer(0, 3) == 0 ? value * 1000 : 0;
        break;
      default:
        value *= std::ldexp(1.0f, static_cast<int>(rng.integer(-149, -100)));
        break;  // scales below 2^-120
    }
  }
  return x;
}
constexpr int64_t kValueKinds = 7;

// Quantizes x by kernel and reference and compares; then the same back.
void compare(gatun_quantize_params p, const std::vector<float>& x, Edge edge, int64_t offset) {
  SCOPED_TRACE(describe(p));
  const std::vector<unsigned char> bytes = test::from_floats(x, p.x_dtype);
  const int64_t element = dtype_bytes(p.x_dtype, 1);
  GuardBuffer<unsigned char> input(bytes, edge, offset * element);
  input.make_read_only();
  Quantized actual(p, edge, offset), expected(p);
  ASSERT_EQ(gatun_quantize(&p, input.data(), actual.codes.data(), actual.scales.data(), actual.zeros), GATUN_OK)
      << gatun_last_error();
  reference_quantize(p, input.data(), expected.codes.data(), expected.scales.data(), expected.zeros);
  ASSERT_TRUE(same(actual, expected, p));

  gatun_quantize_params back = p;
  back.x_column_stride = 1;
  back.x_row_stride = p.depth + offset;
  GuardBuffer<unsigned char> y(x_extent(back) * element, edge, offset * element), reference_y(x_extent(back) * element);
  const std::vector<unsigned char> untouched = y.copy();
  actual.codes.make_read_only();
  actual.scales.make_read_only();
  actual.zero_points.make_read_only();
  ASSERT_EQ(gatun_dequantize(&back, actual.codes.data(), actual.scales.data(), actual.zeros, y.data()), GATUN_OK)
      << gatun_last_error();
  reference_dequantize(back, actual.codes.data(), actual.scales.data(), actual.zeros, reference_y.data());
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
    for (const int32_t x_dtype : kFloats) {
      for (const int64_t rows : {1, 2, 31, 32, 33, 65}) {
        for (const int64_t depth : {1, 17, 63, 64, 65, 131}) {
          for (const int64_t group : test::group_sizes(depth)) {
            gatun_quantize_params p = make_params(scheme, rows, depth, group, x_dtype, GATUN_F16);
            if (cases % 2 == 0) {  // a transposed matrix
              p.x_row_stride = 1;
              p.x_column_stride = rows + rng.integer(rows == 1, 2);
            } else {
              p.x_column_stride = rng.integer(2, 5);
              p.x_row_stride = p.x_column_stride * depth + rng.integer(0, 3);
            }
            compare(p, values(rng, x_extent(p), cases % kValueKinds), cases % 3 ? Edge::back : Edge::front, 0);
            if (HasFatalFailure()) return;
            ++cases;
          }
        }
      }
    }
  }
  EXPECT_GT(cases, 1000);
}

TEST(Quantize, RowsThatAreTheSameMemory) {
  Rng rng(3);
  gatun_quantize_params p = make_params({GATUN_U4, 1}, 5, 100, 32);
  p.x_row_stride = 0;
  compare(p, values(rng, 100, 0), Edge::back, 0);
}

// Bitwise the same for any number of threads, with one row, few long rows, many rows, groups that share bytes.
TEST(Quantize, AnyNumberOfThreads) {
  Rng rng(4);
  struct Shape {
    int64_t rows, depth, group, column_stride;
  };
  for (const Shape shape : {Shape{1, 400001, 33, 1},
                            {1, 400000, 32, 1},
                            {3, 200003, 200003, 1},
                            {700, 640, 64, 1},
                            {999, 513, 17, 1},
                            {500, 1000, 50, 500}}) {
    for (const Scheme scheme : kSchemes) {
      gatun_quantize_params p = make_params(scheme, shape.rows, shape.depth, shape.group);
      p.x_column_stride = shape.column_stride;
      if (shape.column_stride > 1) p.x_row_stride = 1;
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
        ASSERT_EQ(gatun_quantize(&single, x.data(), one.codes.data(), one.scales.data(), one.zeros), GATUN_OK);
        ASSERT_EQ(gatun_quantize(&p, x.data(), many.codes.data(), many.scales.data(), many.zeros), GATUN_OK);
        ASSERT_TRUE(same(many, one, p)) << describe(p);
        gatun_quantize_params back = p;
        back.x_column_stride = 1;
        back.x_row_stride = p.depth;
        std::vector<float> y(static_cast<size_t>(p.rows * p.depth)), reference_y(y.size());
        ASSERT_EQ(gatun_dequantize(&back, many.codes.data(), many.scales.data(), many.zeros, y.data()), GATUN_OK);
        reference_dequantize(back, many.codes.data(), many.scales.data(), many.zeros, reference_y.data());
        ASSERT_TRUE(test::identical(y, reference_y)) << describe(p);
      }
    }
  }
}

// Dequantization takes what a file may hold: any code, any scale.
TEST(Dequantize, AnyBitPattern) {
  Rng rng(5);
  for (const Scheme scheme : kSchemes) {
    for (const int32_t x_dtype : kFloats) {
      for (const int32_t scale_dtype : kScales) {
        const gatun_quantize_params p = make_params(scheme, 7, 133, 17, x_dtype, scale_dtype);
        SCOPED_TRACE(describe(p));
        Quantized q(p);
        for (int64_t i = 0; i < q.codes.size(); ++i) q.codes[i] = static_cast<uint8_t>(rng.next());
        for (int64_t i = 0; i < q.zero_points.size(); ++i) q.zero_points[i] = static_cast<uint8_t>(rng.next());
        std::vector<float> scales;
        for (int64_t i = 0; i < p.rows * groups_of(p); ++i) scales.push_back(rng.special());
        const std::vector<unsigned char> bytes = test::from_floats(scales, scale_dtype);
        std::memcpy(q.scales.data(), bytes.data(), bytes.size());
        const int64_t count = p.rows * p.depth;
        GuardBuffer<unsigned char> y(count * dtype_bytes(x_dtype, 1)), expected(count * dtype_bytes(x_dtype, 1));
        ASSERT_EQ(gatun_dequantize(&p, q.codes.data(), q.scales.data(), q.zeros, y.data()), GATUN_OK);
        reference_dequantize(p, q.codes.data(), q.scales.data(), q.zeros, expected.data());
        const std::vector<double> a = test::to_doubles(y.data(), x_dtype, count);
        const std::vector<double> b = test::to_doubles(expected.data(), x_dtype, count);
        ASSERT_TRUE(test::within(a, b, std::vector<double>(a.size(), 0.0), p.depth));
      }
    }
  }
}

// Worked out by hand from the definition.
struct Example {
  Scheme scheme;
  int32_t scale_dtype;
  std::vector<float> x;
  float scale;
  int zero_point;
  std::vector<int> codes;
};

TEST(Quantize, Examples) {
  const float third = 1.0f / 3;
  const Example examples[] = {
      {{GATUN_I8, 0}, GATUN_F32, {127, -127, 0.5f, 1.5f, -0.5f, 0}, 1, 0, {127, -127, 0, 2, 0, 0}},
      {{GATUN_I8, 0}, GATUN_F32, {-254, 1, 3, 5}, 2, 0, {-127, 0, 2, 2}},
      {{GATUN_U8, 1}, GATUN_F32, {0, 255, 0.5f, 1.5f}, 1, 0, {0, 255, 0, 2}},
      {{GATUN_U8, 1}, GATUN_F32, {-100, 155, 0, 2.5f}, 1, 100, {0, 255, 100, 102}},
      {{GATUN_U8, 1}, GATUN_F32, {-510, -1, 0}, 2, 255, {0, 255, 255}},
      {{GATUN_U4, 0}, GATUN_F32, {-8, 7, 8, 0, 0.5f}, 1, 8, {0, 15, 15, 8, 8}},
      {{GATUN_U4, 0}, GATUN_F32, {8, -8, 7, 1.5f}, -1, 8, {0, 15, 1, 6}},
      {{GATUN_U4, 0}, GATUN_F32, {3, -1, 4}, -0.5f, 8, {2, 10, 0}},
      {{GATUN_U4, 1}, GATUN_F32, {-5, 10, 0, 2.5f, 3.5f}, 1, 5, {0, 15, 5, 7, 9}},
      {{GATUN_U4, 1}, GATUN_F32, {15, 30}, 2, 0, {8, 15}},
      {{GATUN_I8, 0}, GATUN_F32, {0, -0.0f}, 0, 0, {0, 0}},
      {{GATUN_U8, 1}, GATUN_F32, {0, 0}, 0, 0, {0, 0}},
      {{GATUN_U4, 0}, GATUN_F32, {0, 0}, 0, 8, {8, 8}},
      {{GATUN_U4, 1}, GATUN_F32, {0, 0}, 0, 0, {0, 0}},
      {{GATUN_I8, 0}, GATUN_F32, {0x1p-114f, 0}, 0, 0, {0, 0}},  // scale 2^-114 / 127 < 2^-120
      {{GATUN_I8, 0}, GATUN_F32, {127 * 0x1p-120f, 0}, 0x1p-120f, 0, {127, 0}},
      {{GATUN_I8, 0}, GATUN_F16, {127 * 0x1p-25f, 0}, 0, 0, {0, 0}},                          // ties to even: 0
      {{GATUN_I8, 0}, GATUN_F16, {127 * 0x1.8p-24f, 0}, 0x1p-23f, 0, {95, 0}},                // 95.25
      {{GATUN_I8, 0}, GATUN_F16, {127 * 0x1.4p-24f, -1 * 0x1p-24f}, 0x1p-24f, 0, {127, -1}},  // 158.75, clamped
      {{GATUN_U4, 0}, GATUN_F16, {-8 * third, 1}, 0.33325195f, 8, {0, 11}},
  };
  for (const Example& example : examples) {
    gatun_quantize_params p = make_params(example.scheme, 1, static_cast<int64_t>(example.x.size()),
                                          static_cast<int64_t>(example.x.size()), GATUN_F32, example.scale_dtype);
    SCOPED_TRACE(describe(p) + ", first value " + std::to_string(example.x[0]));
    for (const bool reference : {true, false}) {
      Quantized q(p);
      if (reference) {
        reference_quantize(p, example.x.data(), q.codes.data(), q.scales.data(), q.zeros);
      } else {
        ASSERT_EQ(gatun_quantize(&p, example.x.data(), q.codes.data(), q.scales.data(), q.zeros), GATUN_OK);
      }
      EXPECT_EQ(test::to_doubles(q.scales.data(), p.scale_dtype, 1)[0], static_cast<double>(example.scale));
      if (p.asymmetric) {
        EXPECT_EQ(q.zero_points[0], example.zero_point);
      }
      for (size_t k = 0; k < example.x.size(); ++k) {
        const int64_t at = static_cast<int64_t>(k);
        const int code = p.code_dtype == GATUN_I8   ? static_cast<int8_t>(q.codes[at])
                         : p.code_dtype == GATUN_U8 ? q.codes[at]
                                                    : q.codes[at / 2] >> 4 * (at % 2) & 15;
        EXPECT_EQ(code, example.codes[k]) << "element " << k;
      }
      if (p.code_dtype == GATUN_U4 && p.depth % 2 == 1) {
        EXPECT_EQ(q.codes[p.depth / 2] >> 4, 0) << "unused nibble";
      }
    }
  }
}

// A value comes back within half a step, where no clamping and no rounding of the scale interferes.
TEST(Quantize, ErrorIsHalfAStep) {
  Rng rng(6);
  for (const Scheme scheme : {kSchemes[0], kSchemes[1], kSchemes[3]}) {
    const gatun_quantize_params p = make_params(scheme, 20, 300, 50);
    const std::vector<float> x = values(rng, 6000, 0);
    Quantized q(p);
    std::vector<float> y(x.size());
    ASSERT_EQ(gatun_quantize(&p, x.data(), q.codes.data(), q.scales.data(), q.zeros), GATUN_OK);
    ASSERT_EQ(gatun_dequantize(&p, q.codes.data(), q.scales.data(), q.zeros, y.data()), GATUN_OK);
    for (size_t i = 0; i < x.size(); ++i) {
      const double scale = reinterpret_cast<const float*>(q.scales.data())[i / 50];
      // Rounding of the zero point shifts the range by up to half a step.
      ASSERT_LE(std::fabs(double{x[i]} - double{y[i]}), scale * (p.asymmetric ? 1.001 : 0.501)) << describe(p) << i;
    }
  }
}

TEST(Quantize, RefusesNanAndInfinityByIndexAndWritesNothing) {
  Rng rng(7);
  for (const Scheme scheme : kSchemes) {
    for (const int32_t x_dtype : kFloats) {
      for (const bool transposed : {false, true}) {
        for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                                -std::numeric_limits<float>::infinity()}) {
          gatun_quantize_params p = make_params(scheme, 70, 67, 17, x_dtype);
          p.threads = 0;
          if (transposed) {
            p.x_row_stride = 1;
            p.x_column_stride = 70;
          }
          const int64_t row = rng.integer(0, 69), column = rng.integer(0, 66);
          std::vector<float> x = values(rng, 70 * 67, 0);
          x[static_cast<size_t>(row * p.x_row_stride + column * p.x_column_stride)] = bad;
          if (row < 69) x[static_cast<size_t>(69 * p.x_row_stride)] = bad;  // a later one does not hide the first
          const std::vector<unsigned char> bytes = test::from_floats(x, x_dtype);
          Quantized q(p), untouched(p);
          ASSERT_EQ(gatun_quantize(&p, bytes.data(), q.codes.data(), q.scales.data(), q.zeros), GATUN_INVALID_ARGUMENT);
          const std::string named = "x[" + std::to_string(row) + "][" + std::to_string(column) + "]";
          EXPECT_NE(std::string(gatun_last_error()).find(named), std::string::npos)
              << gatun_last_error() << ", expected " << named;
          EXPECT_TRUE(same(q, untouched, p)) << "written in spite of the refusal: " << describe(p);
        }
      }
    }
  }
}

TEST(Quantize, RefusesScalesThatOverflow) {
  struct Overflow {
    Scheme scheme;
    int32_t scale_dtype;
    float low, high;
  };
  for (const Overflow& o : {Overflow{{GATUN_I8, 0}, GATUN_F16, 0, 65520.0f * 127},
                            {{GATUN_U4, 0}, GATUN_F16, -65520.0f * 8, 0},
                            {{GATUN_U4, 1}, GATUN_F16, -65520.0f * 7, 65520.0f * 8},
                            {{GATUN_U8, 1}, GATUN_F32, -3e38f, 3e38f}}) {
    gatun_quantize_params p = make_params(o.scheme, 3, 40, 20, GATUN_F32, o.scale_dtype);
    std::vector<float> x(120, 1.0f);
    x[2 * 40 + 21] = o.low;
    x[2 * 40 + 25] = o.high;
    Quantized q(p), untouched(p);
    ASSERT_EQ(gatun_quantize(&p, x.data(), q.codes.data(), q.scales.data(), q.zeros), GATUN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(gatun_last_error()).find("group 1 in row 2"), std::string::npos) << gatun_last_error();
    EXPECT_TRUE(same(q, untouched, p));
    x[2 * 40 + 21] = o.low * 0.99f;
    x[2 * 40 + 25] = o.high * (o.scheme.code_dtype == GATUN_U8 ? 0.01f : 0.99f);
    EXPECT_EQ(gatun_quantize(&p, x.data(), q.codes.data(), q.scales.data(), q.zeros), GATUN_OK) << gatun_last_error();
  }
}

TEST(Quantize, EmptyWorkNeedsNoMemory) {
  for (const Scheme scheme : kSchemes) {
    for (const auto& [rows, depth] : {std::pair<int64_t, int64_t>{0, 0}, {0, 64}, {5, 0}}) {
      const gatun_quantize_params p = make_params(scheme, rows, depth, depth);
      EXPECT_EQ(gatun_quantize(&p, nullptr, nullptr, nullptr, nullptr), GATUN_OK) << gatun_last_error();
      EXPECT_EQ(gatun_dequantize(&p, nullptr, nullptr, nullptr, nullptr), GATUN_OK) << gatun_last_error();
    }
  }
}

TEST(Quantize, ExplainNamesTheKernels) {
  char text[1024];
  for (const Scheme scheme : kSchemes) {
    for (const int32_t x_dtype : kFloats) {
      const gatun_quantize_params p = make_params(scheme, 100, 100, 100, x_dtype);
      ASSERT_EQ(gatun_quantize_explain(&p, text, sizeof(text)), GATUN_OK) << gatun_last_error();
      const Tier tier = static_cast<Tier>(gatun_tier());
      for (const std::string name : {quantize_table().select(x_dtype, p.code_dtype, tier).name,
                                     dequantize_table().select(p.code_dtype, x_dtype, tier).name}) {
        EXPECT_NE(std::string(text).find(name), std::string::npos) << text;
      }
      EXPECT_EQ(gatun_quantize_explain(&p, text, 10), GATUN_INVALID_ARGUMENT);
    }
  }
}

}  // namespace
}  // namespace gatun::quantize
