// gatun_qmatmul_scaled, and modes that weights do not take: every documented refusal.
#include "boundary.h"
#include "gatun/qmatmul.h"
#include "gatun/quantize.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

constexpr int64_t kRows = 3, kColumns = 5, kDepth = 40, kGroup = 20, kGroups = 2;

std::vector<uint8_t> packed_codes(int32_t code_dtype, int64_t depth = kDepth) {
  const gatun_qmatmul_weights weights = {
      sizeof(weights), code_dtype, 0, 0, GATUN_F32, 0, 1, 1.0f, kColumns, depth, depth == 0 ? 0 : kGroup};
  int64_t bytes = 0;
  EXPECT_EQ(gatun_qmatmul_packed_bytes(&weights, &bytes), GATUN_OK) << gatun_last_error();
  std::vector<uint8_t> packed(static_cast<size_t>(bytes));
  const std::vector<uint8_t> codes(kColumns * kDepth, 0x38);
  const std::vector<float> scales(kColumns * kGroups, 0.5f);
  EXPECT_EQ(gatun_qmatmul_pack(&weights, codes.data(), nullptr, scales.data(), nullptr, packed.data(), bytes), GATUN_OK)
      << gatun_last_error();
  return packed;
}

// A good call of gatun_qmatmul_scaled; each test spoils one thing.
class ScaledBoundary : public ::testing::Test {
 protected:
  int32_t run() {
    return gatun_qmatmul_scaled(&params, x_group, x.data(), x_scales_at, x_scales_row_stride, packed.data(),
                                static_cast<int64_t>(packed.size()), nullptr, nullptr, y_at);
  }
  void refused(std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(run(), words));
    EXPECT_TRUE(untouched(y)) << "the output was written";
    params = good;
    x_group = kGroup;
    x_scales_row_stride = kGroups;
    x_scales_at = x_scales.data();
  }

  const gatun_qmatmul_params good = {sizeof(gatun_qmatmul_params),
                                     GATUN_F8E4M3,
                                     GATUN_F32,
                                     GATUN_QMATMUL_BF16,
                                     GATUN_ACTIVATION_NONE,
                                     1,
                                     kRows,
                                     kColumns,
                                     kDepth,
                                     kDepth,
                                     kColumns,
                                     0,
                                     0,
                                     kColumns};
  gatun_qmatmul_params params = good;
  std::vector<uint8_t> packed = packed_codes(GATUN_F8E4M3), x = std::vector<uint8_t>(kRows * kDepth, 0x38);
  std::vector<float> x_scales = std::vector<float>(kRows * kGroups, 2.0f);
  std::vector<uint8_t> y = std::vector<uint8_t>(kRows * kColumns * 4, kUntouched);
  int64_t x_group = kGroup, x_scales_row_stride = kGroups;
  const float* x_scales_at = x_scales.data();
  void* y_at = y.data();
};

TEST_F(ScaledBoundary, TheGoodCallsAreAccepted) {
  EXPECT_EQ(run(), GATUN_OK) << gatun_last_error();
  EXPECT_FALSE(untouched(y));
  for (const int64_t group : {kGroup, kDepth}) {
    for (const int64_t stride : {int64_t{0}, kGroups}) {
      x_group = group;
      x_scales_row_stride = stride;
      EXPECT_EQ(run(), GATUN_OK) << gatun_last_error();
    }
  }
  params.x_dtype = GATUN_F8E5M2;
  EXPECT_EQ(run(), GATUN_OK) << gatun_last_error();
  params.rows = 0;
  x_scales_at = nullptr;
  EXPECT_EQ(run(), GATUN_OK) << gatun_last_error();
  // Without depth there is nothing to scale.
  params = good;
  params.depth = params.x_row_stride = x_group = 0;
  packed = packed_codes(GATUN_F8E4M3, 0);
  EXPECT_EQ(run(), GATUN_OK) << gatun_last_error();
}

TEST_F(ScaledBoundary, TypesAndModes) {
  for (const int32_t dtype : {0, int{GATUN_F32}, int{GATUN_BF16}, int{GATUN_U8}, int{GATUN_F6E3M2}, int{GATUN_E8M0}}) {
    params.x_dtype = dtype;
    refused({"params.x_dtype", "F8E4M3", "F8E5M2", "I8"});
  }
  for (const int32_t mode :
       {int{GATUN_QMATMUL_INT8_ROW}, int{GATUN_QMATMUL_INT8_GROUP}, int{GATUN_QMATMUL_PRECISE}, -1, 4}) {
    params.mode = mode;
    refused({"params.mode", std::to_string(mode).c_str()});
  }
  packed = packed_codes(GATUN_I8);
  EXPECT_TRUE(unsupported(run(), {"params.mode", "8-bit integers", "INT8_ROW"}));
  EXPECT_TRUE(untouched(y));
}

