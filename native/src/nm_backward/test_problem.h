// A random problem of gradients through N:M weights in guarded buffers, and its comparison with the reference.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "gatun/nm_backward.h"
#include "guard_buffer.h"
#include "nm_backward/reference.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::nm_backward {

inline gatun_nm_backward_params make_params(int32_t n, int32_t m, int64_t rows, int64_t columns, int64_t depth) {
  gatun_nm_backward_params p{};
  p.struct_size = sizeof(p);
  p.n = n;
  p.m = m;
  p.vector = p.threads = 1;
  p.value_dtype = GATUN_F32;
  p.rows = rows;
  p.columns = p.dy_row_stride = columns;
  p.depth = p.x_row_stride = depth;
  return p;
}

inline std::string describe(const gatun_nm_backward_params& p) {
  return std::to_string(p.n) + ":" + std::to_string(p.m) + " V " + std::to_string(p.vector) + ", " +
         std::to_string(p.rows) + " rows, " + std::to_string(p.columns) + " columns, depth " + std::to_string(p.depth) +
         ", strides " + std::to_string(p.x_row_stride) + " and " + std::to_string(p.dy_row_stride) + ", " +
         dtype_name(p.value_dtype) + ", decay " + std::to_string(p.decay) + (p.accumulate == 1 ? ", accumulate" : "");
}

inline int64_t kept_of(const gatun_nm_backward_params& p) { return (p.depth + p.m - 1) / p.m * p.n; }

// Random positions, ascending in each group.
inline std::vector<uint8_t> random_indices(test::Rng& rng, const gatun_nm_backward_params& p) {
  const int64_t bits = p.m == 32 ? 8 : p.m >= 8 ? 4 : 2, kept = kept_of(p), row_bytes = (kept * bits + 7) / 8;
  const int64_t rows = (p.columns + p.vector - 1) / p.vector;
  std::vector<uint8_t> indices(static_cast<size_t>(rows * row_bytes));
  std::vector<int64_t> positions(static_cast<size_t>(p.m));
  std::iota(positions.begin(), positions.end(), 0);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t i = 0; i < kept; i += p.n) {
      for (size_t j = positions.size(); j-- > 1;) {
        std::swap(positions[j], positions[static_cast<size_t>(rng.integer(0, static_cast<int64_t>(j)))]);
      }
      std::sort(positions.begin(), positions.begin() + p.n);
      for (int64_t j = 0; j < p.n; ++j) {
        const int64_t bit = (i + j) * bits;
        indices[static_cast<size_t>(r * row_bytes + bit / 8)] |=
            static_cast<uint8_t>(positions[static_cast<size_t>(j)] << bit % 8);
      }
    }
  }
  return indices;
}

struct Problem {
  Problem(test::Rng& rng, const gatun_nm_backward_params& params, bool integers, test::Edge edge = test::Edge::back,
          int64_t offset = 0)
      : p(params),
        exact(integers),
        dy(floats(rng, extent(p.rows, p.columns, p.dy_row_stride)), edge, offset),
        x(floats(rng, extent(p.rows, p.depth, p.x_row_stride)), edge, offset),
        values(test::from_floats(floats(rng, p.columns * kept_of(p)), p.value_dtype), edge),
        indices(random_indices(rng, p), edge),
        dx(floats(rng, x.size()), edge, offset),
        dvalues(floats(rng, p.columns * kept_of(p)), edge, offset),
        dw(floats(rng, p.columns * p.depth), edge, offset),
        weights(p, values.data(), indices.data()) {
    dy.make_read_only();
    x.make_read_only();
    values.make_read_only();
    indices.make_read_only();
  }

  static int64_t extent(int64_t rows, int64_t columns, int64_t stride) {
    return rows == 0 || columns == 0 ? 0 : (rows - 1) * stride + columns;
  }
  std::vector<float> floats(test::Rng& rng, int64_t count) const {
    return exact ? rng.small_integers(count, -4, 4) : rng.normals(count);
  }

