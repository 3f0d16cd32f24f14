// Every row of the table that belongs to the tier in use (GATUN_MAX_ISA) against reference.cc: shapes, patterns, blocks
// of rows, threads and ranges; the table and explain. extremes_test.cc has the numbers, pack_test.cc the packed form.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "nm_matmul/test_rows.h"
#include "shapes.h"

namespace gatun::nm_matmul {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

const std::vector<int64_t> kRows = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 63, 64, 65};
const std::vector<int64_t> kColumns = {0, 1, 2, 7, 15, 16, 17, 31, 33, 47, 49, 63, 64, 65, 127, 129, 200};
const std::vector<int32_t> kVectors = {1, 1, 1, 2, 5, 64, 1000};

// Depths around groups, units of 8 slots, pieces of 512 and nothing.
std::vector<int64_t> depths_of(int32_t n, int32_t m) {
  const int64_t unit = (8 + n - 1) / n * m;
  return {0, 1, m - 1, m, m + 1, unit - 1, unit, unit + 1, 2 * unit + 1, 8 * unit, 511, 512, 513};
}

int64_t extent(int64_t rows, int64_t columns, int64_t stride) {
  return rows == 0 || columns == 0 ? 0 : (rows - 1) * stride + columns;
}

std::unique_ptr<GuardBuffer<uint8_t>> guarded(const std::vector<float>& values, int32_t dtype, Edge edge,
                                              int64_t misalignment = 0) {
  auto buffer = std::make_unique<GuardBuffer<uint8_t>>(test::from_floats(values, dtype), edge, misalignment);
  buffer->make_read_only();
  return buffer;
}

// What an earlier call leaves in scratch memory must not get into a later one.
void leave_nans_behind(const TableRow& row, gatun_nm_matmul_params params, const Weights& weights) {
  params.x_dtype = params.y_dtype = GATUN_F32;
  params.x_row_stride = params.depth;
  params.y_row_stride = params.columns;
  const std::vector<float> x(static_cast<size_t>(params.rows * params.depth), kNaN);
  std::vector<float> y(static_cast<size_t>(params.rows * params.columns));
  ASSERT_EQ(run_row(row, params, weights, x.data(), nullptr, nullptr, y.data()), GATUN_OK);
}

void try_shape(Rng& rng, const TableRow& row, const Weights& weights, int64_t rows, Edge edge) {
  const int64_t columns = weights.description.columns, depth = weights.description.depth;
  gatun_nm_matmul_params params = params_for(weights, rows, mode_of(row));
  leave_nans_behind(row, params, weights);
  params.x_dtype = rng.integer(0, 2) ? GATUN_F32 : GATUN_BF16;
  params.y_dtype = rng.integer(0, 2) ? GATUN_F32 : GATUN_BF16;
  params.activation = static_cast<int32_t>(rng.integer(0, 4));
  params.x_row_stride += rng.integer(0, 3);
  params.y_row_stride += rng.integer(0, 3);
  params.residual_row_stride += rng.integer(0, 3);
  if (rng.integer(0, 1)) {
    params.column_begin = rng.integer(0, columns);
    params.column_end = rng.integer(params.column_begin, columns);
  }
  SCOPED_TRACE(testing::Message() << name_of(weights) << ", rows " << rows << " columns " << params.column_begin << ".."
                                  << params.column_end << " x " << dtype_name(params.x_dtype) << " y "
                                  << dtype_name(params.y_dtype) << " activation " << params.activation);
  const auto x = guarded(rng.normals(extent(rows, depth, params.x_row_stride), 2.0f), params.x_dtype, edge,
                         edge == Edge::front ? dtype_bytes(params.x_dtype, 1) : 0);
  const auto residual = guarded(rng.normals(extent(rows, columns, params.residual_row_stride)), params.y_dtype, edge);
  const auto bias = guarded(rng.normals(columns), GATUN_F32, edge);
  GuardBuffer<uint8_t> y(extent(rows, columns, params.y_row_stride) * dtype_bytes(params.y_dtype, 1), edge);
  expect_matches(row, params, weights, x->data(),
                 rng.integer(0, 1) ? reinterpret_cast<const float*>(bias->data()) : nullptr,
                 rng.integer(0, 1) ? residual->data() : nullptr, y);
}

