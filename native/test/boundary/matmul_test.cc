// gatun_qmatmul and gatun_nm_matmul: every documented refusal. Their params have the same fields.
#include <cstring>

#include "boundary.h"
#include "gatun/nm_matmul.h"
#include "gatun/qmatmul.h"
#include "gatun/quantize.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

constexpr int64_t kRows = 3, kColumns = 5, kDepth = 20;

static_assert(sizeof(gatun_qmatmul_params) == sizeof(gatun_nm_matmul_params));

// A good call; each test spoils one thing.
class MatmulBoundary : public ::testing::TestWithParam<bool> {
 protected:
  MatmulBoundary() { sparse() ? pack_sparse() : pack_dense(); }

  bool sparse() const { return GetParam(); }
  void pack_dense() {
    const gatun_qmatmul_weights weights = {sizeof(weights), GATUN_I8, 0,     GATUN_ZERO_NONE, GATUN_F32, 0, 1, 1.0f,
                                           kColumns,        kDepth,   kDepth};
    EXPECT_EQ(gatun_qmatmul_packed_bytes(&weights, &packed_bytes), GATUN_OK);
    packed.resize(static_cast<size_t>(packed_bytes));
    packed_at = packed.data();
    const std::vector<int8_t> codes(kColumns * kDepth, 3);
    const std::vector<float> scales(kColumns, 0.25f);
    EXPECT_EQ(gatun_qmatmul_pack(&weights, codes.data(), nullptr, scales.data(), nullptr, packed_at, packed_bytes),
              GATUN_OK)
        << gatun_last_error();
  }
  void pack_sparse() {
    const gatun_nm_weights weights = {sizeof(weights), 2, 4, 1, GATUN_I8, 0, GATUN_F32, 0, 0, kColumns, kDepth, kDepth};
    EXPECT_EQ(gatun_nm_packed_bytes(&weights, &packed_bytes), GATUN_OK);
    packed.resize(static_cast<size_t>(packed_bytes));
    packed_at = packed.data();
    const std::vector<int8_t> values(kColumns * kDepth / 2, 3);
    std::vector<uint8_t> indices(kColumns * 3, 0x44);  // 0 and 1 of each group of 4; a row has 5
    for (size_t row = 0; row < kColumns; ++row) indices[row * 3 + 2] = 0x04;
    const std::vector<float> scales(kColumns, 0.25f);
    EXPECT_EQ(gatun_nm_pack(&weights, values.data(), indices.data(), scales.data(), nullptr, packed_at, packed_bytes),
              GATUN_OK)
        << gatun_last_error();
  }

  int32_t run() {
    if (!sparse()) return gatun_qmatmul(given, x_at, packed_at, packed_bytes, bias_at, residual_at, y_at);
    gatun_nm_matmul_params p;
    return gatun_nm_matmul(as_sparse(&p), x_at, packed_at, packed_bytes, bias_at, residual_at, y_at);
  }
  int32_t explain(char* text, int64_t capacity) {
    if (!sparse()) return gatun_qmatmul_explain(given, packed_at, packed_bytes, text, capacity);
    gatun_nm_matmul_params p;
    return gatun_nm_matmul_explain(as_sparse(&p), packed_at, packed_bytes, text, capacity);
  }
  const gatun_nm_matmul_params* as_sparse(gatun_nm_matmul_params* p) const {
    if (given == nullptr) return nullptr;
    std::memcpy(p, given, sizeof(*p));
    return p;
  }
  void refused(std::initializer_list<const char*> words) {
    const std::vector<float> x_before = x, bias_before = bias, residual_before = residual;
    const std::vector<uint8_t> packed_before = packed;
    EXPECT_TRUE(invalid(run(), words));
    EXPECT_TRUE(untouched(y)) << "the output was written";
    EXPECT_TRUE(identical(x, x_before) && identical(bias, bias_before) && identical(residual, residual_before));
    EXPECT_EQ(packed, packed_before);
    params = good;
  }
  // What explain sees, it refuses alike.
  void params_refused(std::initializer_list<const char*> words) {
    std::vector<char> text(2048, '\x7f');
    EXPECT_TRUE(invalid(explain(text.data(), 2048), words));
    EXPECT_EQ(text, std::vector<char>(2048, '\x7f'));
    refused(words);
  }

