// gatun_armor_matmul on the tier in use against reference.cc, through the C entry point.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "armor/blocks.h"
#include "armor/reference.h"
#include "gatun/armor.h"
#include "gatun/gatun.h"
#include "guard_buffer.h"
#include "nm_backward/test_problem.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::armor {
namespace {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

std::vector<unsigned char> pack(int32_t n, int32_t m, int64_t columns, int64_t depth, const std::vector<float>& values,
                                const std::vector<uint8_t>& indices) {
  gatun_nm_weights weights{};
  weights.struct_size = sizeof(weights);
  weights.n = n;
  weights.m = m;
  weights.vector = 1;
  weights.value_dtype = GATUN_F32;
  weights.columns = columns;
  weights.depth = depth;
  int64_t bytes;
  EXPECT_EQ(gatun_nm_packed_bytes(&weights, &bytes), GATUN_OK) << gatun_last_error();
  std::vector<unsigned char> packed(static_cast<size_t>(bytes));
  EXPECT_EQ(gatun_nm_pack(&weights, values.data(), indices.data(), nullptr, nullptr, packed.data(), bytes), GATUN_OK)
      << gatun_last_error();
  return packed;
}

gatun_nm_matmul_params make_params(int64_t rows, int64_t columns, int64_t depth) {
  gatun_nm_matmul_params p{};
  p.struct_size = sizeof(p);
  p.x_dtype = p.y_dtype = GATUN_F32;
  p.mode = GATUN_NM_F32;
  p.threads = 1;
  p.rows = rows;
  p.columns = p.column_end = p.y_row_stride = p.residual_row_stride = columns;
  p.depth = p.x_row_stride = depth;
  return p;
}

struct Case {
  int32_t n, m;
  int64_t block;
  bool exact, bias, residual, in_place;
};

// A random product: small integers, whose sums are exact, or normal values within the bound of the header.
struct Problem {
  Problem(Rng& rng, const gatun_nm_matmul_params& params, const Case& which, Edge edge)
      : p(params),
        c(which),
        kept((p.depth + c.m - 1) / c.m * c.n),
        values(draw(rng, p.columns * kept)),
        indices(nm_backward::random_indices(rng, nm_backward::make_params(c.n, c.m, 1, p.columns, p.depth))),
        packed(pack(c.n, c.m, p.columns, p.depth, values, indices), edge),
        left(draw(rng, Blocks{p.columns, c.block}.floats()), edge),
        right(draw(rng, Blocks{p.depth, c.block}.floats()), edge),
        bias(draw(rng, p.columns), edge),
        x(test::from_floats(draw(rng, extent(p.depth, p.x_row_stride)), p.x_dtype), edge),
        residual(test::from_floats(draw(rng, extent(p.columns, p.residual_row_stride)), p.y_dtype), edge),
        y(static_cast<int64_t>(extent(p.columns, p.y_row_stride) * dtype_bytes(p.y_dtype, 1)), edge) {
    packed.make_read_only();
    left.make_read_only();
    right.make_read_only();
    bias.make_read_only();
    x.make_read_only();
    if (!c.in_place) residual.make_read_only();
  }

  int64_t extent(int64_t columns, int64_t stride) const {
    return p.rows == 0 || columns == 0 ? 0 : (p.rows - 1) * stride + columns;
  }
  std::vector<float> draw(Rng& rng, int64_t count) const {
    return c.exact ? rng.small_integers(count, -2, 2) : rng.normals(count);
  }
  unsigned char* out() { return c.in_place ? residual.data() : y.data(); }

  int32_t run() {
    return gatun_armor_matmul(&p, c.block, x.data(), right.data(), packed.data(), packed.size(), left.data(),
                              c.bias ? bias.data() : nullptr, c.residual ? residual.data() : nullptr, out());
  }