TEST(NmMatmulRows, AllPatternsShapesTypesAndEpilogues) {
  Rng rng(1);
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const auto& [n, m] : patterns_of(*row)) {
      for (const Scheme& scheme : kSchemes) {
        if (scheme.value_dtype != row->values) continue;
        for (int tries = 2; tries > 0; --tries) {
          Weights::Options options;
          options.edge = test::kEdges[rng.integer(0, 1)];
          options.misalignment = rng.integer(0, 3);
          const int64_t depth = rng.pick(depths_of(n, m));
          const Weights weights(
              rng, scheme, {n, m, rng.pick(kColumns), depth, rng.pick(groups_of(scheme, m, depth)), rng.pick(kVectors)},
              options);
          try_shape(rng, *row, weights, rng.pick(kRows), options.edge);
          if (testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

// Weights that are stored with their zeros.
TEST(NmMatmulRows, StoredDense) {
  Rng rng(2);
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const Scheme& scheme : kSchemes) {
      if (scheme.value_dtype != row->values) continue;
      for (const int32_t m : kAllM) {
        for (const int32_t n : {m, m - 1}) {
          for (const int64_t depth : {int64_t{m} - 1, rng.pick(depths_of(n, m)), int64_t{700}}) {
            Weights::Options options;
            options.dense = GATUN_NM_DENSE_IF_FASTER;
            const Weights weights(
                rng, scheme,
                {n, m, rng.pick(kColumns), depth, rng.pick(groups_of(scheme, m, depth)), rng.pick(kVectors)}, options);
            EXPECT_TRUE(n < m || depth == 0 || weights.description.columns == 0 || weights.stored_dense());
            try_shape(rng, *row, weights, rng.pick(kRows), options.edge);
            if (testing::Test::HasFailure()) return;
          }
        }
      }
    }
  }
}

// Sizes that no tile divides, and more depth than a piece.
TEST(NmMatmulRows, LongSums) {
  Rng rng(3);
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const Scheme& scheme : kSchemes) {
      if (scheme.value_dtype != row->values) continue;
      for (const auto& [n, m] :
           std::vector<std::pair<int32_t, int32_t>>{{2, 4}, {1, 4}, {1, 2}, {3, 8}, {5, 16}, {7, 32}}) {
        if (row->sparsest != 0 && m > row->sparsest * n) continue;
        const int64_t depth = 2600 + rng.integer(0, 70);
        const Weights weights(rng, scheme, {n, m, 67, depth, rng.pick(groups_of(scheme, m, depth))}, {});
        for (const int64_t rows : {1, 19, 70}) {
          SCOPED_TRACE(name_of(weights));
          expect_matches(*row, params_for(weights, rows, mode_of(*row)), weights, rng.normals(rows * depth));
        }
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

TEST(NmMatmulRows, MoreRowsThanABlock) {
  Rng rng(4);
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const int64_t rows : {kBlockRows - 1, kBlockRows, kBlockRows + 1, 2 * kBlockRows + 1}) {
      const Weights weights(rng, scheme_of(*row), {2, 4, 65, 48, quantized(scheme_of(*row)) ? 32 : 0}, {});
      for (const int32_t threads : {1, 3}) {
        gatun_nm_matmul_params params = params_for(weights, rows, mode_of(*row));
        params.threads = threads;
        expect_matches(*row, params, weights, rng.normals(rows * 48));
      }
    }
  }
}

// Small integers, scales of 1, every row of x holds 127: sums are integers below 2^24, y is exact in all modes.
TEST(NmMatmulRows, SmallIntegersAreExact) {
  Rng rng(5);
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const auto& [n, m] : patterns_of(*row)) {
      for (const Scheme& scheme : kSchemes) {
        if (scheme.value_dtype != row->values) continue;
        const int64_t rows = rng.pick(std::vector<int64_t>{1, 5, 70}), columns = 81, depth = rng.integer(1, 700);
        Weights::Options options;
        options.integers = true;
        const Weights weights(rng, scheme, {n, m, columns, depth, rng.pick(groups_of(scheme, m, depth))}, options);
        SCOPED_TRACE(name_of(weights));
        std::vector<float> x = rng.small_integers(rows * depth, -127, 127);
        for (int64_t k = 0; k < rows * depth; k += depth) x[static_cast<size_t>(k)] = k % 2 ? 127.0f : -127.0f;
        const gatun_nm_matmul_params params = params_for(weights, rows, mode_of(*row));
        const Reference ref = reference(params, x.data(), weights.reference_weights(), nullptr, nullptr);
        std::vector<float> y(static_cast<size_t>(rows * columns));
        ASSERT_EQ(run_row(*row, params, weights, x.data(), nullptr, nullptr, y.data()), GATUN_OK);
        for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(y[i], ref.y[i]) << "element " << i;
      }
    }
  }
}

