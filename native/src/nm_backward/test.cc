// The gradients of the tier in use against reference.cc, through the C entry points.
#include <cmath>
#include <limits>

#include "gatun/gatun.h"
#include "nm_backward/table.h"
#include "nm_backward/test_problem.h"

namespace gatun::nm_backward {
namespace {

using test::Edge;
using test::Rng;

constexpr int32_t kSizesOfGroups[] = {2, 4, 8, 16, 32};

// Values that vary from case to case without multiplying the cases.
gatun_nm_backward_params vary(Rng& rng, gatun_nm_backward_params p) {
  p.x_row_stride += rng.integer(0, 3);
  p.dy_row_stride += rng.integer(0, 3);
  p.vector = rng.pick(std::vector<int32_t>{1, 1, 2, 3, 64});
  p.value_dtype = rng.pick(std::vector<int32_t>{GATUN_F32, GATUN_F16, GATUN_BF16});
  p.accumulate = static_cast<int32_t>(rng.integer(0, 1));
  p.decay = rng.pick(std::vector<float>{0, 0.5f, 1, 0.3f});
  return p;
}

bool is_exact(const gatun_nm_backward_params& p) { return p.decay != 0.3f; }

TEST(NmBackward, EveryGroupAndDepth) {
  Rng rng(1);
  int cases = 0;
  for (const int32_t m : kSizesOfGroups) {
    for (int32_t n = 1; n <= m; ++n) {
      for (const int64_t depth :
           {int64_t{0}, int64_t{1}, int64_t{m - 1}, int64_t{m}, int64_t{m + 1}, int64_t{3 * m + 1}, int64_t{67}}) {
        const gatun_nm_backward_params p = vary(rng, make_params(n, m, rng.integer(0, 9), rng.integer(0, 12), depth));
        Problem(rng, p, is_exact(p) && cases % 2 == 0, cases % 3 == 0 ? Edge::front : Edge::back, cases % 4).check();
        if (HasFatalFailure()) return;
        ++cases;
      }
    }
  }
  EXPECT_GT(cases, 400);
}

TEST(NmBackward, EveryEdgeOfRowsAndColumns) {
  Rng rng(2);
  int cases = 0;
  const std::pair<int32_t, int32_t> kinds[] = {{2, 4}, {1, 8}, {3, 16}, {7, 8}, {1, 32}};
  for (const int64_t rows : {0, 1, 3, 4, 5, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 257}) {
    for (const int64_t columns : {0, 1, 2, 15, 33, 95, 96, 97, 200}) {
      const auto& [n, m] = kinds[cases % 5];
      const gatun_nm_backward_params p = vary(rng, make_params(n, m, rows, columns, rng.integer(0, 140)));
      Problem(rng, p, is_exact(p) && cases % 2 == 0, cases % 3 == 0 ? Edge::front : Edge::back, cases % 4).check();
      if (HasFatalFailure()) return;
      ++cases;
    }
  }
}

// More rows than a chunk, more columns or depths than a chunk, several tiles of the dense product.
TEST(NmBackward, SeveralChunks) {
  Rng rng(3);
  struct Shape {
    int32_t n, m;
    int64_t rows, columns, depth;
  };
  for (const Shape& s : {Shape{2, 4, 1030, 5, 9}, Shape{1, 4, 3, 4100, 70}, Shape{3, 8, 2, 9, 4200},
                         Shape{2, 4, 70, 200, 530}, Shape{5, 32, 1025, 33, 65}}) {
    for (int i = 0; i < 2; ++i) {
      const gatun_nm_backward_params p = vary(rng, make_params(s.n, s.m, s.rows, s.columns, s.depth));
      Problem(rng, p, is_exact(p) && i == 0).check();
      if (HasFatalFailure()) return;
    }
  }
}

// Worked out by hand: 1:2, one row, w = [0 3; 5 0].
TEST(NmBackward, ByHand) {
  gatun_nm_backward_params p = make_params(1, 2, 1, 2, 2);
  const float dy[] = {2, 7}, x[] = {10, 100}, values[] = {3, 5};
  const uint8_t indices[] = {1, 0};
  float dx[2], dvalues[2], dw[4];
  ASSERT_EQ(gatun_nm_backward_x(&p, dy, values, indices, dx), GATUN_OK);
  EXPECT_EQ(std::vector<float>(dx, dx + 2), (std::vector<float>{35, 6}));
  ASSERT_EQ(gatun_nm_backward_values(&p, dy, x, indices, dvalues), GATUN_OK);
  EXPECT_EQ(std::vector<float>(dvalues, dvalues + 2), (std::vector<float>{200, 70}));
  ASSERT_EQ(gatun_nm_backward_dense(&p, dy, x, indices, dw), GATUN_OK);
  EXPECT_EQ(std::vector<float>(dw, dw + 4), (std::vector<float>{0, 200, 70, 0}));
  p.decay = 0.5f;
  ASSERT_EQ(gatun_nm_backward_dense(&p, dy, x, indices, dw), GATUN_OK);
  EXPECT_EQ(std::vector<float>(dw, dw + 4), (std::vector<float>{10, 200, 70, 350}));
  p.accumulate = 1;
  ASSERT_EQ(gatun_nm_backward_dense(&p, dy, x, indices, dw), GATUN_OK);
  EXPECT_EQ(std::vector<float>(dw, dw + 4), (std::vector<float>{20, 400, 140, 700}));
  ASSERT_EQ(gatun_nm_backward_x(&p, dy, values, indices, dx), GATUN_OK);
  EXPECT_EQ(std::vector<float>(dx, dx + 2), (std::vector<float>{70, 12}));
}

// Threads change nothing.
TEST(NmBackward, AnyNumberOfThreads) {
  Rng rng(4);
  for (const auto& [n, m] : {std::pair<int32_t, int32_t>{2, 4}, {5, 16}}) {
    for (const int64_t depth : {int64_t{40}, int64_t{277}}) {
      gatun_nm_backward_params p = make_params(n, m, 130, 270, depth);
      const Problem problem(rng, p, false);
      const auto run = [&](float decay, std::vector<float>* dx, std::vector<float>* dvalues, std::vector<float>* dw) {
        p.decay = decay;
        dx->assign(static_cast<size_t>(problem.x.size()), 0);
        dvalues->assign(static_cast<size_t>(p.columns * kept_of(p)), 0);
        dw->assign(static_cast<size_t>(p.columns * depth), 0);
        const uint8_t* const indices = problem.indices.data();
        ASSERT_EQ(gatun_nm_backward_x(&p, problem.dy.data(), problem.values.data(), indices, dx->data()), GATUN_OK);
        ASSERT_EQ(gatun_nm_backward_values(&p, problem.dy.data(), problem.x.data(), indices, dvalues->data()),
                  GATUN_OK);
        ASSERT_EQ(gatun_nm_backward_dense(&p, problem.dy.data(), problem.x.data(), indices, dw->data()), GATUN_OK);
      };
      for (const float decay : {0.0f, 0.7f}) {
        std::vector<float> one[3], more[3];
        p.threads = 1;
        run(decay, &one[0], &one[1], &one[2]);
        for (const int32_t threads : {0, 3, 8}) {
          p.threads = threads;
          run(decay, &more[0], &more[1], &more[2]);
          for (int i = 0; i < 3; ++i) ASSERT_TRUE(test::identical(more[i], one[i])) << threads << " threads, " << i;
        }
      }
    }
  }
}

// The bits of an element come from its operands and `rows` alone: not from the group that it is in, other columns, or
// the depth.
TEST(NmBackward, ElementsDependOnTheirOperandsAlone) {
  Rng rng(5);
  constexpr int64_t kRows = 200, kColumns = 130, kDepth = 96;
  gatun_nm_backward_params p = make_params(2, 4, kRows, kColumns, kDepth);
  const Problem problem(rng, p, false);
  std::vector<float> dvalues(static_cast<size_t>(kColumns * kept_of(p)));
  ASSERT_EQ(gatun_nm_backward_values(&p, problem.dy.data(), problem.x.data(), problem.indices.data(), dvalues.data()),
            GATUN_OK);
  // All weights kept, as 8:8, and a part of the columns.
  gatun_nm_backward_params all = make_params(8, 8, kRows, kColumns - 7, kDepth);
  all.dy_row_stride = kColumns;
  const std::vector<uint8_t> indices = random_indices(rng, all);
  std::vector<float> dw(static_cast<size_t>(all.columns * kDepth));
  ASSERT_EQ(gatun_nm_backward_values(&all, problem.dy.data() + 7, problem.x.data(), indices.data(), dw.data()),
            GATUN_OK);
  for (int64_t n = 7; n < kColumns; ++n) {
    for (int64_t k = 0; k < kDepth; ++k) {
      const size_t at = static_cast<size_t>(n * kDepth + k);
      if (!problem.weights.kept[at]) continue;
      ASSERT_EQ(dvalues[static_cast<size_t>(n * kept_of(p) + problem.weights.place[at])],
                dw[static_cast<size_t>((n - 7) * kDepth + k)]);
    }
  }
  // dx of one row, and of the first depths alone.
  std::vector<float> dx(static_cast<size_t>(kRows * kDepth)), row(kDepth);
  ASSERT_EQ(gatun_nm_backward_x(&p, problem.dy.data(), problem.values.data(), problem.indices.data(), dx.data()),
            GATUN_OK);
  p.rows = 1;
  ASSERT_EQ(gatun_nm_backward_x(&p, problem.dy.data() + 77 * kColumns, problem.values.data(), problem.indices.data(),
                                row.data()),
            GATUN_OK);
  EXPECT_TRUE(test::identical(row.data(), dx.data() + 77 * kDepth, kDepth));
}

// NaN and infinity go where the formulas take them, and nowhere else.
TEST(NmBackward, NanAndInfinity) {
  Rng rng(6);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    gatun_nm_backward_params p = make_params(2, 4, 20, 11, 30);  // the last group has two positions beyond the depth
    const Problem problem(rng, p, false);
    std::vector<float> dy = problem.dy.copy(), dx(20 * 30), dvalues(static_cast<size_t>(11 * kept_of(p))), dw(11 * 30);
    dy[5 * 11 + 3] = bad;
    for (const float decay : {0.0f, 0.5f}) {
      p.decay = decay;
      ASSERT_EQ(gatun_nm_backward_dense(&p, dy.data(), problem.x.data(), problem.indices.data(), dw.data()), GATUN_OK);
      for (int64_t at = 0; at < 11 * 30; ++at) {
        const bool reached = at / 30 == 3 && (decay > 0 || problem.weights.kept[static_cast<size_t>(at)]);
        EXPECT_EQ(std::isfinite(dw[static_cast<size_t>(at)]), !reached) << at;
      }
    }
    ASSERT_EQ(gatun_nm_backward_values(&p, dy.data(), problem.x.data(), problem.indices.data(), dvalues.data()),
              GATUN_OK);
    std::vector<bool> within(dvalues.size());
    for (size_t at = 0; at < 11 * 30; ++at) {
      if (!problem.weights.kept[at]) continue;
      within[static_cast<size_t>(static_cast<int64_t>(at) / 30 * kept_of(p) + problem.weights.place[at])] = true;
    }
    for (size_t i = 0; i < dvalues.size(); ++i) {
      const bool reached = within[i] && static_cast<int64_t>(i) / kept_of(p) == 3;
      EXPECT_EQ(std::isfinite(dvalues[i]), !reached) << i;
      if (!within[i]) {
        EXPECT_EQ(dvalues[i], 0);
      }
    }
    ASSERT_EQ(gatun_nm_backward_x(&p, dy.data(), problem.values.data(), problem.indices.data(), dx.data()), GATUN_OK);
    for (int64_t at = 0; at < 20 * 30; ++at) {
      const bool reached = at / 30 == 5 && problem.weights.kept[static_cast<size_t>(3 * 30 + at % 30)];
      EXPECT_EQ(std::isfinite(dx[static_cast<size_t>(at)]), !reached) << at;
    }
  }
}

TEST(NmBackward, BadIndicesAreRefused) {
  gatun_nm_backward_params p = make_params(2, 4, 1, 1, 4);
  const float dy[1] = {1}, x[4] = {1, 1, 1, 1}, values[2] = {1, 1};
  const uint8_t descending[] = {0x1}, twice[] = {0x5}, unused[] = {0x14};
  for (const uint8_t* indices : {descending, twice, unused}) {
    float out[4] = {8, 8, 8, 8};
    EXPECT_EQ(gatun_nm_backward_x(&p, dy, values, indices, out), GATUN_INVALID_ARGUMENT);
    EXPECT_EQ(gatun_nm_backward_values(&p, dy, x, indices, out), GATUN_INVALID_ARGUMENT);
    EXPECT_EQ(gatun_nm_backward_dense(&p, dy, x, indices, out), GATUN_INVALID_ARGUMENT);
    for (const float value : out) EXPECT_EQ(value, 8);
  }
}

}  // namespace
}  // namespace gatun::nm_backward
