// Dense products of the tier in use against reference.cc.
#include <gtest/gtest.h>

#include <string>

#include "gatun/gatun.h"
#include "gemm/gemm.h"
#include "gemm/reference.h"
#include "guard_buffer.h"
#include "rng.h"
#include "shapes.h"
#include "tolerance.h"

namespace gatun::gemm {
namespace {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

const Kernel& kernel() { return kernel_of(static_cast<Tier>(gatun_tier())); }

// A matrix whose rows, or columns, are contiguous and `more` apart beyond their length.
struct Matrix {
  Matrix(const std::vector<float>& values, int64_t rows, int64_t columns, bool by_columns, int64_t more, Edge edge)
      : row_stride(by_columns ? 1 : columns + more),
        column_stride(by_columns ? rows + more : 1),
        data(rows == 0 || columns == 0 ? 0 : (rows - 1) * row_stride + (columns - 1) * column_stride + 1, edge) {
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        data[i * row_stride + j * column_stride] = values[static_cast<size_t>(i * columns + j)];
      }
    }
  }
  int64_t row_stride, column_stride;
  GuardBuffer<float> data;
};

struct Shape {
  int64_t rows, columns, depth;
};

void compare(Rng& rng, const Shape& s, bool a_by_columns, bool b_by_columns, bool add, bool integers) {
  SCOPED_TRACE(std::to_string(s.rows) + " x " + std::to_string(s.columns) + " x " + std::to_string(s.depth) +
               (a_by_columns ? ", a by columns" : "") + (b_by_columns ? ", b by columns" : "") + (add ? ", add" : ""));
  const auto values = [&](int64_t count) { return integers ? rng.small_integers(count, -4, 4) : rng.normals(count); };
  const Edge edge = rng.integer(0, 1) == 1 ? Edge::front : Edge::back;
  const int64_t more = rng.integer(0, 3);
  Matrix a(values(s.rows * s.depth), s.rows, s.depth, a_by_columns, more, edge);
  Matrix b(values(s.depth * s.columns), s.depth, s.columns, b_by_columns, more, edge);
  a.data.make_read_only();
  b.data.make_read_only();
  const std::vector<float> before = values(s.rows * s.columns);
  Matrix c(before, s.rows, s.columns, false, 0, edge);
  const Product product = {a.data.data(), a.row_stride, a.column_stride, b.data.data(), b.row_stride, b.column_stride,
                           c.data.data(), c.row_stride, s.rows,          s.columns,     s.depth,      add};
  ASSERT_TRUE(run(kernel(), product));
  std::vector<double> expected, allowed;
  for (int64_t i = 0; i < s.rows; ++i) {
    for (int64_t j = 0; j < s.columns; ++j) {
      double magnitudes;
      const double start = add ? before[static_cast<size_t>(i * s.columns + j)] : 0;
      expected.push_back(reference_element(product, i, j, start, &magnitudes));
      allowed.push_back(integers ? 0 : 0x1p-23 * (static_cast<double>(s.depth) + 8) * magnitudes);
    }
  }
  ASSERT_TRUE(test::within(test::to_doubles(c.data.data(), GATUN_F32, c.data.size()), expected, allowed, s.columns));
}

TEST(Gemm, EveryEdge) {
  Rng rng(1);
  int cases = 0;
  for (const int64_t rows : {0, 1, 5, 6, 7, 13, 96, 97}) {
    for (const int64_t columns : {0, 1, 3, 4, 5, 15, 16, 17, 63, 64, 65, 81}) {
      for (const int64_t depth : {0, 1, 2, 17, 64}) {
        compare(rng, {rows, columns, depth}, cases % 2 == 1, cases / 2 % 2 == 1, cases / 4 % 2 == 1, cases % 3 == 0);
        if (HasFatalFailure()) return;
        ++cases;
      }
    }
  }
}

TEST(Gemm, SeveralBlocks) {
  Rng rng(2);
  for (const Shape& s : {Shape{7, 257, 256}, Shape{100, 300, 257}, Shape{3, 20, 600}, Shape{193, 515, 5}}) {
    for (int layout = 0; layout < 8; ++layout) {
      compare(rng, s, layout % 2 == 1, layout / 2 % 2 == 1, layout / 4 == 1, layout % 3 == 0);
      if (HasFatalFailure()) return;
    }
  }
}

// Whatever the calls, an element is the same chain.
TEST(Gemm, AnyCutGivesTheSameBits) {
  Rng rng(3);
  constexpr int64_t kRows = 50, kColumns = 140, kDepth = 300;
  const std::vector<float> a = rng.normals(kRows * kDepth), b = rng.normals(kDepth * kColumns);
  std::vector<float> whole(static_cast<size_t>(kRows * kColumns)), parts = whole;
  Product p = {a.data(), kDepth, 1, b.data(), kColumns, 1, whole.data(), kColumns, kRows, kColumns, kDepth, false};
  ASSERT_TRUE(run(kernel(), p));
  const int64_t rows[] = {0, 1, 8, kRows}, columns[] = {0, 5, 99, kColumns}, depths[] = {0, 31, 32, kDepth};
  for (int k = 0; k < 3; ++k) {
    for (int i = 0; i < 3; ++i) {
      for (int j = 0; j < 3; ++j) {
        p.a = a.data() + rows[i] * kDepth + depths[k];
        p.b = b.data() + depths[k] * kColumns + columns[j];
        p.c = parts.data() + rows[i] * kColumns + columns[j];
        p.rows = rows[i + 1] - rows[i];
        p.columns = columns[j + 1] - columns[j];
        p.depth = depths[k + 1] - depths[k];
        p.add = k > 0;
        ASSERT_TRUE(run(kernel(), p));
      }
    }
  }
  EXPECT_TRUE(test::identical(parts, whole, kColumns));
}

}  // namespace
}  // namespace gatun::gemm
