// Small floats and code books: every kernel of the tier in use (GATUN_MAX_ISA) against the reference, bit for bit,
// through the C entry points; and both against examples worked out by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "base/dtype.h"
#include "gatun/gatun.h"
#include "gatun/quantize.h"
#include "guard_buffer.h"
#include "quantize/reference.h"
#include "rng.h"
#include "shapes.h"
#include "tolerance.h"

namespace gatun::quantize {
namespace {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

constexpr int32_t kFloats[] = {GATUN_F32, GATUN_F16, GATUN_BF16};

struct Format {
  int32_t code_dtype, book, scale_dtype, scale_rule;
};

// Every format with its scales and rules.
std::vector<Format> formats() {
  std::vector<Format> all;
  for (const int32_t codes : {GATUN_F8E4M3, GATUN_F8E5M2, GATUN_F6E3M2, GATUN_F6E2M3, GATUN_F4E2M1}) {
    for (const int32_t scales : {GATUN_F32, GATUN_F16}) all.push_back({codes, 0, scales, GATUN_SCALE_DEFAULT});
    for (const int32_t rule : {GATUN_SCALE_FLOOR, GATUN_SCALE_CEIL, GATUN_SCALE_RCEIL, GATUN_SCALE_EVEN}) {
      all.push_back({codes, 0, GATUN_E8M0, rule});
    }
  }
  all.push_back({GATUN_F4E2M1, 0, GATUN_F8E4M3, GATUN_SCALE_DEFAULT});
  for (const int32_t book : {GATUN_BOOK_NF4, GATUN_BOOK_FP4}) {
    all.push_back({GATUN_U4, book, GATUN_F32, GATUN_SCALE_DEFAULT});
  }
  for (const int32_t book :
       {GATUN_BOOK_DYNAMIC, GATUN_BOOK_DYNAMIC_UNSIGNED, GATUN_BOOK_LINEAR, GATUN_BOOK_LINEAR_UNSIGNED}) {
    all.push_back({GATUN_U8, book, GATUN_F32, GATUN_SCALE_DEFAULT});
  }
  all.push_back({GATUN_U4, GATUN_BOOK_GIVEN, GATUN_F32, GATUN_SCALE_DEFAULT});
  all.push_back({GATUN_U8, GATUN_BOOK_GIVEN, GATUN_F32, GATUN_SCALE_DEFAULT});
  return all;
}

gatun_quantize_params make_params(const Format& format, int64_t rows, int64_t depth, int64_t group,
                                  int32_t x_dtype = GATUN_F32) {
  gatun_quantize_params p{};
  p.struct_size = sizeof(p);
  p.x_dtype = x_dtype;
  p.code_dtype = format.code_dtype;
  p.book = format.book;
  p.scale_dtype = format.scale_dtype;
  p.scale_rule = format.scale_rule;
  p.threads = 1;
  p.tensor_scale = format.scale_dtype == GATUN_F8E4M3 ? 0.0123f : 1;
  p.rows = rows;
  p.depth = p.x_row_stride = depth;
  p.group = group;
  p.group_rows = p.x_column_stride = 1;
  return p;
}

std::string describe(const gatun_quantize_params& p) {
  return std::string(dtype_name(p.x_dtype)) + " to " + dtype_name(p.code_dtype) + ", book " + std::to_string(p.book) +
         ", scales " + dtype_name(p.scale_dtype) + ", rule " + std::to_string(p.scale_rule) + ", rounding " +
         std::to_string(p.rounding) + ", " + std::to_string(p.rows) + " x " + std::to_string(p.depth) + ", blocks of " +
         std::to_string(p.group_rows) + " x " + std::to_string(p.group) + ", strides " +
         std::to_string(p.x_row_stride) + " and " + std::to_string(p.x_column_stride) + ", threads " +
         std::to_string(p.threads);
}

int64_t blocks_of(const gatun_quantize_params& p) {
  if (p.rows == 0 || p.depth == 0) return 0;
  return ((p.rows - 1) / p.group_rows + 1) * ((p.depth - 1) / p.group + 1);
}

// Elements from the first to past the last one of x.
int64_t x_extent(const gatun_quantize_params& p) {
  if (p.rows == 0 || p.depth == 0) return 0;
  return (p.rows - 1) * p.x_row_stride + (p.depth - 1) * p.x_column_stride + 1;
}

// What a call has besides x.
struct Extras {
  std::vector<float> book;
  std::vector<uint8_t> round_up;