// Through the entry, as kernels for few and for many rows must agree, too.
class Calls {
 public:
  Calls(Rng& rng, const Weights& weights, int64_t rows, int32_t mode)
      : params(params_for(weights, rows, mode)),
        weights_(weights),
        x_(rng.normals(rows * params.depth)),
        bias_(rng.normals(params.columns)) {
    params.activation = GATUN_ACTIVATION_GELU;
  }
  // Rows from `first_row` on, as params says.
  void multiply(int64_t first_row, std::vector<float>& y, Tier limit = active_tier()) const {
    ASSERT_EQ(run_matmul(limit, &params, x_.data() + first_row * params.depth, weights_.packed->data(),
                         weights_.packed->size(), bias_.data(), nullptr, y.data() + first_row * params.columns),
              GATUN_OK)
        << gatun_last_error();
  }
  std::vector<float> all(Tier limit = active_tier()) const {
    std::vector<float> y(static_cast<size_t>(params.rows * params.columns), kNaN);
    multiply(0, y, limit);
    return y;
  }

  gatun_nm_matmul_params params;

 private:
  const Weights& weights_;
  const std::vector<float> x_, bias_;
};

const std::vector<std::pair<int32_t, int32_t>> kSomePatterns = {{2, 4}, {1, 4},  {3, 4},  {1, 2}, {1, 8},
                                                                {4, 8}, {5, 16}, {7, 32}, {4, 4}};