  const gatun_qmatmul_params good = {sizeof(gatun_qmatmul_params),
                                     GATUN_F32,
                                     GATUN_F32,
                                     sparse() ? int32_t{GATUN_NM_INT8} : int32_t{GATUN_QMATMUL_INT8_ROW},
                                     GATUN_ACTIVATION_NONE,
                                     1,
                                     kRows,
                                     kColumns,
                                     kDepth,
                                     kDepth,
                                     kColumns,
                                     kColumns,
                                     0,
                                     kColumns};
  gatun_qmatmul_params params = good;
  const gatun_qmatmul_params* given = &params;
  std::vector<float> x = std::vector<float>(kRows * kDepth, 1.5f), bias = std::vector<float>(kColumns, 2.0f),
                     residual = std::vector<float>(kRows * kColumns, 3.0f);
  std::vector<uint8_t> y = std::vector<uint8_t>(kRows * kColumns * 4, kUntouched), packed;
  const void* x_at = x.data();
  void* packed_at;
  int64_t packed_bytes = 0;
  const float* bias_at = bias.data();
  const void* residual_at = residual.data();
  void* y_at = y.data();
};

// x and y have the caller's sizes; packed weights of another shape must not decide how much of them is touched.
TEST_P(MatmulBoundary, WeightsOfAnotherShape) {
  for (const int64_t size : {kMin, int64_t{-1}, int64_t{0}, kColumns - 1, kColumns + 1, kMax}) {
    params.columns = size;
    refused({"params.columns", std::to_string(size).c_str(), std::to_string(kColumns).c_str()});
    params = good;
  }
  for (const int64_t size : {kMin, int64_t{-1}, int64_t{0}, kDepth - 1, kDepth + 1, kMax}) {
    params.depth = size;
    refused({"params.depth", std::to_string(size).c_str(), std::to_string(kDepth).c_str()});
    params = good;
  }
}

TEST_P(MatmulBoundary, TheGoodCallsAreAccepted) {
  EXPECT_EQ(run(), GATUN_OK) << gatun_last_error();
  EXPECT_FALSE(untouched(y));
  bias_at = nullptr;
  residual_at = nullptr;
  params.residual_row_stride = -1;  // ignored without residual
  EXPECT_EQ(run(), GATUN_OK) << gatun_last_error();
}

