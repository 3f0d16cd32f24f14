// Every row of the table that belongs to the tier in use (GATUN_MAX_ISA) at the ends of what it takes: codes,
// activations and scales that are huge, tiny, far apart or not finite.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/dtype.h"
#include "gatun/gatun.h"
#include "gatun/qmatmul.h"
#include "qmatmul/reference.h"
#include "qmatmul/table.h"
#include "qmatmul/test_activations.h"
#include "qmatmul/test_rows.h"
#include "qmatmul/test_weights.h"
#include "tolerance.h"

namespace gatun::qmatmul {
namespace {

// The extremes of every code with the extremes of every activation, at the greatest depth of one piece and beyond. With
// 127, and in 24 bits with 127 * 65536, sums are multiples of it below 2^24 and so exact; 8,355,710 has the digits 127,
// 127, 126 and is the largest code, 8,355,709.5 is rounded to it, 8,323,200 has 127, 1, -128.
TEST(QmatmulRows, ExtremesDoNotOverflow) {
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const Scheme& scheme : kSchemes) {
      if (!takes(*row, scheme)) continue;
      for (const float value :
           {-127.0f, 127.0f, -8355710.0f, 8355710.0f, -8355709.5f, 8355709.5f, -8323200.0f, 8323200.0f}) {
        for (const bool high : {false, true}) {
          Rng rng(4);
          const int64_t depth = 1024, columns = 64, rows = 4;
          Weights weights(rng, scheme, GATUN_F32, columns, depth, depth, Edge::back, true);
          weights.make_extreme(high);
          const std::vector<float> x(static_cast<size_t>(rows * depth), value);
          for (const int32_t mode : modes_of(*row)) {
            const gatun_qmatmul_params params = params_for(weights, rows, mode);
            const Reference ref = reference(params, x.data(), weights.reference_weights(), nullptr, nullptr);
            std::vector<float> y(static_cast<size_t>(rows * columns));
            ASSERT_EQ(
                run(*row, {params, weights.layout(), x.data(), weights.packed->data(), nullptr, nullptr, y.data()}),
                GATUN_OK);
            // Sums of what super-scales multiply may take more than 24 bits.
            const bool exact = weights.layout().scale_kind() != ScaleKind::super;
            if (std::fabs(value) == 127.0f && row->kernel->piece_sums > 0 && exact) {
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
    for (const Scheme& scheme : {kI8, kU4}) {
      if (!takes(*row, scheme)) continue;
      const int64_t columns = 17, depth = 40;
      Weights weights(rng, scheme, GATUN_F32, columns, depth, depth, Edge::back, true);
      const bool four_bits = scheme == kU4;
      for (int64_t n = 0; n < columns; ++n) {
        uint8_t* codes = &weights.codes[n * dtype_bytes(weights.description.code_dtype, depth)];
        if (four_bits) {
          codes[0] = 8 + 16 * 9;
        } else {
          codes[0] = 0, codes[1] = 1;
        }
      }
      weights.repack();
      for (const float small : {0x1p-22f, -0x1p-22f, 0x1.fffp-24f}) {
        std::vector<float> x(static_cast<size_t>(depth)), y(static_cast<size_t>(columns));
        x[0] = -1.0f;
        x[1] = small;
        const gatun_qmatmul_params params = params_for(weights, 1, GATUN_QMATMUL_PRECISE);
        ASSERT_EQ(run(*row, {params, weights.layout(), x.data(), weights.packed->data(), nullptr, nullptr, y.data()}),
                  GATUN_OK);
        for (const float value : y) EXPECT_LE(std::fabs(value - small), std::fabs(small) == 0x1p-22f ? 0 : 0x1p-23f);
      }
    }
  }
}

// Numbers of very different size in a row: each piece keeps its own precision.
TEST(QmatmulRows, WideRangesOfActivations) {
  Rng rng(13);
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const Scheme& scheme : kSchemes) {
      if (!takes(*row, scheme)) continue;
      for (const int64_t group : {16, 40, 700}) {
        const int64_t rows = 5, columns = 70, depth = depth_for(scheme, 700);
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

TEST(QmatmulRows, NotFiniteRowsAreNaNAndOthersUntouched) {
  Rng rng(6);
  const int64_t rows = 6, columns = 20, depth = 70;
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    const Scheme& scheme = scheme_of(*row);
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
        const Layout layout = weights.layout();
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
    const Scheme& scheme = scheme_of(*row);
    for (const float magnitude : {1e-44f, 1e-40f, 0x1p-126f, 0x1p-114f, 0x1p-113f, 0x1p-112f, 1e30f, 1e36f}) {
      const Weights weights(rng, scheme, GATUN_F32, 33, 40, 16, Edge::back);
      for (const int32_t mode : modes_of(*row)) {
        // Codes stand for up to 57,344 there, and a piece's sum meets its scale last: it may overflow before.
        if (mode == GATUN_QMATMUL_BF16 && magnitude > 1e30f) continue;
        const gatun_qmatmul_params params = params_for(weights, 3, mode);
        const auto x = guarded(rng.normals(3 * 40, magnitude), GATUN_F32, Edge::back);
        GuardBuffer<uint8_t> y(3 * 33 * 4);
        expect_matches(*row, params, weights, x->data(), nullptr, nullptr, y);
      }
    }
  }
}

// Sums of x, and of x times what a super-scale multiplies, that no f32 holds: the products are far from its end.
TEST(QmatmulRows, SumsOfHugeActivationsAreNoResults) {
  Rng rng(15);
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const Scheme& scheme : {kQ4_1, kQ5_1, kQ2_K, kQ4_K, kQ5_K}) {
      if (!takes(*row, scheme)) continue;
      const int64_t depth = depth_for(scheme, 32), rows = 5, columns = 20;
      const Weights weights(rng, scheme, 0, columns, depth, depth, Edge::back);
      const std::vector<float> x(static_cast<size_t>(rows * depth), depth == 32 ? 1.2e37f : 4e35f);
      for (const int32_t mode : modes_of(*row)) {
        const gatun_qmatmul_params params = params_for(weights, rows, mode);
        GuardBuffer<uint8_t> y(rows * columns * 4);
        expect_matches(*row, params, weights, x.data(), nullptr, nullptr, y);
      }
    }
  }
}

// With depth 0, y is the activation of the bias: the functions of simd/math.h against double, with their bounds.
TEST(QmatmulRows, ActivationsKeepTheirBounds) {
  const std::vector<float> bias = activated_values();
  Rng rng(11);
  const int64_t columns = static_cast<int64_t>(bias.size());
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    const Weights weights(rng, scheme_of(*row), GATUN_F32, columns, 0, 0, Edge::back);
    gatun_qmatmul_params params = params_for(weights, 1, modes_of(*row).front());
    for (const int32_t activation : kActivations) {
      params.activation = activation;
      std::vector<float> y(bias.size());
      ASSERT_EQ(run(*row, {params, weights.layout(), nullptr, weights.packed->data(), bias.data(), nullptr, y.data()}),
                GATUN_OK);
      const Reference ref = reference(params, nullptr, weights.reference_weights(), bias.data(), nullptr);
      expect_activated(activation, bias, ref.y, y);
    }
  }
}

// The largest and the smallest scales: nothing overflows on the way to a result that does not.
TEST(QmatmulRows, ExtremeScales) {
  Rng rng(12);
  for (const TableRow* row : rows_of_tier()) {
    SCOPED_TRACE(row->name);
    for (const Scheme& scheme : kSchemes) {
      if (!takes(*row, scheme)) continue;
      if (scheme.gguf_type != 0) continue;  // their scales are binary16
      for (const float scale : {0x1p64f, -0x1p64f, 0x1p-24f, 0x1p-100f}) {
        for (const float magnitude : {0x1p-112f, 0x1p-60f, 1.0f, 0x1p40f}) {
          Weights weights(rng, scheme, GATUN_F32, 20, 27, 27, Edge::back, true);
          for (int64_t i = 0; i < 20; ++i) std::memcpy(&weights.scales[4 * i], &scale, 4);
          weights.repack();
          for (const int32_t mode : modes_of(*row)) {
            const gatun_qmatmul_params params = params_for(weights, 2, mode);
            const std::vector<float> x = rng.normals(2 * 27, magnitude);
            const Reference ref = reference(params, x.data(), weights.reference_weights(), nullptr, nullptr);
            std::vector<float> y(2 * 20);
            ASSERT_EQ(
                run(*row, {params, weights.layout(), x.data(), weights.packed->data(), nullptr, nullptr, y.data()}),
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

}  // namespace
}  // namespace gatun::qmatmul
