// Rows of the table for code books and small floats, in bf16 mode and in precise mode, on the tier in use
// (GATUN_MAX_ISA): what test.cc and extremes_test.cc do not ask of all rows. Quantized rows of x.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/dtype.h"
#include "gatun/qmatmul.h"
#include "qmatmul/reference.h"
#include "qmatmul/table.h"
#include "qmatmul/test_rows.h"
#include "qmatmul/test_weights.h"
#include "tolerance.h"

namespace gatun::qmatmul {
namespace {

std::vector<const TableRow*> rows_of_books() {
  std::vector<const TableRow*> rows;
  for (const TableRow* row : rows_of_tier()) {
    if (!is_integer(static_cast<Stored>(row->to))) rows.push_back(row);
  }
  return rows;
}

std::vector<const TableRow*> rows_of_bf16() {
  std::vector<const TableRow*> rows;
  for (const TableRow* row : rows_of_books()) {
    if (row->from == GATUN_BF16) rows.push_back(row);
  }
  return rows;
}

// Row m of x is 1 at depth m and 0 elsewhere, so y[m][n] is what the code of column n and depth m stands for: every
// code at every depth of a word of codes, in tiles of every kind. Look-ups of a wrong code, byte or depth give another
// value.
TEST(QmatmulBooks, EveryCodeInEveryPlace) {
  Rng rng(1);
  int schemes = 0;
  for (const TableRow* row : rows_of_books()) {
    SCOPED_TRACE(row->name);
    for (const Scheme& scheme : {kFloats, kNF4, kManyFloats, kDynamic, kE4M3, kE5M2}) {
      if (!takes(*row, scheme)) continue;
      SCOPED_TRACE(scheme.name);
      ++schemes;
      const bool four_bits = is_four_bits(static_cast<Stored>(row->to));
      const int64_t codes = four_bits ? 16 : 256, columns = codes + 48, depth = 40;
      Weights weights(rng, scheme, GATUN_F32, columns, depth, depth, Edge::back, true);
      const int not_finite = scheme == kE4M3 ? 0x7f : scheme == kE5M2 ? 0x7c : 256;
      for (int64_t i = 0; i < static_cast<int64_t>(weights.code_book.size()); ++i) {
        weights.code_book[i] = static_cast<float>(i < codes / 2 ? i - 300 : i);
      }
      for (int64_t n = 0; n < columns; ++n) {
        for (int64_t k = 0; k < depth; ++k) {
          uint8_t& byte = weights.codes[four_bits ? (n * depth + k) / 2 : n * depth + k];
          int code = static_cast<int>((n + 37 * k) % codes);
          if ((code & 0x7f) >= not_finite) code = 0;
          byte = static_cast<uint8_t>(!four_bits ? code : k % 2 == 0 ? code : byte | code << 4);
        }
      }
      weights.repack();
      const int32_t mode = modes_of(*row).front();
      for (const int64_t rows : {1, 2, 3, 4, 7, 24, 40}) {
        for (int64_t first = 0; first + rows <= depth; first += rows) {
          std::vector<float> x(static_cast<size_t>(rows * depth)), y(static_cast<size_t>(rows * columns));
          for (int64_t m = 0; m < rows; ++m) x[m * depth + first + m] = 1.0f;
          const gatun_qmatmul_params params = params_for(weights, rows, mode);
          ASSERT_EQ(run(*row, {params, weights.layout(), x.data(), weights.packed->data(), nullptr, nullptr, y.data()}),
                    GATUN_OK);
          for (int64_t i = 0; i < rows * columns; ++i) {
            const double expected =
                reference_weight(weights.reference_weights(), mode, i % columns, first + i / columns).product;
            ASSERT_EQ(double{y[i]}, expected)
                << "row " << i / columns << " of " << rows << " from " << first << ", column " << i % columns;
          }
        }
      }
    }
  }
  EXPECT_GE(schemes, 2 * static_cast<int>(rows_of_books().size()));
}

// Books of integers that bf16 holds, times such integers: every product and every sum up to 520 * 254 * 127 < 2^24 is
// exact, in any order.
TEST(QmatmulBooks, SmallIntegersAreExact) {
  Rng rng(2);
  for (const TableRow* row : rows_of_books()) {
    SCOPED_TRACE(row->name);
    const Scheme& scheme = is_four_bits(static_cast<Stored>(row->to)) ? kFloats : kManyFloats;
    for (const int64_t depth : {8, 100, 520}) {
      for (const int64_t rows : {1, 5, 21}) {
        const int64_t columns = 81;
        Weights weights(rng, scheme, GATUN_F32, columns, depth, std::min<int64_t>(depth, 36), Edge::back, true);
        for (float& value : weights.code_book) value = static_cast<float>(2 * rng.integer(-127, 127));
        weights.code_book[0] = -254;  // so that no kernel for integers takes it
        weights.repack();
        const std::vector<float> x = rng.small_integers(rows * depth, -127, 127);
        const gatun_qmatmul_params params = params_for(weights, rows, modes_of(*row).front());
        const Reference ref = reference(params, x.data(), weights.reference_weights(), nullptr, nullptr);
        GuardBuffer<float> y(rows * columns);
        ASSERT_EQ(run(*row, {params, weights.layout(), x.data(), weights.packed->data(), nullptr, nullptr, y.data()}),
                  GATUN_OK);
        for (int64_t i = 0; i < rows * columns; ++i) ASSERT_EQ(y[i], ref.y[i]) << "element " << i;
      }
    }
  }
}

// What rounds to infinity is infinity: the row is NaN, its neighbours are as they would be.
TEST(QmatmulBooks, RoundingMayOverflow) {
  Rng rng(3);
  for (const TableRow* row : rows_of_bf16()) {
    SCOPED_TRACE(row->name);
    const Weights weights(rng, scheme_of(*row), GATUN_F32, 20, 40, 16, Edge::back);
    std::vector<float> x = rng.normals(3 * 40), y(3 * 20);
    x[1 * 40 + 39] = 0x1.ffp+127f;
    const gatun_qmatmul_params params = params_for(weights, 3, GATUN_QMATMUL_BF16);
    ASSERT_EQ(run(*row, {params, weights.layout(), x.data(), weights.packed->data(), nullptr, nullptr, y.data()}),
              GATUN_OK);
    for (int64_t i = 0; i < 3 * 20; ++i) EXPECT_EQ(std::isnan(y[i]), i / 20 == 1) << "element " << i;
  }
}

// Quantized rows of x, with the scales of gatun_qmatmul_scaled.
struct ScaledRows {
  int64_t group, row_stride;
  GuardBuffer<uint8_t> codes;
  GuardBuffer<float> scales;

