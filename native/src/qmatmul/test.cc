// Every row of the table that belongs to the tier in use (GATUN_MAX_ISA) against reference.cc.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>

#include "base/dtype.h"
#include "gatun/gatun.h"
#include "gatun/qmatmul.h"
#include "qmatmul/reference.h"
#include "qmatmul/table.h"
#include "qmatmul/test_weights.h"
#include "shapes.h"
#include "tolerance.h"

namespace gatun::qmatmul {
namespace {

// Elements of a float dtype at the end (or the start) of accessible memory, read-only.
std::unique_ptr<GuardBuffer<uint8_t>> guarded(const std::vector<float>& values, int32_t dtype, Edge edge,
                                              int64_t misalignment = 0) {
  auto buffer = std::make_unique<GuardBuffer<uint8_t>>(test::from_floats(values, dtype), edge, misalignment);
  buffer->make_read_only();
  return buffer;
}

double pieces_of(const Weights& weights) { return static_cast<double>(Layout(weights.description).pieces()); }

// Bound of tile_i8.h and tile_f32.h, through activations with a slope of at most 1.13; their own errors (math.h) are
// relative to their value, which is at most the sum's magnitude, and have a test of their own below.
std::vector<double> allowed_error(const TableRow& row, const gatun_qmatmul_params& params, const Weights& weights,
                                  const Reference& ref) {
  const bool integers = row.kernel->piece_sums > 0;
  const double steps = integers ? 2 * pieces_of(weights) : static_cast<double>(weights.description.depth);
  const bool activated = params.activation != GATUN_ACTIVATION_NONE;
  std::vector<double> allowed(ref.y.size());
  for (size_t i = 0; i < allowed.size(); ++i) {
    // Below 2^-126 a rounding costs up to 2^-150, however small the terms are.
    const double sum =
        0x1p-23 * (steps + 8) * ref.magnitude[i] + steps * 0x1p-149 + (integers ? ref.fixed_point[i] : 0.0);
    allowed[i] = (activated ? 1.13 * sum + 0x1p-19 * std::fabs(ref.activated[i]) + 0x1p-40 : sum) +
                 test::unit_in_last_place(params.y_dtype, ref.y[i]);
  }
  return allowed;
}

// Runs a row of the table directly and compares all of y with the reference.
void expect_matches(const TableRow& row, const gatun_qmatmul_params& params, const Weights& weights, const void* x,
                    const float* bias, const void* residual, GuardBuffer<uint8_t>& y) {
  const Layout layout(weights.description);
  const Reference ref = reference(params, x, weights.reference_weights(), bias, residual);
  const std::vector<uint8_t> before = y.copy();
  ASSERT_EQ(run(row, {params, layout, x, weights.packed->data(), bias, residual, y.data()}), GATUN_OK);
  const int64_t columns = params.column_end - params.column_begin, element = dtype_bytes(params.y_dtype, 1);
  std::vector<double> actual;
  std::vector<uint8_t> expected_bytes = before;  // with the range's results: the rest must be as it was
  for (int64_t m = 0; m < params.rows && columns > 0; ++m) {
    const int64_t first = (m * params.y_row_stride + params.column_begin) * element;
    const std::vector<double> part = test::to_doubles(y.data() + first, params.y_dtype, columns);
    actual.insert(actual.end(), part.begin(), part.end());
    std::memcpy(expected_bytes.data() + first, y.data() + first, static_cast<size_t>(columns * element));
  }
  EXPECT_TRUE(test::within(actual, ref.y, allowed_error(row, params, weights, ref), columns));
  EXPECT_TRUE(test::identical(y.copy(), expected_bytes)) << "bytes outside of the range were written";
}

std::vector<const TableRow*> rows_of_tier() {
  std::vector<const TableRow*> rows;
  for (const TableRow& row : table()) {
    if (row.tier == active_tier()) rows.push_back(&row);
  }
  return rows;
}

bool takes(const TableRow& row, Scheme scheme) {
  return (row.to == GATUN_U4) == (scheme == Scheme::u4 || scheme == Scheme::u4_asymmetric);
}

std::vector<int32_t> modes_of(const TableRow& row) {
  if (row.from == GATUN_F32) return {GATUN_QMATMUL_PRECISE};
  return {GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP};
}

// Depths around the padding (8), the vectors, the pieces (512) and the precise mode's blocks (128).
const std::vector<int64_t> kDepths = {0, 1, 7, 8, 9, 16, 17, 31, 32, 33, 65, 127, 128, 129, 257, 511, 512, 513, 1025};
const std::vector<int64_t> kColumns = {0, 1, 7, 15, 16, 17, 31, 33, 47, 49, 63, 64, 65, 127, 129};
const std::vector<int64_t> kRows = {0, 1, 2, 3, 4, 5, 7, 8, 9};

TEST(QmatmulRows, AllShapesGroupsTypesAndEpilogues) {
  Rng rng(1);
  int64_t runs = 0;
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const int64_t depth : kDepths) {
      for (const int64_t group : test::group_sizes(depth)) {
        for (const Scheme scheme : kSchemes) {
          if (!takes(*row, scheme)) continue;
          for (const int32_t mode : modes_of(*row)) {
            const Edge edge = test::kEdges[rng.integer(0, 1)];
            const int64_t columns = rng.pick(kColumns), rows = rng.pick(kRows);
            const Weights weights(rng, scheme, rng.integer(0, 1) ? GATUN_F16 : GATUN_F32, columns, depth, group, edge);
            gatun_qmatmul_params params = params_for(weights, rows, mode);
            params.x_dtype = rng.integer(0, 2) ? GATUN_F32 : GATUN_BF16;
            params.y_dtype = rng.integer(0, 2) ? GATUN_F32 : GATUN_BF16;
            params.activation = static_cast<int32_t>(rng.integer(0, 4));
            params.x_row_stride += rng.integer(0, 3);
            params.y_row_stride += rng.integer(0, 3);
            params.residual_row_stride += rng.integer(0, 3);
            params.column_begin = rng.integer(0, columns);
            params.column_end = rng.integer(params.column_begin, columns);
            if (rng.integer(0, 1)) params.column_begin = 0, params.column_end = columns;
            SCOPED_TRACE(testing::Message()
                         << "rows " << rows << " columns " << params.column_begin << ".." << params.column_end << " of "
                         << columns << " depth " << depth << " group " << group << " scheme "
                         << static_cast<int>(scheme) << " mode " << mode << " activation " << params.activation);
            const auto extent = [](int64_t r, int64_t c, int64_t stride) {
              return r == 0 || c == 0 ? 0 : (r - 1) * stride + c;
            };
            const auto x = guarded(rng.normals(extent(rows, depth, params.x_row_stride), 2.0f), params.x_dtype, edge,
                                   edge == Edge::front ? dtype_bytes(params.x_dtype, 1) : 0);
            const auto residual =
                guarded(rng.normals(extent(rows, columns, params.residual_row_stride)), params.y_dtype, edge);
            const auto bias = guarded(rng.normals(columns), GATUN_F32, edge);
            GuardBuffer<uint8_t> y(extent(rows, columns, params.y_row_stride) * dtype_bytes(params.y_dtype, 1), edge);
            expect_matches(*row, params, weights, depth == 0 ? nullptr : x->data(),
                           rng.integer(0, 1) ? reinterpret_cast<const float*>(bias->data()) : nullptr,
                           rng.integer(0, 1) ? residual->data() : nullptr, y);
            ++runs;
            if (testing::Test::HasFailure()) return;
          }
        }
      }
    }
  }
  EXPECT_GT(runs, 500);
}

