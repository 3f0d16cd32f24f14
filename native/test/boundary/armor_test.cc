// gatun_armor_matmul and gatun_armor_fit: every documented refusal.
#include "gatun/armor.h"

#include "boundary.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

constexpr int64_t kRows = 3, kColumns = 6, kDepth = 10, kBlock = 4, kKept = 6;
constexpr int64_t kLeftFloats = 4 * 4 + 2 * 2, kRightFloats = 2 * 4 * 4 + 2 * 2;

class ArmorMatmulBoundary : public ::testing::Test {
 protected:
  ArmorMatmulBoundary() {
    good.struct_size = sizeof(good);
    good.x_dtype = good.y_dtype = GATUN_F32;
    good.mode = GATUN_NM_F32;
    good.threads = 1;
    good.rows = kRows;
    good.columns = good.column_end = good.y_row_stride = good.residual_row_stride = kColumns;
    good.depth = good.x_row_stride = kDepth;
    params = good;
    gatun_nm_weights weights{};
    weights.struct_size = sizeof(weights);
    weights.n = 2;
    weights.m = 4;
    weights.vector = 1;
    weights.value_dtype = GATUN_F32;
    weights.columns = kColumns;
    weights.depth = kDepth;
    const std::vector<float> values(kColumns * kKept, 1);
    std::vector<uint8_t> indices(kColumns * 2, 0x44);
    for (size_t row = 0; row < kColumns; ++row) indices[row * 2 + 1] = 0x04;
    int64_t bytes = 0;
    EXPECT_EQ(gatun_nm_packed_bytes(&weights, &bytes), GATUN_OK);
    packed.resize(static_cast<size_t>(bytes));
    EXPECT_EQ(gatun_nm_pack(&weights, values.data(), indices.data(), nullptr, nullptr, packed.data(), bytes), GATUN_OK);
    packed_bytes = bytes;
  }

  int32_t call() {
    return gatun_armor_matmul(given, block, x_at, right_at, packed.data(), packed_bytes, left_at, bias_at, residual_at,
                              y_at);
  }
  void refused(std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(call(), words));
    EXPECT_TRUE(untouched(y)) << "the output was written";
    params = good;
    block = kBlock;
  }

  gatun_nm_matmul_params good{}, params{};
  const gatun_nm_matmul_params* given = &params;
  int64_t block = kBlock;
  std::vector<float> x = std::vector<float>(kRows * kDepth, 1), left = std::vector<float>(kLeftFloats, 1),
                     right = std::vector<float>(kRightFloats, 1), bias = std::vector<float>(kColumns, 1),
                     residual = std::vector<float>(kRows * kColumns, 1);
  std::vector<uint8_t> packed, y = std::vector<uint8_t>(kRows * kColumns * 4, kUntouched);
  int64_t packed_bytes = 0;
  const void* x_at = x.data();
  const float *right_at = right.data(), *left_at = left.data(), *bias_at = bias.data();
  const void* residual_at = residual.data();
  void* y_at = y.data();
};

TEST_F(ArmorMatmulBoundary, TheGoodCallsAreAccepted) {
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  EXPECT_FALSE(untouched(y));
  bias_at = nullptr;
  residual_at = nullptr;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  y_at = residual.data();
  residual_at = residual.data();
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
}