  void check() {
    const size_t rows = static_cast<size_t>(p.rows), columns = static_cast<size_t>(p.columns),
                 depth = static_cast<size_t>(p.depth);
    const std::vector<double> a = reference_diagonal(p.columns, c.block, left.data());
    const std::vector<double> b = reference_diagonal(p.depth, c.block, right.data());
    const std::vector<double> s = reference_core(p.columns, p.depth, c.n, c.m, values.data(), indices.data());
    const auto product = [&](bool magnitudes) {
      return reference_product(a, reference_product(s, b, p.columns, p.depth, p.depth, magnitudes), p.columns,
                               p.columns, p.depth, magnitudes);
    };
    const std::vector<double> w = product(false), magnitude = product(true);
    const std::vector<double> inputs = test::to_doubles(x.data(), p.x_dtype, extent(p.depth, p.x_row_stride));
    const std::vector<double> added =
        test::to_doubles(residual.data(), p.y_dtype, extent(p.columns, p.residual_row_stride));
    std::vector<double> expected(rows * columns), allowed(expected.size()), actual(expected.size());
    for (size_t t = 0; t < rows; ++t) {
      for (size_t n = 0; n < columns; ++n) {
        double sum = c.bias ? double{bias[static_cast<int64_t>(n)]} : 0, terms = std::fabs(sum);
        for (size_t k = 0; k < depth; ++k) {
          const double input = inputs[t * static_cast<size_t>(p.x_row_stride) + k];
          sum += w[n * depth + k] * input;
          terms += magnitude[n * depth + k] * std::fabs(input);
        }
        if (p.activation == GATUN_ACTIVATION_RELU) sum = std::fmax(sum, 0);
        if (c.residual) {
          sum += added[t * static_cast<size_t>(p.residual_row_stride) + n];
          terms += std::fabs(added[t * static_cast<size_t>(p.residual_row_stride) + n]);
        }
        const size_t at = t * columns + n;
        expected[at] = sum;
        allowed[at] =
            (c.exact ? 0
                     : 0x1p-23 * static_cast<double>(2 * std::min(c.block, p.columns + p.depth) + kept + 24) * terms) +
            (p.y_dtype == GATUN_BF16 ? test::unit_in_last_place(GATUN_BF16, sum) : 0);
      }
    }
    ASSERT_EQ(run(), GATUN_OK) << gatun_last_error();
    const std::vector<double> results = test::to_doubles(out(), p.y_dtype, extent(p.columns, p.y_row_stride));
    for (size_t t = 0; t < rows; ++t) {
      for (size_t n = 0; n < columns; ++n) {
        actual[t * columns + n] = results[t * static_cast<size_t>(p.y_row_stride) + n];
      }
    }
    ASSERT_TRUE(test::within(actual, expected, allowed, p.columns));
  }

  gatun_nm_matmul_params p;
  Case c;
  int64_t kept;
  std::vector<float> values;
  std::vector<uint8_t> indices;
  GuardBuffer<unsigned char> packed;
  GuardBuffer<float> left, right, bias;
  GuardBuffer<unsigned char> x, residual, y;
};

TEST(ArmorMatmul, EveryShape) {
  Rng rng(1);
  int cases = 0;
  for (const int64_t rows : {0, 1, 2, 7, 63, 65, 300}) {
    for (const int64_t columns : {0, 1, 17, 40}) {
      for (const int64_t depth : {0, 1, 16, 50}) {
        for (const int64_t block : {1, 6, 16, 1000}) {
          gatun_nm_matmul_params p = make_params(rows, columns, depth);
          p.x_dtype = cases % 3 == 0 ? GATUN_BF16 : GATUN_F32;
          p.y_dtype = cases % 5 == 0 ? GATUN_BF16 : GATUN_F32;
          p.activation = cases % 2 == 0 ? GATUN_ACTIVATION_NONE : GATUN_ACTIVATION_RELU;
          p.x_row_stride += rng.integer(0, 3);
          p.y_row_stride += rng.integer(0, 3);
          const bool in_place = cases % 7 == 0;
          p.residual_row_stride = in_place ? p.y_row_stride : p.residual_row_stride + rng.integer(0, 3);
          const int32_t m = rng.pick(std::vector<int32_t>{2, 4, 4, 8, 16, 32});
          const Case c = {
              static_cast<int32_t>(rng.integer(1, m)), m,       block, rng.integer(0, 1) == 1, rng.integer(0, 1) == 1,
              in_place || rng.integer(0, 1) == 1,      in_place};
          SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns) + " x " + std::to_string(depth) +
                       ", blocks of " + std::to_string(block) + ", " + std::to_string(c.n) + ":" + std::to_string(m));
          Problem(rng, p, c, cases % 2 == 0 ? Edge::front : Edge::back).check();
          if (HasFatalFailure()) return;
          ++cases;
        }
      }
    }
  }
}