  ScaledRows(Rng& rng, int32_t dtype, int64_t rows, int64_t depth, int64_t scale_group, bool one_for_all, Edge edge)
      : group(scale_group),
        row_stride(one_for_all ? 0 : groups(depth) + rng.integer(0, 2)),
        codes(rows * depth, edge),
        scales(depth == 0 || rows == 0 ? 0 : (one_for_all ? 0 : (rows - 1) * row_stride) + groups(depth), edge) {
    for (int64_t i = 0; i < codes.size(); ++i) {
      codes[i] = static_cast<uint8_t>(rng.integer(0, dtype == GATUN_F8E4M3 ? 0x7e : 0x7b) | rng.integer(0, 1) << 7);
    }
    for (int64_t i = 0; i < scales.size(); ++i)
      scales[i] = rng.uniform(0.5f, 1.0f) * (rng.integer(0, 1) ? 0x1p-8f : -3);
  }
  int64_t groups(int64_t depth) const { return depth == 0 ? 0 : (depth + group - 1) / group; }
  Product product(const gatun_qmatmul_params& params, const Weights& weights, const Layout& layout, void* y) const {
    return {params, layout,        codes.data(), weights.packed->data(), nullptr, nullptr,
            y,      scales.data(), row_stride,   group != params.depth};
  }
  ReferenceScales reference_scales() const { return {scales.data(), group, row_stride}; }
};

gatun_qmatmul_params scaled_params(const Weights& weights, int64_t rows, int32_t dtype) {
  gatun_qmatmul_params params = params_for(weights, rows, GATUN_QMATMUL_BF16);
  params.x_dtype = dtype;
  return params;
}

TEST(QmatmulScaled, TensorRowsAndGroups) {
  Rng rng(4);
  for (const TableRow* row : rows_of_bf16()) {
    SCOPED_TRACE(row->name);
    for (const Scheme& scheme : kSchemes) {
      if (!takes(*row, scheme)) continue;
      for (const int32_t dtype : {GATUN_F8E4M3, GATUN_F8E5M2}) {
        for (const int64_t depth : {0, 1, 40, 128, 300, 1100}) {
          for (const bool by_group : {false, true}) {
            const int64_t rows = rng.pick(std::vector<int64_t>{0, 1, 2, 5, 9, 13}), columns = rng.integer(1, 140);
            const int64_t group = depth < 40 ? depth : rng.pick(std::vector<int64_t>{16, 33, 40});
            const Edge edge = rng.integer(0, 1) ? Edge::back : Edge::front;
            const Weights weights(rng, scheme, rng.integer(0, 1) ? GATUN_F32 : GATUN_E8M0, columns, depth, group, edge);
            const ScaledRows x(rng, dtype, rows, depth, by_group ? group : depth, rng.integer(0, 2) == 0, edge);
            const gatun_qmatmul_params params = scaled_params(weights, rows, dtype);
            SCOPED_TRACE(testing::Message() << scheme.name << ", " << dtype_name(dtype) << ", " << rows
                                            << " rows, depth " << depth << ", group " << group << ", of x " << x.group);
            const Layout layout = weights.layout();
            std::vector<float> y(static_cast<size_t>(rows * columns));
            ASSERT_EQ(run(*row, x.product(params, weights, layout, y.data())), GATUN_OK);
            const Reference ref = reference(params, x.codes.data(), weights.reference_weights(), nullptr, nullptr,
                                            depth == 0 ? ReferenceScales{} : x.reference_scales());
            ASSERT_TRUE(test::within(std::vector<double>(y.begin(), y.end()), ref.y,
                                     allowed_error(*row, params, weights, ref), columns));
            // The entry selects this row, as this is the tier in use, and does the same.
            std::vector<float> entry(y.size());
            ASSERT_EQ(
                gatun_qmatmul_scaled(&params, x.group, x.codes.data(), x.scales.data(), x.row_stride,
                                     weights.packed->data(), weights.packed->size(), nullptr, nullptr, entry.data()),
                GATUN_OK);
            ASSERT_TRUE(test::identical(entry, y, columns));
          }
        }
      }
    }
  }
}

// NaN and infinity among codes and scales: their rows are NaN, the others are as they would be.
TEST(QmatmulScaled, NotFiniteRowsAreNaN) {
  Rng rng(5);
  const int64_t rows = 6, columns = 20, depth = 70, group = 32;
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const TableRow* row : rows_of_bf16()) {
    SCOPED_TRACE(row->name);
    const Weights weights(rng, scheme_of(*row), GATUN_F32, columns, depth, group, Edge::back);
    const Layout layout = weights.layout();
    for (const int32_t dtype : {GATUN_F8E4M3, GATUN_F8E5M2}) {
      for (const int64_t x_group : {depth, group}) {
        ScaledRows x(rng, dtype, rows, depth, x_group, false, Edge::back);
        const gatun_qmatmul_params params = scaled_params(weights, rows, dtype);
        std::vector<float> clean(static_cast<size_t>(rows * columns)), y(clean.size());
        ASSERT_EQ(run(*row, x.product(params, weights, layout, clean.data())), GATUN_OK);
        x.codes[1 * depth + 69] = dtype == GATUN_F8E4M3 ? 0xff : 0x7c;
        x.codes[2 * depth + 0] = 0x7f;
        x.scales[4 * x.row_stride + x.groups(depth) - 1] = nan;
        x.scales[5 * x.row_stride] = -inf;
        ASSERT_EQ(run(*row, x.product(params, weights, layout, y.data())), GATUN_OK);
        for (int64_t i = 0; i < rows * columns; ++i) {
          const int64_t m = i / columns;
          if (m == 0 || m == 3)
            EXPECT_EQ(y[i], clean[i]) << "element " << i;
          else
            EXPECT_TRUE(std::isnan(y[i])) << "element " << i;
        }
      }
    }
  }
}

// As QmatmulRows.SameBitsForAnyThreadsRangesAndRows, with scales of groups.
TEST(QmatmulScaled, SameBitsForAnyThreadsAndRows) {
  Rng rng(6);
  const int64_t rows = 70, columns = 150, depth = 700, group = 100;
  for (const TableRow* row : rows_of_bf16()) {
    SCOPED_TRACE(row->name);
    const Weights weights(rng, scheme_of(*row), GATUN_F32, columns, depth, group, Edge::back);
    const Layout layout = weights.layout();
    const ScaledRows x(rng, GATUN_F8E4M3, rows, depth, group, false, Edge::back);
    gatun_qmatmul_params params = scaled_params(weights, rows, GATUN_F8E4M3);
    std::vector<float> expected(static_cast<size_t>(rows * columns)), y(expected.size());
    ASSERT_EQ(run(*row, x.product(params, weights, layout, expected.data())), GATUN_OK);
    params.threads = 5;
    ASSERT_EQ(run(*row, x.product(params, weights, layout, y.data())), GATUN_OK);
    EXPECT_TRUE(test::identical(y, expected, columns)) << "5 threads";
    params.threads = 1;
    for (int64_t m = 0, count; m < rows; m += count) {
      params.rows = count = std::min(rows - m, rng.integer(1, 6));
      Product part = x.product(params, weights, layout, y.data() + m * columns);
      part.x = x.codes.data() + m * depth;
      part.x_scales = x.scales.data() + m * x.row_stride;
      ASSERT_EQ(run(*row, part), GATUN_OK);
    }
    EXPECT_TRUE(test::identical(y, expected, columns)) << "few rows at a time";
  }
}

}  // namespace
}  // namespace gatun::qmatmul