  Extras(const gatun_quantize_params& p, Rng& rng) {
    if (p.book == GATUN_BOOK_GIVEN) {
      const bool coarse = rng.integer(0, 2) == 0;  // equal values
      for (int i = 0; i < (p.code_dtype == GATUN_U4 ? 16 : 256); ++i) {
        book.push_back(coarse ? static_cast<float>(rng.integer(-4, 4)) / 4 : rng.normal() / 3);
      }
      std::sort(book.begin(), book.end());
    }
    if (p.rounding == GATUN_ROUND_GIVEN) round_up = rng.integers<uint8_t>(p.rows * p.depth, 0, 2);
  }
  const float* code_book() const { return book.empty() ? nullptr : book.data(); }
  const uint8_t* up() const { return round_up.empty() ? nullptr : round_up.data(); }
};

// Codes and scales beside inaccessible memory.
struct Quantized {
  explicit Quantized(const gatun_quantize_params& p, Edge edge = Edge::back, int64_t offset = 0)
      : codes(p.rows * dtype_bytes(p.code_dtype, p.depth), edge, offset),
        scales(blocks_of(p) * dtype_bytes(p.scale_dtype, 1), edge, offset * dtype_bytes(p.scale_dtype, 1)) {}

  GuardBuffer<uint8_t> codes, scales;
};

::testing::AssertionResult same(const Quantized& a, const Quantized& b, const gatun_quantize_params& p) {
  if (auto result = test::identical(a.scales.copy(), b.scales.copy()); !result) return result << " (bytes of scales)";
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
        value = static_cast<float>(rng.integer(-32, 32)) / 4;  // ties
        break;
      case 2:
        value = std::ldexp(value, static_cast<int>(rng.integer(-20, 0)));  // subnormal codes
        break;
      case 3:
        value = rng.integer(0, 1) ? 0.0f : -0.0f;
        break;
      case 4:
        value = std::ldexp(value, static_cast<int>(rng.integer(-40, -10)));  // f16 scales underflow
        break;
      case 5:
        value = std::ldexp(1.0f, static_cast<int>(rng.integer(-10, 10))) * (rng.integer(0, 1) ? 1 : -1.5f);
        break;
      default:
        value = std::ldexp(value, static_cast<int>(rng.integer(-149, -100)));  // scales below 2^-120
    }
  }
  return x;
}
constexpr int64_t kValueKinds = 7;

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