TEST(QmatmulRows, MoreRowsThanABlock) {
  Rng rng(2);
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    const Scheme scheme = row->to == GATUN_U4 ? Scheme::u4_asymmetric : Scheme::i8;
    for (const int64_t rows : {kBlockRows - 1, kBlockRows, kBlockRows + 1, 2 * kBlockRows + 1}) {
      const Weights weights(rng, scheme, GATUN_F16, 65, 48, 32, Edge::back);
      for (const int32_t mode : modes_of(*row)) {
        for (const int32_t threads : {1, 3}) {
          gatun_qmatmul_params params = params_for(weights, rows, mode);
          params.threads = threads;
          const auto x = guarded(rng.normals(rows * 48), GATUN_F32, Edge::back);
          GuardBuffer<uint8_t> y(rows * 65 * 4);
          expect_matches(*row, params, weights, x->data(), nullptr, nullptr, y);
        }
      }
    }
  }
}

// Every scale is 1 and every row of x holds 127: codes are the values, sums are integers below 2^24, y is exact.
TEST(QmatmulRows, SmallIntegersAreExact) {
  Rng rng(3);
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const Scheme scheme : kSchemes) {
      if (!takes(*row, scheme)) continue;
      for (const int64_t depth : {8, 100, 520}) {
        const int64_t rows = 5, columns = 81, group = std::min<int64_t>(depth, 36);
        const Weights weights(rng, scheme, GATUN_F32, columns, depth, group, Edge::back, true);
        for (const int32_t mode : modes_of(*row)) {
          std::vector<float> x = rng.small_integers(rows * depth, -127, 127);
          for (int64_t k = 0; k < rows * depth; k += mode == GATUN_QMATMUL_INT8_GROUP ? 1 : depth) {
            if (k % depth % group == 0) x[k] = k % 2 ? 127.0f : -127.0f;
          }
          const gatun_qmatmul_params params = params_for(weights, rows, mode);
          const Reference ref = reference(params, x.data(), weights.reference_weights(), nullptr, nullptr);
          GuardBuffer<float> y(rows * columns);
          ASSERT_EQ(run(*row, {params, Layout(weights.description), x.data(), weights.packed->data(), nullptr, nullptr,
                               y.data()}),
                    GATUN_OK);
          for (int64_t i = 0; i < rows * columns; ++i) ASSERT_EQ(y[i], ref.y[i]) << "element " << i;
        }
      }
    }
  }
}

