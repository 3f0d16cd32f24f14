// gatun_amax, gatun_fake_quantize, gatun_fake_quantize_backward, gatun_requantize, gatun_quantization_error: every
// documented refusal.
#include "gatun/calibrate.h"

#include "boundary.h"
#include "gatun/gguf.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

constexpr int64_t kRows = 3, kDepth = 32;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

// Good calls; each test spoils one thing.
class CalibrateBoundary : public ::testing::Test {
 protected:
  int32_t amax() { return gatun_amax(given, x_at, amax_at); }
  int32_t fake() { return gatun_fake_quantize(given, x_at, scales_at, y_at); }
  int32_t backward() { return gatun_fake_quantize_backward(given, x_at, scales_at, dy_at, y_at, amax_at); }
  enum Calls { all, fakes, backwards };
  void refused(std::initializer_list<const char*> words, Calls calls = all) {
    if (calls == all) {
      EXPECT_TRUE(invalid(amax(), words));
    }
    if (calls != backwards) {
      EXPECT_TRUE(invalid(fake(), words));
    }
    EXPECT_TRUE(invalid(backward(), words));
    EXPECT_TRUE(untouched(y) && untouched(blocks)) << "an output was written";
    params = good;
  }

  const gatun_calibrate_params good = {
      sizeof(gatun_calibrate_params), GATUN_F32, 1, -8, 7, 1.0f, kRows, kDepth, kDepth, 1, kDepth, kDepth};
  gatun_calibrate_params params = good;
  const gatun_calibrate_params* given = &params;
  std::vector<float> x = std::vector<float>(kRows * kDepth, 1.0f), dy = x, scales = {1, 2, 3};
  std::vector<uint8_t> y = std::vector<uint8_t>(kRows * kDepth * 4, kUntouched),
                       blocks = std::vector<uint8_t>(kRows * 4, kUntouched);
  void *x_at = x.data(), *dy_at = dy.data(), *y_at = y.data();
  const float* scales_at = scales.data();
  float* amax_at = reinterpret_cast<float*>(blocks.data());
};

TEST_F(CalibrateBoundary, TheGoodCallsAreAccepted) {
  EXPECT_EQ(amax(), GATUN_OK) << gatun_last_error();
  EXPECT_FALSE(untouched(blocks));
  EXPECT_EQ(fake(), GATUN_OK) << gatun_last_error();
  EXPECT_FALSE(untouched(y));
  EXPECT_EQ(backward(), GATUN_OK) << gatun_last_error();
  y_at = x_at;
  EXPECT_EQ(fake(), GATUN_OK) << gatun_last_error();
  y_at = dy_at;
  EXPECT_EQ(backward(), GATUN_OK) << gatun_last_error();
}

TEST_F(CalibrateBoundary, Params) {
  check_struct(params, given, "params", [&](auto words) { refused(words); });
  for (const int32_t dtype : {0, -1, int{GATUN_I8}, int{GATUN_F8E4M3}}) {
    params.x_dtype = dtype;
    refused({"x_dtype", std::to_string(dtype).c_str(), "F32", "BF16"});
  }
  for (const int32_t threads : {-1, 1025}) {
    params.threads = threads;
    refused({"threads", std::to_string(threads).c_str()});
  }
  for (const int32_t code : {-(1 << 24) - 1, 7, 1 << 24}) {
    params.lowest = code;
    refused({code == 7 ? "highest" : "lowest", std::to_string(code).c_str()}, fakes);
  }
  for (const int32_t code : {-8, (1 << 24) + 1}) {
    params.highest = code;
    refused({"highest", std::to_string(code).c_str()}, fakes);
  }
  for (const float factor : {kNan, kInfinity, -kInfinity}) {
    params.gradient_scale = factor;
    refused({"gradient_scale"}, backwards);
  }
}

TEST_F(CalibrateBoundary, Sizes) {
  for (const int64_t size : {int64_t{-1}, kMin}) {
    params.rows = size;
    refused({"rows", std::to_string(size).c_str()});
    params.depth = size;
    refused({"depth", std::to_string(size).c_str()});
  }
  for (const int64_t group : {int64_t{0}, int64_t{-1}, kDepth + 1, kMax}) {
    params.group = group;
    refused({"group", std::to_string(group).c_str()});
  }
  for (const int64_t rows : {int64_t{0}, int64_t{-1}, kRows + 1, kMax}) {
    params.group_rows = rows;
    refused({"group_rows", std::to_string(rows).c_str()});
  }
  for (const int64_t stride : {kDepth - 1, int64_t{0}, int64_t{-1}, kMin}) {
    params.x_row_stride = stride;
    refused({"x_row_stride", std::to_string(stride).c_str()});
    params.y_row_stride = stride;
    refused({"y_row_stride", std::to_string(stride).c_str()}, fakes);
  }
  for (const int64_t huge : {kMax, int64_t{1} << 60}) {
    params.rows = huge;
    refused({"x"});
    params.y_row_stride = huge;
    refused({std::to_string(huge).c_str()}, fakes);
  }
}

