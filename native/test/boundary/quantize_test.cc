// gatun_quantize and gatun_dequantize: every documented refusal.
#include "gatun/quantize.h"

#include <cstring>

#include "boundary.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

constexpr int64_t kRows = 3, kDepth = 40, kGroup = 16, kGroups = 3;

// A good call; each test spoils one thing.
class QuantizeBoundary : public ::testing::Test {
 protected:
  QuantizeBoundary() {
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13) - 6.0f;
  }

  int32_t quantize() {
    return gatun_quantize(given, x_at, code_book_at, round_up_at, codes_at, scales_at, zero_points_at);
  }
  int32_t dequantize() { return gatun_dequantize(given, code_book_at, codes_at, scales_at, zero_points_at, x_at); }

  void quantize_refuses(std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(quantize(), words));
    EXPECT_TRUE(untouched(codes) && untouched(scales) && untouched(zero_points)) << "an output was written";
  }
  void dequantize_refuses(std::initializer_list<const char*> words) {
    const std::vector<float> before = x;
    EXPECT_TRUE(invalid(dequantize(), words));
    EXPECT_TRUE(identical(x, before)) << "the output was written";
  }
  // Both directions check the same things in the same words.
  void refused(std::initializer_list<const char*> words) {
    quantize_refuses(words);
    dequantize_refuses(words);
    params = good;
  }

  static gatun_quantize_params good_params() {
    gatun_quantize_params p{};
    p.struct_size = sizeof(p);
    p.x_dtype = GATUN_F32;
    p.code_dtype = GATUN_U4;
    p.zero_point = GATUN_ZERO_INTEGER;
    p.scale_dtype = GATUN_F16;
    p.threads = 1;
    p.tensor_scale = 1;
    p.rows = kRows;
    p.depth = p.x_row_stride = kDepth;
    p.group = kGroup;
    p.group_rows = p.x_column_stride = 1;
    return p;
  }

  const gatun_quantize_params good = good_params();
  gatun_quantize_params params = good;
  const gatun_quantize_params* given = &params;
  std::vector<float> x = std::vector<float>(kRows * kDepth);
  std::vector<uint8_t> codes = std::vector<uint8_t>(kRows * kDepth, kUntouched);
  std::vector<uint8_t> scales = std::vector<uint8_t>(kRows * kGroups * 4, kUntouched);
  std::vector<uint8_t> zero_points = std::vector<uint8_t>(kRows * kGroups, kUntouched);
  std::vector<uint8_t> round_up = std::vector<uint8_t>(kRows * kDepth, 1);
  std::vector<float> code_book = std::vector<float>(16);
  void* x_at = x.data();
  const float* code_book_at = nullptr;
  const void* round_up_at = nullptr;
  void* codes_at = codes.data();
  void* scales_at = scales.data();
  void* zero_points_at = zero_points.data();
};