// Activations that a call packs once serve its weights of 4 and of 8 bits.
TEST(QmatmulTable, KernelsOfACallPackAlike) {
  for (int32_t tier = 0; tier < kTiers; ++tier) {
    for (const int32_t from : {GATUN_I8, GATUN_F32}) {
      const Kernel& u4 = *table().select(from, GATUN_U4, static_cast<Tier>(tier)).kernel;
      const Kernel& u8 = *table().select(from, GATUN_U8, static_cast<Tier>(tier)).kernel;
      SCOPED_TRACE(testing::Message() << tier_name(static_cast<Tier>(tier)) << ", " << dtype_name(from));
      EXPECT_EQ(u4.pack_rows, u8.pack_rows);
      EXPECT_EQ(u4.value_bytes, u8.value_bytes);
      EXPECT_EQ(u4.piece_sums, u8.piece_sums);
    }
  }
}

// The extremes of every code with the extremes of every activation, at the greatest depth of one piece and beyond. With
// 127, and in 24 bits with 127 * 65536, sums are multiples of it below 2^24 and so exact; 8,355,710 has the digits 127,
// 127, 126 and is the largest code, 8,355,709.5 is rounded to it, 8,323,200 has 127, 1, -128.
TEST(QmatmulRows, ExtremesDoNotOverflow) {
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const Scheme scheme : kSchemes) {
      if (!takes(*row, scheme)) continue;
      for (const float value :
           {-127.0f, 127.0f, -8355710.0f, 8355710.0f, -8355709.5f, 8355709.5f, -8323200.0f, 8323200.0f}) {
        for (const bool high : {false, true}) {
          Rng rng(4);
          const int64_t depth = 1024, columns = 64, rows = 4;
          Weights weights(rng, scheme, GATUN_F32, columns, depth, depth, Edge::back, true);
          const int code = scheme == Scheme::i8 ? (high ? 127 : -127) : high ? 255 : 0;
          std::memset(weights.codes.data(), code, static_cast<size_t>(weights.codes.size()));
          const int zero = high ? 0 : scheme == Scheme::u4_asymmetric ? 15 : 255;
          if (weights.description.asymmetric) {
            std::memset(weights.zero_points.data(), zero, static_cast<size_t>(weights.zero_points.size()));
          }
          std::vector<uint8_t> packed(static_cast<size_t>(weights.packed->size()));
          ASSERT_EQ(gatun_qmatmul_pack(&weights.description, weights.codes.data(), weights.scales.data(),
                                       weights.zero_point_data(), packed.data(), weights.packed->size()),
                    GATUN_OK);
          const std::vector<float> x(static_cast<size_t>(rows * depth), value);
          for (const int32_t mode : modes_of(*row)) {
            const gatun_qmatmul_params params = params_for(weights, rows, mode);
            const Reference ref = reference(params, x.data(), weights.reference_weights(), nullptr, nullptr);
            std::vector<float> y(static_cast<size_t>(rows * columns));
            ASSERT_EQ(
                run(*row, {params, Layout(weights.description), x.data(), packed.data(), nullptr, nullptr, y.data()}),
                GATUN_OK);
            if (std::fabs(value) == 127.0f && row->kernel->piece_sums > 0) {
              for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], static_cast<float>(ref.y[i])) << "element " << i;
            }
            EXPECT_TRUE(test::within(std::vector<double>(y.begin(), y.end()), ref.y,
                                     allowed_error(*row, params, weights, ref), columns))
                << "x " << value;
          }
        }
      }
    }
  }
}