TEST_F(ArmorMatmulBoundary, Params) {
  given = nullptr;
  refused({"params"});
  given = &params;
  params.struct_size -= 8;
  refused({"struct_size"});
  for (const int32_t dtype : {0, -1, int{GATUN_F16}, int{GATUN_I8}}) {
    params.x_dtype = dtype;
    refused({"x_dtype", std::to_string(dtype).c_str(), "F32, BF16"});
    params.y_dtype = dtype;
    refused({"y_dtype", std::to_string(dtype).c_str(), "F32, BF16"});
  }
  for (const int32_t number : {-1, 99}) {
    params.mode = number;
    refused({"mode", std::to_string(number).c_str()});
    params.activation = number;
    refused({"activation", std::to_string(number).c_str()});
  }
  params.mode = GATUN_NM_BF16;  // of f32 values
  EXPECT_EQ(call(), GATUN_UNSUPPORTED);
  EXPECT_TRUE(untouched(y)) << "the output was written";
  params = good;
  params.threads = -1;
  refused({"threads", "-1"});
  params.threads = 1025;
  refused({"threads", "1025"});
  params.column_begin = 1;
  refused({"column_begin", "1"});
  params.column_end = kColumns - 1;
  refused({"column_end", "5"});
  for (const int64_t size : {int64_t{-1}, kMin}) {
    params.rows = size;
    refused({"rows", std::to_string(size).c_str()});
    params.columns = params.column_end = size;
    refused({"columns", std::to_string(size).c_str()});
    params.depth = size;
    refused({"depth", std::to_string(size).c_str()});
    block = size;
    refused({"block", std::to_string(size).c_str()});
    packed_bytes = size;
    refused({"packed_bytes", std::to_string(size).c_str()});
    packed_bytes = static_cast<int64_t>(packed.size());
  }
  block = 0;
  refused({"block", "0"});
  params.x_row_stride = kDepth - 1;
  refused({"x_row_stride", "10"});
  params.y_row_stride = kColumns - 1;
  refused({"y_row_stride", "6"});
  params.residual_row_stride = kColumns - 1;
  refused({"residual_row_stride", "6"});
}

TEST_F(ArmorMatmulBoundary, Weights) {
  params.depth = kDepth - 1;
  refused({"depth", "9", "10"});
  params.columns = params.column_end = kColumns - 1;
  refused({"columns", "5", "6"});
  packed[0] ^= 1;
  refused({"packed"});
  packed[0] ^= 1;
  packed_bytes -= 1;
  refused({"packed"});
  packed_bytes = 0;
  refused({"packed"});
}

TEST_F(ArmorMatmulBoundary, ExtentsThatOverflow) {
  for (const int64_t huge : {kMax, kMax / 2, int64_t{1} << 60}) {
    params.rows = huge;
    refused({"exceed"});
    params.x_row_stride = huge;
    refused({"x", "exceed"});
    params.y_row_stride = huge;
    refused({"y", "exceed"});
    params.columns = params.column_end = params.y_row_stride = params.residual_row_stride = huge;
    refused({"exceed"});
    params.depth = params.x_row_stride = huge;
    refused({"exceed"});
    params.rows = 0;
    params.columns = params.column_end = huge;
    block = huge;
    refused({"left", "exceed"});
  }
}

TEST_F(ArmorMatmulBoundary, NullsAlignmentAndOverlaps) {
  const auto spoiled = [&](auto& at, const char* name, bool optional) {
    const auto before = at;
    if (!optional) {
      at = nullptr;
      refused({name, "is null"});
    }
    at = reinterpret_cast<std::remove_reference_t<decltype(at)>>(reinterpret_cast<uintptr_t>(before) + 2);
    params.rows = kRows - 1;
    refused({name, "multiples of 4"});
    at = before;
  };
  spoiled(x_at, "x", false);
  spoiled(right_at, "right", false);
  spoiled(left_at, "left", false);
  spoiled(bias_at, "bias", true);
  spoiled(residual_at, "residual", true);
  spoiled(y_at, "y", false);
  for (const auto& [memory, name] : {std::pair<float*, const char*>{x.data(), "x"},
                                     {left.data(), "left"},
                                     {right.data(), "right"},
                                     {bias.data(), "bias"},
                                     {residual.data() + 1, "residual"}}) {
    y_at = memory;
    EXPECT_TRUE(invalid(call(), {"y", name, "overlap"}));
  }
  y_at = packed.data();
  EXPECT_TRUE(invalid(call(), {"y", "packed", "overlap"}));
  y_at = residual.data();
  params.y_row_stride = kColumns + 1;
  params.rows = kRows - 1;
  EXPECT_TRUE(invalid(call(), {"y", "residual", "overlap"}));
}

