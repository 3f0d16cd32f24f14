// gatun_norm: every documented refusal.
#include "gatun/norm.h"

#include "boundary.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

constexpr int64_t kRows = 3, kColumns = 10;

// A good call; each test spoils one thing.
class NormBoundary : public ::testing::Test {
 protected:
  NormBoundary() {
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 7);
  }

  int32_t norm() { return gatun_norm(given, x_at, weight_at, bias_at, y_at); }
  void refused(std::initializer_list<const char*> words) {
    const std::vector<float> x_before = x, weight_before = weight, bias_before = bias;
    EXPECT_TRUE(invalid(norm(), words));
    EXPECT_TRUE(untouched(y)) << "the output was written";
    EXPECT_TRUE(identical(x, x_before) && identical(weight, weight_before) && identical(bias, bias_before));
    params = good;
  }

  const gatun_norm_params good = {
      sizeof(gatun_norm_params), GATUN_NORM_LAYER, GATUN_F32, GATUN_F32, 1, 1e-5f, kRows, kColumns, kColumns, kColumns};
  gatun_norm_params params = good;
  const gatun_norm_params* given = &params;
  std::vector<float> x = std::vector<float>(kRows * kColumns), weight = std::vector<float>(kColumns, 2.0f),
                     bias = std::vector<float>(kColumns, 3.0f);
  std::vector<uint8_t> y = std::vector<uint8_t>(kRows * kColumns * 4, kUntouched);
  void* x_at = x.data();
  const float* weight_at = weight.data();
  const float* bias_at = bias.data();
  void* y_at = y.data();
};

TEST_F(NormBoundary, TheGoodCallsAreAccepted) {
  EXPECT_EQ(norm(), GATUN_OK) << gatun_last_error();
  EXPECT_FALSE(untouched(y));
  weight_at = bias_at = nullptr;
  EXPECT_EQ(norm(), GATUN_OK) << gatun_last_error();
  y_at = x_at;
  EXPECT_EQ(norm(), GATUN_OK) << gatun_last_error();
}

TEST_F(NormBoundary, Struct) {
  check_struct(params, given, "params", [&](auto words) { refused(words); });
}

TEST_F(NormBoundary, Enums) {
  for (const int32_t kind : {-1, 2, 1 << 30}) {
    params.kind = kind;
    refused({"kind", std::to_string(kind).c_str()});
  }
  for (const int32_t dtype : {0, -1, 8, int{GATUN_F16}, int{GATUN_I8}, int{GATUN_U4}}) {
    params.x_dtype = dtype;
    refused({"x_dtype", std::to_string(dtype).c_str(), "F32", "BF16"});
    params.y_dtype = dtype;
    refused({"y_dtype", std::to_string(dtype).c_str(), "F32", "BF16"});
  }
}

TEST_F(NormBoundary, Sizes) {
  for (const int32_t threads : {-1, 1025, std::numeric_limits<int32_t>::min()}) {
    params.threads = threads;
    refused({"threads", std::to_string(threads).c_str(), "1024"});
  }
  for (const int64_t size : {int64_t{-1}, kMin}) {
    params.rows = size;
    refused({"rows", std::to_string(size).c_str()});
    params.columns = size;
    refused({"columns", std::to_string(size).c_str()});
  }
  for (const int64_t stride : {kColumns - 1, int64_t{0}, int64_t{-1}, kMin}) {
    params.x_row_stride = stride;
    refused({"x_row_stride", std::to_string(stride).c_str(), "10"});
    params.y_row_stride = stride;
    refused({"y_row_stride", std::to_string(stride).c_str(), "10"});
  }
}