// Beside a 1 whose weight is 0, the last of 24 bits: precise mode gives it back, and what lies below within half of it.
TEST(QmatmulRows, PreciseModeKeepsTheLastBit) {
  Rng rng(14);
  for (const TableRow* row : rows_of_tier()) {
    if (row->from != GATUN_F32) continue;
    SCOPED_TRACE(row->name);
    for (const Scheme scheme : {Scheme::i8, Scheme::u4}) {
      if (!takes(*row, scheme)) continue;
      const int64_t columns = 17, depth = 40;
      Weights weights(rng, scheme, GATUN_F32, columns, depth, depth, Edge::back, true);
      const bool four_bits = scheme == Scheme::u4;
      for (int64_t n = 0; n < columns; ++n) {
        uint8_t* codes = &weights.codes[n * dtype_bytes(weights.description.code_dtype, depth)];
        if (four_bits) {
          codes[0] = 8 + 16 * 9;
        } else {
          codes[0] = 0, codes[1] = 1;
        }
      }
      std::vector<uint8_t> packed(static_cast<size_t>(weights.packed->size()));
      ASSERT_EQ(gatun_qmatmul_pack(&weights.description, weights.codes.data(), weights.scales.data(), nullptr,
                                   packed.data(), weights.packed->size()),
                GATUN_OK);
      for (const float small : {0x1p-22f, -0x1p-22f, 0x1.fffp-24f}) {
        std::vector<float> x(static_cast<size_t>(depth)), y(static_cast<size_t>(columns));
        x[0] = -1.0f;
        x[1] = small;
        const gatun_qmatmul_params params = params_for(weights, 1, GATUN_QMATMUL_PRECISE);
        ASSERT_EQ(run(*row, {params, Layout(weights.description), x.data(), packed.data(), nullptr, nullptr, y.data()}),
                  GATUN_OK);
        for (const float value : y) EXPECT_LE(std::fabs(value - small), std::fabs(small) == 0x1p-22f ? 0 : 0x1p-23f);
      }
    }
  }
}

// Rows without elements have a scale that is a number, whatever was in memory: 0 times it is 0.
TEST(QmatmulRows, RowsWithoutElementsHaveAScale) {
  for (const TableRow* row : rows_of_tier()) {
    if (row->from != GATUN_I8) continue;
    std::vector<float> scales(5, std::numeric_limits<float>::quiet_NaN());
    Job job{};
    job.rows = 5;
    job.scales = scales.data();
    row->kernel->pack_rows(job, 0, job.rows);
    for (const float scale : scales) EXPECT_EQ(scale, 0.0f) << row->name;
  }
}

// Numbers of very different size in a row: each piece keeps its own precision.
TEST(QmatmulRows, WideRangesOfActivations) {
  Rng rng(13);
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const Scheme scheme : kSchemes) {
      if (!takes(*row, scheme)) continue;
      for (const int64_t group : {16, 40, 700}) {
        const int64_t rows = 5, columns = 70, depth = 700;
        Weights weights(rng, scheme, GATUN_F32, columns, depth, group, Edge::back);
        std::vector<float> x = rng.normals(rows * depth);
        for (int64_t i = 0; i < rows * depth; ++i) {
          x[i] *= std::ldexp(1.0f, static_cast<int>(i / 20 * 7 % 60 - 30));
        }
        for (const int32_t mode : modes_of(*row)) {
          const gatun_qmatmul_params params = params_for(weights, rows, mode);
          GuardBuffer<uint8_t> y(rows * columns * 4);
          expect_matches(*row, params, weights, x.data(), nullptr, nullptr, y);
        }
      }
    }
  }
}