  // Every element of the three gradients, and what lies between the rows of dx.
  void check() {
    SCOPED_TRACE(describe(p));
    check_x();
    check_values();
    check_dense();
  }

  void check_x() {
    const std::vector<float> before = dx.copy();
    ASSERT_EQ(gatun_nm_backward_x(&p, dy.data(), values.data(), indices.data(), dx.data()), GATUN_OK)
        << gatun_last_error();
    Expected expected(before, exact);
    for (int64_t t = 0; t < p.rows; ++t) {
      for (int64_t k = 0; k < p.depth; ++k) {
        double magnitudes;
        const double sum = reference_dx(p, weights, dy.data(), t, k, &magnitudes);
        expected.set(p, t * p.x_row_stride + k, sum, magnitudes, p.columns);
      }
    }
    ASSERT_TRUE(test::within(test::to_doubles(dx.data(), GATUN_F32, dx.size()), expected.value, expected.allowed))
        << "dx";
  }

  void check_values() {
    const std::vector<float> before = dvalues.copy();
    ASSERT_EQ(gatun_nm_backward_values(&p, dy.data(), x.data(), indices.data(), dvalues.data()), GATUN_OK)
        << gatun_last_error();
    Expected expected(before, exact);
    if (p.accumulate == 0) std::fill(expected.value.begin(), expected.value.end(), 0);  // beyond the depth
    for (int64_t at = 0; at < p.columns * p.depth; ++at) {
      if (!weights.kept[static_cast<size_t>(at)]) continue;
      double magnitudes;
      const double sum = reference_dw(p, dy.data(), x.data(), at / p.depth, at % p.depth, &magnitudes);
      expected.set(p, at / p.depth * kept_of(p) + weights.place[static_cast<size_t>(at)], sum, magnitudes, p.rows);
    }
    ASSERT_TRUE(
        test::within(test::to_doubles(dvalues.data(), GATUN_F32, dvalues.size()), expected.value, expected.allowed))
        << "dvalues";
  }

  void check_dense() {
    const std::vector<float> before = dw.copy();
    ASSERT_EQ(gatun_nm_backward_dense(&p, dy.data(), x.data(), indices.data(), dw.data()), GATUN_OK)
        << gatun_last_error();
    Expected expected(before, exact);
    for (int64_t at = 0; at < p.columns * p.depth; ++at) {
      double magnitudes;
      const double factor = weights.kept[static_cast<size_t>(at)] ? 1 : double{p.decay};
      const double sum = reference_dw(p, dy.data(), x.data(), at / p.depth, at % p.depth, &magnitudes);
      expected.set(p, at, factor * sum, factor * magnitudes, p.rows);
    }
    ASSERT_TRUE(test::within(test::to_doubles(dw.data(), GATUN_F32, dw.size()), expected.value, expected.allowed))
        << "dw";
  }

  gatun_nm_backward_params p;
  bool exact;  // small integers, and so every sum
  test::GuardBuffer<float> dy, x;
  test::GuardBuffer<unsigned char> values;
  test::GuardBuffer<uint8_t> indices;
  test::GuardBuffer<float> dx, dvalues, dw;
  DenseWeights weights;

 private:
  struct Expected {
    Expected(const std::vector<float>& before, bool is_exact)
        : value(before.begin(), before.end()), allowed(before.size()), exact(is_exact) {}

    // The bound of gatun/nm_backward.h; what the output holds is a term, too.
    void set(const gatun_nm_backward_params& params, int64_t at, double sum, double magnitudes, int64_t terms) {
      double& expected = value[static_cast<size_t>(at)];
      if (params.accumulate == 0) expected = 0;
      magnitudes += std::abs(expected);
      expected += sum;
      allowed[static_cast<size_t>(at)] = exact ? 0 : 0x1p-23 * (static_cast<double>(terms) + 8) * magnitudes;
    }

    std::vector<double> value, allowed;
    bool exact;
  };
};

}  // namespace gatun::nm_backward