TEST_F(NormBoundary, Epsilon) {
  for (const float epsilon : {-1e-5f, -std::numeric_limits<float>::min(), std::numeric_limits<float>::quiet_NaN(),
                              std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    params.epsilon = epsilon;
    refused({"epsilon"});
  }
  params.epsilon = 0;
  EXPECT_EQ(norm(), GATUN_OK) << gatun_last_error();
}

TEST_F(NormBoundary, ExtentsThatOverflow) {
  for (const int64_t huge : {kMax, kMax / 2, int64_t{1} << 60}) {
    params.rows = huge;
    refused({"x"});
    params.x_row_stride = huge;
    refused({"x", std::to_string(huge).c_str()});
    params.y_row_stride = huge;
    refused({"y", std::to_string(huge).c_str()});
    params.columns = params.x_row_stride = params.y_row_stride = huge;
    refused({"x"});
  }
}

TEST_F(NormBoundary, NullsAndAlignment) {
  x_at = nullptr;
  refused({"x is null"});
  x_at = x.data();
  y_at = nullptr;
  refused({"y is null"});
  y_at = y.data();
  params.rows = kRows - 1;
  x_at = reinterpret_cast<char*>(x.data()) + 1;
  refused({"x", "4"});
  x_at = x.data();
  params.rows = kRows - 1;
  y_at = y.data() + 2;
  refused({"y", "4"});
  y_at = y.data();
  params.rows = kRows - 1;
  weight_at = reinterpret_cast<const float*>(reinterpret_cast<const char*>(x.data()) + 3);
  refused({"weight", "4"});
  weight_at = nullptr;
  params.rows = kRows - 1;
  bias_at = reinterpret_cast<const float*>(reinterpret_cast<const char*>(x.data()) + 3);
  refused({"bias", "4"});
}

TEST_F(NormBoundary, Overlaps) {
  const auto refused_names = [&](const char* other) {
    const std::vector<float> x_before = x, weight_before = weight, bias_before = bias;
    EXPECT_TRUE(invalid(norm(), {"y", other, "overlap"}));
    EXPECT_TRUE(identical(x, x_before) && identical(weight, weight_before) && identical(bias, bias_before));
    params = good;
  };
  params.rows = 2;
  y_at = x.data() + 1;  // not x itself
  refused_names("x");
  y_at = x.data();  // x itself, with other strides
  params.rows = 2;
  params.y_row_stride = kColumns + 2;
  refused_names("x");
  params.y_dtype = GATUN_BF16;  // with another dtype
  refused_names("x");
  params.rows = 1;
  y_at = weight.data();
  refused_names("weight");
  params.rows = 1;
  y_at = bias.data();
  refused_names("bias");
  // In place, y is still no weight.
  params.rows = 1;
  y_at = x_at = weight.data();
  refused_names("weight");
  params.rows = 1;
  y_at = x_at = bias.data();
  refused_names("bias");
}

TEST_F(NormBoundary, EmptyWorkNeedsNoMemory) {
  x_at = y_at = nullptr;
  weight_at = bias_at = nullptr;
  params.rows = 0;
  EXPECT_EQ(norm(), GATUN_OK) << gatun_last_error();
  params = good;
  params.columns = 0;
  EXPECT_EQ(norm(), GATUN_OK) << gatun_last_error();
  params.rows = kMax;
  params.x_row_stride = params.y_row_stride = 0;
  EXPECT_EQ(norm(), GATUN_OK) << gatun_last_error();
}

TEST_F(NormBoundary, Explain) {
  check_text([&](char* text, int64_t capacity) { return gatun_norm_explain(given, text, capacity); }, 1024);
  std::vector<char> text(1024, '\x7f');
  EXPECT_TRUE(invalid(gatun_norm_explain(nullptr, text.data(), 1024), {"params"}));
  params.struct_size = 1;
  EXPECT_TRUE(invalid(gatun_norm_explain(given, text.data(), 1024), {"struct_size"}));
  params = good;
  params.kind = 77;
  EXPECT_TRUE(invalid(gatun_norm_explain(given, text.data(), 1024), {"kind", "77"}));
  EXPECT_EQ(text, std::vector<char>(1024, '\x7f'));
}

}  // namespace
}  // namespace gatun::test
