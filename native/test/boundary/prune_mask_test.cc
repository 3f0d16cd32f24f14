// gatun_mask_apply, gatun_mask_count, gatun_prune_observe and gatun_prune_regrow: every documented refusal.
#include <cmath>

#include "boundary.h"
#include "gatun/prune.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

constexpr int64_t kRows = 3, kDepth = 12;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

std::string text_of(int64_t number) { return std::to_string(number); }

// A good call of gatun_mask_apply; each test spoils one thing.
class MaskApplyBoundary : public ::testing::Test {
 protected:
  int32_t apply() { return gatun_mask_apply(dtype, rows, depth, x_stride, x_at, mask_at, threads, y_stride, y_at); }
  void refused(std::initializer_list<const char*> words) {
    const std::vector<float> x_before = x;
    const std::vector<uint8_t> mask_before = mask;
    EXPECT_TRUE(invalid(apply(), words));
    EXPECT_TRUE(untouched(y)) << "y was written";
    EXPECT_TRUE(identical(x, x_before) && identical(mask, mask_before));
    restore();
  }
  void accepted() {
    EXPECT_EQ(apply(), GATUN_OK) << gatun_last_error();
    std::fill(y.begin(), y.end(), kUntouched);
    restore();
  }
  void restore() {
    dtype = GATUN_F32;
    threads = 1;
    rows = kRows;
    depth = x_stride = y_stride = kDepth;
    x_at = x.data();
    mask_at = mask.data();
    y_at = y.data();
  }

  std::vector<float> x = std::vector<float>(kRows * kDepth, 1.5f);
  std::vector<uint8_t> mask = std::vector<uint8_t>(kRows * 2, 0xff);
  std::vector<uint8_t> y = std::vector<uint8_t>(kRows * kDepth * 4, kUntouched);
  int32_t dtype = GATUN_F32, threads = 1;
  int64_t rows = kRows, depth = kDepth, x_stride = kDepth, y_stride = kDepth;
  void* x_at = x.data();
  uint8_t* mask_at = mask.data();
  void* y_at = y.data();
};

TEST_F(MaskApplyBoundary, TheGoodCallsAreAccepted) {
  for (const int32_t each : {GATUN_F32, GATUN_F16, GATUN_BF16, GATUN_I8, GATUN_U8}) {
    dtype = each;
    accepted();
    dtype = each;
    y_at = x_at;
    accepted();
  }
}

TEST_F(MaskApplyBoundary, NumbersAndEnums) {
  for (const int32_t bad : {0, -1, int{GATUN_I32}, int{GATUN_U4}, int{GATUN_U2}, int{GATUN_F8E4M3}, 1 << 30}) {
    dtype = bad;
    refused({"dtype", text_of(bad).c_str(), "F32, F16, BF16, I8, U8"});
  }
  for (const int32_t bad : {-1, 1025, std::numeric_limits<int32_t>::min()}) {
    threads = bad;
    refused({"threads", text_of(bad).c_str(), "1024"});
  }
  for (const int64_t bad : {int64_t{-1}, kMin}) {
    rows = bad;
    refused({"rows", text_of(bad).c_str()});
    depth = bad;
    refused({"depth", text_of(bad).c_str()});
  }
  for (const int64_t bad : {kDepth - 1, int64_t{0}, int64_t{-1}, kMin}) {
    x_stride = bad;
    refused({"x_row_stride", text_of(bad).c_str(), "12"});
    y_stride = bad;
    refused({"y_row_stride", text_of(bad).c_str(), "12"});
  }
  for (const int64_t huge : {kMax, kMax / 2, int64_t{1} << 60}) {
    rows = huge;
    refused({"y", text_of(huge).c_str()});
    y_stride = huge;
    refused({"y", text_of(huge).c_str()});
    x_stride = huge;
    refused({"x", text_of(huge).c_str()});
  }
}