TEST_F(CalibrateBoundary, Memory) {
  x_at = nullptr;
  refused({"x is null"});
  x_at = reinterpret_cast<char*>(x.data()) + 2;
  params.rows = kRows - 1;
  refused({"x", "4"});
  x_at = x.data();
  y_at = nullptr;
  refused({"is null"}, fakes);
  y_at = y.data() + 2;
  params.rows = kRows - 1;
  refused({"4"}, fakes);
  y_at = y.data();
  scales_at = nullptr;
  refused({"scales is null"}, fakes);
  scales_at = reinterpret_cast<const float*>(reinterpret_cast<const char*>(x.data()) + 1);
  refused({"scales", "4"}, fakes);
  scales_at = scales.data();
  dy_at = nullptr;
  refused({"dy is null"}, backwards);
  dy_at = dy.data();
  amax_at = nullptr;
  EXPECT_TRUE(invalid(amax(), {"amax is null"}));
  refused({"ds is null"}, backwards);
}

TEST_F(CalibrateBoundary, Overlaps) {
  amax_at = x.data() + 5;
  EXPECT_TRUE(invalid(amax(), {"amax", "x"}));
  refused({"ds", "x"}, backwards);
  amax_at = reinterpret_cast<float*>(y.data());
  refused({"ds", "dx"}, backwards);
  amax_at = reinterpret_cast<float*>(blocks.data());
  y_at = x.data() + 1;  // neither x itself nor apart from it
  params.rows = kRows - 1;
  refused({"x"}, fakes);
  y_at = dy.data() + 1;
  params.rows = kRows - 1;
  refused({"dx", "dy"}, backwards);
  params.y_row_stride = kDepth + 1;
  params.rows = kRows - 1;
  y_at = dy.data();
  refused({"dx", "dy"}, backwards);
  y_at = scales.data();
  refused({"scales"}, fakes);
}

TEST_F(CalibrateBoundary, Scales) {
  for (const float bad : {0.0f, -1.0f, kNan, kInfinity, -kInfinity}) {
    scales[1] = bad;
    refused({"scales[1]", "above 0"}, fakes);
  }
}

TEST(CalibrateExplain, Text) {
  check_text([](char* text, int64_t capacity) { return gatun_calibrate_explain(GATUN_F16, text, capacity); }, 1024);
  check_text([](char* text, int64_t capacity) { return gatun_calibrate_explain(GATUN_U8, text, capacity); }, 1024);
  char text[1024];
  for (const int32_t dtype : {0, -1, int{GATUN_U4}, int{GATUN_I32}}) {
    EXPECT_TRUE(invalid(gatun_calibrate_explain(dtype, text, sizeof(text)), {"dtype", "F32", "U8"}));
  }
}

class RequantizeBoundary : public ::testing::Test {
 protected:
  int32_t requantize() {
    return gatun_requantize(given, bits, codes_at, scales_at, zeros_at, out_at, out_scales_at, out_zeros_at);
  }
  void refused(std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(requantize(), words));
    EXPECT_TRUE(untouched(out)) << "codes were written";
    EXPECT_TRUE(untouched(out_scales)) << "scales were written";
    EXPECT_TRUE(untouched(out_zeros)) << "zero points were written";
    params = good;
    bits = 4;
  }
  static gatun_quantize_params make() {
    gatun_quantize_params p{};
    p.struct_size = sizeof(p);
    p.code_dtype = GATUN_U8;
    p.zero_point = GATUN_ZERO_INTEGER;
    p.scale_dtype = GATUN_F32;
    p.threads = 1;
    p.rows = kRows;
    p.depth = p.group = kDepth;
    p.group_rows = 1;
    return p;
  }

  const gatun_quantize_params good = make();
  gatun_quantize_params params = good;
  const gatun_quantize_params* given = &params;
  int32_t bits = 4;
  std::vector<uint8_t> codes = std::vector<uint8_t>(kRows * kDepth, 77), zeros = {1, 2, 3},
                       out_zeros = std::vector<uint8_t>(kRows, kUntouched),
                       out = std::vector<uint8_t>(kRows * kDepth, kUntouched),
                       out_scales = std::vector<uint8_t>(kRows * 4, kUntouched);
  std::vector<float> scales = {1, 2, 3};
  void *codes_at = codes.data(), *scales_at = scales.data(), *zeros_at = zeros.data(), *out_at = out.data(),
       *out_scales_at = out_scales.data(), *out_zeros_at = out_zeros.data();
};

