// gatun_nm_backward_x, _values and _dense: every documented refusal.
#include "gatun/nm_backward.h"

#include <cstring>

#include "boundary.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

constexpr int64_t kRows = 3, kColumns = 5, kDepth = 10, kIndexBytes = 2;

enum class Which { x, values, dense };

// A good call; each test spoils one thing.
class NmBackwardBoundary : public ::testing::TestWithParam<Which> {
 protected:
  NmBackwardBoundary() {
    good.struct_size = sizeof(good);
    good.n = 2;
    good.m = 4;
    good.vector = 1;
    good.value_dtype = GATUN_F32;
    good.threads = 1;
    good.decay = 0.5f;
    good.rows = kRows;
    good.columns = good.dy_row_stride = kColumns;
    good.depth = good.x_row_stride = kDepth;
    params = good;
    for (size_t row = 0; row < kColumns; ++row) {
      indices[row * kIndexBytes] = 0x44;
      indices[row * kIndexBytes + 1] = 0x04;
    }
  }

  int32_t call() {
    switch (GetParam()) {
      case Which::x:
        return gatun_nm_backward_x(given, dy_at, in_at, indices_at, static_cast<float*>(out_at));
      case Which::values:
        return gatun_nm_backward_values(given, dy_at, static_cast<const float*>(in_at), indices_at,
                                        static_cast<float*>(out_at));
      default:
        return gatun_nm_backward_dense(given, dy_at, static_cast<const float*>(in_at), indices_at,
                                       static_cast<float*>(out_at));
    }
  }
  bool is(Which which) const { return GetParam() == which; }
  const char* in_name() const { return is(Which::x) ? "values" : "x"; }
  const char* out_name() const { return is(Which::x) ? "dx" : is(Which::values) ? "dvalues" : "dw"; }

  void refused(std::initializer_list<const char*> words) {
    const std::vector<float> dy_before = dy, in_before = in;
    EXPECT_TRUE(invalid(call(), words));
    EXPECT_TRUE(untouched(out)) << "the output was written";
    EXPECT_TRUE(identical(dy, dy_before) && identical(in, in_before));
    params = good;
  }

  gatun_nm_backward_params good{}, params{};
  const gatun_nm_backward_params* given = &params;
  std::vector<float> dy = std::vector<float>(kRows * kColumns, 1), in = std::vector<float>(64, 2);
  std::vector<uint8_t> indices = std::vector<uint8_t>(kColumns * kIndexBytes);
  std::vector<uint8_t> out = std::vector<uint8_t>(64 * 4, kUntouched);
  const float* dy_at = dy.data();
  const void* in_at = in.data();
  const uint8_t* indices_at = indices.data();
  void* out_at = out.data();
};

TEST_P(NmBackwardBoundary, TheGoodCallIsAccepted) {
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  EXPECT_FALSE(untouched(out));
}

TEST_P(NmBackwardBoundary, Struct) {
  check_struct(params, given, "params", [&](auto words) { refused(words); });
}

TEST_P(NmBackwardBoundary, Formats) {
  for (const int32_t m : {0, -4, 1, 3, 5, 6, 12, 33, 64, std::numeric_limits<int32_t>::min()}) {
    params.m = m;
    refused({"params.m", std::to_string(m).c_str(), "2, 4, 8, 16, 32"});
  }
  for (const int32_t n : {0, -1, 5, std::numeric_limits<int32_t>::max()}) {
    params.n = n;
    refused({"params.n", std::to_string(n).c_str(), "1..4"});
  }
  for (const int32_t vector : {0, -1, std::numeric_limits<int32_t>::min()}) {
    params.vector = vector;
    refused({"params.vector", std::to_string(vector).c_str()});
  }
  for (const int32_t dtype : {0, -1, 99, int{GATUN_I8}, int{GATUN_U4}}) {
    params.value_dtype = dtype;
    refused({"params.value_dtype", std::to_string(dtype).c_str(), "F32, F16, BF16"});
  }
}

TEST_P(NmBackwardBoundary, Numbers) {
  for (const int32_t threads : {-1, 1025, std::numeric_limits<int32_t>::min()}) {
    params.threads = threads;
    refused({"params.threads", std::to_string(threads).c_str(), "1024"});
  }
  for (const int32_t accumulate : {-1, 2, 1 << 30}) {
    params.accumulate = accumulate;
    refused({"params.accumulate", std::to_string(accumulate).c_str()});
  }
  for (const int64_t size : {int64_t{-1}, kMin}) {
    params.rows = size;
    refused({"params.rows", std::to_string(size).c_str()});
    params.columns = size;
    refused({"params.columns", std::to_string(size).c_str()});
    params.depth = size;
    refused({"params.depth", std::to_string(size).c_str()});
  }
  params.depth = kMax;
  refused({"params.depth"});
  for (const int64_t stride : {kDepth - 1, int64_t{0}, int64_t{-1}, kMin}) {
    params.x_row_stride = stride;
    refused({"params.x_row_stride", std::to_string(stride).c_str(), "10"});
  }
  for (const int64_t stride : {kColumns - 1, int64_t{0}, int64_t{-1}, kMin}) {
    params.dy_row_stride = stride;
    refused({"params.dy_row_stride", std::to_string(stride).c_str(), "5"});
  }
}

