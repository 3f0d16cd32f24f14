// gatun_qmatmul_concat and gatun_qmatmul_grouped: every documented refusal that a single weight does not have.
#include <algorithm>
#include <cstring>

#include "boundary.h"
#include "gatun/qmatmul.h"
#include "gatun/quantize.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

constexpr int64_t kRows = 4, kEach = 5, kDepth = 40, kGroup = 20;

std::vector<uint8_t> packed_form(int64_t columns, int64_t depth = kDepth, int64_t group = kGroup) {
  const gatun_qmatmul_weights weights = {sizeof(weights), GATUN_I8, 0,    GATUN_ZERO_NONE, GATUN_F32, 0, 1, 1.0f,
                                         columns,         depth,    group};
  int64_t bytes = 0;
  EXPECT_EQ(gatun_qmatmul_packed_bytes(&weights, &bytes), GATUN_OK);
  std::vector<uint8_t> form(static_cast<size_t>(bytes));
  const std::vector<int8_t> codes(static_cast<size_t>(columns * depth), 3);
  const std::vector<float> scales(static_cast<size_t>(columns * ((depth + group - 1) / group)), 0.25f);
  EXPECT_EQ(gatun_qmatmul_pack(&weights, codes.data(), nullptr, scales.data(), nullptr, form.data(), bytes), GATUN_OK);
  return form;
}

std::vector<uint8_t> stack_of(const std::vector<std::vector<uint8_t>>& forms) {
  std::vector<uint8_t> stack;
  for (const std::vector<uint8_t>& form : forms) {
    stack.resize((stack.size() + 63) / 64 * 64);
    stack.insert(stack.end(), form.begin(), form.end());
  }
  return stack;
}

// Good calls of both; each test spoils one thing.
class StackBoundary : public ::testing::Test {
 protected:
  static gatun_qmatmul_params params_for(int64_t columns) {
    return {sizeof(gatun_qmatmul_params),
            GATUN_F32,
            GATUN_F32,
            GATUN_QMATMUL_INT8_ROW,
            GATUN_ACTIVATION_NONE,
            1,
            kRows,
            columns,
            kDepth,
            kDepth,
            columns,
            columns,
            0,
            columns};
  }

  int64_t bytes() const { return packed_bytes >= 0 ? packed_bytes : static_cast<int64_t>(packed.size()); }
  const void* packed_data() const { return packed_null ? nullptr : packed.data(); }
  int32_t run_concat() {
    return gatun_qmatmul_concat(&concat, count, x.data(), packed_data(), bytes(), bias_at, residual_at, y_at);
  }
  int32_t run_grouped() {
    return gatun_qmatmul_grouped(&grouped, rows_at, count, x.data(), packed_data(), bytes(), bias_at, residual_at,
                                 y_at);
  }
  void concat_refused(std::initializer_list<const char*> words, bool explained = true) {
    EXPECT_TRUE(invalid(run_concat(), words));
    EXPECT_TRUE(untouched(y));
    if (explained) {
      EXPECT_TRUE(invalid(gatun_qmatmul_concat_explain(&concat, count, packed_data(), bytes(), text.data(), kTextBytes),
                          words));
    }
    concat = params_for(2 * kEach);
  }
  void grouped_refused(std::initializer_list<const char*> words, bool explained = true) {
    EXPECT_TRUE(invalid(run_grouped(), words));
    EXPECT_TRUE(untouched(y));
    if (explained) {
      EXPECT_TRUE(invalid(
          gatun_qmatmul_grouped_explain(&grouped, rows_at, count, packed_data(), bytes(), text.data(), kTextBytes),
          words));
    }
    grouped = params_for(kEach);
  }
  void both_refused(std::initializer_list<const char*> words, bool explained = true) {
    concat_refused(words, explained);
    grouped_refused(words, explained);
  }