// Also where its multiples would overflow, on the way to a second block of rows.
TEST_P(MatmulBoundary, TheStrideOfNoResidualIsIgnored) {
  params.rows = 300;
  x.assign(300 * kDepth, 1.5f);
  y.assign(300 * kColumns * 4, kUntouched);
  x_at = x.data();
  y_at = y.data();
  residual_at = nullptr;
  ASSERT_EQ(run(), GATUN_OK) << gatun_last_error();
  const std::vector<uint8_t> expected = y;
  for (const int64_t stride : {kMax, kMin}) {
    std::fill(y.begin(), y.end(), kUntouched);
    params.residual_row_stride = stride;
    ASSERT_EQ(run(), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(y, expected);
  }
}

TEST_P(MatmulBoundary, Struct) {
  check_struct(params, given, "params", [&](auto words) { params_refused(words); });
}

TEST_P(MatmulBoundary, Enums) {
  for (const int32_t dtype : {0, -1, 15, int{GATUN_F16}, int{GATUN_I8}, int{GATUN_U4}, int{GATUN_F8E4M3}}) {
    params.x_dtype = dtype;
    params_refused({"x_dtype", std::to_string(dtype).c_str(), "F32", "BF16"});
    params.y_dtype = dtype;
    params_refused({"y_dtype", std::to_string(dtype).c_str(), "F32", "BF16"});
  }
  for (const int32_t value : {-1, sparse() ? 3 : 4, 1 << 30}) {
    params.mode = value;
    params_refused({"mode", std::to_string(value).c_str()});
  }
  for (const int32_t value : {-1, 5, 1 << 30}) {
    params.activation = value;
    params_refused({"activation", std::to_string(value).c_str()});
  }
}

TEST_P(MatmulBoundary, Sizes) {
  for (const int32_t threads : {-1, 1025, std::numeric_limits<int32_t>::min()}) {
    params.threads = threads;
    params_refused({"threads", std::to_string(threads).c_str(), "1024"});
  }
  for (const int64_t rows : {int64_t{-1}, kMin}) {
    params.rows = rows;
    params_refused({"rows", std::to_string(rows).c_str()});
  }
  for (const int64_t begin : {kMin, int64_t{-1}, kColumns + 1, kMax}) {
    params.column_begin = begin;
    params_refused({"column_begin", std::to_string(begin).c_str()});
  }
  for (const int64_t end : {kMin, int64_t{-1}, int64_t{1}, kColumns + 1, kMax}) {
    params.column_begin = 2;
    params.column_end = end;
    params_refused({"column_end", std::to_string(end).c_str()});
  }
}

TEST_P(MatmulBoundary, Strides) {
  for (const int64_t stride : {kDepth - 1, int64_t{0}, int64_t{-1}, kMin}) {
    params.x_row_stride = stride;
    params_refused({"x_row_stride", std::to_string(stride).c_str(), "20"});
  }
  for (const int64_t stride : {kColumns - 1, int64_t{0}, int64_t{-1}, kMin}) {
    params.y_row_stride = stride;
    params_refused({"y_row_stride", std::to_string(stride).c_str(), "5"});
    params.residual_row_stride = stride;
    refused({"residual_row_stride", std::to_string(stride).c_str(), "5"});
  }
  // One row has no stride.
  params.rows = 1;
  params.x_row_stride = params.y_row_stride = params.residual_row_stride = kMin;
  EXPECT_EQ(run(), GATUN_OK) << gatun_last_error();
}

TEST_P(MatmulBoundary, ExtentsThatOverflow) {
  for (const int64_t huge : {kMax, kMax / 2, int64_t{1} << 60}) {
    params.rows = huge;
    refused({"x"});
    params.x_row_stride = huge;
    refused({"x", std::to_string(huge).c_str()});
    params.y_row_stride = huge;
    refused({"y", std::to_string(huge).c_str()});
    params.residual_row_stride = huge;
    refused({"residual", std::to_string(huge).c_str()});
  }
}

TEST_P(MatmulBoundary, NullsAndAlignment) {
  x_at = nullptr;
  refused({"x is null"});
  x_at = x.data();
  y_at = nullptr;
  refused({"y is null"});
  y_at = y.data() + 1;
  params.rows = kRows - 1;
  refused({"y", "4"});
  y_at = y.data();
  x_at = reinterpret_cast<const char*>(x.data()) + 2;
  params.rows = kRows - 1;
  refused({"x", "4"});
  x_at = x.data();
  bias_at = reinterpret_cast<const float*>(reinterpret_cast<const char*>(x.data()) + 3);
  refused({"bias", "4"});
  bias_at = nullptr;
  residual_at = reinterpret_cast<const char*>(residual.data()) + 2;
  params.rows = kRows - 1;
  refused({"residual", "4"});
}

TEST_P(MatmulBoundary, PackedBuffers) {
  const int64_t needed = packed_bytes;
  void* const whole = packed_at;
  packed_at = nullptr;
  params_refused({"packed is null"});
  packed_at = whole;
  for (const int64_t bytes : {kMin, int64_t{-1}, int64_t{0}, int64_t{63}, int64_t{64}, needed - 1}) {
    packed_bytes = bytes;
    params_refused({"packed", std::to_string(bytes).c_str()});
  }
  packed_bytes = needed;
  packed[0] = static_cast<uint8_t>(packed[0] ^ 1);
  params_refused({"packed"});
}

TEST_P(MatmulBoundary, Overlaps) {
  const auto refused_name = [&](const char* other) {
    const std::vector<float> x_before = x, bias_before = bias, residual_before = residual;
    const std::vector<uint8_t> packed_before = packed;
    EXPECT_TRUE(invalid(run(), {"y", other, "overlap"}));
    EXPECT_TRUE(identical(x, x_before) && identical(bias, bias_before) && identical(residual, residual_before));
    EXPECT_EQ(packed, packed_before);
    params = good;
    residual_at = residual.data();
  };
  y_at = x.data();
  refused_name("x");
  y_at = x.data() + kRows * kDepth - 1;
  params.rows = kRows;
  refused_name("x");
  y_at = packed.data() + 64;
  refused_name("packed");
  y_at = bias.data();
  params.rows = 1;
  refused_name("bias");
  y_at = residual.data() + 1;
  params.rows = 2;
  refused_name("residual");
  // residual may be y itself, but with the same stride.
  y_at = residual.data();
  params.rows = 2;
  params.y_row_stride = kColumns + 1;
  refused_name("residual");
  EXPECT_EQ(run(), GATUN_OK) << gatun_last_error();
}

TEST_P(MatmulBoundary, EmptyWorkNeedsNoMemory) {
  x_at = residual_at = nullptr;
  y_at = nullptr;
  bias_at = nullptr;
  params.rows = 0;
  EXPECT_EQ(run(), GATUN_OK) << gatun_last_error();
  // An empty range of columns writes nothing.
  params = good;
  params.column_begin = params.column_end = 3;
  x_at = x.data();
  y_at = y.data();
  EXPECT_EQ(run(), GATUN_OK) << gatun_last_error();
  EXPECT_TRUE(untouched(y));
}

TEST_P(MatmulBoundary, Explain) {
  check_text([&](char* text, int64_t capacity) { return explain(text, capacity); }, 2048);
}

// Modes that no kernel does: UNSUPPORTED, with those that there are.
TEST(NmMatmulBoundary, ModesOfOtherValues) {
  const auto unsupported = [](const gatun_nm_weights& w, const void* from, const void* scale_data, int32_t mode,
                              std::initializer_list<const char*> words) {
    int64_t bytes = 0;
    ASSERT_EQ(gatun_nm_packed_bytes(&w, &bytes), GATUN_OK);
    std::vector<uint8_t> form(static_cast<size_t>(bytes));
    const std::vector<uint8_t> nibbles(16, 0x44);
    ASSERT_EQ(gatun_nm_pack(&w, from, nibbles.data(), scale_data, nullptr, form.data(), bytes), GATUN_OK)
        << gatun_last_error();
    const gatun_nm_matmul_params params = {sizeof(params), GATUN_F32, GATUN_F32, mode, 0, 1, 1, 1, 32, 32, 1, 0, 0, 1};
    const std::vector<float> x(32, 1.0f);
    float y = 77;
    char text[2048];
    EXPECT_EQ(gatun_nm_matmul(&params, x.data(), form.data(), bytes, nullptr, nullptr, &y), GATUN_UNSUPPORTED);
    for (const char* word : words) EXPECT_NE(std::strstr(gatun_last_error(), word), nullptr) << gatun_last_error();
    EXPECT_EQ(y, 77);
    EXPECT_EQ(gatun_nm_matmul_explain(&params, form.data(), bytes, text, sizeof(text)), GATUN_UNSUPPORTED);
  };
  const std::vector<float> from(16, 0.0f);
  for (const int32_t dtype : {int{GATUN_F32}, int{GATUN_F16}}) {
    const gatun_nm_weights w = {sizeof(w), 2, 4, 1, dtype, 0, 0, 0, 0, 1, 32, 0};
    unsupported(w, from.data(), nullptr, GATUN_NM_BF16, {"mode = 1", "F32 (0)"});
    unsupported(w, from.data(), nullptr, GATUN_NM_INT8, {"mode = 2", "F32 (0)"});
  }
  const gatun_nm_weights bf16 = {sizeof(bf16), 2, 4, 1, GATUN_BF16, 0, 0, 0, 0, 1, 32, 0};
  unsupported(bf16, from.data(), nullptr, GATUN_NM_INT8, {"mode = 2", "F32 (0)", "BF16 (1)"});
  for (const int32_t dtype : {int{GATUN_I8}, int{GATUN_U4}}) {
    const gatun_nm_weights w = {sizeof(w), 2, 4, 1, dtype, 0, GATUN_F32, 0, 0, 1, 32, 32};
    unsupported(w, from.data(), from.data(), GATUN_NM_BF16, {"mode = 1", "F32 (0)", "INT8 (2)"});
  }
}

// The most weights that a header may speak of, whose multiply-adds are more than 64 bits count. Only the header is
// read.
TEST(NmMatmulBoundary, ExplainOfTheMostWeights) {
  gatun_nm_weights weights = {sizeof(weights), 2, 4, 1, GATUN_F32, 0, 0, 0, 0, 1, 0, 0};
  uint8_t packed[64];
  ASSERT_EQ(gatun_nm_pack(&weights, nullptr, nullptr, nullptr, nullptr, packed, sizeof(packed)), GATUN_OK)
      << gatun_last_error();
  constexpr int64_t kMost = int64_t{1} << 52;
  for (const auto& [columns, depth] : {std::pair{int64_t{1}, kMost}, {kMost, int64_t{1}}}) {
    weights.columns = columns;
    weights.depth = depth;
    int64_t bytes = 0;
    ASSERT_EQ(gatun_nm_packed_bytes(&weights, &bytes), GATUN_OK) << gatun_last_error();
    std::memcpy(packed + 32, &columns, 8);
    std::memcpy(packed + 40, &depth, 8);
    std::memcpy(packed + 56, &bytes, 8);
    const gatun_nm_matmul_params params = {sizeof(params), GATUN_F32, GATUN_F32, GATUN_NM_F32, 0, 2, 512,
                                           columns,        depth,     depth,     columns,      0, 0, columns};
    char text[2048];
    ASSERT_EQ(gatun_nm_matmul_explain(&params, packed, bytes, text, sizeof(text)), GATUN_OK) << gatun_last_error();
    EXPECT_NE(std::strstr(text, "512 rows in blocks of 512"), nullptr) << text;
    EXPECT_NE(std::strstr(text, "on 2 threads"), nullptr) << text;
  }
}

INSTANTIATE_TEST_SUITE_P(Dense, MatmulBoundary, ::testing::Values(false));
INSTANTIATE_TEST_SUITE_P(Sparse, MatmulBoundary, ::testing::Values(true));

}  // namespace
}  // namespace gatun::test