TEST_P(NmBackwardBoundary, Decay) {
  for (const float decay : {-0.1f, 1.1f, std::numeric_limits<float>::quiet_NaN(),
                            std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()}) {
    params.decay = decay;
    if (is(Which::dense)) {
      refused({"params.decay", "0..1"});
    } else {
      EXPECT_EQ(call(), GATUN_OK) << "nobody asks for it";
      params = good;
    }
  }
}

TEST_P(NmBackwardBoundary, ExtentsThatOverflow) {
  for (const int64_t huge : {kMax - 31, kMax / 2, int64_t{1} << 60}) {
    params.rows = huge;
    refused({"exceed"});
    params.x_row_stride = huge;
    refused({"exceed", std::to_string(huge).c_str()});
    params.dy_row_stride = huge;
    refused({"dy", "exceed"});
    params.columns = params.dy_row_stride = huge;
    refused({"exceed"});
    params.depth = params.x_row_stride = huge;
    refused({"exceed"});
  }
}

TEST_P(NmBackwardBoundary, NullsAndAlignment) {
  dy_at = nullptr;
  refused({"dy is null"});
  dy_at = reinterpret_cast<const float*>(reinterpret_cast<const char*>(dy.data()) + 1);
  refused({"dy", "4"});
  dy_at = dy.data();
  in_at = nullptr;
  refused({in_name(), "is null"});
  in_at = reinterpret_cast<const char*>(in.data()) + 2;
  refused({in_name(), "4"});
  in_at = in.data();
  indices_at = nullptr;
  refused({"indices is null"});
  indices_at = indices.data();
  out_at = nullptr;
  refused({out_name(), "is null"});
  out_at = out.data() + 2;
  refused({out_name(), "4"});
}

TEST_P(NmBackwardBoundary, Overlaps) {
  const auto refused_names = [&](const char* other) {
    const std::vector<float> dy_before = dy, in_before = in;
    const std::vector<uint8_t> indices_before = indices;
    EXPECT_TRUE(invalid(call(), {out_name(), other, "overlap"}));
    EXPECT_TRUE(identical(dy, dy_before) && identical(in, in_before) && identical(indices, indices_before));
  };
  out_at = dy.data() + 1;
  refused_names("dy");
  out_at = in.data();
  refused_names(in_name());
  std::vector<uint8_t> both(64 * 4);
  std::memcpy(both.data(), indices.data(), indices.size());
  out_at = both.data();
  indices_at = both.data();
  EXPECT_TRUE(invalid(call(), {out_name(), "indices", "overlap"}));
}

TEST_P(NmBackwardBoundary, Indices) {
  const std::vector<uint8_t> right = indices;
  for (const auto& [at, byte] : {std::pair<size_t, uint8_t>{2, 0x41}, {4, 0x55}, {9, 0x00}, {1, 0x14}}) {
    indices = right;
    indices[at] = byte;
    refused({"indices"});
  }
  indices = right;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
}

TEST_P(NmBackwardBoundary, EmptyWorkNeedsNoMemory) {
  params.columns = 0;
  params.depth = 0;
  dy_at = nullptr;
  in_at = out_at = nullptr;
  indices_at = nullptr;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  params.rows = 0;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  params.depth = kMax - 31;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
  params = good;
  params.depth = 0;
  params.rows = 0;
  params.columns = kMax;
  EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
}

// A loop over rows of no bytes, or of no depth, would not end.
TEST_P(NmBackwardBoundary, ManyRowsWithoutWork) {
  for (const float decay : {0.0f, 0.5f}) {
    for (const int32_t accumulate : {0, 1}) {
      params.decay = decay;
      params.accumulate = accumulate;
      params.rows = kMax;
      params.columns = params.depth = 0;
      EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
      // Of dy there are 2^58 bytes, none of which is needed.
      params.rows = int64_t{1} << 56;
      params.columns = params.dy_row_stride = 1;
      EXPECT_EQ(call(), GATUN_OK) << gatun_last_error();
      params = good;
    }
  }
  EXPECT_TRUE(untouched(out));
}

INSTANTIATE_TEST_SUITE_P(EachGradient, NmBackwardBoundary, ::testing::Values(Which::x, Which::values, Which::dense));

}  // namespace
}  // namespace gatun::test
