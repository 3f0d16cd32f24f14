// Every row of the table that belongs to the tier in use (GATUN_MAX_ISA) against reference.cc: shapes, blocks of rows,
// threads and ranges; the table and explain. extremes_test.cc has the numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "base/dtype.h"
#include "gatun/gatun.h"
#include "gatun/qmatmul.h"
#include "qmatmul/reference.h"
#include "qmatmul/table.h"
#include "qmatmul/test_rows.h"
#include "qmatmul/test_weights.h"
#include "shapes.h"
#include "tolerance.h"

namespace gatun::qmatmul {
namespace {

// Depths around the padding (8), the vectors, the pieces (512) and the precise mode's blocks (128).
const std::vector<int64_t> kDepths = {0, 1, 7, 8, 9, 16, 17, 31, 32, 33, 65, 127, 128, 129, 257, 511, 512, 513, 1025};
const std::vector<int64_t> kColumns = {0, 1, 7, 15, 16, 17, 31, 33, 47, 49, 63, 64, 65, 127, 129};
const std::vector<int64_t> kRows = {0, 1, 2, 3, 4, 5, 7, 8, 9};

const std::vector<int32_t> kScaleTypes = {GATUN_F32, GATUN_F16, GATUN_E8M0, GATUN_F8E4M3};
const std::vector<int32_t> kGroupRows = {1, 1, 3, 64};

std::vector<int64_t> depths_of(const Scheme& scheme) {
  const gguf::Type* type = gguf::find_type(scheme.gguf_type);
  if (type == nullptr) return kDepths;
  const int64_t e = type->elements;
  return e == 32 ? std::vector<int64_t>{0, e, 2 * e, 3 * e, 15 * e, 16 * e, 17 * e, 33 * e}
                 : std::vector<int64_t>{0, e, 2 * e, 3 * e, 5 * e};
}
std::vector<int64_t> groups_of(const Scheme& scheme, int64_t depth) {
  return scheme.gguf_type != 0 ? std::vector<int64_t>(5) : test::group_sizes(depth);  // GGUF: five times the own one
}

TEST(QmatmulRows, AllShapesGroupsTypesAndEpilogues) {
  Rng rng(1);
  int64_t runs = 0;
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const Scheme& scheme : kSchemes) {
      if (!takes(*row, scheme)) continue;
      for (const int64_t depth : depths_of(scheme)) {
        for (const int64_t group : groups_of(scheme, depth)) {
          for (const int32_t mode : modes_of(*row)) {
            const Edge edge = test::kEdges[rng.integer(0, 1)];
            const int64_t columns = rng.pick(kColumns), rows = rng.pick(kRows);
            const Weights::Options options{false, rng.pick(kGroupRows), rng.integer(0, 1) ? 1.0f : 0.37f};
            const Weights weights(rng, scheme, rng.pick(kScaleTypes), columns, depth, group, edge, options);
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
                         << columns << " depth " << depth << " group " << group << " scheme " << scheme.name
                         << " scales " << dtype_name(weights.description.scale_dtype) << " of " << options.group_rows
                         << " rows, mode " << mode << " activation " << params.activation);
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
    const Scheme& scheme = scheme_of(*row);
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
    if (!is_integer(static_cast<Stored>(row->to))) continue;
    for (const Scheme& scheme : kSchemes) {
      if (!takes(*row, scheme)) continue;
      for (const int64_t least : {8, 100, 520}) {
        const int64_t rows = 5, columns = 81, depth = depth_for(scheme, least);
        const Weights weights(rng, scheme, rng.pick(kScaleTypes), columns, depth, std::min<int64_t>(depth, 36),
                              Edge::back, true);
        const int64_t group = weights.description.group;
        for (const int32_t mode : modes_of(*row)) {
          std::vector<float> x = rng.small_integers(rows * depth, -127, 127);
          for (int64_t k = 0; k < rows * depth; k += mode == GATUN_QMATMUL_INT8_GROUP ? 1 : depth) {
            if (k % depth % group == 0) x[k] = k % 2 ? 127.0f : -127.0f;
          }
          const gatun_qmatmul_params params = params_for(weights, rows, mode);
          const Reference ref = reference(params, x.data(), weights.reference_weights(), nullptr, nullptr);
          GuardBuffer<float> y(rows * columns);
          ASSERT_EQ(run(*row, {params, weights.layout(), x.data(), weights.packed->data(), nullptr, nullptr, y.data()}),
                    GATUN_OK);
          for (int64_t i = 0; i < rows * columns; ++i) ASSERT_EQ(y[i], ref.y[i]) << "element " << i;
        }
      }
    }
  }
}

// The products that calls ask for: x as it is multiplied, and a stored form.
std::vector<std::pair<int32_t, Stored>> products() {
  std::vector<std::pair<int32_t, Stored>> result;
  for (const Stored stored : {Stored::u4, Stored::u8, Stored::t4, Stored::b4, Stored::b8}) {
    for (const int32_t mode : {GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_PRECISE, GATUN_QMATMUL_BF16}) {
      if (takes_mode(stored, mode)) result.emplace_back(multiplied_dtype(mode), stored);
    }
  }
  return result;
}

// Activations that a call packs once serve all its weights: integers of every form, or other numbers of every form.
TEST(QmatmulTable, KernelsOfACallPackAlike) {
  for (int32_t tier = 0; tier < kTiers; ++tier) {
    for (const auto& [from, stored] : products()) {
      for (const auto& [other_from, other] : products()) {
        if (from != other_from || is_integer(stored) != is_integer(other)) continue;
        const TableRow& a = table().select(from, static_cast<int32_t>(stored), static_cast<Tier>(tier));
        const TableRow& b = table().select(from, static_cast<int32_t>(other), static_cast<Tier>(tier));
        SCOPED_TRACE(testing::Message() << tier_name(static_cast<Tier>(tier)) << ": " << a.name << ", " << b.name);
        EXPECT_EQ(a.kernel->pack_rows, b.kernel->pack_rows);
        EXPECT_EQ(a.kernel->value_bytes, b.kernel->value_bytes);
        EXPECT_EQ(a.kernel->piece_sums, b.kernel->piece_sums);
        EXPECT_EQ(a.kernel->scales, b.kernel->scales);
        EXPECT_EQ(a.kernel->tile_rows, b.kernel->tile_rows);
      }
    }
  }
}

// Rows without elements have a scale that is a number, whatever was in memory: 0 times it is 0.
TEST(QmatmulRows, RowsWithoutElementsHaveAScale) {
  for (const TableRow* row : rows_of_tier()) {
    if (row->from != GATUN_I8) continue;
    std::vector<float> scales(5, std::numeric_limits<float>::quiet_NaN());
    int8_t values[5 * 4];  // no packed value, but a place for them
    int32_t sums[5];
    Job job{};
    job.rows = 5;
    job.values = values;
    job.sums = sums;
    job.scales = scales.data();
    row->kernel->pack_rows(job, 0, job.rows);
    for (const float scale : scales) EXPECT_EQ(scale, 0.0f) << row->name;
  }
}

// Threads, ranges and the number of rows change nothing, bit for bit.
TEST(QmatmulRows, SameBitsForAnyThreadsRangesAndRows) {
  Rng rng(5);
  const int64_t rows = 70;
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const Scheme& scheme : kSchemes) {
      if (!takes(*row, scheme)) continue;
      // Of floats that codes index, kernels know the table alone; of integers, kinds of scales and offsets beside the
      // loops that the first scheme goes through in full.
      const bool in_full = scheme == scheme_of(*row);
      if (!is_integer(static_cast<Stored>(row->to)) && !in_full) continue;
      const int64_t columns = in_full ? 333 : 130, depth = depth_for(scheme, 700);
      const Weights weights(rng, scheme, rng.pick(kScaleTypes), columns, depth, 100, Edge::back);
      const std::vector<float> x = rng.normals(rows * depth), bias = rng.normals(columns);
      for (const int32_t mode : modes_of(*row)) {
        gatun_qmatmul_params params = params_for(weights, rows, mode);
        params.activation = GATUN_ACTIVATION_GELU;
        const Layout layout = weights.layout();
        const auto multiply = [&](const gatun_qmatmul_params& p, const float* x_rows, float* y) {
          ASSERT_EQ(run(*row, {p, layout, x_rows, weights.packed->data(), bias.data(), nullptr, y}), GATUN_OK);
        };
        std::vector<float> expected(static_cast<size_t>(rows * columns));
        multiply(params, x.data(), expected.data());
        for (int32_t threads = 2; threads <= 8; threads += in_full ? 1 : 3) {
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

TEST(Qmatmul, ResidualMayBeYItself) {
  Rng rng(8);
  const Weights weights(rng, kU4, GATUN_F16, 37, 64, 32, Edge::back);
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
  for (const auto& [x, weights] : products()) {
    Tier best = Tier::scalar;
    for (int tier = 0; tier < kTiers; ++tier) {
      const TableRow& row = table().select(x, static_cast<int32_t>(weights), static_cast<Tier>(tier));
      EXPECT_LE(row.tier, static_cast<Tier>(tier));
      EXPECT_GE(row.tier, best) << "a higher tier must not select a lower row";
      EXPECT_TRUE(tier_supported(row.tier));
      best = row.tier;
    }
  }
}

TEST(Qmatmul, ExplainNamesTheKernelAndWhatItPassedOver) {
  Rng rng(10);
  const Weights weights(rng, kU4, GATUN_F16, 100, 64, 32, Edge::back);
  const gatun_qmatmul_params params = params_for(weights, 10, GATUN_QMATMUL_INT8_ROW);
  char text[2048];
  ASSERT_EQ(gatun_qmatmul_explain(&params, weights.packed->data(), weights.packed->size(), text, sizeof(text)),
            GATUN_OK);
  const TableRow& row = table().select(GATUN_I8, static_cast<int32_t>(Stored::u4), active_tier());
  EXPECT_NE(std::strstr(text, row.name), nullptr) << text;
  const TableRow& best = *std::find_if(table().begin(), table().end(), [](const TableRow& other) {
    return other.converts(GATUN_I8, static_cast<int32_t>(Stored::u4));
  });
  EXPECT_EQ(std::strstr(text, "passed over") != nullptr, &row != &best) << text;
}

}  // namespace
}  // namespace gatun::qmatmul