  static constexpr int64_t kTextBytes = 4096;
  const std::vector<uint8_t> first = packed_form(kEach), second = packed_form(kEach);
  std::vector<uint8_t> packed = stack_of({first, second});
  const size_t second_at = packed.size() - second.size();
  gatun_qmatmul_params concat = params_for(2 * kEach), grouped = params_for(kEach);
  std::vector<int64_t> group_rows = {1, 3};
  const int64_t* rows_at = group_rows.data();
  int32_t count = 2;
  int64_t packed_bytes = -1;  // as many as there are
  bool packed_null = false;
  std::vector<float> x = std::vector<float>(kRows * kDepth, 1.5f);
  std::vector<float> bias = std::vector<float>(100, 2.0f);  // more than calls read: y may lie over its end
  std::vector<float> residual = std::vector<float>(kRows * 2 * kEach, 3.0f);
  std::vector<uint8_t> y = std::vector<uint8_t>(kRows * 2 * kEach * 4, kUntouched);
  const float* bias_at = bias.data();
  const void* residual_at = residual.data();
  void* y_at = y.data();
  std::vector<char> text = std::vector<char>(kTextBytes);
};

TEST_F(StackBoundary, TheGoodCallsAreAccepted) {
  ASSERT_EQ(run_concat(), GATUN_OK) << gatun_last_error();
  EXPECT_FALSE(untouched(y));
  std::fill(y.begin(), y.end(), kUntouched);
  ASSERT_EQ(run_grouped(), GATUN_OK) << gatun_last_error();
  EXPECT_FALSE(untouched(y));
  packed.resize(packed.size() + 1000);  // more is fine
  bias_at = nullptr;
  residual_at = nullptr;
  EXPECT_EQ(run_concat(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(run_grouped(), GATUN_OK) << gatun_last_error();
}

// Strides that are not used: without residual, and of data that an explanation does not touch.
TEST_F(StackBoundary, AnyStrideOfNoData) {
  residual_at = nullptr;
  for (const int64_t stride : {kMax, kMin}) {
    concat.residual_row_stride = grouped.residual_row_stride = stride;
    EXPECT_EQ(run_concat(), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(run_grouped(), GATUN_OK) << gatun_last_error();
  }
  concat.x_row_stride = concat.y_row_stride = concat.residual_row_stride = kMax;
  grouped = concat;
  grouped.columns = grouped.column_end = kEach;
  EXPECT_EQ(gatun_qmatmul_concat_explain(&concat, count, packed.data(), bytes(), text.data(), kTextBytes), GATUN_OK)
      << gatun_last_error();
  EXPECT_EQ(gatun_qmatmul_grouped_explain(&grouped, rows_at, count, packed.data(), bytes(), text.data(), kTextBytes),
            GATUN_OK)
      << gatun_last_error();
}

TEST_F(StackBoundary, Counts) {
  for (const int32_t wrong : {std::numeric_limits<int32_t>::min(), -1, 0}) {
    count = wrong;
    both_refused({"count", std::to_string(wrong).c_str(), "allowed: 1.."});
  }
  // More headers than there are bytes for, and more forms than there are.
  count = std::numeric_limits<int32_t>::max();
  both_refused({"packed_bytes", std::to_string(packed.size()).c_str(), std::to_string(count).c_str()});
  count = 3;
  group_rows = {1, 3, 0};
  rows_at = group_rows.data();
  both_refused({"packed[2]", "packed_bytes = 0", "64"});
  packed.resize(packed.size() + 500);
  both_refused({"packed[2]", "is not a buffer"});
}

TEST_F(StackBoundary, Buffers) {
  packed_null = true;
  both_refused({"packed is null"});
  packed_null = false;
  const int64_t whole = static_cast<int64_t>(packed.size());
  for (const int64_t wrong : {int64_t{0}, int64_t{63}, int64_t{127}}) {
    packed_bytes = wrong;
    both_refused({"packed_bytes", std::to_string(wrong).c_str()});
  }
  packed_bytes = static_cast<int64_t>(second_at) + 63;
  both_refused({"packed[1]", "63", "64"});
  packed_bytes = whole - 1;
  both_refused({"packed[1]", "need"});
}

TEST_F(StackBoundary, NegativeBytes) {
  for (const int64_t wrong : {kMin, int64_t{-1}}) {
    EXPECT_TRUE(invalid(gatun_qmatmul_concat(&concat, 2, x.data(), packed.data(), wrong, nullptr, nullptr, y.data()),
                        {"packed_bytes", std::to_string(wrong).c_str()}));
  }
  EXPECT_TRUE(untouched(y));
}

TEST_F(StackBoundary, EachHeaderIsChecked) {
  for (const size_t at : {size_t{0}, second_at}) {
    const char* const name = at == 0 ? "packed[0]" : "packed[1]";
    for (const size_t byte : {0, 8, 10, 12, 14, 16, 18, 20, 22, 23, 56}) {
      packed[at + byte] = static_cast<uint8_t>(packed[at + byte] ^ 0x41);
      both_refused({name});
      packed[at + byte] = static_cast<uint8_t>(packed[at + byte] ^ 0x41);
    }
  }
}

TEST_F(StackBoundary, DepthsAndGroupsMustBeTheSame) {
  packed = stack_of({first, packed_form(kEach, kDepth + 8)});
  both_refused({"packed[1]", "depth", "48", "40"});
  packed = stack_of({first, packed_form(kEach, kDepth, kDepth)});
  both_refused({"packed[1]", "group", "40", "20"});
  concat.depth = grouped.depth = kDepth + 8;
  packed = stack_of({first, second});
  both_refused({"params.depth", "48", "40"});
}

TEST_F(StackBoundary, ColumnsMustAddUp) {
  for (const int64_t wrong : {kMin, int64_t{-1}, int64_t{0}, kEach, 2 * kEach - 1, 2 * kEach + 1, kMax}) {
    concat.columns = wrong;
    concat_refused({"params.columns", std::to_string(wrong).c_str(), "10"});
    grouped.columns = wrong == kEach ? kEach + 1 : wrong;
    grouped_refused({"params.columns", std::to_string(grouped.columns).c_str(), "5"});
  }
  packed = stack_of({first, packed_form(kEach + 1)});
  concat_refused({"params.columns", "10", "11"});
  grouped_refused({"packed[1]", "columns", "6", "5"});
  for (const int64_t end : {kMin, int64_t{-1}, 2 * kEach + 1, kMax}) {
    packed = stack_of({first, second});
    concat.column_end = end;
    concat_refused({"params.column_end", std::to_string(end).c_str(), "10"});
  }
}

// Weights without depth take no memory, so there may be too many columns of them.
TEST_F(StackBoundary, ColumnsThatOverflow) {
  const int64_t most = int64_t{1} << 52;
  const gatun_qmatmul_weights weights = {
      sizeof(weights), GATUN_I8, 0, GATUN_ZERO_NONE, GATUN_F32, 0, 1, 1.0f, most, 0, 0};
  std::vector<uint8_t> form(64);
  ASSERT_EQ(gatun_qmatmul_pack(&weights, nullptr, nullptr, nullptr, nullptr, form.data(), 64), GATUN_OK)
      << gatun_last_error();
  count = 4096;
  packed = stack_of(std::vector<std::vector<uint8_t>>(4096, form));
  concat_refused({"packed[1]", "2^52"});
  group_rows.assign(4096, 0);
  group_rows[4095] = kRows;
  rows_at = group_rows.data();
  grouped.columns = grouped.column_end = grouped.y_row_stride = grouped.residual_row_stride = most;
  grouped.depth = 0;
  grouped_refused({"bias", "2^62"}, false);
}

TEST_F(StackBoundary, GroupRows) {
  rows_at = nullptr;
  grouped_refused({"group_rows is null"});
  rows_at = reinterpret_cast<const int64_t*>(reinterpret_cast<const char*>(group_rows.data()) + 4);
  grouped_refused({"group_rows", "8"});
  rows_at = group_rows.data();
  const std::vector<std::vector<int64_t>> wrong = {{-1, 5}, {kMin, 4}, {5, -1}, {5, 0}, {kMax, 4}, {kMax, kMax}};
  for (const std::vector<int64_t>& rows : wrong) {
    group_rows = rows;
    grouped_refused({"group_rows[0]", std::to_string(rows[0]).c_str(), "0..4"});
  }
  for (const int64_t last : {kMin, int64_t{-1}, int64_t{4}, kMax}) {
    group_rows = {1, last};
    grouped_refused({"group_rows[1]", std::to_string(last).c_str(), "0..3"});
  }
  group_rows = {1, 2};
  grouped_refused({"group_rows", "3", "params.rows = 4"});
  group_rows = {0, 4};
  EXPECT_EQ(run_grouped(), GATUN_OK) << gatun_last_error();
}

TEST_F(StackBoundary, Overlaps) {
  const std::vector<uint8_t> before = packed;
  bias_at = nullptr;
  residual_at = nullptr;
  y_at = packed.data() + (second_at + 63) / 4 * 4;
  both_refused({"y", "packed", "overlap"}, false);
  EXPECT_EQ(packed, before);
  group_rows.resize(100);
  rows_at = group_rows.data();
  y_at = group_rows.data() + 1;
  EXPECT_TRUE(invalid(run_grouped(), {"y", "group_rows", "overlap"}));
  EXPECT_EQ(group_rows[1], 3);
  // The bias of a group is part of the bias; that of concat is as long.
  bias_at = bias.data();
  y_at = bias.data() + 2 * kEach - 1;
  both_refused({"y", "bias", "overlap"}, false);
  y_at = bias.data() + kEach;
  both_refused({"y", "bias", "overlap"}, false);
  // residual may be y itself, but with the same stride.
  bias_at = nullptr;
  residual_at = y_at = residual.data();
  EXPECT_EQ(run_concat(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(run_grouped(), GATUN_OK) << gatun_last_error();
  grouped.y_row_stride = kEach + 1;
  grouped_refused({"y", "residual", "overlap"}, false);
}

// What gatun_qmatmul refuses in params, these refuse alike.
TEST_F(StackBoundary, Params) {
  using Spoil = void (*)(gatun_qmatmul_params&);
  const std::pair<const char*, Spoil> spoils[] = {
      {"params.struct_size", [](gatun_qmatmul_params& p) { p.struct_size = 8; }},
      {"params.x_dtype", [](gatun_qmatmul_params& p) { p.x_dtype = GATUN_F16; }},
      {"params.y_dtype", [](gatun_qmatmul_params& p) { p.y_dtype = 0; }},
      {"params.mode", [](gatun_qmatmul_params& p) { p.mode = 4; }},
      {"params.activation", [](gatun_qmatmul_params& p) { p.activation = -1; }},
      {"params.threads", [](gatun_qmatmul_params& p) { p.threads = 1025; }},
      {"params.rows", [](gatun_qmatmul_params& p) { p.rows = -1; }},
      {"params.column_begin", [](gatun_qmatmul_params& p) { p.column_begin = -1; }},
      {"params.column_end", [](gatun_qmatmul_params& p) { p.column_end = p.columns + 1; }},
      {"params.x_row_stride", [](gatun_qmatmul_params& p) { p.x_row_stride = kDepth - 1; }},
      {"params.y_row_stride", [](gatun_qmatmul_params& p) { p.y_row_stride = p.columns - 1; }}};
  for (const auto& [name, spoil] : spoils) {
    spoil(concat);
    spoil(grouped);
    both_refused({name});
  }
  EXPECT_TRUE(invalid(gatun_qmatmul_concat(nullptr, 2, x.data(), packed.data(), bytes(), nullptr, nullptr, y.data()),
                      {"params is null"}));
  EXPECT_TRUE(
      invalid(gatun_qmatmul_grouped(nullptr, rows_at, 2, x.data(), packed.data(), bytes(), nullptr, nullptr, y.data()),
              {"params is null"}));
  EXPECT_TRUE(untouched(y));
}

TEST_F(StackBoundary, EmptyWorkNeedsNoMemory) {
  concat.rows = grouped.rows = 0;
  group_rows = {0, 0};
  y_at = nullptr;
  bias_at = nullptr;
  residual_at = nullptr;
  x.clear();
  x.shrink_to_fit();
  EXPECT_EQ(run_concat(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(run_grouped(), GATUN_OK) << gatun_last_error();
}

TEST_F(StackBoundary, Explanations) {
  check_text(
      [&](char* out, int64_t capacity) {
        return gatun_qmatmul_concat_explain(&concat, count, packed.data(), bytes(), out, capacity);
      },
      kTextBytes);
  check_text(
      [&](char* out, int64_t capacity) {
        return gatun_qmatmul_grouped_explain(&grouped, rows_at, count, packed.data(), bytes(), out, capacity);
      },
      kTextBytes);
}

}  // namespace
}  // namespace gatun::test
