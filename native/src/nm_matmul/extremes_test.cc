// Every row of the table that belongs to the tier in use (GATUN_MAX_ISA) at the ends of what it takes: values, codes
// and activations that are huge, tiny, far apart or not finite; and what its sums are, bit for bit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "nm_matmul/test_rows.h"
#include "qmatmul/test_activations.h"

namespace gatun::nm_matmul {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> product(const TableRow& row, const gatun_nm_matmul_params& params, const Weights& weights,
                           const std::vector<float>& x) {
  std::vector<float> y(static_cast<size_t>(params.rows * params.columns), kNaN);
  EXPECT_EQ(run_row(row, params, weights, x.data(), nullptr, nullptr, y.data()), GATUN_OK);
  return y;
}

// Calls of(row, n, m, scheme) for the patterns and types that each row of the tier takes.
template <class Of>
void for_all(const std::vector<std::pair<int32_t, int32_t>>& patterns, Of of) {
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const auto& [n, m] : patterns) {
      if (row->sparsest != 0 && m > row->sparsest * n) continue;
      for (const Scheme& scheme : kSchemes) {
        if (scheme.value_dtype != row->values) continue;
        of(*row, n, m, scheme);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

const std::vector<std::pair<int32_t, int32_t>> kPatterns = {{2, 4}, {1, 4},  {3, 4},  {1, 2},  {2, 2},  {1, 8},  {4, 8},
                                                            {7, 8}, {1, 16}, {5, 16}, {1, 32}, {3, 32}, {31, 32}};

// The header's sums of the mode F32: in ascending depth, one fma for each kept weight.
TEST(NmMatmulRows, F32SumsAreTheDocumentedOnes) {
  Rng rng(21);
  for_all(kPatterns, [&](const TableRow& row, int32_t n, int32_t m, const Scheme& scheme) {
    if (row.x != GATUN_F32) return;
    const int64_t rows = rng.pick(std::vector<int64_t>{1, 6, 70}), columns = 83, depth = rng.integer(500, 1200);
    const Weights weights(rng, scheme, {n, m, columns, depth, rng.pick(groups_of(scheme, m, depth))}, {});
    SCOPED_TRACE(name_of(weights));
    const std::vector<float> x = rng.normals(rows * depth);
    const std::vector<float> y = product(row, params_for(weights, rows, GATUN_NM_F32), weights, x);
    const ReferenceWeights reference = weights.reference_weights();
    const int64_t kept = (depth + m - 1) / m * n;
    for (int64_t column = 0; column < columns; ++column) {
      for (int64_t r = 0; r < rows; ++r) {
        float sum = 0;
        for (int64_t slot = 0; slot < kept; ++slot) {
          const ReferenceWeight weight = reference_weight(reference, GATUN_NM_F32, column, slot);
          if (weight.depth < depth) sum = std::fma(x[r * depth + weight.depth], static_cast<float>(weight.value), sum);
        }
        ASSERT_EQ(y[r * columns + column], sum) << "row " << r << " column " << column;
      }
    }
  });
}

// One kept weight a column, whatever its code and scale: the product is rounded once.
TEST(NmMatmulRows, CodesCountAsTheirRoundedProducts) {
  Rng rng(22);
  for_all({{1, 8}}, [&](const TableRow& row, int32_t n, int32_t m, const Scheme& scheme) {
    if (row.x != GATUN_F32 || !quantized(scheme)) return;
    const int64_t columns = 300;
    const Weights weights(rng, scheme, {n, m, columns, m, m}, {});
    const std::vector<float> x(static_cast<size_t>(m), 1.0f);
    const std::vector<float> y = product(row, params_for(weights, 1, GATUN_NM_F32), weights, x);
    for (int64_t column = 0; column < columns; ++column) {
      ASSERT_EQ(y[column], reference_weight(weights.reference_weights(), GATUN_NM_F32, column, 0).value);
    }
  });
}

// The extremes of every code with the extremes of every activation, over more than a piece: sums of a piece are
// integers below 2^24, and so exact.
TEST(NmMatmulRows, ExtremeCodesDoNotOverflow) {
  Rng rng(23);
  for_all({{2, 4}, {1, 2}, {2, 2}, {4, 4}, {7, 8}, {16, 16}, {32, 32}}, [&](const TableRow& row, int32_t n, int32_t m,
                                                                            const Scheme& scheme) {
    if (!quantized(scheme)) return;
    Weights::Options options;
    options.integers = true;
    const int64_t rows = rng.pick(std::vector<int64_t>{5, 70}), columns = 80, depth = 1024;
    Weights weights(rng, scheme, {n, m, columns, depth, depth}, options);
    SCOPED_TRACE(name_of(weights));
    const bool four_bits = scheme.value_dtype == GATUN_U4;
    for (const auto& [code, zero] : four_bits ? std::vector<std::pair<int, int>>{{0, 15}, {15, 0}, {15, 15}}
                                              : std::vector<std::pair<int, int>>{{-128, 0}, {-127, 0}, {127, 0}}) {
      weights.make_codes(code, zero);
      for (const float value : {-127.0f, 127.0f}) {
        const std::vector<float> x(static_cast<size_t>(rows * depth), value);
        const gatun_nm_matmul_params params = params_for(weights, rows, mode_of(row));
        const Reference ref = reference(params, x.data(), weights.reference_weights(), nullptr, nullptr);
        const std::vector<float> y = product(row, params, weights, x);
        for (size_t i = 0; i < y.size(); ++i) {
          ASSERT_EQ(y[i], ref.y[i]) << "element " << i << ", code " << code << " x " << value;
        }
      }
    }
  });
}

// NaN and infinity go where the formula takes them, and nowhere else: not to columns that prune their depth, nor to the
// weights that fill a unit up, which meet the x of other groups.
TEST(NmMatmulRows, NotFiniteActivationsGoWhereTheFormulaTakesThem) {
  Rng rng(24);
  for_all(kPatterns, [&](const TableRow& row, int32_t n, int32_t m, const Scheme& scheme) {
    const std::vector<int64_t> depths = {m + 1, 3 * m - 1, 7 * m, 130};
    const int64_t rows = rng.pick(std::vector<int64_t>{19, 97}), columns = 70, depth = rng.pick(depths),
                  group = groups_of(scheme, m, depth).back();
    const Weights weights(rng, scheme,
                          {n, m, columns, depth,
                           rng.integer(0, 1)   ? group
                           : quantized(scheme) ? depth
                                               : 0},
                          {});
    SCOPED_TRACE(name_of(weights));
    gatun_nm_matmul_params params = params_for(weights, rows, mode_of(row));
    params.activation = rng.pick(qmatmul::kActivations);
    std::vector<float> x = rng.normals(rows * depth);
    const std::vector<float> clean = product(row, params, weights, x);
    for (const int64_t r : {1, 3, 5, 17}) {
      x[r * depth + rng.integer(0, depth - 1)] = r == 1 ? kNaN : r == 3 ? kInfinity : -kInfinity;
      if (r == 17 && row.x == GATUN_BF16) x[r * depth + rng.integer(0, depth - 1)] = 3.4e38f;  // infinite as bf16
    }
    const std::vector<float> y = product(row, params, weights, x);
    const Reference ref = reference(params, x.data(), weights.reference_weights(), nullptr, nullptr);
    for (int64_t i = 0; i < rows * columns; ++i) {
      const int64_t r = i / columns;
      const bool changed = r == 1 || r == 3 || r == 5 || r == 17;
      if (!changed) {
        ASSERT_EQ(y[i], clean[i]) << "row " << r << " column " << i % columns;
      } else if (!std::isfinite(ref.y[i])) {
        ASSERT_EQ(std::isnan(y[i]), std::isnan(ref.y[i])) << "row " << r << " column " << i % columns << ": " << y[i];
        ASSERT_TRUE(std::isnan(y[i]) || y[i] == ref.y[i]) << "row " << r << " column " << i % columns << ": " << y[i];
      } else {
        ASSERT_TRUE(std::isfinite(y[i])) << "row " << r << " column " << i % columns << ": " << y[i];
      }
    }
  });
}

// Subnormal and huge activations; in INT8, rows whose scale is below 2^-120 count as zeros.
TEST(NmMatmulRows, TinyAndHugeActivations) {
  Rng rng(25);
  for_all({{2, 4}, {3, 8}}, [&](const TableRow& row, int32_t n, int32_t m, const Scheme& scheme) {
    for (const float magnitude : {0.0f, 1e-44f, 1e-40f, 0x1p-126f, 0x1p-114f, 0x1p-113f, 0x1p-112f, 1e30f, 1e36f}) {
      const Weights weights(rng, scheme, {n, m, 33, 44, quantized(scheme) ? 16 : 0}, {});
      SCOPED_TRACE(testing::Message() << name_of(weights) << " x " << magnitude);
      expect_matches(row, params_for(weights, 3, mode_of(row)), weights, rng.normals(3 * 44, magnitude));
    }
  });
}

// Each row of x has its own scale in INT8.
TEST(NmMatmulRows, RowsOfDifferentSizeDoNotMeet) {
  Rng rng(26);
  for_all({{2, 4}}, [&](const TableRow& row, int32_t n, int32_t m, const Scheme& scheme) {
    const int64_t rows = 35, depth = 100;
    const Weights weights(rng, scheme, {n, m, 40, depth, quantized(scheme) ? 32 : 0}, {});
    std::vector<float> x = rng.normals(rows * depth);
    for (int64_t i = 0; i < rows * depth; ++i) x[i] *= std::ldexp(1.0f, static_cast<int>(i / depth * 7 % 60 - 30));
    expect_matches(row, params_for(weights, rows, mode_of(row)), weights, x);
  });
}

// Floats of every size a format has: all f16, and f32 and bf16 from subnormals to 2^60.
TEST(NmMatmulRows, ValuesOfEverySize) {
  Rng rng(27);
  for_all({{2, 4}, {1, 4}, {5, 8}}, [&](const TableRow& row, int32_t n, int32_t m, const Scheme& scheme) {
    if (quantized(scheme)) return;
    const int64_t rows = 9, columns = 64, depth = 200;
    Weights weights(rng, scheme, {n, m, columns, depth, 0}, {});
    if (scheme.value_dtype == GATUN_F16) {
      uint16_t* values = reinterpret_cast<uint16_t*>(weights.values->data());
      for (int64_t i = 0; i < weights.values->size() / 2; ++i) {
        values[i] = static_cast<uint16_t>(rng.integer(0, 0x7bff) | rng.integer(0, 1) << 15);
      }
    } else {
      const int64_t element = dtype_bytes(scheme.value_dtype, 1), count = weights.values->size() / element;
      std::vector<float> values = rng.normals(count);
      for (float& value : values) value = std::ldexp(value, static_cast<int>(rng.integer(-145, 60)));
      const std::vector<unsigned char> bytes = test::from_floats(values, scheme.value_dtype);
      std::memcpy(weights.values->data(), bytes.data(), bytes.size());
    }
    weights.repack();
    expect_matches(row, params_for(weights, rows, mode_of(row)), weights, rng.normals(rows * depth));
  });
}

// The largest and the smallest scales: nothing overflows on the way to a result that does not.
TEST(NmMatmulRows, ExtremeScales) {
  Rng rng(28);
  for_all({{2, 4}, {1, 8}}, [&](const TableRow& row, int32_t n, int32_t m, const Scheme& scheme) {
    if (!quantized(scheme)) return;
    const bool f16 = scheme.scale_dtype == GATUN_F16;
    // In INT8, scales multiply sums, which would become subnormal.
    const float least = row.x == GATUN_I8 ? 0x1p-100f : 0x1p-140f;
    for (const float scale : f16 ? std::vector<float>{65504.0f, -65504.0f, 0x1p-24f, 0.0f}
                                 : std::vector<float>{0x1p64f, -0x1p64f, 0x1p-24f, least, 0.0f}) {
      for (const float magnitude : {0x1p-112f, 0x1p-60f, 1.0f, 0x1p40f}) {
        Weights weights(rng, scheme, {n, m, 20, 35, 35}, {});
        const std::vector<unsigned char> bytes = test::from_floats(std::vector<float>(20, scale), scheme.scale_dtype);
        std::memcpy(weights.scales->data(), bytes.data(), bytes.size());
        weights.repack();
        SCOPED_TRACE(testing::Message() << name_of(weights) << " scale " << scale << " x " << magnitude);
        expect_matches(row, params_for(weights, 2, mode_of(row)), weights, rng.normals(2 * 35, magnitude));
      }
    }
  });
}

// With depth 0, y is the activation of the bias: the functions of simd/math.h against double, with their bounds.
TEST(NmMatmulRows, DepthZeroGivesTheActivatedBias) {
  const std::vector<float> bias = qmatmul::activated_values();
  Rng rng(29);
  const int64_t columns = static_cast<int64_t>(bias.size());
  for_all({{2, 4}}, [&](const TableRow& row, int32_t n, int32_t m, const Scheme& scheme) {
    const Weights weights(rng, scheme, {n, m, columns, 0, 0}, {});
    gatun_nm_matmul_params params = params_for(weights, 1, mode_of(row));
    for (const int32_t activation : qmatmul::kActivations) {
      params.activation = activation;
      std::vector<float> y(bias.size());
      ASSERT_EQ(run_row(row, params, weights, nullptr, bias.data(), nullptr, y.data()), GATUN_OK);
      const Reference ref = reference(params, nullptr, weights.reference_weights(), bias.data(), nullptr);
      qmatmul::expect_activated(activation, bias, ref.y, y);
    }
  });
}

}  // namespace
}  // namespace gatun::nm_matmul