// Threads, ranges and the number of rows change nothing, bit for bit.
TEST(QmatmulRows, SameBitsForAnyThreadsRangesAndRows) {
  Rng rng(5);
  const int64_t rows = 70, columns = 333, depth = 700;
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const Scheme scheme : kSchemes) {
      if (!takes(*row, scheme)) continue;
      const Weights weights(rng, scheme, GATUN_F16, columns, depth, 100, Edge::back);
      const std::vector<float> x = rng.normals(rows * depth), bias = rng.normals(columns);
      for (const int32_t mode : modes_of(*row)) {
        gatun_qmatmul_params params = params_for(weights, rows, mode);
        params.activation = GATUN_ACTIVATION_GELU;
        const Layout layout(weights.description);
        const auto multiply = [&](const gatun_qmatmul_params& p, const float* x_rows, float* y) {
          ASSERT_EQ(run(*row, {p, layout, x_rows, weights.packed->data(), bias.data(), nullptr, y}), GATUN_OK);
        };
        std::vector<float> expected(static_cast<size_t>(rows * columns));
        multiply(params, x.data(), expected.data());
        for (int32_t threads = 2; threads <= 8; ++threads) {
          std::vector<float> y(expected.size());
          params.threads = threads;
          multiply(params, x.data(), y.data());
          EXPECT_TRUE(test::identical(y, expected, columns)) << threads << " threads";
        }
        params.threads = 1;
        std::vector<float> y(expected.size());
        for (params.column_end = columns; params.column_end > 0; params.column_end = params.column_begin) {
          params.column_begin = std::max<int64_t>(0, params.column_end - rng.integer(1, 90));
          multiply(params, x.data(), y.data());  // descending, so that a range which begins too early spoils the next
        }
        EXPECT_TRUE(test::identical(y, expected, columns)) << "ranges";
        params.column_begin = 0;
        params.column_end = columns;
        for (int64_t m = 0, count; m < rows; m += count) {
          params.rows = count = std::min(rows - m, rng.integer(1, 6));
          multiply(params, x.data() + m * depth, y.data() + m * columns);
        }
        EXPECT_TRUE(test::identical(y, expected, columns)) << "few rows at a time";
      }
    }
  }
}

TEST(QmatmulRows, NotFiniteRowsAreNaNAndOthersUntouched) {
  Rng rng(6);
  const int64_t rows = 6, columns = 20, depth = 70;
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    const Scheme scheme = row->to == GATUN_U4 ? Scheme::u4 : Scheme::i8;
    const Weights weights(rng, scheme, GATUN_F32, columns, depth, 32, Edge::back);
    for (const int32_t mode : modes_of(*row)) {
      for (const int32_t activation : {GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_RELU, GATUN_ACTIVATION_GELU,
                                       GATUN_ACTIVATION_GELU_TANH, GATUN_ACTIVATION_SILU}) {
        gatun_qmatmul_params params = params_for(weights, rows, mode);
        params.activation = activation;
        std::vector<float> x = rng.normals(rows * depth);
        const std::vector<float> clean_x = x;
        const float inf = std::numeric_limits<float>::infinity();
        x[1 * depth + 69] = std::numeric_limits<float>::quiet_NaN();
        x[3 * depth + 0] = inf;
        x[5 * depth + 33] = -inf;
        const Layout layout(weights.description);
        std::vector<float> y(static_cast<size_t>(rows * columns)), clean_y(y.size());
        ASSERT_EQ(run(*row, {params, layout, x.data(), weights.packed->data(), nullptr, nullptr, y.data()}), GATUN_OK);
        ASSERT_EQ(run(*row, {params, layout, clean_x.data(), weights.packed->data(), nullptr, nullptr, clean_y.data()}),
                  GATUN_OK);
        for (int64_t i = 0; i < rows * columns; ++i) {
          if (i / columns % 2 == 1)
            EXPECT_TRUE(std::isnan(y[i])) << "element " << i;
          else
            EXPECT_EQ(y[i], clean_y[i]) << "element " << i;
        }
      }
    }
  }
}

