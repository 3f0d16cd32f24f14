// gatun_qmatmul_concat and gatun_qmatmul_grouped give the bytes of gatun_qmatmul for each weight alone.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "gatun/gatun.h"
#include "qmatmul/test_weights.h"
#include "tolerance.h"

namespace gatun::qmatmul {
namespace {

const std::vector<int32_t> kScaleTypes = {GATUN_F32, GATUN_F16, GATUN_E8M0, GATUN_F8E4M3};

// Weights of one depth and group, alone and as a stack that ends where its last form does.
struct Stack {
  std::vector<std::unique_ptr<Weights>> weights;
  std::unique_ptr<GuardBuffer<uint8_t>> packed;

  // schemes[i % size] for weight i.
  Stack(Rng& rng, const std::vector<int64_t>& columns, const std::vector<Scheme>& schemes, int64_t depth,
        int64_t group) {
    std::vector<uint8_t> bytes;
    for (const int64_t count : columns) {
      const Scheme scheme = schemes[weights.size() % schemes.size()];
      weights.push_back(std::make_unique<Weights>(rng, scheme, rng.pick(kScaleTypes), count, depth, group, Edge::back));
      bytes.resize((bytes.size() + 63) / 64 * 64);
      const std::vector<uint8_t> form = weights.back()->packed->copy();
      bytes.insert(bytes.end(), form.begin(), form.end());
    }
    packed = std::make_unique<GuardBuffer<uint8_t>>(bytes, Edge::back, rng.integer(0, 1));
    packed->make_read_only();
  }
  int32_t count() const { return static_cast<int32_t>(weights.size()); }
  int64_t columns() const {
    return std::accumulate(weights.begin(), weights.end(), int64_t{0},
                           [](int64_t sum, const auto& w) { return sum + w->description.columns; });
  }
};

// The arguments of one product, one element more each than it touches, and y weight by weight.
struct Case {
  gatun_qmatmul_params params;
  std::vector<uint8_t> x, residual;
  std::vector<float> bias;
  bool with_bias, with_residual, in_place;  // in_place: y holds the residual
  std::vector<uint8_t> y, expected;

  Case(Rng& rng, const Stack& stack, int64_t rows, int64_t columns, int64_t bias_size, int32_t mode)
      : params(params_for(*stack.weights[0], rows, mode)),
        with_bias(rng.integer(0, 1) == 1),
        with_residual(rng.integer(0, 1) == 1),
        in_place(with_residual && rng.integer(0, 1)) {
    params.x_dtype = rng.integer(0, 2) ? GATUN_F32 : GATUN_BF16;
    params.y_dtype = rng.integer(0, 2) ? GATUN_F32 : GATUN_BF16;
    params.activation = static_cast<int32_t>(rng.integer(0, 4));
    params.threads = static_cast<int32_t>(rng.integer(1, 4));
    params.columns = params.column_end = columns;
    params.x_row_stride = params.depth + rng.integer(0, 3);
    params.y_row_stride = columns + rng.integer(0, 3);
    params.residual_row_stride = in_place ? params.y_row_stride : columns + rng.integer(0, 3);
    if (rng.integer(0, 1)) {
      params.column_begin = rng.integer(0, columns);
      params.column_end = rng.integer(params.column_begin, columns);
    }
    x = test::from_floats(rng.normals(rows * params.x_row_stride + 1, 2.0f), params.x_dtype);
    residual = test::from_floats(rng.normals(rows * params.residual_row_stride + 1), params.y_dtype);
    bias = rng.normals(bias_size + 1);
    y.assign(static_cast<size_t>((rows * params.y_row_stride + 1) * y_bytes()), 0x5a);
    if (in_place) y = residual;
    expected = y;
  }
  int64_t x_bytes() const { return dtype_bytes(params.x_dtype, 1); }
  int64_t y_bytes() const { return dtype_bytes(params.y_dtype, 1); }
  const float* bias_at(int64_t index) const { return with_bias ? bias.data() + index : nullptr; }
  const void* residual_at(int64_t row, int64_t column) const {
    if (!with_residual) return nullptr;
    return residual.data() + (row * params.residual_row_stride + column) * y_bytes();
  }

