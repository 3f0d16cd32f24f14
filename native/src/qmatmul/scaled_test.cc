// Rows of x that are quantized already (gatun_qmatmul_scaled), on the rows of the table that take them, on the tier in
// use (GATUN_MAX_ISA).
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
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

// Those of every mode but PRECISE.
std::vector<const TableRow*> rows_of_codes() {
  std::vector<const TableRow*> rows;
  for (const TableRow* row : rows_of_tier()) {
    if (row->from != GATUN_F32) rows.push_back(row);
  }
  return rows;
}
std::vector<int32_t> codes_of(const TableRow& row) {
  if (row.from == GATUN_I8) return {GATUN_I8};
  return {GATUN_F8E4M3, GATUN_F8E5M2};
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
      const int64_t sign = rng.integer(0, 1) << 7;
      codes[i] = static_cast<uint8_t>(dtype == GATUN_I8 ? rng.integer(-127, 127)
                                                        : rng.integer(0, dtype == GATUN_F8E4M3 ? 0x7e : 0x7b) | sign);
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

gatun_qmatmul_params scaled_params(const Weights& weights, int64_t rows, int32_t dtype, bool by_group) {
  gatun_qmatmul_params params = params_for(weights, rows,
                                           dtype != GATUN_I8 ? GATUN_QMATMUL_BF16
                                           : by_group        ? GATUN_QMATMUL_INT8_GROUP
                                                             : GATUN_QMATMUL_INT8_ROW);
  params.x_dtype = dtype;
  return params;
}

TEST(QmatmulScaled, TensorRowsAndGroups) {
  Rng rng(4);
  for (const TableRow* row : rows_of_codes()) {
    SCOPED_TRACE(row->name);
    for (const Scheme& scheme : kSchemes) {
      // Blocks have groups of their own; their codes are stored as those of other weights.
      if (!takes(*row, scheme) || scheme.gguf_type != 0) continue;
      for (const int32_t dtype : codes_of(*row)) {
        for (const int64_t depth : {0, 1, 40, 128, 300, 1100}) {
          for (const bool by_group : {false, true}) {
            const int64_t rows = rng.pick(std::vector<int64_t>{0, 1, 2, 5, 9, 13}), columns = rng.integer(1, 140);
            const int64_t group = depth < 40 ? depth : rng.pick(std::vector<int64_t>{16, 33, 40});
            const Edge edge = rng.integer(0, 1) ? Edge::back : Edge::front;
            const Weights weights(rng, scheme, rng.integer(0, 1) ? GATUN_F32 : GATUN_E8M0, columns, depth, group, edge);
            const ScaledRows x(rng, dtype, rows, depth, by_group ? group : depth, rng.integer(0, 2) == 0, edge);
            const gatun_qmatmul_params params = scaled_params(weights, rows, dtype, by_group);
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
  for (const TableRow* row : rows_of_codes()) {
    SCOPED_TRACE(row->name);
    const Weights weights(rng, scheme_of(*row), GATUN_F32, columns, depth, group, Edge::back);
    const Layout layout = weights.layout();
    for (const int32_t dtype : codes_of(*row)) {
      for (const int64_t x_group : {depth, group}) {
        ScaledRows x(rng, dtype, rows, depth, x_group, false, Edge::back);
        const gatun_qmatmul_params params = scaled_params(weights, rows, dtype, x_group == group);
        std::vector<float> clean(static_cast<size_t>(rows * columns)), y(clean.size());
        ASSERT_EQ(run(*row, x.product(params, weights, layout, clean.data())), GATUN_OK);
        x.codes[1 * depth + 69] = dtype == GATUN_I8 ? 0x80 : dtype == GATUN_F8E4M3 ? 0xff : 0x7c;
        x.codes[2 * depth + 0] = dtype == GATUN_I8 ? 0x80 : 0x7f;
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
  for (const TableRow* row : rows_of_codes()) {
    SCOPED_TRACE(row->name);
    const Weights weights(rng, scheme_of(*row), GATUN_F32, columns, depth, group, Edge::back);
    const Layout layout = weights.layout();
    const int32_t dtype = codes_of(*row)[0];
    const ScaledRows x(rng, dtype, rows, depth, group, false, Edge::back);
    gatun_qmatmul_params params = scaled_params(weights, rows, dtype, true);
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

// I8 rows that are what the INT8 modes make of a matrix give the same bits as the matrix, with groups and without.
TEST(QmatmulScaled, CodesOfTheModesGiveTheirBits) {
  Rng rng(7);
  const int64_t rows = 11, columns = 150, depth = 700, group = 100, groups = depth / group;
  std::vector<float> x(static_cast<size_t>(rows * depth));
  for (float& value : x) value = rng.uniform(-2.0f, 2.0f);
  for (const TableRow* row : rows_of_codes()) {
    if (row->from != GATUN_I8) continue;
    SCOPED_TRACE(row->name);
    const Weights weights(rng, scheme_of(*row), GATUN_F32, columns, depth, group, Edge::back);
    const Layout layout = weights.layout();
    for (const int32_t mode : modes_of(*row)) {
      const int64_t step = mode == GATUN_QMATMUL_INT8_ROW ? depth : group, count = depth / step;
      std::vector<int8_t> codes(x.size());
      std::vector<float> scales(static_cast<size_t>(rows * count)), expected(static_cast<size_t>(rows * columns)),
          y(expected.size());
      for (int64_t i = 0; i < rows * count; ++i) {
        std::vector<double> values(x.begin() + i * step, x.begin() + (i + 1) * step);
        scales[i] = static_cast<float>(reference_quantize(values, 0, step));
        std::copy(values.begin(), values.end(), codes.begin() + i * step);
      }
      gatun_qmatmul_params params = params_for(weights, rows, mode);
      ASSERT_EQ(run(*row, {params, layout, x.data(), weights.packed->data(), nullptr, nullptr, expected.data()}),
                GATUN_OK);
      params.x_dtype = GATUN_I8;
      ASSERT_EQ(run(*row, {params, layout, codes.data(), weights.packed->data(), nullptr, nullptr, y.data(),
                           scales.data(), count, count == groups}),
                GATUN_OK);
      EXPECT_TRUE(test::identical(y, expected, columns)) << "mode " << mode;
    }
  }
}

}  // namespace
}  // namespace gatun::qmatmul
