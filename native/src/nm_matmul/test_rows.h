// What the tests of the table's rows share: running a row against reference.cc, and the bound that it must keep.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "base/dtype.h"
#include "gatun/gatun.h"
#include "nm_matmul/reference.h"
#include "nm_matmul/table.h"
#include "nm_matmul/test_weights.h"
#include "tolerance.h"

namespace gatun::nm_matmul {

inline gatun_nm_matmul_params params_for(const Weights& weights, int64_t rows, int32_t mode) {
  return params_for(weights.description, rows, mode);
}

inline std::vector<int32_t> modes_of(const Scheme& scheme) {
  std::vector<int32_t> modes;
  for (const int32_t mode : {GATUN_NM_F32, GATUN_NM_BF16, GATUN_NM_INT8}) {
    if (takes_mode(scheme.value_dtype, mode)) modes.push_back(mode);
  }
  return modes;
}

inline std::vector<const TableRow*> rows_of_tier() {
  std::vector<const TableRow*> rows;
  for (const TableRow& row : table()) {
    if (row.tier == active_tier()) rows.push_back(&row);
  }
  return rows;
}

// The first scheme of a row's values.
inline const Scheme& scheme_of(const TableRow& row) {
  return *std::find_if(std::begin(kSchemes), std::end(kSchemes),
                       [&](const Scheme& scheme) { return scheme.value_dtype == row.values; });
}

// N of M that a row takes, stored sparse.
inline std::vector<std::pair<int32_t, int32_t>> patterns_of(const TableRow& row) {
  std::vector<std::pair<int32_t, int32_t>> patterns;
  for (const int32_t m : kAllM) {
    for (int32_t n = 1; n <= m; ++n) {
      if (row.sparsest == 0 || m <= row.sparsest * n) patterns.emplace_back(n, m);
    }
  }
  return patterns;
}

// The header's bounds, through activations with a slope of at most 1.13; their own errors are relative to their value
// (simd/math.h).
inline std::vector<double> allowed_error(const gatun_nm_matmul_params& params, const Weights& weights,
                                         const Reference& ref) {
  const double steps = reference_steps(weights.description, params.mode, weights.stored_dense());
  const bool activated = params.activation != GATUN_ACTIVATION_NONE;
  std::vector<double> allowed(ref.y.size());
  for (size_t i = 0; i < allowed.size(); ++i) {
    const double sum = 0x1p-23 * (steps + 8) * ref.magnitude[i] + ref.small[i];
    allowed[i] = (activated ? 1.13 * sum + 0x1p-19 * std::fabs(ref.activated[i]) + 0x1p-40 : sum) +
                 test::unit_in_last_place(params.y_dtype, ref.y[i]);
  }
  return allowed;
}

inline int32_t run_row(const TableRow& row, const gatun_nm_matmul_params& params, const Weights& weights, const void* x,
                       const float* bias, const void* residual, void* y) {
  const Layout layout = weights.layout();
  return run(row, {params, layout, x, weights.packed->data(), bias, residual, y});
}

// Runs a row of the table directly and compares all of y with the reference.
inline void expect_matches(const TableRow& row, const gatun_nm_matmul_params& params, const Weights& weights,
                           const void* x, const float* bias, const void* residual, GuardBuffer<uint8_t>& y) {
  const Reference ref = reference(params, x, weights.reference_weights(), bias, residual, weights.stored_dense());
  std::vector<uint8_t> expected_bytes = y.copy();  // with the range's results: the rest must be as it was
  ASSERT_EQ(run_row(row, params, weights, x, bias, residual, y.data()), GATUN_OK);
  const int64_t columns = params.column_end - params.column_begin, element = dtype_bytes(params.y_dtype, 1);
  std::vector<double> actual;
  for (int64_t m = 0; m < params.rows && columns > 0; ++m) {
    const int64_t first = (m * params.y_row_stride + params.column_begin) * element;
    const std::vector<double> part = test::to_doubles(y.data() + first, params.y_dtype, columns);
    actual.insert(actual.end(), part.begin(), part.end());
    std::memcpy(expected_bytes.data() + first, y.data() + first, static_cast<size_t>(columns * element));
  }
  EXPECT_TRUE(test::within(actual, ref.y, allowed_error(params, weights, ref), columns));
  EXPECT_TRUE(test::identical(y.copy(), expected_bytes)) << "bytes outside of the range were written";
}

// The same on rows of f32 without bias and residual.
inline void expect_matches(const TableRow& row, const gatun_nm_matmul_params& params, const Weights& weights,
                           const std::vector<float>& x) {
  GuardBuffer<float> input(x);
  input.make_read_only();
  GuardBuffer<uint8_t> y(params.rows * params.columns * 4);
  expect_matches(row, params, weights, input.data(), nullptr, nullptr, y);
}

}  // namespace gatun::nm_matmul