// An FP4 code stands for -0, but -0 becomes 0.
void forget_negative_zeros(const gatun_quantize_params& p, std::vector<float>& x) {
  if (p.book == GATUN_BOOK_NONE) return;
  for (float& value : x) value += 0.0f;
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
    for (const Shape& shape : {Shape{1, 400001, 33, 1}, {3, 100003, 100003, 1}, {300, 640, 64, bytes ? 128 : 1}}) {
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

// Beyond the size from which on outputs bypass the caches: the same codes and values as in pieces that do not.
TEST(Scaled, PastTheCaches) {
  Rng rng(25);
  const int64_t rows = 16, depth = (int64_t{2} << 20) + 6;
  const std::vector<float> some = rng.normals(1 << 16);
  std::vector<float> x(static_cast<size_t>(rows * depth));
  for (size_t i = 0; i < x.size(); ++i) x[i] = some[(i * 40503) % some.size()];
  for (const Format& format : {Format{GATUN_F8E4M3, 0, GATUN_F32, 0},
                               {GATUN_F6E2M3, 0, GATUN_E8M0, 0},
                               {GATUN_U4, GATUN_BOOK_NF4, GATUN_F32, 0},
                               {GATUN_U8, GATUN_BOOK_DYNAMIC, GATUN_F32, 0}}) {
    for (const int64_t group : {int64_t{64}, depth}) {
      gatun_quantize_params p = make_params(format, rows, depth, group);
      const int64_t row_bytes = dtype_bytes(p.code_dtype, depth), blocks = (depth - 1) / group + 1;
      const int64_t scale_bytes = blocks * dtype_bytes(p.scale_dtype, 1);
      std::vector<uint8_t> codes(static_cast<size_t>(rows * row_bytes + 1)), row_codes(static_cast<size_t>(row_bytes));
      std::vector<uint8_t> scales(static_cast<size_t>(rows * scale_bytes)),
          row_scales(static_cast<size_t>(scale_bytes));
      std::vector<float> y(x.size() + 1), row_y(static_cast<size_t>(depth));
      p.threads = 2;
      ASSERT_EQ(gatun_quantize(&p, x.data(), nullptr, nullptr, codes.data() + 1, scales.data(), nullptr), GATUN_OK);
      ASSERT_EQ(gatun_dequantize(&p, nullptr, codes.data() + 1, scales.data(), nullptr, y.data() + 1), GATUN_OK);
      for (int64_t row = 0; row < rows; row += 5) {
        gatun_quantize_params q = p;
        q.rows = 1;
        q.threads = 1;
        ASSERT_EQ(
            gatun_quantize(&q, x.data() + row * depth, nullptr, nullptr, row_codes.data(), row_scales.data(), nullptr),
            GATUN_OK);
        ASSERT_TRUE(test::identical(codes.data() + 1 + row * row_bytes, row_codes.data(), row_bytes)) << describe(p);
        ASSERT_EQ(gatun_dequantize(&q, nullptr, row_codes.data(), row_scales.data(), nullptr, row_y.data()), GATUN_OK);
        ASSERT_TRUE(test::identical(y.data() + 1 + row * depth, row_y.data(), depth)) << describe(p);
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

// With a scale of 1, every code's value becomes that code again; of codes with the same value, one of them.
TEST(Scaled, EveryCodeRoundTrips) {
  Rng rng(27);
  for (const Format& format : formats()) {
    gatun_quantize_params p = make_params(format, 1, 256, 256);
    p.scale_rule = GATUN_SCALE_GIVEN;
    p.tensor_scale = 1;
    SCOPED_TRACE(describe(p));
    const Extras extras(p, rng);
    const int bits = static_cast<int>(dtype_bytes(p.code_dtype, 256) * 8 / 256);
    Quantized all(p), again(p);
    for (int64_t byte = 0; byte < all.codes.size(); ++byte) all.codes[byte] = 0;
    for (int k = 0; k < 256; ++k) {
      for (int bit = 0; bit < bits; ++bit) {
        uint8_t& byte = all.codes[(k * bits + bit) / 8];
        byte = static_cast<uint8_t>(byte | (k >> bit & 1) << (k * bits + bit) % 8);
      }
    }
    const uint16_t half = f32_to_f16(1);
    const float one = 1;
    const uint8_t power = 127, small = 0x38;
    const void* scale = p.scale_dtype == GATUN_F32    ? static_cast<const void*>(&one)
                        : p.scale_dtype == GATUN_F16  ? static_cast<const void*>(&half)
                        : p.scale_dtype == GATUN_E8M0 ? &power
                                                      : &small;
    std::memcpy(all.scales.data(), scale, static_cast<size_t>(all.scales.size()));
    std::memcpy(again.scales.data(), scale, static_cast<size_t>(all.scales.size()));
    std::vector<float> x(256), y(256);
    ASSERT_EQ(gatun_dequantize(&p, extras.code_book(), all.codes.data(), all.scales.data(), nullptr, x.data()),
              GATUN_OK);
    for (float& value : x) value = std::isfinite(value) ? value : 0;
    forget_negative_zeros(p, x);
    for (const int32_t rounding : {GATUN_ROUND_NEAREST, GATUN_ROUND_STOCHASTIC}) {
      p.rounding = rounding;
      ASSERT_EQ(
          gatun_quantize(&p, x.data(), extras.code_book(), nullptr, again.codes.data(), again.scales.data(), nullptr),
          GATUN_OK)
          << gatun_last_error();
      ASSERT_EQ(gatun_dequantize(&p, extras.code_book(), again.codes.data(), again.scales.data(), nullptr, y.data()),
                GATUN_OK);
      ASSERT_TRUE(test::identical(y, x));
    }
  }
}

// Worked out by hand from the definition.
struct Example {
  Format format;
  std::vector<float> x;
  std::vector<uint8_t> scale;  // its bytes
  std::vector<int> codes;
  int64_t repeat = 1;  // of x, so that a group has as many values as it must
};

std::vector<uint8_t> bytes_of(float scale) {
  std::vector<uint8_t> bytes(4);
  std::memcpy(bytes.data(), &scale, 4);
  return bytes;
}

TEST(Scaled, Examples) {
  const Example examples[] = {
      // E4M3: 448 is code 0x7e; 1.0625 lies between 1 (0x38) and 1.125 (0x39), 1.1875 between 0x39 and 1.25 (0x3a):
      // ties go to the even mantissa; 2^-10 is half of the least one.
      {{GATUN_F8E4M3, 0, GATUN_F32, 0},
       {448, -448, 1, 1.0625f, 1.1875f, -1.1875f, 0x1p-9f, 0x1p-10f, 0x1.8p-9f, 0, -0.0f, 0x1.fp-7f},
       bytes_of(1),
       {0x7e, 0xfe, 0x38, 0x38, 0x3a, 0xba, 0x01, 0x00, 0x02, 0x00, 0x80, 0x08}},
      // E5M2: 57344 is 0x7b, 1 is 0x3c, 1.125 a tie to 1, 1.375 to 1.5; 2^-16 the least.
      {{GATUN_F8E5M2, 0, GATUN_F32, 0},
       {57344, -1, 1.125f, 1.375f, 0x1p-16f, 0x1p-17f, -0x1.8p-16f, 0x1p-14f},
       bytes_of(1),
       {0x7b, 0xbc, 0x3c, 0x3e, 0x01, 0x00, 0x82, 0x04}},
      // E3M2, floor(log2 28) - 4 = 0, so e = 127: 28 is 0x1f, 1 is 0x0c, 0.0625 the least.
      {{GATUN_F6E3M2, 0, GATUN_E8M0, GATUN_SCALE_FLOOR},
       {28, 1, -1, 0.0625f, 0.03125f, 0.09375f, 31, -24},
       {127},
       {0x1f, 0x0c, 0x2c, 0x01, 0x00, 0x02, 0x1f, 0x3e}},
      // E2M3: 7.5 is 0x1f, 1 is 0x08, 0.125 the least; 0.0625 and 0.1875 are ties.
      {{GATUN_F6E2M3, 0, GATUN_E8M0, GATUN_SCALE_FLOOR},
       {7.5f, 1, 0.125f, 0.0625f, 0.1875f, -2.125f, 7.9f},
       {127},
       {0x1f, 0x08, 0x01, 0x00, 0x02, 0x30, 0x1f}},
      // E2M1, floor(log2 7) - 2 = 0: 7 saturates at 6; 2.5 and 5 are ties, to 2 and 4.
      {{GATUN_F4E2M1, 0, GATUN_E8M0, GATUN_SCALE_FLOOR},
       {7, -6, 0.25f, 0.75f, 1.25f, 2.5f, 5, -3.5f},
       {127},
       {7, 15, 0, 2, 2, 4, 6, 14}},
      // ceil(log2 7) - 2 = 1: in steps of 2.
      {{GATUN_F4E2M1, 0, GATUN_E8M0, GATUN_SCALE_CEIL}, {7, -6, 0.5f, 1}, {128}, {6, 13, 0, 1}},
      // ceil(log2(7 / 6)) = 1, ceil(log2(6 / 6)) = 0
      {{GATUN_F4E2M1, 0, GATUN_E8M0, GATUN_SCALE_RCEIL}, {7, -6}, {128}, {6, 13}},
      {{GATUN_F4E2M1, 0, GATUN_E8M0, GATUN_SCALE_RCEIL}, {6, -6}, {127}, {7, 15}},
      // 7 rounds to 8 = 2^3, 6.9 to 6 (steps of 2 from 4 on): 3 - 2 and 2 - 2
      {{GATUN_F4E2M1, 0, GATUN_E8M0, GATUN_SCALE_EVEN}, {7, -6}, {128}, {6, 13}},
      {{GATUN_F4E2M1, 0, GATUN_E8M0, GATUN_SCALE_EVEN}, {6.9f, -6}, {127}, {7, 15}},
      {{GATUN_F4E2M1, 0, GATUN_E8M0, GATUN_SCALE_FLOOR}, {0, -0.0f}, {0}, {0, 8}},
      {{GATUN_F8E4M3, 0, GATUN_E8M0, GATUN_SCALE_FLOOR}, {0x1p-149f}, {0}, {0}},
      {{GATUN_F8E5M2, 0, GATUN_E8M0, GATUN_SCALE_FLOOR}, {0x1p127f, 0x1p112f}, {239}, {0x78, 0x3c}},
      // NVFP4 with a tensor scale of 1: 3 / 6 = 0.5 = 0x30; 6, -2, 1 in steps of 0.5
      {{GATUN_F4E2M1, 0, GATUN_F8E4M3, 0}, {3, -1, 0.5f, 0}, {0x30}, {7, 12, 2, 0}, 4},
      {{GATUN_F4E2M1, 0, GATUN_F8E4M3, 0}, {0, 0}, {0x08}, {0, 0}, 8},  // the least scale, 2^-6
      // NF4: at a threshold down, above it up.
      {{GATUN_U4, GATUN_BOOK_NF4, GATUN_F32, 0},
       {-1, 1, 0, 0.03979014977812767f, 0.0397901535f, -0.85f, 0.8f, 0.1f},
       bytes_of(1),
       {0, 15, 7, 7, 8, 0, 14, 8}},
      {{GATUN_U4, GATUN_BOOK_NF4, GATUN_F32, 0}, {0, -0.0f}, bytes_of(0), {7, 7}},
      // FP4: magnitudes 0, 1/192, 1/6, 1/4, 1/3, 1/2, 2/3, 1 are codes 0 1 6 7 4 5 2 3.
      {{GATUN_U4, GATUN_BOOK_FP4, GATUN_F32, 0},
       {-1, 1, 0.7f, 0.5f, 0.34f, 0.24f, 0.16f, 0.005f, 0.002f, -0.002f, 0, -0.0f, -0.26f, 0.0859375f, -0.0859375f},
       bytes_of(1),
       {11, 3, 2, 5, 4, 7, 6, 1, 0, 8, 0, 0, 15, 1, 9}},
      // Dynamic: 0.99296875 at most on the negative side; 0 is 127.
      {{GATUN_U8, GATUN_BOOK_DYNAMIC, GATUN_F32, 0},
       {2, -2, 0, -0.0f, 1e-7f, 2e-6f, 1.99f, -1e-6f},
       bytes_of(2),
       {255, 0, 127, 127, 127, 128, 254, 126}},
      {{GATUN_U8, GATUN_BOOK_DYNAMIC_UNSIGNED, GATUN_F32, 0}, {1, -0.5f, 0, 1e-7f}, bytes_of(1), {255, 0, 0, 0}},
      {{GATUN_U8, GATUN_BOOK_LINEAR, GATUN_F32, 0},
       {127, -127, 1, -1, 0, 0.25f, -0.25f, 63},
       bytes_of(127),
       {255, 0, 129, 126, 127, 128, 127, 191}},
      {{GATUN_U8, GATUN_BOOK_LINEAR_UNSIGNED, GATUN_F32, 0}, {255, -3, 1, 128.4f}, bytes_of(255), {255, 0, 1, 128}},
  };
  for (const Example& example : examples) {
    std::vector<float> x;
    for (int64_t i = 0; i < example.repeat; ++i) x.insert(x.end(), example.x.begin(), example.x.end());
    const int64_t depth = static_cast<int64_t>(x.size());
    gatun_quantize_params p = make_params(example.format, 1, depth, depth);
    p.tensor_scale = 1;
    SCOPED_TRACE(describe(p) + ", first value " + std::to_string(example.x[0]));
    const int bits = static_cast<int>(dtype_bytes(p.code_dtype, 8));
    for (const bool reference : {true, false}) {
      SCOPED_TRACE(reference ? "reference" : "kernel");
      Quantized q(p);
      if (reference) {
        reference_quantize(p, x.data(), nullptr, nullptr, q.codes.data(), q.scales.data(), nullptr);
      } else {
        ASSERT_EQ(gatun_quantize(&p, x.data(), nullptr, nullptr, q.codes.data(), q.scales.data(), nullptr), GATUN_OK);
      }
      EXPECT_EQ(q.scales.copy(), example.scale);
      for (int64_t k = 0; k < depth; ++k) {
        int code = 0;
        for (int64_t bit = 0; bit < bits; ++bit) {
          code |= (q.codes[(k * bits + bit) / 8] >> (k * bits + bit) % 8 & 1) << bit;
        }
        EXPECT_EQ(code, example.codes[static_cast<size_t>(k) % example.codes.size()]) << "element " << k;
      }
    }
  }
}

// F6E3M2, by hand: codes 0x01 0x02 0x03 0x3f are the bits 100000 010000 110000 111111, low ones first.
TEST(Scaled, SixBitsFollowEachOther) {
  gatun_quantize_params p = make_params({GATUN_F6E3M2, 0, GATUN_E8M0, GATUN_SCALE_GIVEN}, 1, 5, 5);
  const float x[] = {0.0625f, 0.125f, 0.1875f, -28, 0.0625f};
  uint8_t scale = 127, codes[4] = {};
  ASSERT_EQ(gatun_quantize(&p, x, nullptr, nullptr, codes, &scale, nullptr), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(codes[0], 0x81);
  EXPECT_EQ(codes[1], 0x30);
  EXPECT_EQ(codes[2], 0xfc);
  EXPECT_EQ(codes[3], 0x01);
}

// Larger values never become smaller ones; quantizing what came back changes nothing.
TEST(Scaled, MonotoneAndIdempotent) {
  Rng rng(28);
  for (const Format& format : formats()) {
    gatun_quantize_params p = make_params(format, 1, 2000, 2000);
    SCOPED_TRACE(describe(p));
    const Extras extras(p, rng);
    std::vector<float> x = values(rng, 2000, 0), y(x.size()), z(x.size());
    std::sort(x.begin(), x.end());
    Quantized q(p), again(p);
    ASSERT_EQ(gatun_quantize(&p, x.data(), extras.code_book(), nullptr, q.codes.data(), q.scales.data(), nullptr),
              GATUN_OK);
    ASSERT_EQ(gatun_dequantize(&p, extras.code_book(), q.codes.data(), q.scales.data(), nullptr, y.data()), GATUN_OK);
    EXPECT_TRUE(std::is_sorted(y.begin(), y.end()));
    p.scale_rule = GATUN_SCALE_GIVEN;
    std::memcpy(again.scales.data(), q.scales.data(), static_cast<size_t>(q.scales.size()));
    ASSERT_EQ(
        gatun_quantize(&p, y.data(), extras.code_book(), nullptr, again.codes.data(), again.scales.data(), nullptr),
        GATUN_OK);
    ASSERT_EQ(gatun_dequantize(&p, extras.code_book(), again.codes.data(), again.scales.data(), nullptr, z.data()),
              GATUN_OK);
    forget_negative_zeros(p, y);
    EXPECT_TRUE(test::identical(z, y));
  }
}

// The mean of many stochastic roundings of one value is the value.
TEST(Scaled, StochasticRoundingIsUnbiased) {
  Rng rng(29);
  for (const Format& format : formats()) {
    if (format.scale_rule != GATUN_SCALE_DEFAULT || format.book == GATUN_BOOK_GIVEN) continue;
    const int64_t count = 40000;
    gatun_quantize_params p = make_params(format, 1, count, count);
    p.rounding = GATUN_ROUND_STOCHASTIC;
    p.tensor_scale = 1;
    const float v = rng.uniform(0.2f, 0.9f);
    std::vector<float> x(static_cast<size_t>(count), v), y(x.size());
    x[0] = 1;  // the scale
    Quantized q(p);
    ASSERT_EQ(gatun_quantize(&p, x.data(), nullptr, nullptr, q.codes.data(), q.scales.data(), nullptr), GATUN_OK);
    ASSERT_EQ(gatun_dequantize(&p, nullptr, q.codes.data(), q.scales.data(), nullptr, y.data()), GATUN_OK);
    double sum = 0;
    for (size_t i = 1; i < y.size(); ++i) sum += double{y[i]};
    // Steps are at most 1/3 wide: five standard deviations of the mean.
    EXPECT_NEAR(sum / static_cast<double>(count - 1), double{v}, 5 * 0.5 / 3 / 200) << describe(p);
  }
}

TEST(Scaled, RefusesWhatIsNotFiniteByIndex) {
  Rng rng(30);
  for (const Format& format : formats()) {
    for (const int32_t x_dtype : kFloats) {
      for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity()}) {
        gatun_quantize_params p = make_params(format, 70, 67, 17, x_dtype);
        if (format.code_dtype == GATUN_F8E4M3) p.group_rows = 32;
        p.threads = 0;
        SCOPED_TRACE(describe(p));
        const Extras extras(p, rng);
        const int64_t row = rng.integer(0, 69), column = rng.integer(0, 66);
        std::vector<float> x = values(rng, 70 * 67, 0);
        x[static_cast<size_t>(row * 67 + column)] = bad;
        if (row < 69) x[static_cast<size_t>(69 * 67)] = bad;  // a later one does not hide the first
        const std::vector<unsigned char> bytes = test::from_floats(x, x_dtype);
        Quantized q(p);
        ASSERT_EQ(
            gatun_quantize(&p, bytes.data(), extras.code_book(), nullptr, q.codes.data(), q.scales.data(), nullptr),
            GATUN_INVALID_ARGUMENT);
        const std::string named = "x[" + std::to_string(row) + "][" + std::to_string(column) + "]";
        EXPECT_NE(std::string(gatun_last_error()).find(named), std::string::npos) << gatun_last_error();
      }
    }
  }
}

TEST(Scaled, RefusesScales) {
  gatun_quantize_params p = make_params({GATUN_F8E4M3, 0, GATUN_F16, 0}, 3, 40, 20);
  std::vector<float> x(120, 1.0f);
  x[2 * 40 + 21] = 65520.0f * 448;
  Quantized q(p);
  ASSERT_EQ(gatun_quantize(&p, x.data(), nullptr, nullptr, q.codes.data(), q.scales.data(), nullptr),
            GATUN_INVALID_ARGUMENT);
  EXPECT_NE(std::string(gatun_last_error()).find("group 1 in row 2"), std::string::npos) << gatun_last_error();
  x[2 * 40 + 21] *= 0.99f;
  EXPECT_EQ(gatun_quantize(&p, x.data(), nullptr, nullptr, q.codes.data(), q.scales.data(), nullptr), GATUN_OK);

  for (const int32_t scale_dtype : {GATUN_F16, GATUN_E8M0}) {
    gatun_quantize_params given = make_params({GATUN_F8E5M2, 0, scale_dtype, GATUN_SCALE_GIVEN}, 3, 40, 20);
    Quantized bad(given);
    std::fill(bad.scales.data(), bad.scales.data() + bad.scales.size(),
              static_cast<uint8_t>(scale_dtype == GATUN_F16 ? 0x3c : 127));
    uint8_t* last = bad.scales.data() + bad.scales.size() - 1;  // of group 1 in row 2
    *last = scale_dtype == GATUN_F16 ? 0x7e : 0xff;
    ASSERT_EQ(gatun_quantize(&given, x.data(), nullptr, nullptr, bad.codes.data(), bad.scales.data(), nullptr),
              GATUN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(gatun_last_error()).find("scales[2][1]"), std::string::npos) << gatun_last_error();
  }
}

TEST(Scaled, RefusesBooks) {
  gatun_quantize_params p = make_params({GATUN_U4, GATUN_BOOK_GIVEN, GATUN_F32, 0}, 1, 32, 32);
  std::vector<float> x(32, 1.0f), book(16, 0.0f);
  book[3] = -1;
  Quantized q(p);
  ASSERT_EQ(gatun_quantize(&p, x.data(), book.data(), nullptr, q.codes.data(), q.scales.data(), nullptr),
            GATUN_INVALID_ARGUMENT);
  EXPECT_NE(std::string(gatun_last_error()).find("code_book[3] = -1"), std::string::npos) << gatun_last_error();
  ASSERT_EQ(gatun_dequantize(&p, book.data(), q.codes.data(), q.scales.data(), nullptr, x.data()),
            GATUN_INVALID_ARGUMENT);
  ASSERT_EQ(gatun_quantize(&p, x.data(), nullptr, nullptr, q.codes.data(), q.scales.data(), nullptr),
            GATUN_INVALID_ARGUMENT);
  EXPECT_NE(std::string(gatun_last_error()).find("code_book"), std::string::npos) << gatun_last_error();
}

TEST(Scaled, EmptyWorkNeedsNoMemory) {
  for (const Format& format : formats()) {
    if (format.book == GATUN_BOOK_GIVEN) continue;
    for (const auto& [rows, depth] : {std::pair<int64_t, int64_t>{0, 0}, {0, 64}, {5, 0}}) {
      const gatun_quantize_params p = make_params(format, rows, depth, depth);
      EXPECT_EQ(gatun_quantize(&p, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK)
          << gatun_last_error();
      EXPECT_EQ(gatun_dequantize(&p, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK) << gatun_last_error();
    }
  }
}

}  // namespace
}  // namespace gatun::quantize
