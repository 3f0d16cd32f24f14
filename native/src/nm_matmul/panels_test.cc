// Panels that a kernel multiplies together, which takes hundreds of columns: against reference.cc, and bit for bit
// against the same columns one panel at a time.
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "nm_matmul/test_rows.h"

namespace gatun::nm_matmul {
namespace {

// On one thread panels meet from 8 on; the last group of them has all of its panels or not, the last panel all of its
// columns or not.
const std::vector<int64_t> kColumns = {449, 512, 577, 1090};
const std::vector<int64_t> kRows = {1, 2, 17, 97};
// With less than all kept as the last ones, which are stored with their zeros.
const std::vector<std::pair<int32_t, int32_t>> kPatterns = {{2, 4}, {1, 4}, {1, 8}, {3, 8}, {7, 8}, {4, 4}, {7, 8}};
constexpr size_t kStoredSparse = 5;

void compare(Rng& rng, const TableRow& row, const Weights& weights, int64_t rows) {
  gatun_nm_matmul_params params = params_for(weights, rows, mode_of(row));
  SCOPED_TRACE(testing::Message() << row.name << " " << name_of(weights) << ", rows " << rows);
  const std::vector<float> x = rng.normals(rows * params.depth);
  const Reference ref =
      reference(params, x.data(), weights.reference_weights(), nullptr, nullptr, weights.stored_dense());
  GuardBuffer<float> y(rows * params.columns), apart(rows * params.columns);
  ASSERT_EQ(run_row(row, params, weights, x.data(), nullptr, nullptr, y.data()), GATUN_OK);
  const std::vector<float> together = y.copy();
  EXPECT_TRUE(test::within(std::vector<double>(together.begin(), together.end()), ref.y,
                           allowed_error(params, weights, ref), params.columns));
  for (int64_t begin = 0; begin < params.columns; begin = params.column_end) {
    params.column_begin = begin;
    params.column_end = std::min(begin + kPanelColumns, params.columns);
    ASSERT_EQ(run_row(row, params, weights, x.data(), nullptr, nullptr, apart.data()), GATUN_OK);
  }
  EXPECT_TRUE(test::identical(together, apart.copy(), params.columns)) << "one panel at a time";
}

TEST(NmMatmulPanels, TogetherAreAsApart) {
  Rng rng(11);
  size_t turn = 0;
  for (const TableRow* row : rows_of_tier()) {
    for (const Scheme& scheme : kSchemes) {
      if (scheme.value_dtype != row->values) continue;
      for (size_t i = 0; i < kPatterns.size(); ++i) {
        const auto [n, m] = kPatterns[i];
        if (i < kStoredSparse && row->sparsest != 0 && m > row->sparsest * n) continue;
        Weights::Options options;
        options.dense = i < kStoredSparse ? GATUN_NM_DENSE_NEVER : GATUN_NM_DENSE_IF_FASTER;
        const int64_t depth = rng.integer(9, 75), columns = kColumns[turn % kColumns.size()];
        const Weights weights(rng, scheme, {n, m, columns, depth, rng.pick(groups_of(scheme, m, depth))}, options);
        // All rows meet all columns, patterns and types in some turn.
        compare(rng, *row, weights, kRows[(turn + turn / kColumns.size()) % kRows.size()]);
        ++turn;
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

// More depth than a piece of 512, and more rows than a block.
TEST(NmMatmulPanels, LongSumsAndManyRows) {
  Rng rng(12);
  for (const TableRow* row : rows_of_tier()) {
    const int64_t group = quantized(scheme_of(*row)) ? 160 : 0;
    for (const int64_t rows : {3, 97}) {
      compare(rng, *row, Weights(rng, scheme_of(*row), {3, 4, 577, 1100, group}, {}), rows);
    }
    compare(rng, *row, Weights(rng, scheme_of(*row), {1, 4, 577, 9, group == 0 ? 0 : 9}, {}), kBlockRows + 1);
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace gatun::nm_matmul