// Threads, ranges and the number of rows change nothing, bit for bit.
TEST(NmMatmul, SameBitsForAnyThreadsRangesAndRows) {
  Rng rng(6);
  for (const auto& [n, m] : kSomePatterns) {
    for (const Scheme& scheme : kSchemes) {
      const int64_t rows = 200, columns = m == 4 ? 130 : 70, depth = 60 + rng.integer(0, 100);
      Weights::Options options;
      options.dense = n == m ? GATUN_NM_DENSE_IF_FASTER : GATUN_NM_DENSE_NEVER;
      const Weights weights(rng, scheme, {n, m, columns, depth, rng.pick(groups_of(scheme, m, depth))}, options);
      for (const int32_t mode : modes_of(scheme)) {
        SCOPED_TRACE(testing::Message() << name_of(weights) << " mode " << mode);
        Calls calls(rng, weights, rows, mode);
        const std::vector<float> expected = calls.all();
        for (const int32_t threads : {3, 8}) {
          calls.params.threads = threads;
          EXPECT_TRUE(test::identical(calls.all(), expected, columns)) << threads << " threads";
        }
        calls.params.threads = 1;
        std::vector<float> y(expected.size());
        for (int64_t end = columns; end > 0; end = calls.params.column_begin) {
          calls.params.column_end = end;
          calls.params.column_begin = std::max<int64_t>(0, end - rng.integer(1, 90));
          calls.multiply(0, y);  // descending, so that a range which begins too early spoils the next
        }
        EXPECT_TRUE(test::identical(y, expected, columns)) << "ranges";
        calls.params.column_end = columns;
        // Numbers of rows around those where another kernel, or another loop of it, takes over: 4 and 32, of floats 64,
        // and 12 on avx2.
        for (const std::vector<int64_t>& parts :
             {std::vector<int64_t>{63, 1, 64, 65, 7}, {33, 32, 31, 11, 12, 13, 1, 2, 3, 4, 5, 53}}) {
          std::fill(y.begin(), y.end(), kNaN);
          int64_t first = 0;
          for (const int64_t part : parts) {
            calls.params.rows = part;
            calls.multiply(first, y);
            first += part;
          }
          ASSERT_EQ(first, rows);
          EXPECT_TRUE(test::identical(y, expected, columns)) << "from " << parts[0] << " rows on";
        }
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

TEST(NmMatmul, Int8IsTheSameOnEveryTier) {
  Rng rng(7);
  for (const auto& [n, m] : kSomePatterns) {
    for (const Scheme& scheme : kSchemes) {
      if (!quantized(scheme)) continue;
      for (const int64_t rows : {1, 4, 70}) {
        const int64_t depth = 500 + rng.integer(0, 700);
        const Weights weights(rng, scheme, {n, m, 99, depth, rng.pick(groups_of(scheme, m, depth))}, {});
        SCOPED_TRACE(testing::Message() << name_of(weights) << " rows " << rows);
        Calls calls(rng, weights, rows, GATUN_NM_INT8);
        calls.params.activation = GATUN_ACTIVATION_RELU;
        const std::vector<float> expected = calls.all(Tier::scalar);
        for (int tier = 1; tier < kTiers; ++tier) {
          EXPECT_TRUE(test::identical(calls.all(static_cast<Tier>(tier)), expected, 99))
              << tier_name(static_cast<Tier>(tier));
        }
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

TEST(NmMatmul, ResidualMayBeYItself) {
  Rng rng(8);
  for (const Scheme& scheme : kSchemes) {
    const Weights weights(rng, scheme, {2, 4, 70, 64, quantized(scheme) ? 32 : 0}, {});
    for (const int32_t mode : modes_of(scheme)) {
      for (const int64_t rows : {1, 37}) {
        const gatun_nm_matmul_params params = params_for(weights, rows, mode);
        const std::vector<float> x = rng.normals(rows * 64), residual = rng.normals(rows * 70);
        std::vector<float> expected(residual.size()), y = residual;
        const uint8_t* packed = weights.packed->data();
        const int64_t bytes = weights.packed->size();
        ASSERT_EQ(gatun_nm_matmul(&params, x.data(), packed, bytes, nullptr, residual.data(), expected.data()),
                  GATUN_OK);
        ASSERT_EQ(gatun_nm_matmul(&params, x.data(), packed, bytes, nullptr, y.data(), y.data()), GATUN_OK)
            << gatun_last_error();
        EXPECT_TRUE(test::identical(y, expected));
        EXPECT_FALSE(test::identical(y, residual));
      }
    }
  }
}

TEST(NmMatmul, EveryProductHasAKernelOnEveryTier) {
  Rng rng(9);
  for (const Scheme& scheme : kSchemes) {
    for (const int32_t m : kAllM) {
      for (const int32_t n : {1, 2, m}) {
        const gatun_nm_weights w{sizeof(w), n, m,  1,  scheme.value_dtype,        scheme.zero_point, scheme.scale_dtype,
                                 0,         0, 64, 64, quantized(scheme) ? 64 : 0};
        for (const bool dense : {false, true}) {
          const Layout layout(w, dense);
          for (const int32_t mode : modes_of(scheme)) {
            for (const int64_t rows : {1, 8, 1000}) {
              gatun_nm_matmul_params params{};
              params.mode = mode;
              params.rows = rows;
              Tier best = Tier::scalar;
              for (int tier = 0; tier < kTiers; ++tier) {
                const TableRow& row = select(params, layout, static_cast<Tier>(tier));
                EXPECT_LE(row.tier, static_cast<Tier>(tier));
                EXPECT_GE(row.tier, best) << "a higher tier must not select a lower row";
                EXPECT_TRUE(tier_supported(row.tier));
                EXPECT_TRUE(row.takes(multiplied_dtype(mode), layout));
                EXPECT_LE(row.least_rows, rows);
                best = row.tier;
              }
            }
          }
        }
      }
    }
  }
}

// Every row of the table is the best for some product.
TEST(NmMatmul, NoKernelIsHiddenByAnother) {
  for (const TableRow& row : table()) {
    if (!tier_supported(row.tier)) continue;
    const gatun_nm_weights w = weights_for(row, 64, 64);
    const gatun_nm_matmul_params params = params_for(w, row.least_rows, mode_of(row));
    EXPECT_STREQ(select(params, Layout(w, false), row.tier).name, row.name);
  }
}

TEST(NmMatmul, ExplainNamesTheKernelAndWhatItPassedOver) {
  Rng rng(10);
  for (const Scheme& scheme : kSchemes) {
    for (const bool dense : {false, true}) {
      Weights::Options options;
      options.dense = dense;
      const Weights weights(rng, scheme, {dense ? 4 : 1, 4, 300, 64, quantized(scheme) ? 64 : 0}, options);
      for (const int32_t mode : modes_of(scheme)) {
        for (const int64_t rows : {0, 1, 100, 5000}) {
          const gatun_nm_matmul_params params = params_for(weights, rows, mode);
          char text[2048];
          ASSERT_EQ(
              gatun_nm_matmul_explain(&params, weights.packed->data(), weights.packed->size(), text, sizeof(text)),
              GATUN_OK)
              << gatun_last_error();
          const TableRow& chosen = select(params, weights.layout(), active_tier());
          EXPECT_EQ(std::strncmp(text, chosen.name, std::strlen(chosen.name)), 0) << text;
          EXPECT_NE(std::strstr(text, dense ? "stored dense" : "stored sparse"), nullptr) << text;
          EXPECT_NE(std::strstr(text, rows == 0 ? "nothing to do" : "thread"), nullptr) << text;
          for (const TableRow* row = table().begin(); row != &chosen; ++row) {
            const bool other = row->x != chosen.x || row->values != chosen.values;
            const std::string passed = std::string("passed over: ") + row->name + " (";
            EXPECT_EQ(std::strstr(text, passed.c_str()) == nullptr, other) << text;
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace gatun::nm_matmul