TEST_F(MaskApplyBoundary, NullsAlignmentAndOverlaps) {
  x_at = nullptr;
  refused({"x is null"});
  y_at = nullptr;
  refused({"y is null"});
  mask_at = nullptr;
  refused({"mask is null"});
  rows = kRows - 1;
  x_at = reinterpret_cast<char*>(x.data()) + 2;
  refused({"x", "4"});
  rows = kRows - 1;
  y_at = y.data() + 2;
  refused({"y", "4"});
  rows = kRows - 1;
  y_at = x.data() + 1;  // not x itself
  refused({"y", "x", "overlap"});
  rows = 2;
  y_at = x.data();  // x itself, with other strides
  y_stride = kDepth + 2;
  refused({"y", "x", "overlap"});
  dtype = GATUN_U8;
  rows = 1;
  y_at = mask.data();
  depth = 6;
  refused({"y", "mask", "overlap"});
  dtype = GATUN_U8;
  rows = 1;
  depth = 6;
  x_at = y_at = mask.data();  // in place, y is still no mask
  refused({"y", "mask", "overlap"});
}

TEST_F(MaskApplyBoundary, EmptyWorkNeedsNoMemory) {
  for (const auto& [no_rows, no_depth] : {std::pair<int64_t, int64_t>{0, 5}, {5, 0}, {kMax, 0}, {0, kMax}}) {
    rows = no_rows;
    depth = no_depth;
    x_stride = y_stride = no_depth;
    x_at = y_at = mask_at = nullptr;
    accepted();
  }
}