TEST_F(RequantizeBoundary, TheGoodCallIsAccepted) {
  EXPECT_EQ(requantize(), GATUN_OK) << gatun_last_error();
  EXPECT_FALSE(untouched(out) || untouched(out_scales) || untouched(out_zeros));
}

TEST_F(RequantizeBoundary, Params) {
  given = nullptr;
  refused({"params"});
  given = &params;
  params.struct_size = 8;
  refused({"struct_size"});
  for (const int32_t wrong : {0, 8, 5, 3, 1, -2}) {
    bits = wrong;
    refused({"bits", std::to_string(wrong).c_str(), "6, 4, 2"});
  }
  for (const int32_t dtype : {0, int{GATUN_U4}, int{GATUN_F8E4M3}}) {
    params.code_dtype = dtype;
    refused({"code_dtype", std::to_string(dtype).c_str(), "I8", "U8"});
  }
  params.zero_point = GATUN_ZERO_NONE;
  refused({"zero_point", "0"});
  params.zero_point = 3;
  refused({"zero_point", "3"});
  params.code_dtype = GATUN_I8;
  refused({"zero_point", "1"});
  params.scale_dtype = GATUN_E8M0;
  refused({"scale_dtype", "E8M0", "F16"});
  params.book = GATUN_BOOK_DYNAMIC;
  refused({"book", "4"});
  params.threads = -1;
  refused({"threads"});
  params.rows = -1;
  refused({"rows"});
  params.depth = -1;
  refused({"depth"});
  params.group_rows = 2;
  refused({"group_rows"});
  for (const int64_t group : {int64_t{0}, int64_t{15}, kDepth + 1}) {
    params.group = group;
    refused({"group", std::to_string(group).c_str(), "16"});
  }
  params.rows = kMax;
  refused({"codes"});
}

TEST_F(RequantizeBoundary, Memory) {
  codes_at = nullptr;
  refused({"codes is null"});
  codes_at = codes.data();
  scales_at = nullptr;
  refused({"scales is null"});
  scales_at = reinterpret_cast<char*>(scales.data()) + 1;
  params.rows = 2;
  refused({"scales", "4"});
  scales_at = scales.data();
  zeros_at = nullptr;
  refused({"zero_points is null"});
  zeros_at = zeros.data();
  out_at = nullptr;
  refused({"out_codes is null"});
  out_at = codes.data() + 1;
  refused({"out_codes", "codes"});
  out_at = out.data();
  out_scales_at = nullptr;
  refused({"out_scales is null"});
  out_scales_at = scales.data();
  refused({"out_scales", "scales"});
  out_scales_at = out_scales.data();
  out_zeros_at = nullptr;
  refused({"out_zero_points is null"});
  out_zeros_at = zeros.data();
  refused({"out_zero_points", "zero_points"});
  out_zeros_at = out_zeros.data();
  params.code_dtype = GATUN_I8;
  params.zero_point = GATUN_ZERO_NONE;
  refused({"zero_points is not null"});
  zeros_at = nullptr;
  params.code_dtype = GATUN_I8;
  params.zero_point = GATUN_ZERO_NONE;
  refused({"out_zero_points is not null"});
}

TEST_F(RequantizeBoundary, ScalesThatOverflow) {
  for (const float bad : {3e38f, -3e38f, kNan, kInfinity}) {
    scales[2] = bad;
    refused({"scales[2]", "16", "F32"});
  }
  uint16_t halves[] = {0x3c00, 0x7bff, 0};  // 1, 65504, 0
  scales_at = halves;
  params.scale_dtype = GATUN_F16;
  refused({"scales[1]", "F16"});
}

