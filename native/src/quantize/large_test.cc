// Blocks so large that all threads scan them first, outputs so large that they bypass the caches, and strides that lead
// nowhere.
#include <gtest/gtest.h>

#include <memory>

#include "quantize/reference_scaled.h"
#include "quantize/test_linear.h"
#include "quantize/test_scaled.h"

namespace gatun::quantize {
namespace {

constexpr int64_t kLarge = (int64_t{1} << 17) + 1;  // values of a block; odd, so that groups share bytes

enum class Layout { rows, columns, spread };

void lay_out(Layout layout, gatun_quantize_params* p) {
  if (layout == Layout::columns) {
    p->x_row_stride = 1;
    p->x_column_stride = p->rows;
  } else if (layout == Layout::spread) {
    p->x_row_stride = 2 * p->depth + 3;
    p->x_column_stride = 2;
  }
}

void expect_reference(const gatun_quantize_params& params, const std::vector<float>& x, const uint8_t* round_up) {
  gatun_quantize_params p = params;
  const std::vector<unsigned char> bytes = test::from_floats(x, p.x_dtype);
  Quantized expected(p);
  reference(p, bytes.data(), expected, round_up);
  for (const int32_t threads : {1, 3}) {
    p.threads = threads;
    Quantized q(p);
    ASSERT_EQ(quantize(p, bytes.data(), q, round_up), GATUN_OK) << gatun_last_error();
    ASSERT_TRUE(same(q, expected, p)) << describe(p);
  }
}

TEST(LargeBlocks, OfIntegers) {
  Rng rng(40);
  int64_t turn = 0;
  for (const Scheme& scheme : kSchemes) {
    const int32_t x_dtype = kFloats[turn % 3];
    for (const Layout layout : {Layout::rows, turn % 2 == 0 ? Layout::columns : Layout::spread}) {
      // The last group is short: it has pieces without elements.
      gatun_quantize_params p = make_params(scheme, 2, 2 * kLarge + 5, kLarge, x_dtype);
      lay_out(layout, &p);
      p.rounding = static_cast<int32_t>(turn % 3);
      const std::vector<uint8_t> up = choices(rng, p);
      expect_reference(p, values(rng, x_extent(p), turn % 2), up.empty() ? nullptr : up.data());
    }
    ++turn;
  }
}

// Given scales: the pieces of a group go to all threads at once.
TEST(LargeBlocks, WithGivenScales) {
  Rng rng(41);
  for (const Scheme& scheme : {Scheme{GATUN_I8, GATUN_ZERO_NONE}, {GATUN_U4, GATUN_ZERO_INTEGER}}) {
    gatun_quantize_params p = make_params(scheme, 2, 2 * kLarge + 5, kLarge);
    p.scale_rule = GATUN_SCALE_GIVEN;
    const std::vector<float> x = values(rng, x_extent(p), 0);
    Quantized one(p);
    give_scales(rng, p, one);
    Quantized many(p);
    for (int64_t i = 0; i < one.scales.size(); ++i) many.scales[i] = one.scales[i];
    for (int64_t i = 0; i < one.zero_points.size(); ++i) many.zero_points[i] = one.zero_points[i];
    reference(p, x.data(), one);
    p.threads = 3;
    ASSERT_EQ(quantize(p, x.data(), many), GATUN_OK) << gatun_last_error();
    ASSERT_TRUE(same(many, one, p)) << describe(p);
  }
}

// Of extremes of the same magnitude in different pieces the first decides the scale's sign.
TEST(LargeBlocks, TiesAcrossPieces) {
  for (const float first : {3.0f, -3.0f}) {
    for (const int32_t codes : {GATUN_U4, GATUN_U2}) {
      for (const int32_t x_dtype : kFloats) {
        for (const Layout layout : {Layout::rows, Layout::spread}) {
          gatun_quantize_params p = make_params({codes, GATUN_ZERO_NONE}, 1, 200003, 200003, x_dtype);
          lay_out(layout, &p);
          std::vector<float> x(static_cast<size_t>(x_extent(p)), 0.5f);
          x[static_cast<size_t>(5 * p.x_column_stride)] = first;
          x[static_cast<size_t>(150000 * p.x_column_stride)] = -first;
          expect_reference(p, x, nullptr);
        }
      }
    }
  }
}

TEST(LargeBlocks, RefuseWhatIsNotFinite) {
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    gatun_quantize_params p = make_params({GATUN_U8, GATUN_ZERO_INTEGER}, 2, kLarge, kLarge);
    p.threads = 3;
    std::vector<float> x(static_cast<size_t>(x_extent(p)), 1.0f);
    x[static_cast<size_t>(kLarge + 100000)] = bad;
    Quantized q(p);
    EXPECT_EQ(quantize(p, x.data(), q), GATUN_INVALID_ARGUMENT);
    EXPECT_NE(std::string(gatun_last_error()).find("100000"), std::string::npos) << gatun_last_error();
  }
  gatun_quantize_params p = make_params({GATUN_I8, GATUN_ZERO_NONE}, 1, kLarge, kLarge, GATUN_F32, GATUN_F16);
  const std::vector<float> x(static_cast<size_t>(kLarge), 1e30f);
  Quantized q(p);
  EXPECT_EQ(quantize(p, x.data(), q), GATUN_INVALID_ARGUMENT);
  EXPECT_NE(std::string(gatun_last_error()).find("scale"), std::string::npos) << gatun_last_error();
}

TEST(LargeBlocks, OfFloatsAndCodeBooks) {
  Rng rng(42);
  struct Shape {
    int64_t rows, depth, group, group_rows;
  };
  int64_t turn = 0;
  for (const scaled::Format& format : scaled::formats()) {
    if (format.scale_dtype == GATUN_F16 || format.scale_rule > GATUN_SCALE_FLOOR) continue;
    if (format.book > GATUN_BOOK_NF4 && format.book != GATUN_BOOK_DYNAMIC) continue;
    const bool bytes = format.code_dtype == GATUN_F8E4M3 || format.code_dtype == GATUN_F8E5M2;
    std::vector<Shape> shapes = {{1, 2 * kLarge + 5, kLarge, 1}};
    if (bytes) shapes.insert(shapes.end(), {{450, 600, 300, 440}, {448, 300, 300, 448}, {8200, 20, 16, 8200}});
    for (const Shape& shape : shapes) {
      const int32_t x_dtype = kFloats[turn % 3];
      gatun_quantize_params p = scaled::make_params(format, shape.rows, shape.depth, shape.group, x_dtype);
      p.group_rows = shape.group_rows;
      if (turn % 2 == 1) lay_out(Layout::columns, &p);
      ++turn;
      const std::vector<unsigned char> x = test::from_floats(scaled::values(rng, x_extent(p), 0), x_dtype);
      const scaled::Extras extras(p, rng);
      Quantized expected(p);
      reference_quantize(p, x.data(), extras.code_book(), nullptr, expected.codes.data(), expected.scales.data(),
                         nullptr);
      for (const int32_t threads : {1, 3}) {
        p.threads = threads;
        Quantized q(p);
        ASSERT_EQ(gatun_quantize(&p, x.data(), extras.code_book(), nullptr, q.codes.data(), q.scales.data(), nullptr),
                  GATUN_OK)
            << gatun_last_error();
        ASSERT_TRUE(same(q, expected, p)) << describe(p);
      }
    }
  }
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};
template <class T>
std::unique_ptr<T, Free> lines(int64_t count) {
  return std::unique_ptr<T, Free>(
      static_cast<T*>(std::aligned_alloc(64, static_cast<size_t>((count + 64) * sizeof(T) / 64 * 64))));
}

// Whole cache lines leave by streaming stores; beside a line's start they don't. Both as row by row, without.
TEST(LargeOutputs, OnLinesAndBesideThem) {
  Rng rng(43);
  constexpr int64_t kDepth = int64_t{1} << 20, kBytes = int64_t{16} << 20;  // of codes: what the entry streams
  const std::vector<float> some = rng.normals(1 << 16);
  const auto x = lines<float>(2 * kBytes);
  for (int64_t i = 0; i < 2 * kBytes; ++i) x.get()[i] = some[static_cast<size_t>(i * 40503) % some.size()];
  for (const gatun_quantize_params& format :
       {make_params({GATUN_I8, GATUN_ZERO_NONE}, 16, kDepth, 64),
        make_params({GATUN_U4, GATUN_ZERO_INTEGER}, 32, kDepth, 64),
        scaled::make_params({GATUN_F8E4M3, 0, GATUN_F32, 0}, 16, kDepth, 64),
        scaled::make_params({GATUN_F6E2M3, 0, GATUN_E8M0, 0}, 32, kDepth, 64),
        scaled::make_params({GATUN_U8, GATUN_BOOK_DYNAMIC, GATUN_F32, 0}, 16, kDepth, 64),
        scaled::make_params({GATUN_U4, GATUN_BOOK_NF4, GATUN_F32, 0}, 32, kDepth, 64)}) {
    for (const int64_t beside : {0, 1}) {
      gatun_quantize_params p = format;
      p.threads = 2;
      const int64_t rows = p.rows, row_bytes = dtype_bytes(p.code_dtype, kDepth), blocks = kDepth / 64;
      ASSERT_GE(rows * row_bytes, kBytes);
      const auto codes = lines<uint8_t>(rows * row_bytes + 1);
      std::vector<float> scales(static_cast<size_t>(rows * blocks));
      std::vector<uint8_t> zeros(scales.size());
      const auto y = lines<float>(rows * kDepth + 1);
      uint8_t* const z = p.zero_point == GATUN_ZERO_NONE ? nullptr : zeros.data();
      ASSERT_EQ(gatun_quantize(&p, x.get(), nullptr, nullptr, codes.get() + beside, scales.data(), z), GATUN_OK);
      ASSERT_EQ(gatun_dequantize(&p, nullptr, codes.get() + beside, scales.data(), z, y.get() + beside), GATUN_OK);
      p.rows = 1;
      for (int64_t row = 0; row < rows; row += 5) {
        Quantized q(p);
        ASSERT_EQ(quantize(p, x.get() + row * kDepth, q), GATUN_OK);
        ASSERT_TRUE(test::identical(codes.get() + beside + row * row_bytes, q.codes.data(), row_bytes));
        std::vector<float> row_y(static_cast<size_t>(kDepth));
        ASSERT_EQ(dequantize(p, q, row_y.data()), GATUN_OK);
        ASSERT_TRUE(test::identical(y.get() + beside + row * kDepth, row_y.data(), kDepth));
      }
    }
  }
}

TEST(LargeBlocks, AreExplained) {
  const auto explained = [](const gatun_quantize_params& p) {
    char text[1024];
    EXPECT_EQ(gatun_quantize_explain(&p, text, sizeof(text)), GATUN_OK) << gatun_last_error();
    return std::string(text);
  };
  gatun_quantize_params p = make_params({GATUN_I8, GATUN_ZERO_NONE}, 1, int64_t{1} << 25, int64_t{1} << 25);
  p.threads = 2;
  EXPECT_NE(explained(p).find("read twice"), std::string::npos) << explained(p);
  EXPECT_NE(explained(p).find("in 16384 parts on 2 threads"), std::string::npos) << explained(p);
  EXPECT_NE(explained(p).find("\n  dequantize writes past the caches"), std::string::npos) << explained(p);
  p.x_dtype = GATUN_BF16;
  EXPECT_EQ(explained(p).find("dequantize writes past the caches"), std::string::npos) << explained(p);
}

// A stride of an axis with one element, and the depth of no rows, may be any number.
TEST(LargeNumbers, OfStridesThatLeadNowhere) {
  for (const int32_t x_dtype : kFloats) {
    for (const auto& [rows, depth] : {std::pair<int64_t, int64_t>{1, 40}, {5, 1}, {1, 1}}) {
      gatun_quantize_params p = make_params({GATUN_I8, GATUN_ZERO_NONE}, rows, depth, depth, x_dtype);
      const std::vector<unsigned char> x = test::from_floats(std::vector<float>(40, 1.5f), x_dtype);
      p.x_row_stride = rows == 1 ? INT64_MAX : 1;
      p.x_column_stride = depth == 1 ? INT64_MAX : 1;
      Quantized q(p), expected(p);
      ASSERT_EQ(quantize(p, x.data(), q), GATUN_OK) << gatun_last_error();
      reference(p, x.data(), expected);
      ASSERT_TRUE(same(q, expected, p)) << describe(p);
    }
  }
  const gatun_quantize_params p = make_params({GATUN_I8, GATUN_ZERO_NONE}, 0, INT64_MAX, INT64_MAX);
  char text[2048];
  EXPECT_EQ(gatun_quantize(&p, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(gatun_dequantize(&p, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(gatun_quantize_explain(&p, text, sizeof(text)), GATUN_OK) << gatun_last_error();
}

}  // namespace
}  // namespace gatun::quantize