TEST(ArmorMatmul, AnyNumberOfThreadsAndRows) {
  Rng rng(2);
  const gatun_nm_matmul_params p = make_params(300, 150, 130);
  Problem problem(rng, p, {2, 4, 32, false, true, true, false}, Edge::back);
  ASSERT_EQ(problem.run(), GATUN_OK) << gatun_last_error();
  const std::vector<unsigned char> one = problem.y.copy();
  for (const int32_t threads : {0, 2, 5}) {
    problem.p.threads = threads;
    std::fill_n(problem.y.data(), problem.y.size(), static_cast<unsigned char>(0));
    ASSERT_EQ(problem.run(), GATUN_OK);
    EXPECT_TRUE(test::identical(problem.y.copy(), one)) << threads;
  }
  problem.p.rows = 1;
  ASSERT_EQ(problem.run(), GATUN_OK);
  EXPECT_TRUE(test::identical(problem.y.data(), one.data(), 150 * 4));
}

// With A and B the identity, each mode is that of gatun_nm_matmul, bit for bit.
TEST(ArmorMatmul, IdentityIsThePlainProduct) {
  Rng rng(3);
  constexpr int64_t kColumns = 40, kDepth = 64, kRows = 9;
  gatun_nm_matmul_params p = make_params(kRows, kColumns, kDepth);
  p.activation = GATUN_ACTIVATION_GELU;
  const std::vector<float> x = rng.normals(kRows * kDepth);
  const std::vector<float> ones_left(kColumns, 1), ones_right(kDepth, 1);  // blocks of 1 x 1
  const std::vector<uint8_t> indices =
      nm_backward::random_indices(rng, nm_backward::make_params(2, 4, 1, kColumns, kDepth));
  const std::vector<unsigned char> packed = pack(2, 4, kColumns, kDepth, rng.normals(kColumns * kDepth / 2), indices);
  std::vector<float> y(kRows * kColumns), plain(y.size());
  ASSERT_EQ(gatun_armor_matmul(&p, 1, x.data(), ones_right.data(), packed.data(), static_cast<int64_t>(packed.size()),
                               ones_left.data(), nullptr, nullptr, y.data()),
            GATUN_OK)
      << gatun_last_error();
  ASSERT_EQ(
      gatun_nm_matmul(&p, x.data(), packed.data(), static_cast<int64_t>(packed.size()), nullptr, nullptr, plain.data()),
      GATUN_OK)
      << gatun_last_error();
  EXPECT_TRUE(test::identical(y, plain, kColumns));
}

// A NaN or an infinity stays in its row.
TEST(ArmorMatmul, NanStaysInItsRow) {
  Rng rng(4);
  const gatun_nm_matmul_params p = make_params(5, 33, 40);
  const std::vector<uint8_t> indices = nm_backward::random_indices(rng, nm_backward::make_params(2, 4, 1, 33, 40));
  const std::vector<unsigned char> packed = pack(2, 4, 33, 40, rng.normals(33 * 20), indices);
  const std::vector<float> left = rng.normals(Blocks{33, 8}.floats()), right = rng.normals(Blocks{40, 8}.floats());
  std::vector<float> x = rng.normals(5 * 40), y(5 * 33), clean(y.size());
  const auto run = [&](std::vector<float>* to) {
    return gatun_armor_matmul(&p, 8, x.data(), right.data(), packed.data(), static_cast<int64_t>(packed.size()),
                              left.data(), nullptr, nullptr, to->data());
  };
  ASSERT_EQ(run(&clean), GATUN_OK) << gatun_last_error();
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    x[2 * 40 + 13] = bad;
    ASSERT_EQ(run(&y), GATUN_OK);
    for (size_t at = 0; at < y.size(); ++at) {
      if (at / 33 != 2) {
        EXPECT_EQ(y[at], clean[at]) << at;
      }
    }
    int reached = 0;
    for (size_t n = 0; n < 33; ++n) reached += !std::isfinite(y[2 * 33 + n]);
    EXPECT_GT(reached, 16);  // two groups' depths have it, of which each column of A's block keeps half
  }
}

}  // namespace
}  // namespace gatun::armor