TEST_F(ScaledBoundary, Int8Codes) {
  const auto int8_rows = [this](int32_t mode, int64_t group) {
    params.x_dtype = GATUN_I8;
    params.mode = mode;
    x_group = group;
  };
  for (const int32_t mode : {int{GATUN_QMATMUL_INT8_ROW}, int{GATUN_QMATMUL_INT8_GROUP}}) {
    int8_rows(mode, mode == GATUN_QMATMUL_INT8_ROW ? kDepth : kGroup);
    EXPECT_TRUE(unsupported(run(), {"params.mode", "BF16"}));  // the weights are F8E4M3
  }
  packed = packed_codes(GATUN_I8);
  for (const int32_t mode : {int{GATUN_QMATMUL_PRECISE}, int{GATUN_QMATMUL_BF16}, -1}) {
    int8_rows(mode, kDepth);
    refused({"params.mode", std::to_string(mode).c_str()});
  }
  int8_rows(GATUN_QMATMUL_INT8_ROW, kGroup);
  refused({"x_group = 20", "params.mode = 0", "40"});
  int8_rows(GATUN_QMATMUL_INT8_GROUP, kDepth);
  refused({"x_group = 40", "params.mode = 1", "20"});
  int8_rows(GATUN_QMATMUL_INT8_GROUP, kGroup);
  EXPECT_EQ(run(), GATUN_OK) << gatun_last_error();
  int8_rows(GATUN_QMATMUL_INT8_ROW, kDepth);
  x_scales_row_stride = 0;
  EXPECT_EQ(run(), GATUN_OK) << gatun_last_error();
}

TEST_F(ScaledBoundary, Scales) {
  for (const int64_t group : {kMin, int64_t{-1}, int64_t{0}, int64_t{1}, kGroup - 1, kDepth - 1, kDepth + 1, kMax}) {
    x_group = group;
    refused({"x_group", std::to_string(group).c_str(), "40", "20"});
  }
  for (const int64_t stride : {kMin, int64_t{-1}, int64_t{1}}) {
    x_scales_row_stride = stride;
    refused({"x_scales_row_stride", std::to_string(stride).c_str()});
  }
  x_scales_row_stride = kMax;
  refused({"x_scales"});
  x_scales_at = nullptr;
  refused({"x_scales is null"});
  x_scales_at = reinterpret_cast<const float*>(reinterpret_cast<const char*>(x_scales.data()) + 2);
  refused({"x_scales", "4"});
  const std::vector<float> before = x_scales;
  y_at = x_scales.data() + kRows * kGroups - 1;
  EXPECT_TRUE(invalid(run(), {"y", "x_scales", "overlap"}));
  EXPECT_TRUE(identical(x_scales, before));
}

// Each kind of weights with the modes that it does not take; explain refuses alike.
TEST(Modes, OthersAreRefusedWithTheirNames) {
  const std::vector<float> x(kRows * kDepth, 1.0f);
  gatun_qmatmul_params params = {
      sizeof(params), GATUN_F32, GATUN_F32, 0,       GATUN_ACTIVATION_NONE, 1, kRows, kColumns, kDepth, kDepth,
      kColumns,       0,         0,         kColumns};
  const struct {
    int32_t codes, mode;
    const char *stored, *allowed;
  } cases[] = {{GATUN_I8, GATUN_QMATMUL_BF16, "8-bit integers", "INT8_ROW"},
               {GATUN_U4, GATUN_QMATMUL_BF16, "4-bit integers", "INT8_GROUP"},
               {GATUN_F4E2M1, GATUN_QMATMUL_BF16, "indices of integers", "PRECISE"},
               {GATUN_F8E4M3, GATUN_QMATMUL_INT8_ROW, "indices of floats", "BF16"},
               {GATUN_F6E3M2, GATUN_QMATMUL_INT8_GROUP, "indices of floats", "PRECISE"}};
  for (const auto& c : cases) {
    const std::vector<uint8_t> packed = packed_codes(c.codes);
    const int64_t bytes = static_cast<int64_t>(packed.size());
    std::vector<uint8_t> y(kRows * kColumns * 4, kUntouched);
    params.mode = c.mode;
    EXPECT_TRUE(unsupported(gatun_qmatmul(&params, x.data(), packed.data(), bytes, nullptr, nullptr, y.data()),
                            {"params.mode", c.stored, c.allowed}));
    EXPECT_TRUE(untouched(y));
    char text[2048];
    EXPECT_TRUE(unsupported(gatun_qmatmul_explain(&params, packed.data(), bytes, text, 2048), {c.stored}));
    params.mode = GATUN_QMATMUL_PRECISE;
    EXPECT_EQ(gatun_qmatmul(&params, x.data(), packed.data(), bytes, nullptr, nullptr, y.data()), GATUN_OK)
        << gatun_last_error();
  }
}

// Rows of x are packed once for all weights of a call, and not alike for integers and floats.
TEST(Modes, AStackIsOfOneKind) {
  std::vector<uint8_t> stack = packed_codes(GATUN_I8);
  stack.resize((stack.size() + 63) / 64 * 64);
  const std::vector<uint8_t> second = packed_codes(GATUN_F8E4M3);
  stack.insert(stack.end(), second.begin(), second.end());
  const std::vector<float> x(kRows * kDepth, 1.0f);
  std::vector<uint8_t> y(kRows * 2 * kColumns * 4, kUntouched);
  const gatun_qmatmul_params params = {sizeof(params), GATUN_F32, GATUN_F32, GATUN_QMATMUL_PRECISE, 0, 1, kRows,
                                       2 * kColumns,   kDepth,    kDepth,    2 * kColumns,          0, 0, 2 * kColumns};
  EXPECT_TRUE(unsupported(gatun_qmatmul_concat(&params, 2, x.data(), stack.data(), static_cast<int64_t>(stack.size()),
                                               nullptr, nullptr, y.data()),
                          {"packed[1]", "floats", "packed[0]", "integers"}));
  EXPECT_TRUE(untouched(y));
}

}  // namespace
}  // namespace gatun::test
