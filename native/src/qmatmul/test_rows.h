// What the tests of the table's rows share: running a row against reference.cc, and the bound that it must keep.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <vector>

#include "base/dtype.h"
#include "gatun/gatun.h"
#include "gatun/qmatmul.h"
#include "qmatmul/reference.h"
#include "qmatmul/table.h"
#include "qmatmul/test_weights.h"
#include "tolerance.h"

namespace gatun::qmatmul {

// Elements of a float dtype at the end (or the start) of accessible memory, read-only.
inline std::unique_ptr<GuardBuffer<uint8_t>> guarded(const std::vector<float>& values, int32_t dtype, Edge edge,
                                                     int64_t misalignment = 0) {
  auto buffer = std::make_unique<GuardBuffer<uint8_t>>(test::from_floats(values, dtype), edge, misalignment);
  buffer->make_read_only();
  return buffer;
}

inline double pieces_of(const Weights& weights) { return static_cast<double>(weights.layout().pieces()); }

// Bound of tile_i8.h and tile_f32.h, through activations with a slope of at most 1.13; their own errors (math.h) are
// relative to their value, which is at most the sum's magnitude, and have a test of their own
// (ActivationsKeepTheirBounds).
inline std::vector<double> allowed_error(const TableRow& row, const gatun_qmatmul_params& params,
                                         const Weights& weights, const Reference& ref) {
  const bool integers = row.kernel->piece_sums > 0;
  const double depth = static_cast<double>(weights.description.depth);
  const double steps = integers                            ? 2 * pieces_of(weights)
                       : params.mode == GATUN_QMATMUL_BF16 ? depth / 2 + 2 * pieces_of(weights)
                                                           : depth;
  const bool activated = params.activation != GATUN_ACTIVATION_NONE;
  std::vector<double> allowed(ref.y.size());
  for (size_t i = 0; i < allowed.size(); ++i) {
    // Below 2^-126 a rounding costs up to 2^-150, however small the terms are.
    const double other = integers || params.mode == GATUN_QMATMUL_BF16 ? ref.fixed_point[i] : 0.0;
    const double sum = 0x1p-23 * (steps + 8) * ref.magnitude[i] + steps * 0x1p-149 + other;
    allowed[i] = (activated ? 1.13 * sum + 0x1p-19 * std::fabs(ref.activated[i]) + 0x1p-40 : sum) +
                 test::unit_in_last_place(params.y_dtype, ref.y[i]);
  }
  return allowed;
}

// Runs a row of the table directly and compares all of y with the reference.
inline void expect_matches(const TableRow& row, const gatun_qmatmul_params& params, const Weights& weights,
                           const void* x, const float* bias, const void* residual, GuardBuffer<uint8_t>& y) {
  const Layout layout = weights.layout();
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

inline std::vector<const TableRow*> rows_of_tier() {
  std::vector<const TableRow*> rows;
  for (const TableRow& row : table()) {
    if (row.tier == active_tier()) rows.push_back(&row);
  }
  return rows;
}

inline bool takes(const TableRow& row, const Scheme& scheme) {
  gatun_qmatmul_weights description{};
  description.code_dtype = scheme.code_dtype;
  description.book = scheme.book;
  description.zero_point = scheme.zero_point;
  description.gguf_type = scheme.gguf_type;
  description.group = 32;
  return row.to == stored_form(Layout(description, scheme.integer_book));
}

// The first scheme that a row takes.
inline const Scheme& scheme_of(const TableRow& row) {
  return *std::find_if(std::begin(kSchemes), std::end(kSchemes), [&](const Scheme& s) { return takes(row, s); });
}

inline std::vector<int32_t> modes_of(const TableRow& row) {
  if (row.from == GATUN_F32) return {GATUN_QMATMUL_PRECISE};
  if (row.from == GATUN_BF16) return {GATUN_QMATMUL_BF16};
  return {GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP};
}

}  // namespace gatun::qmatmul