TEST_F(ArmorMatmulBoundary, NoRowsNeedNoMemory) {
  params.rows = 0;
  x_at = residual_at = nullptr;
  y_at = nullptr;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
}

// A loop over rows of no bytes would not end.
TEST_F(ArmorMatmulBoundary, ManyRowsWithoutWork) {
  for (const int64_t depth : {int64_t{0}, kDepth}) {
    const gatun_nm_weights weights = {sizeof(weights), 2, 4, 1, GATUN_F32, 0, 0, 0, 0, 0, depth, 0};
    EXPECT_EQ(gatun_nm_packed_bytes(&weights, &packed_bytes), GATUN_OK);
    EXPECT_EQ(gatun_nm_pack(&weights, nullptr, nullptr, nullptr, nullptr, packed.data(), packed_bytes), GATUN_OK);
    params.rows = depth == 0 ? kMax : int64_t{1} << 52;
    params.columns = params.column_end = params.y_row_stride = params.residual_row_stride = 0;
    params.depth = params.x_row_stride = depth;
    EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  }
  EXPECT_TRUE(untouched(y));
}

class ArmorFitBoundary : public ::testing::Test {
 protected:
  int32_t call() { return gatun_armor_fit(given, w_at, norms_at, left_at, values_at, indices_at, right_at, losses_at); }
  void refused(std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(call(), words));
    EXPECT_TRUE(untouched(out)) << "an output was written";
    params = good;
  }

  const gatun_armor_fit_params good = {sizeof(gatun_armor_fit_params), 2, 4, 2, 1, 0, kColumns, kDepth, kBlock};
  gatun_armor_fit_params params = good;
  const gatun_armor_fit_params* given = &params;
  std::vector<float> w = std::vector<float>(kColumns * kDepth, 1), norms = std::vector<float>(kDepth, 1);
  // All outputs after each other: losses, left, right, values, indices.
  std::vector<uint8_t> out =
      std::vector<uint8_t>(24 + 4 * (kLeftFloats + kRightFloats + kColumns * kKept) + 12, kUntouched);
  const float *w_at = w.data(), *norms_at = norms.data();
  double* losses_at = reinterpret_cast<double*>(out.data());
  float* left_at = reinterpret_cast<float*>(out.data() + 24);
  float* right_at = left_at + kLeftFloats;
  float* values_at = right_at + kRightFloats;
  uint8_t* indices_at = reinterpret_cast<uint8_t*>(values_at + kColumns * kKept);
};

TEST_F(ArmorFitBoundary, TheGoodCallsAreAccepted) {
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  EXPECT_FALSE(untouched(out));
  norms_at = nullptr;
  losses_at = nullptr;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
}

TEST_F(ArmorFitBoundary, Params) {
  given = nullptr;
  refused({"params"});
  given = &params;
  params.struct_size += 8;
  refused({"struct_size"});
  for (const int32_t m : {0, -4, 1, 3, 6, 64}) {
    params.m = m;
    refused({"params.m", std::to_string(m).c_str(), "2, 4, 8, 16, 32"});
  }
  for (const int32_t n : {0, -1, 5}) {
    params.n = n;
    refused({"params.n", std::to_string(n).c_str(), "1..4"});
  }
  params.rounds = -1;
  refused({"params.rounds", "-1"});
  params.threads = 1025;
  refused({"params.threads", "1025"});
  params.reserved = 7;
  refused({"params.reserved", "7"});
  for (const int64_t size : {int64_t{-1}, kMin}) {
    params.columns = size;
    refused({"params.columns", std::to_string(size).c_str()});
    params.depth = size;
    refused({"params.depth", std::to_string(size).c_str()});
    params.block = size;
    refused({"params.block", std::to_string(size).c_str()});
  }
  params.block = 0;
  refused({"params.block", "0"});
}

