// Rows of the table for code books and small floats, in bf16 mode and in precise mode, on the tier in use
// (GATUN_MAX_ISA): what test.cc and extremes_test.cc do not ask of all rows.
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

}  // namespace
}  // namespace gatun::qmatmul