class ErrorBoundary : public ::testing::Test {
 protected:
  int32_t error() {
    return gatun_quantization_error(given, gguf_type, per, x_at, book_at, codes_at, scales_at, zeros_at,
                                    reinterpret_cast<double*>(errors_at), reinterpret_cast<double*>(squares_at));
  }
  void refused(std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(error(), words));
    EXPECT_TRUE(untouched(errors) && untouched(squares)) << "an output was written";
    params = good;
    gguf_type = per = 0;
  }
  static gatun_quantize_params make() {
    gatun_quantize_params p{};
    p.struct_size = sizeof(p);
    p.x_dtype = GATUN_F32;
    p.code_dtype = GATUN_I8;
    p.scale_dtype = GATUN_F32;
    p.threads = 1;
    p.tensor_scale = 1;
    p.rows = kRows;
    p.depth = p.group = p.x_row_stride = kDepth;
    p.group_rows = p.x_column_stride = 1;
    return p;
  }

  const gatun_quantize_params good = make();
  gatun_quantize_params params = good;
  const gatun_quantize_params* given = &params;
  int32_t gguf_type = 0, per = 0;
  std::vector<float> x = std::vector<float>(kRows * kDepth, 1.0f), scales = {1, 2, 3};
  std::vector<uint8_t> codes = std::vector<uint8_t>(kRows * kDepth, 7),
                       errors = std::vector<uint8_t>(kRows * 8, kUntouched), squares = errors;
  void *x_at = x.data(), *codes_at = codes.data(), *scales_at = scales.data(), *zeros_at = nullptr,
       *errors_at = errors.data(), *squares_at = squares.data();
  const float* book_at = nullptr;
};

TEST_F(ErrorBoundary, TheGoodCallsAreAccepted) {
  EXPECT_EQ(error(), GATUN_OK) << gatun_last_error();
  EXPECT_FALSE(untouched(errors) || untouched(squares));
  per = GATUN_ERROR_PER_ROW;
  EXPECT_EQ(error(), GATUN_OK) << gatun_last_error();
  gguf_type = GATUN_GGUF_Q4_0;
  scales_at = nullptr;
  EXPECT_EQ(error(), GATUN_OK) << gatun_last_error();
}

TEST_F(ErrorBoundary, Params) {
  given = nullptr;
  refused({"params"});
  given = &params;
  params.struct_size = 8;
  refused({"struct_size"});
  for (const int32_t wrong : {-1, 2}) {
    per = wrong;
    refused({"per", std::to_string(wrong).c_str()});
  }
  params.x_dtype = GATUN_I8;
  refused({"x_dtype", "F32"});
  params.code_dtype = GATUN_I32;
  refused({"code_dtype", "I32"});
  params.zero_point = GATUN_ZERO_INTEGER;
  refused({"zero_point"});
  params.scale_dtype = GATUN_E8M0;
  refused({"scale_dtype"});
  params.tensor_scale = 2;
  refused({"tensor_scale"});
  params.threads = 5000;
  refused({"threads"});
  params.rows = -1;
  refused({"rows"});
  params.depth = -1;
  refused({"depth"});
  params.group = 15;
  refused({"group", "15", "16"});
  params.group_rows = 2;
  refused({"group_rows", "2"});
  params.x_row_stride = kDepth - 1;
  refused({"x_row_stride", "31"});
  params.x_column_stride = 2;
  refused({"x_column_stride", "2"});
  params.rows = kMax;
  refused({"x"});
}

TEST_F(ErrorBoundary, Gguf) {
  scales_at = nullptr;
  gguf_type = 1;
  refused({"type", "1"});
  gguf_type = GATUN_GGUF_Q4_K;
  refused({"depth", "32", "256"});
  gguf_type = GATUN_GGUF_Q4_0;
  scales_at = scales.data();
  refused({"scales is not null"});
  scales_at = nullptr;
  zeros_at = scales.data();
  gguf_type = GATUN_GGUF_Q4_0;
  refused({"zero_points is not null"});
  zeros_at = nullptr;
  book_at = scales.data();
  gguf_type = GATUN_GGUF_Q4_0;
  refused({"code_book is not null"});
}

TEST_F(ErrorBoundary, Memory) {
  x_at = nullptr;
  refused({"x is null"});
  x_at = x.data();
  codes_at = nullptr;
  refused({"codes is null"});
  codes_at = codes.data();
  scales_at = nullptr;
  refused({"scales is null"});
  scales_at = scales.data();
  zeros_at = codes.data();
  refused({"zero_points is not null"});
  zeros_at = nullptr;
  book_at = scales.data();
  refused({"code_book is not null"});
  book_at = nullptr;
  errors_at = nullptr;
  refused({"errors is null"});
  errors_at = squares.data();
  refused({"errors", "squares"});
  errors_at = errors.data() + 4;
  params.rows = 2;
  refused({"errors", "8"});
  errors_at = x.data();
  refused({"errors", "x"});
  errors_at = errors.data();
  squares_at = codes.data();
  refused({"squares", "codes"});
}

}  // namespace
}  // namespace gatun::test