TEST_F(ArmorFitBoundary, ExtentsThatOverflow) {
  for (const int64_t huge : {kMax - 31, kMax / 2, int64_t{1} << 60}) {
    params.columns = huge;
    refused({"exceed"});
    params.depth = huge;
    refused({"exceed"});
    params.columns = params.block = huge;
    refused({"left", "exceed"});
    params.depth = params.block = huge;
    refused({"right", "exceed"});
  }
}

TEST_F(ArmorFitBoundary, Numbers) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                          -std::numeric_limits<float>::infinity()}) {
    w[2 * kDepth + 7] = bad;
    refused({"w[2][7]"});
    w[2 * kDepth + 7] = 1;
    norms[4] = bad;
    refused({"norms", "4"});
    norms[4] = 1;
  }
  norms[4] = -1;
  refused({"norms", "4", "-1"});
  params.columns = 0;  // they count for nothing then, and are still no norms
  refused({"norms", "4", "-1"});
}

TEST_F(ArmorFitBoundary, NullsAlignmentAndOverlaps) {
  const auto spoiled = [&](auto& at, const char* name, bool optional, uintptr_t element) {
    const auto before = at;
    if (!optional) {
      at = nullptr;
      refused({name, "is null"});
    }
    if (element > 1) {
      at = reinterpret_cast<std::remove_reference_t<decltype(at)>>(reinterpret_cast<uintptr_t>(before) + element / 2);
      refused({name, "multiples of", std::to_string(element).c_str()});
    }
    at = before;
  };
  spoiled(w_at, "w", false, 4);
  spoiled(norms_at, "norms", true, 4);
  spoiled(left_at, "left", false, 4);
  spoiled(right_at, "right", false, 4);
  spoiled(values_at, "values", false, 4);
  spoiled(indices_at, "indices", false, 1);
  spoiled(losses_at, "losses", true, 8);
  const auto overlapped = [&](auto& at, auto other, const char* name, const char* other_name) {
    const auto before = at;
    at = reinterpret_cast<std::remove_reference_t<decltype(at)>>(reinterpret_cast<uintptr_t>(other));
    EXPECT_TRUE(invalid(call(), {name, other_name, "overlap"}));
    at = before;
  };
  overlapped(left_at, right_at, "left", "right");
  overlapped(values_at, left_at, "values", "left");
  overlapped(indices_at, values_at, "indices", "values");
  overlapped(left_at, losses_at, "left", "losses");
  overlapped(right_at, w.data(), "right", "w");
  overlapped(left_at, norms.data(), "left", "norms");
}

TEST_F(ArmorFitBoundary, EmptyWorkNeedsNoMemory) {
  params.columns = 0;
  params.depth = 0;
  w_at = norms_at = nullptr;
  left_at = right_at = values_at = nullptr;
  indices_at = nullptr;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  for (const double loss : {losses_at[0], losses_at[1], losses_at[2]}) EXPECT_EQ(loss, 0);
  // Neither size nor number of what is not there matters.
  params.block = kMax;
  params.rounds = std::numeric_limits<int32_t>::max();
  losses_at = nullptr;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
}

// Without columns or depth one factor is left: the identity.
TEST_F(ArmorFitBoundary, OneSideAlone) {
  w_at = nullptr;
  values_at = nullptr;
  indices_at = nullptr;
  losses_at = nullptr;
  params.rounds = std::numeric_limits<int32_t>::max();
  const auto is_identity = [](const float* blocks, int64_t size) {
    for (int64_t first = 0; first < size; first += kBlock) {
      const int64_t rows = std::min(kBlock, size - first);
      for (int64_t i = 0; i < rows * rows; ++i, ++blocks) {
        if (*blocks != (i % (rows + 1) == 0 ? 1.0f : 0.0f)) return false;
      }
    }
    return true;
  };
  params.columns = 0;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  EXPECT_TRUE(is_identity(right_at, kDepth));
  params = good;
  params.rounds = std::numeric_limits<int32_t>::max();
  params.depth = 0;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  EXPECT_TRUE(is_identity(left_at, kColumns));
}

}  // namespace
}  // namespace gatun::test