TEST_F(QuantizeBoundary, TheGoodCallIsAccepted) {
  EXPECT_EQ(quantize(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(dequantize(), GATUN_OK) << gatun_last_error();
  EXPECT_FALSE(untouched(scales));
}

TEST_F(QuantizeBoundary, Struct) {
  check_struct(params, given, "params", [&](auto words) { refused(words); });
}

TEST_F(QuantizeBoundary, Dtypes) {
  for (const int32_t dtype : {0, -1, 15, 1 << 30, int{GATUN_I8}, int{GATUN_U8}, int{GATUN_I32}, int{GATUN_U4}}) {
    params.x_dtype = dtype;
    refused({"x_dtype", std::to_string(dtype).c_str(), "F32", "F16", "BF16"});
  }
  for (const int32_t dtype :
       {0, -1, 15, 1 << 30, int{GATUN_F32}, int{GATUN_F16}, int{GATUN_BF16}, int{GATUN_I32}, int{GATUN_E8M0}}) {
    params.code_dtype = dtype;
    refused({"code_dtype", std::to_string(dtype).c_str(), "I8", "U8", "U4", "U2", "F8E4M3", "F4E2M1"});
  }
  for (const int32_t dtype :
       {0, -1, 15, int{GATUN_BF16}, int{GATUN_I8}, int{GATUN_U4}, int{GATUN_E8M0}, int{GATUN_F8E4M3}}) {
    params.scale_dtype = dtype;
    refused({"scale_dtype", std::to_string(dtype).c_str(), "F32", "F16"});
  }
  // Scales of 8 bits are for floats, F8E4M3 ones for F4E2M1 alone, and code books have F32 ones.
  params.zero_point = GATUN_ZERO_NONE;
  params.code_dtype = GATUN_F8E5M2;
  params.scale_dtype = GATUN_F8E4M3;
  const gatun_quantize_params other = params;
  refused({"scale_dtype", "F8E5M2", "F32, F16, E8M0"});
  params = other;
  params.code_dtype = GATUN_F4E2M1;
  params.scale_dtype = GATUN_BF16;
  refused({"scale_dtype", "F4E2M1", "F32, F16, E8M0, F8E4M3"});
  params = other;
  params.code_dtype = GATUN_U4;
  params.book = GATUN_BOOK_NF4;
  params.scale_dtype = GATUN_F16;
  refused({"scale_dtype", "code book", "F32"});
}

TEST_F(QuantizeBoundary, ZeroPoints) {
  for (const int32_t zero_point : {-1, 3, 1 << 30}) {
    params.zero_point = zero_point;
    refused({"zero_point", std::to_string(zero_point).c_str()});
  }
  for (const int32_t dtype : {GATUN_I8, GATUN_F8E4M3, GATUN_F6E2M3, GATUN_F4E2M1}) {
    for (const int32_t zero_point : {GATUN_ZERO_INTEGER, GATUN_ZERO_FLOAT}) {
      params.code_dtype = dtype;
      params.zero_point = zero_point;
      refused({"zero_point", std::to_string(zero_point).c_str(), "0"});
    }
  }
  params.code_dtype = GATUN_U8;
  params.zero_point = GATUN_ZERO_NONE;
  refused({"zero_point", "U8"});
  params.book = GATUN_BOOK_NF4;
  params.scale_dtype = GATUN_F32;
  refused({"zero_point", "code book"});
}

TEST_F(QuantizeBoundary, Books) {
  for (const int32_t book : {-1, 8, 1 << 30}) {
    params.book = book;
    refused({"book", std::to_string(book).c_str()});
  }
  struct Wrong {
    int32_t book, codes;
    const char* allowed;
  };
  for (const Wrong& wrong : {Wrong{GATUN_BOOK_NF4, GATUN_U8, "U4"},
                             {GATUN_BOOK_FP4, GATUN_U8, "U4"},
                             {GATUN_BOOK_DYNAMIC, GATUN_U4, "U8"},
                             {GATUN_BOOK_LINEAR_UNSIGNED, GATUN_U4, "U8"},
                             {GATUN_BOOK_GIVEN, GATUN_U2, "U4, U8"},
                             {GATUN_BOOK_GIVEN, GATUN_I8, "U4, U8"}}) {
    params.book = wrong.book;
    params.code_dtype = wrong.codes;
    params.zero_point = GATUN_ZERO_NONE;
    refused({"code_dtype", "book", wrong.allowed});
  }
  code_book_at = code_book.data();
  refused({"code_book", "null"});
}

TEST_F(QuantizeBoundary, Rules) {
  for (const int32_t rule : {-1, 8, 1 << 30}) {
    params.scale_rule = rule;
    quantize_refuses({"scale_rule", std::to_string(rule).c_str()});
    EXPECT_EQ(dequantize(), GATUN_OK) << "the rule is no matter of dequantize: " << gatun_last_error();
  }
  struct Wrong {
    int32_t rule, codes, zero_point, scales;
    const char* allowed;
  };
  for (const Wrong& wrong : {Wrong{GATUN_SCALE_FULL_RANGE, GATUN_U4, GATUN_ZERO_INTEGER, GATUN_F32, "1 (given)"},
                             {GATUN_SCALE_NO_CLIPPING, GATUN_U8, GATUN_ZERO_FLOAT, GATUN_F32, "1 (given)"},
                             {GATUN_SCALE_NO_CLIPPING, GATUN_F8E4M3, GATUN_ZERO_NONE, GATUN_F32, "1 (given)"},
                             {GATUN_SCALE_FLOOR, GATUN_I8, GATUN_ZERO_NONE, GATUN_F32, "3 (no clipping)"},
                             {GATUN_SCALE_EVEN, GATUN_F4E2M1, GATUN_ZERO_NONE, GATUN_F32, "1 (given)"},
                             {GATUN_SCALE_FULL_RANGE, GATUN_F4E2M1, GATUN_ZERO_NONE, GATUN_E8M0, "7 (even)"}}) {
    params = good;
    params.scale_rule = wrong.rule;
    params.code_dtype = wrong.codes;
    params.zero_point = wrong.zero_point;
    params.scale_dtype = wrong.scales;
    quantize_refuses({"scale_rule", std::to_string(wrong.rule).c_str(), wrong.allowed});
  }
  params = good;
  for (const int32_t rounding : {-1, 3, 1 << 30}) {
    params.rounding = rounding;
    quantize_refuses({"rounding", std::to_string(rounding).c_str()});
  }
  params.rounding = GATUN_ROUND_GIVEN;
  quantize_refuses({"round_up is null"});
  round_up_at = round_up.data();
  EXPECT_EQ(quantize(), GATUN_OK) << gatun_last_error();
  round_up_at = codes.data() + 1;
  EXPECT_TRUE(invalid(quantize(), {"round_up", "codes", "overlap"}));
  params.rounding = GATUN_ROUND_STOCHASTIC;
  EXPECT_TRUE(invalid(quantize(), {"round_up", "null"}));
}

TEST_F(QuantizeBoundary, TensorScale) {
  for (const float scale : {0.0f, 2.0f, std::numeric_limits<float>::quiet_NaN()}) {
    params.tensor_scale = scale;
    refused({"tensor_scale", "1"});
  }
  for (const float scale :
       {0.0f, -1.0f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    params.code_dtype = GATUN_F4E2M1;
    params.zero_point = GATUN_ZERO_NONE;
    params.scale_dtype = GATUN_F8E4M3;
    params.tensor_scale = scale;
    refused({"tensor_scale", "finite"});
  }
}

TEST_F(QuantizeBoundary, GroupRows) {
  for (const int64_t rows : {kMin, int64_t{-1}, int64_t{0}, int64_t{2}, kMax}) {
    params.group_rows = rows;
    refused({"group_rows", std::to_string(rows).c_str(), "1"});
  }
  for (const int64_t rows : {int64_t{0}, kRows + 1, kMax}) {
    params.code_dtype = GATUN_F8E4M3;
    params.zero_point = GATUN_ZERO_NONE;
    params.group_rows = rows;
    refused({"group_rows", std::to_string(rows).c_str(), "rows"});
  }
}

TEST_F(QuantizeBoundary, Sizes) {
  for (const int32_t threads : {-1, 1025, std::numeric_limits<int32_t>::min()}) {
    params.threads = threads;
    refused({"threads", std::to_string(threads).c_str(), "1024"});
  }
  for (const int64_t rows : {int64_t{-1}, kMin}) {
    params.rows = rows;
    refused({"rows", std::to_string(rows).c_str()});
  }
  for (const int64_t depth : {int64_t{-1}, kMin}) {
    params.depth = depth;
    refused({"depth", std::to_string(depth).c_str()});
    params.depth = params.group = depth;
    refused({"depth", std::to_string(depth).c_str()});
  }
  for (const int64_t group : {kMin, int64_t{-1}, int64_t{0}, int64_t{1}, int64_t{15}, kDepth + 1, kMax}) {
    params.group = group;
    refused({"group", std::to_string(group).c_str(), "16"});
  }
}

TEST_F(QuantizeBoundary, Strides) {
  for (const int64_t stride : {int64_t{-1}, kMin}) {
    params.x_row_stride = stride;
    refused({"x_row_stride", std::to_string(stride).c_str()});
  }
  for (const int64_t stride : {int64_t{0}, int64_t{-1}, kMin}) {
    params.x_column_stride = stride;
    refused({"x_column_stride", std::to_string(stride).c_str()});
  }
  // Rows of an output stay apart, and its columns together.
  params.x_row_stride = kDepth - 1;
  dequantize_refuses({"x_row_stride", "39", "40"});
  params.x_row_stride = 0;
  dequantize_refuses({"x_row_stride"});
  params = good;
  params.x_column_stride = 2;
  params.x_row_stride = 2 * kDepth;
  dequantize_refuses({"x_column_stride"});
}

TEST_F(QuantizeBoundary, ExtentsThatOverflow) {
  for (const int64_t rows : {kMax, kMax / 2, int64_t{1} << 60}) {
    params.rows = rows;
    refused({"x"});
  }
  for (const int64_t stride : {kMax, kMax / 2, int64_t{1} << 60}) {
    params.x_row_stride = stride;
    refused({"x", std::to_string(stride).c_str()});
    params.x_column_stride = stride;
    quantize_refuses({"x", std::to_string(stride).c_str()});
    params = good;
  }
  params.depth = params.group = params.x_row_stride = kMax;
  refused({"x"});
  // x is one row again and again, but its codes are not.
  params.rows = int64_t{1} << 60;
  params.x_row_stride = 0;
  quantize_refuses({"codes"});
}

TEST_F(QuantizeBoundary, Nulls) {
  x_at = nullptr;
  EXPECT_TRUE(invalid(quantize(), {"x is null"}));
  EXPECT_TRUE(invalid(dequantize(), {"x is null"}));
  x_at = x.data();
  codes_at = nullptr;
  refused({"codes is null"});
  codes_at = codes.data();
  scales_at = nullptr;
  refused({"scales is null"});
  scales_at = scales.data();
  zero_points_at = nullptr;
  refused({"zero_points is null"});
  params.zero_point = GATUN_ZERO_NONE;
  params.scale_dtype = GATUN_F32;
  params.book = GATUN_BOOK_GIVEN;
  refused({"code_book is null"});
}

TEST_F(QuantizeBoundary, ZeroPointsOfSymmetricCodes) {
  params.zero_point = GATUN_ZERO_NONE;
  refused({"zero_points", "null"});
}

TEST_F(QuantizeBoundary, Alignment) {
  x_at = reinterpret_cast<char*>(x.data()) + 1;
  params.rows = kRows - 1;
  refused({"x", "4"});
  x_at = x.data();
  scales_at = scales.data() + 1;
  refused({"scales", "2"});
  params.scale_dtype = GATUN_F32;
  scales_at = scales.data() + 2;
  params.rows = kRows - 1;
  refused({"scales", "4"});
  scales_at = scales.data();
  params.zero_point = GATUN_ZERO_FLOAT;
  zero_points_at = zero_points.data() + 2;
  params.rows = 1;
  params.group = kDepth;
  refused({"zero_points", "4"});
}

TEST_F(QuantizeBoundary, Overlaps) {
  const auto quantize_refuses = [&](const char* one, const char* other) {
    EXPECT_TRUE(invalid(quantize(), {one, other, "overlap"}));
  };
  const auto both_refuse = [&](const char* one, const char* other) {
    quantize_refuses(one, other);
    EXPECT_TRUE(invalid(dequantize(), {one, other, "overlap"}));
  };
  const std::vector<float> before = x;
  codes_at = x.data();
  both_refuse("codes", "x");
  codes_at = reinterpret_cast<char*>(x.data() + kRows * kDepth) - 1;
  both_refuse("codes", "x");
  codes_at = codes.data();
  scales_at = x.data() + 5;
  both_refuse("scales", "x");
  scales_at = codes.data() + kRows * kDepth / 2 - 2;
  quantize_refuses("scales", "codes");  // inputs of dequantize may be the same memory
  scales_at = scales.data();
  zero_points_at = x.data();
  both_refuse("zero_points", "x");
  zero_points_at = codes.data();
  quantize_refuses("zero_points", "codes");
  zero_points_at = scales.data() + kRows * kGroups * 2 - 1;
  quantize_refuses("zero_points", "scales");
  EXPECT_TRUE(identical(x, before));
  EXPECT_TRUE(untouched(codes) && untouched(scales) && untouched(zero_points));

  // Neighbours that only touch are no overlap.
  zero_points_at = zero_points.data();
  codes_at = scales.data();
  scales_at = codes.data();
  EXPECT_EQ(
      gatun_quantize(given, x_at, nullptr, nullptr, codes.data(), codes.data() + kRows * kDepth / 2, zero_points_at),
      GATUN_OK)
      << gatun_last_error();
}

// Here x is read once, so outputs may have been written.
TEST_F(QuantizeBoundary, Values) {
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
    x[2 * kDepth + 39] = value;
    EXPECT_TRUE(invalid(quantize(), {"x[2][39]"}));
  }
  x[2 * kDepth + 39] = 1e9f;  // 1e9 / 15 is more than 65504
  EXPECT_TRUE(invalid(quantize(), {"scale", "F16"}));
}

TEST_F(QuantizeBoundary, EmptyWorkNeedsNoMemory) {
  x_at = codes_at = scales_at = zero_points_at = nullptr;
  params.rows = 0;
  EXPECT_EQ(quantize(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(dequantize(), GATUN_OK) << gatun_last_error();
  params = good;
  params.depth = params.group = params.x_row_stride = 0;
  for (const int64_t rows : {int64_t{1}, kRows, kMax}) {
    params.rows = rows;
    EXPECT_EQ(quantize(), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(dequantize(), GATUN_OK) << gatun_last_error();
  }
}

TEST_F(QuantizeBoundary, Explain) {
  check_text([&](char* text, int64_t capacity) { return gatun_quantize_explain(given, text, capacity); }, 1024);
  std::vector<char> text(1024, '\x7f');
  EXPECT_TRUE(invalid(gatun_quantize_explain(nullptr, text.data(), 1024), {"params"}));
  params.struct_size = 1;
  EXPECT_TRUE(invalid(gatun_quantize_explain(given, text.data(), 1024), {"struct_size"}));
  params = good;
  params.code_dtype = 77;
  EXPECT_TRUE(invalid(gatun_quantize_explain(given, text.data(), 1024), {"code_dtype", "77"}));
  params = good;
  params.rows = kMax;
  EXPECT_TRUE(invalid(gatun_quantize_explain(given, text.data(), 1024), {"x"}));
  EXPECT_EQ(text, std::vector<char>(1024, '\x7f'));
}

}  // namespace
}  // namespace gatun::test