TEST(MaskCountBoundary, EveryCheck) {
  std::vector<uint8_t> mask = {0xff, 0x0f, 0xff, 0x0f};
  int64_t ones = 77;
  EXPECT_EQ(gatun_mask_count(2, 12, mask.data(), &ones), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(ones, 24);
  ones = 77;
  for (const int64_t bad : {int64_t{-1}, kMin}) {
    EXPECT_TRUE(invalid(gatun_mask_count(bad, 12, mask.data(), &ones), {"rows", text_of(bad).c_str()}));
    EXPECT_TRUE(invalid(gatun_mask_count(2, bad, mask.data(), &ones), {"depth", text_of(bad).c_str()}));
  }
  EXPECT_TRUE(invalid(gatun_mask_count(kMax, kMax, mask.data(), &ones), {"mask", text_of(kMax).c_str()}));
  EXPECT_TRUE(invalid(gatun_mask_count(2, 12, nullptr, &ones), {"mask is null"}));
  EXPECT_TRUE(invalid(gatun_mask_count(2, 12, mask.data(), nullptr), {"ones is null"}));
  EXPECT_TRUE(invalid(
      gatun_mask_count(2, 12, mask.data(), reinterpret_cast<int64_t*>(reinterpret_cast<char*>(&ones) + 4)), {"ones"}));
  for (const int bit : {0x10, 0x80}) {
    mask[3] = static_cast<uint8_t>(0x0f | bit);
    EXPECT_TRUE(invalid(gatun_mask_count(2, 12, mask.data(), &ones), {"mask", "row 1", "upper 4 bits"}));
  }
  EXPECT_EQ(ones, 77);
  EXPECT_EQ(gatun_mask_count(kMax, 0, nullptr, &ones), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(ones, 0);
}

// A good call of gatun_prune_observe.
class ObserveBoundary : public ::testing::Test {
 protected:
  int32_t observe() { return gatun_prune_observe(dtype, rows, depth, stride, x_at, threads, sums_at, squares_at); }
  void refused(std::initializer_list<const char*> words) {
    const std::vector<double> before(kDepth, 7);
    EXPECT_TRUE(invalid(observe(), words));
    EXPECT_TRUE(identical(sums, before) && identical(squares, before)) << "an output was written";
    restore();
  }
  void restore() {
    dtype = GATUN_F32;
    threads = 1;
    rows = kRows;
    depth = stride = kDepth;
    x_at = x.data();
    sums_at = sums.data();
    squares_at = squares.data();
  }

  std::vector<float> x = std::vector<float>(kRows * kDepth, 1.5f);
  std::vector<double> sums = std::vector<double>(kDepth, 7), squares = sums;
  int32_t dtype = GATUN_F32, threads = 1;
  int64_t rows = kRows, depth = kDepth, stride = kDepth;
  void* x_at = x.data();
  double *sums_at = sums.data(), *squares_at = squares.data();
};

TEST_F(ObserveBoundary, TheGoodCallsAreAccepted) {
  EXPECT_EQ(observe(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(sums[0], 7 + 3 * 1.5);
  sums_at = nullptr;
  EXPECT_EQ(observe(), GATUN_OK) << gatun_last_error();
  x_at = nullptr;
  squares_at = nullptr;
  for (const auto& [no_rows, no_depth] : {std::pair<int64_t, int64_t>{0, 5}, {5, 0}, {kMax, 0}, {0, kMax}}) {
    rows = no_rows;
    depth = stride = no_depth;
    EXPECT_EQ(observe(), GATUN_OK) << gatun_last_error();
  }
}

TEST_F(ObserveBoundary, EveryCheck) {
  for (const int32_t bad : {0, -1, int{GATUN_I8}, 1 << 30}) {
    dtype = bad;
    refused({"x_dtype", text_of(bad).c_str(), "F32, F16, BF16"});
  }
  for (const int32_t bad : {-1, 1025}) {
    threads = bad;
    refused({"threads", text_of(bad).c_str(), "1024"});
  }
  for (const int64_t bad : {int64_t{-1}, kMin}) {
    rows = bad;
    refused({"rows", text_of(bad).c_str()});
    depth = bad;
    refused({"depth", text_of(bad).c_str()});
  }
  for (const int64_t bad : {kDepth - 1, int64_t{-1}, kMin}) {
    stride = bad;
    refused({"x_row_stride", text_of(bad).c_str(), "12"});
  }
  for (const int64_t huge : {kMax, int64_t{1} << 60}) {
    rows = huge;
    refused({"x", text_of(huge).c_str()});
    stride = huge;
    refused({"x", text_of(huge).c_str()});
    depth = stride = huge;
    refused({"squares", text_of(huge).c_str()});
  }
  x_at = nullptr;
  refused({"x is null"});
  squares_at = nullptr;
  refused({"squares is null"});
  x_at = reinterpret_cast<char*>(x.data()) + 2;
  rows = 2;
  refused({"x", "4"});
  depth = kDepth - 1;
  sums_at = reinterpret_cast<double*>(reinterpret_cast<char*>(sums.data()) + 4);
  refused({"sums", "8"});
  depth = kDepth - 1;
  squares_at = reinterpret_cast<double*>(reinterpret_cast<char*>(squares.data()) + 4);
  refused({"squares", "8"});
  sums_at = squares.data();
  refused({"sums", "squares", "overlap"});
  x_at = sums.data();
  rows = 1;
  refused({"sums", "x", "overlap"});
  x_at = squares.data();
  rows = 1;
  refused({"squares", "x", "overlap"});
}

// A good call of gatun_prune_regrow.
class RegrowBoundary : public ::testing::Test {
 protected:
  int32_t regrow() { return gatun_prune_regrow(given, w_at, means_at, variances_at, norms_at, mask_at); }
  void refused(std::initializer_list<const char*> words) {
    const std::vector<uint8_t> before = mask;
    EXPECT_TRUE(invalid(regrow(), words));
    EXPECT_TRUE(identical(mask, before)) << "the mask was written";
    restore();
  }
  void restore() {
    params = good;
    w_at = w.data();
    means_at = means.data();
    variances_at = variances.data();
    norms_at = norms.data();
    mask_at = mask.data();
  }

  const gatun_regrow_params good = {sizeof(gatun_regrow_params), GATUN_F32, 2, 4, 50, 1, 0.1f, 1, kRows, kDepth};
  gatun_regrow_params params = good;
  const gatun_regrow_params* given = &params;
  std::vector<float> w = std::vector<float>(kRows * kDepth, 1.5f);
  std::vector<float> means = std::vector<float>(kDepth, 1), variances = means, norms = means;
  std::vector<uint8_t> mask = {0x33, 0x03, 0x33, 0x03, 0x33, 0x03};
  void* w_at = w.data();
  const float *means_at = means.data(), *variances_at = variances.data(), *norms_at = norms.data();
  uint8_t* mask_at = mask.data();
};

TEST_F(RegrowBoundary, TheGoodCallsAreAccepted) {
  EXPECT_EQ(regrow(), GATUN_OK) << gatun_last_error();
  params.n = params.m = 0;
  EXPECT_EQ(regrow(), GATUN_OK) << gatun_last_error();
  params.max_cycles = 0;
  params.threshold = params.variance_power = 0;
  EXPECT_EQ(regrow(), GATUN_OK) << gatun_last_error();
  w_at = nullptr;
  means_at = variances_at = norms_at = nullptr;
  mask_at = nullptr;
  for (const auto& [columns, depth] : {std::pair<int64_t, int64_t>{0, 5}, {5, 0}, {kMax, 0}, {0, kMax}}) {
    params.columns = columns;
    params.depth = depth;
    EXPECT_EQ(regrow(), GATUN_OK) << gatun_last_error();
  }
}

TEST_F(RegrowBoundary, Params) {
  check_struct(params, given, "params", [&](auto words) { refused(words); });
  for (const int32_t bad : {0, -1, int{GATUN_I8}}) {
    params.w_dtype = bad;
    refused({"w_dtype", text_of(bad).c_str(), "F32, F16, BF16"});
  }
  for (const int32_t bad : {-1, 0, 1, 3, 33, 64}) {
    params.m = bad;
    refused({"params.m", text_of(bad).c_str(), "2, 4, 8, 16, 32"});
  }
  for (const int32_t bad : {-1, 5}) {
    params.n = bad;
    refused({"params.n", text_of(bad).c_str(), "1..4"});
  }
  params.n = 0;
  refused({"params.m", "4", "0..0"});
  params.max_cycles = -1;
  refused({"max_cycles", "-1"});
  for (const int32_t bad : {-1, 1025}) {
    params.threads = bad;
    refused({"threads", text_of(bad).c_str(), "1024"});
  }
  for (const float bad : {-0.5f, kNan, kInfinity, -kInfinity}) {
    params.threshold = bad;
    refused({"threshold", "at least 0"});
    params.variance_power = bad;
    refused({"variance_power", "at least 0"});
  }
  for (const int64_t bad : {int64_t{-1}, kMin}) {
    params.columns = bad;
    refused({"columns", text_of(bad).c_str()});
    params.depth = bad;
    refused({"depth", text_of(bad).c_str()});
  }
  for (const int64_t huge : {kMax, int64_t{1} << 60}) {
    params.columns = huge;
    refused({"w", text_of(huge).c_str()});
    params.depth = huge;
    refused({"w", text_of(huge).c_str()});
    params.columns = params.depth = huge;
    refused({text_of(huge).c_str()});
  }
}

TEST_F(RegrowBoundary, Memory) {
  w_at = nullptr;
  refused({"w is null"});
  means_at = nullptr;
  refused({"means is null"});
  variances_at = nullptr;
  refused({"variances is null"});
  norms_at = nullptr;
  refused({"norms is null"});
  mask_at = nullptr;
  refused({"mask is null"});
  w_at = reinterpret_cast<char*>(w.data()) + 2;
  params.columns = 2;
  refused({"w", "4"});
  const float* odd = reinterpret_cast<const float*>(reinterpret_cast<const char*>(w.data()) + 1);
  means_at = odd;
  refused({"means", "4"});
  variances_at = odd;
  refused({"variances", "4"});
  norms_at = odd;
  refused({"norms", "4"});
  const auto overlaps = [&](std::vector<float>& other, const char* name) {
    const std::vector<float> before = other;
    mask_at = reinterpret_cast<uint8_t*>(other.data() + 1);
    refused({"mask", name, "overlap"});
    EXPECT_TRUE(identical(other, before));
  };
  overlaps(w, "w");
  overlaps(means, "means");
  overlaps(variances, "variances");
  overlaps(norms, "norms");
}

TEST_F(RegrowBoundary, Values) {
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    w[17] = bad;
    refused({"w[1][5]", "finite"});
    w[17] = 1;
    for (std::vector<float>* each : {&means, &variances, &norms}) {
      each->back() = bad;
      refused({each == &means ? "means[11]" : each == &variances ? "variances[11]" : "norms[11]", "finite"});
      each->back() = 1;
    }
  }
  means[0] = -1;
  EXPECT_EQ(regrow(), GATUN_OK) << gatun_last_error();
  variances[0] = -0x1p-149f;
  refused({"variances[0]", "at least 0"});
  variances[0] = 0;
  norms[3] = -1;
  refused({"norms[3]", "at least 0"});
}

TEST_F(RegrowBoundary, Masks) {
  mask[3] = 0x13;
  refused({"mask", "row 1", "upper 4 bits"});
  mask[3] = 0x03;
  mask[4] = 0x73;
  refused({"mask", "row 2", "from 4 on", "2 of every 4"});
  params.n = params.m = 0;  // of rows, any mask
  EXPECT_EQ(regrow(), GATUN_OK) << gatun_last_error();
}

}  // namespace
}  // namespace gatun::test