// Subnormal and huge activations; rows whose scale is below 2^-120 count as zeros.
TEST(QmatmulRows, TinyAndHugeActivations) {
  Rng rng(7);
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    const Scheme scheme = row->to == GATUN_U4 ? Scheme::u4 : Scheme::i8;
    for (const float magnitude : {1e-44f, 1e-40f, 0x1p-126f, 0x1p-114f, 0x1p-113f, 0x1p-112f, 1e30f, 1e36f}) {
      const Weights weights(rng, scheme, GATUN_F32, 33, 40, 16, Edge::back);
      for (const int32_t mode : modes_of(*row)) {
        const gatun_qmatmul_params params = params_for(weights, 3, mode);
        const auto x = guarded(rng.normals(3 * 40, magnitude), GATUN_F32, Edge::back);
        GuardBuffer<uint8_t> y(3 * 33 * 4);
        expect_matches(*row, params, weights, x->data(), nullptr, nullptr, y);
      }
    }
  }
}

// With depth 0, y is the activation of the bias: the functions of simd/math.h against double, with their bounds.
TEST(QmatmulRows, ActivationsKeepTheirBounds) {
  std::vector<float> bias;
  for (int i = -60000; i <= 60000; ++i) bias.push_back(static_cast<float>(i) * 0x1p-12f);  // -14.6 .. 14.6
  for (int i = -2000; i <= 2000; ++i) bias.push_back(static_cast<float>(i) * 0.06f);       // -120 .. 120
  for (const float x : {0x1p-149f, 0x1p-127f, 1e-30f, 1e10f, 3e38f}) {
    bias.push_back(x);
    bias.push_back(-x);
  }
  const float inf = std::numeric_limits<float>::infinity();
  const int64_t finite = static_cast<int64_t>(bias.size());
  bias.insert(bias.end(), {inf, -inf, std::numeric_limits<float>::quiet_NaN()});
  Rng rng(11);
  const int64_t columns = static_cast<int64_t>(bias.size());
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    const Weights weights(rng, row->to == GATUN_U4 ? Scheme::u4 : Scheme::i8, GATUN_F32, columns, 0, 0, Edge::back);
    gatun_qmatmul_params params = params_for(weights, 1, modes_of(*row).front());
    for (const int32_t activation : {GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_RELU, GATUN_ACTIVATION_GELU,
                                     GATUN_ACTIVATION_GELU_TANH, GATUN_ACTIVATION_SILU}) {
      params.activation = activation;
      std::vector<float> y(bias.size());
      ASSERT_EQ(run(*row, {params, Layout(weights.description), nullptr, weights.packed->data(), bias.data(), nullptr,
                           y.data()}),
                GATUN_OK);
      const Reference ref = reference(params, nullptr, weights.reference_weights(), bias.data(), nullptr);
      const bool exact = activation == GATUN_ACTIVATION_NONE || activation == GATUN_ACTIVATION_RELU;
      const double relative = exact ? 0 : activation == GATUN_ACTIVATION_GELU_TANH ? 0x1p-19 : 0x1p-20;
      for (int64_t i = 0; i < finite; ++i) {
        ASSERT_LE(std::fabs(y[i] - ref.y[i]), relative * std::fabs(ref.y[i]) + (exact ? 0 : 0x1p-40))
            << "activation " << activation << " of " << bias[i] << ": " << y[i] << ", reference " << ref.y[i];
      }
      EXPECT_EQ(y[finite], inf) << "activation " << activation;
      EXPECT_EQ(y[finite + 1], activation == GATUN_ACTIVATION_NONE ? -inf : 0) << "activation " << activation;
      EXPECT_TRUE(std::isnan(y[finite + 2])) << "activation " << activation;
    }
  }
}