  // The rectangle of one weight, by gatun_qmatmul on one thread.
  void multiply_alone(const Weights& weights, int64_t first_row, int64_t rows, int64_t first_column,
                      int64_t first_bias) {
    gatun_qmatmul_params alone = params;
    alone.threads = 1;
    alone.rows = rows;
    alone.columns = weights.description.columns;
    alone.column_begin = std::clamp<int64_t>(params.column_begin - first_column, 0, alone.columns);
    alone.column_end = std::clamp<int64_t>(params.column_end - first_column, 0, alone.columns);
    ASSERT_EQ(gatun_qmatmul(&alone, x.data() + first_row * params.x_row_stride * x_bytes(), weights.packed->data(),
                            weights.packed->size(), bias_at(first_bias), residual_at(first_row, first_column),
                            expected.data() + (first_row * params.y_row_stride + first_column) * y_bytes()),
              GATUN_OK)
        << gatun_last_error();
  }

  // Compares what `call` writes with `expected`, gaps included.
  template <class OneCall>
  void expect_same(OneCall call) {
    ASSERT_EQ(call(y.data(), in_place ? y.data() : residual_at(0, 0)), GATUN_OK) << gatun_last_error();
    EXPECT_TRUE(test::identical(y, expected));
  }
};

std::string describe(const gatun_qmatmul_params& p) {
  return (testing::Message() << "rows " << p.rows << " columns " << p.column_begin << ".." << p.column_end << " of "
                             << p.columns << " depth " << p.depth << " mode " << p.mode << " threads " << p.threads)
      .GetString();
}

const std::vector<int64_t> kColumns = {0, 1, 7, 16, 31, 63, 64, 65, 130};
Stack random_stack(Rng& rng, bool equal_columns) {
  const int64_t depth = rng.pick<int64_t>({0, 1, 31, 64, 100, 520});
  const int64_t group = depth > 16 && rng.integer(0, 1) ? rng.integer(16, depth) : depth;
  std::vector<int64_t> columns(static_cast<size_t>(rng.integer(1, 7)), rng.pick(kColumns));
  if (!equal_columns) std::generate(columns.begin(), columns.end(), [&] { return rng.pick(kColumns); });
  std::vector<Scheme> schemes(static_cast<size_t>(rng.integer(1, 4)));
  for (Scheme& scheme : schemes) scheme = kSchemes[rng.integer(0, kIntegerSchemes - 1)];
  return {rng, columns, schemes, depth, group};
}

void check_concat(Rng& rng, const Stack& stack, int64_t rows, int32_t mode) {
  Case c(rng, stack, rows, stack.columns(), stack.columns(), mode);
  SCOPED_TRACE(describe(c.params));
  int64_t column = 0;
  for (const auto& weights : stack.weights) {
    c.multiply_alone(*weights, 0, rows, column, column);
    column += weights->description.columns;
  }
  c.expect_same([&](void* y, const void* residual) {
    return gatun_qmatmul_concat(&c.params, stack.count(), c.x.data(), stack.packed->data(), stack.packed->size(),
                                c.bias_at(0), residual, y);
  });
}

void check_grouped(Rng& rng, const Stack& stack, const std::vector<int64_t>& group_rows, int32_t mode) {
  const int64_t rows = std::accumulate(group_rows.begin(), group_rows.end(), int64_t{0});
  const int64_t columns = stack.weights[0]->description.columns;
  Case c(rng, stack, rows, columns, columns * stack.count(), mode);
  SCOPED_TRACE(describe(c.params));
  int64_t row = 0;
  for (size_t i = 0; i < group_rows.size(); ++i) {
    c.multiply_alone(*stack.weights[i], row, group_rows[i], 0, static_cast<int64_t>(i) * columns);
    row += group_rows[i];
  }
  c.expect_same([&](void* y, const void* residual) {
    return gatun_qmatmul_grouped(&c.params, group_rows.data(), stack.count(), c.x.data(), stack.packed->data(),
                                 stack.packed->size(), c.bias_at(0), residual, y);
  });
}

TEST(Stack, ConcatGivesTheBytesOfSingleCalls) {
  Rng rng(31);
  for (int i = 0; i < 150 && !testing::Test::HasFailure(); ++i) {
    const Stack stack = random_stack(rng, false);
    check_concat(rng, stack, rng.pick<int64_t>({0, 1, 2, 3, 4, 7, 33, 70, 255, 257, 600}),
                 static_cast<int32_t>(rng.integer(0, 2)));
  }
}

TEST(Stack, GroupedGivesTheBytesOfSingleCalls) {
  Rng rng(32);
  for (int i = 0; i < 150 && !testing::Test::HasFailure(); ++i) {
    const Stack stack = random_stack(rng, true);
    std::vector<int64_t> group_rows(stack.weights.size());
    for (int64_t& rows : group_rows) rows = rng.pick<int64_t>({0, 0, 1, 1, 2, 5, 32, 100, 256, 300});
    check_grouped(rng, stack, group_rows, static_cast<int32_t>(rng.integer(0, 2)));
  }
}

// As a mixture of experts has them: many weights, few rows each, most without any; and all rows with one.
TEST(Stack, ManySmallExperts) {
  Rng rng(33);
  const Stack stack(rng, std::vector<int64_t>(128, 100), {kU4}, 96, 32);
  for (int i = 0; i < 12; ++i) {
    std::vector<int64_t> group_rows(128, 0);
    for (int64_t rows = rng.pick<int64_t>({8, 64, 512}); rows > 0; --rows) {
      ++group_rows[static_cast<size_t>(i % 4 == 0 ? 127 : rng.integer(0, 127))];
    }
    check_grouped(rng, stack, group_rows, i % 3);
  }
}

TEST(Stack, TheExplanationNamesEveryKernelAndCountsTheWeights) {
  Rng rng(34);
  const Stack experts(rng, {64, 64, 64}, {kU4}, 64, 64), mixed(rng, {70, 64}, {kI8, kU4}, 64, 64);
  gatun_qmatmul_params params = params_for(*experts.weights[0], 6, GATUN_QMATMUL_INT8_ROW);
  char text[4096];
  const int64_t group_rows[] = {4, 0, 2};
  ASSERT_EQ(gatun_qmatmul_grouped_explain(&params, group_rows, 3, experts.packed->data(), experts.packed->size(), text,
                                          sizeof(text)),
            GATUN_OK)
      << gatun_last_error();
  EXPECT_NE(std::strstr(text, "qmatmul_i8_u4_f32_"), nullptr) << text;
  EXPECT_EQ(std::strstr(text, "qmatmul_i8_u8_f32_"), nullptr) << text;
  EXPECT_NE(std::strstr(text, "6 rows in blocks of 6; 2 of 3 weights, 2 panels"), nullptr) << text;

  // Blocks of several weights have rows of their own.
  const int64_t many_rows[] = {100, 100, 400};
  params.rows = 600;
  ASSERT_EQ(gatun_qmatmul_grouped_explain(&params, many_rows, 3, experts.packed->data(), experts.packed->size(), text,
                                          sizeof(text)),
            GATUN_OK)
      << gatun_last_error();
  EXPECT_NE(std::strstr(text, "600 rows, the first block of 200: 2 of 3 weights, 2 panels"), nullptr) << text;

  params.rows = 6;
  params.columns = params.column_end = params.y_row_stride = mixed.columns();
  ASSERT_EQ(gatun_qmatmul_concat_explain(&params, 2, mixed.packed->data(), mixed.packed->size(), text, sizeof(text)),
            GATUN_OK)
      << gatun_last_error();
  EXPECT_NE(std::strstr(text, "qmatmul_i8_u4_f32_"), nullptr) << text;
  EXPECT_NE(std::strstr(text, "qmatmul_i8_u8_f32_"), nullptr) << text;
  EXPECT_NE(std::strstr(text, "2 of 2 weights, 3 panels"), nullptr) << text;
}

}  // namespace
}  // namespace gatun::qmatmul