// The largest and the smallest scales: nothing overflows on the way to a result that does not.
TEST(QmatmulRows, ExtremeScales) {
  Rng rng(12);
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const Scheme scheme : kSchemes) {
      if (!takes(*row, scheme)) continue;
      for (const float scale : {0x1p64f, -0x1p64f, 0x1p-24f, 0x1p-100f}) {
        for (const float magnitude : {0x1p-112f, 0x1p-60f, 1.0f, 0x1p40f}) {
          Weights weights(rng, scheme, GATUN_F32, 20, 27, 27, Edge::back, true);
          for (int64_t i = 0; i < 20; ++i) std::memcpy(&weights.scales[4 * i], &scale, 4);
          std::vector<uint8_t> packed(static_cast<size_t>(weights.packed->size()));
          ASSERT_EQ(gatun_qmatmul_pack(&weights.description, weights.codes.data(), weights.scales.data(),
                                       weights.zero_point_data(), packed.data(), weights.packed->size()),
                    GATUN_OK);
          for (const int32_t mode : modes_of(*row)) {
            const gatun_qmatmul_params params = params_for(weights, 2, mode);
            const std::vector<float> x = rng.normals(2 * 27, magnitude);
            const Reference ref = reference(params, x.data(), weights.reference_weights(), nullptr, nullptr);
            std::vector<float> y(2 * 20);
            ASSERT_EQ(
                run(*row, {params, Layout(weights.description), x.data(), packed.data(), nullptr, nullptr, y.data()}),
                GATUN_OK);
            EXPECT_TRUE(test::within(std::vector<double>(y.begin(), y.end()), ref.y,
                                     allowed_error(*row, params, weights, ref), 20))
                << "scale " << scale << " x " << magnitude << " mode " << mode;
          }
        }
      }
    }
  }
}

TEST(Qmatmul, ResidualMayBeYItself) {
  Rng rng(8);
  const Weights weights(rng, Scheme::u4, GATUN_F16, 37, 64, 32, Edge::back);
  gatun_qmatmul_params params = params_for(weights, 5, GATUN_QMATMUL_INT8_ROW);
  const std::vector<float> x = rng.normals(5 * 64), residual = rng.normals(5 * 37);
  std::vector<float> expected(residual.size()), y = residual;
  ASSERT_EQ(gatun_qmatmul(&params, x.data(), weights.packed->data(), weights.packed->size(), nullptr, residual.data(),
                          expected.data()),
            GATUN_OK);
  ASSERT_EQ(
      gatun_qmatmul(&params, x.data(), weights.packed->data(), weights.packed->size(), nullptr, y.data(), y.data()),
      GATUN_OK)
      << gatun_last_error();
  EXPECT_TRUE(test::identical(y, expected));
}

TEST(Qmatmul, EveryProductHasAKernelOnEveryTier) {
  for (const int32_t weights : {GATUN_U4, GATUN_U8}) {
    for (const int32_t x : {GATUN_I8, GATUN_F32}) {
      Tier best = Tier::scalar;
      for (int tier = 0; tier < kTiers; ++tier) {
        const TableRow& row = table().select(x, weights, static_cast<Tier>(tier));
        EXPECT_LE(row.tier, static_cast<Tier>(tier));
        EXPECT_GE(row.tier, best) << "a higher tier must not select a lower row";
        EXPECT_TRUE(tier_supported(row.tier));
        best = row.tier;
      }
    }
  }
}

TEST(Qmatmul, ExplainNamesTheKernelAndWhatItPassedOver) {
  Rng rng(10);
  const Weights weights(rng, Scheme::u4, GATUN_F16, 100, 64, 32, Edge::back);
  const gatun_qmatmul_params params = params_for(weights, 10, GATUN_QMATMUL_INT8_ROW);
  char text[2048];
  ASSERT_EQ(gatun_qmatmul_explain(&params, weights.packed->data(), weights.packed->size(), text, sizeof(text)),
            GATUN_OK);
  const TableRow& row = table().select(GATUN_I8, GATUN_U4, active_tier());
  EXPECT_NE(std::strstr(text, row.name), nullptr) << text;
  EXPECT_EQ(std::strstr(text, "passed over") != nullptr, row.tier < Tier::avx512vnni) << text;
}

}  // namespace
}  // namespace gatun::qmatmul
