// The fit: what it writes stands for the losses that it says, they never rise, and they get clearly below pruning's.
#include "armor/fit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "armor/group.h"
#include "armor/reference.h"
#include "armor/table.h"
#include "gatun/gatun.h"
#include "gatun/nm_format.h"
#include "guard_buffer.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::armor {
namespace {

using test::GuardBuffer;
using test::Rng;

int64_t block_floats(int64_t size, int64_t block) {
  const int64_t rest = size % block;
  return size / block * block * block + rest * rest;
}

gatun_armor_fit_params make_params(int32_t n, int32_t m, int32_t rounds, int64_t columns, int64_t depth,
                                   int64_t block) {
  return {sizeof(gatun_armor_fit_params), n, m, rounds, 1, 0, columns, depth, block};
}

struct Fitted {
  explicit Fitted(const gatun_armor_fit_params& params)
      : p(params),
        kept((p.depth + p.m - 1) / p.m * p.n),
        left(block_floats(p.columns, p.block)),
        right(block_floats(p.depth, p.block)),
        values(p.columns * kept),
        indices(p.columns * ((kept * (p.m == 32  ? 8
                                      : p.m >= 8 ? 4
                                                 : 2) +
                              7) /
                             8)),
        losses(p.rounds + 1) {}

  void run(const std::vector<float>& w, const std::vector<float>& norms) {
    ASSERT_EQ(gatun_armor_fit(&p, w.data(), norms.empty() ? nullptr : norms.data(), left.data(), values.data(),
                              indices.data(), right.data(), losses.data()),
              GATUN_OK)
        << gatun_last_error();
  }

  double last() const { return losses[p.rounds]; }

  // A S B.
  std::vector<double> product() const {
    const std::vector<double> a = reference_diagonal(p.columns, p.block, left.data());
    const std::vector<double> b = reference_diagonal(p.depth, p.block, right.data());
    const std::vector<double> s = reference_core(p.columns, p.depth, p.n, p.m, values.data(), indices.data());
    return reference_product(a, reference_product(s, b, p.columns, p.depth, p.depth), p.columns, p.columns, p.depth);
  }

  // That indices are canonical, losses fall, and the last is that of the factors. `total` is the loss of zeros, to
  // which rounding of f32 products adds up.
  void check(const std::vector<float>& w, const std::vector<float>& norms) const {
    const gatun_nm_format format = {sizeof(format), p.n, p.m, 1, GATUN_F32, 1, p.columns, p.depth, 0};
    ASSERT_EQ(gatun_nm_check(&format, indices.data()), GATUN_OK) << gatun_last_error();
    for (int32_t i = 0; i < p.rounds; ++i) EXPECT_LE(losses[i + 1], losses[i]) << "round " << i;
    const float* const norms_at = norms.empty() ? nullptr : norms.data();
    const std::vector<double> zeros(w.size());
    const double total = reference_loss(p.columns, p.depth, w.data(), norms_at, zeros);
    const double expected = reference_loss(p.columns, p.depth, w.data(), norms_at, product());
    // Each error may be off by 2^-23 (2 d + K) |A S B|, some 1e-5 of w; its square, by twice that times the error.
    EXPECT_NEAR(last(), expected, 1e-4 * expected + 1e-9 * total);
  }

  gatun_armor_fit_params p;
  int64_t kept;
  GuardBuffer<float> left, right, values;
  GuardBuffer<uint8_t> indices;
  GuardBuffer<double> losses;
};

std::vector<float> low_rank(Rng& rng, int64_t columns, int64_t depth, int64_t rank, float noise) {
  const std::vector<float> a = rng.normals(columns * rank), b = rng.normals(rank * depth);
  std::vector<float> w = rng.normals(columns * depth, noise);
  for (int64_t i = 0; i < columns; ++i) {
    for (int64_t r = 0; r < rank; ++r) {
      for (int64_t k = 0; k < depth; ++k) {
        w[static_cast<size_t>(i * depth + k)] +=
            a[static_cast<size_t>(i * rank + r)] * b[static_cast<size_t>(r * depth + k)];
      }
    }
  }
  return w;
}

// Seeds differ from run to run of the fuzzer only, but the margin is far from what another seed changes.
TEST(ArmorFit, BeatsPruningClearly) {
  Rng rng(1);
  for (const bool with_norms : {false, true}) {
    const std::vector<float> norms = with_norms ? rng.small_integers(128, 1, 5) : std::vector<float>();
    Fitted random(make_params(2, 4, 6, 128, 128, 32)), structured(make_params(2, 4, 6, 128, 128, 32));
    const std::vector<float> noise = rng.normals(128 * 128), rank4 = low_rank(rng, 128, 128, 4, 0.3f);
    random.run(noise, norms);
    random.check(noise, norms);
    structured.run(rank4, norms);
    structured.check(rank4, norms);
    EXPECT_LT(random.last(), 0.75 * random.losses[0]);
    EXPECT_LT(structured.last(), 0.3 * structured.losses[0]);
  }
}

TEST(ArmorFit, EveryGroup) {
  Rng rng(2);
  int cases = 0;
  for (const int32_t m : {2, 4, 8, 16, 32}) {
    for (int32_t n = 1; n <= m; n += m > 8 ? 5 : 1) {
      for (const int64_t block : {1, 5, 16, 100}) {  // 5: groups lie across blocks
        const int64_t columns = rng.integer(1, 40), depth = rng.integer(1, 70);
        SCOPED_TRACE(std::to_string(n) + ":" + std::to_string(m) + ", " + std::to_string(columns) + " x " +
                     std::to_string(depth) + ", blocks of " + std::to_string(block));
        const std::vector<float> w = rng.normals(columns * depth);
        std::vector<float> norms;
        if (cases % 2 == 0) norms = rng.small_integers(depth, 0, 3);
        Fitted fitted(make_params(n, m, 3, columns, depth, block));
        fitted.run(w, norms);
        if (HasFatalFailure()) return;
        fitted.check(w, norms);
        if (HasFatalFailure() || HasNonfatalFailure()) return;
        ++cases;
      }
    }
  }
  EXPECT_GT(cases, 80);
}

// Before the first round: Wanda's pruning.
TEST(ArmorFit, StartsFromPruning) {
  Rng rng(3);
  const std::vector<float> w = rng.normals(7 * 22), norms = rng.small_integers(22, 1, 9);
  Fitted fitted(make_params(2, 4, 0, 7, 22, 6));
  fitted.run(w, norms);
  const std::vector<double> s = reference_core(7, 22, 2, 4, fitted.values.data(), fitted.indices.data());
  double loss = 0;
  for (size_t r = 0; r < 7; ++r) {
    for (size_t group = 0; group < 22; group += 4) {
      const size_t end = std::min<size_t>(group + 4, 22);
      for (size_t k = group; k < end; ++k) {
        const float score = std::fabs(w[r * 22 + k]) * norms[k];
        int better = 0;
        for (size_t j = group; j < end; ++j) {
          const float other = std::fabs(w[r * 22 + j]) * norms[j];
          better += other > score || (other == score && j < k);
        }
        EXPECT_EQ(s[r * 22 + k], better < 2 ? double{w[r * 22 + k]} : 0) << r << ", " << k;
        loss += better < 2 ? 0 : double{score} * double{score};
      }
    }
  }
  EXPECT_NEAR(fitted.losses[0], loss, 1e-6 * loss);
  EXPECT_EQ(reference_diagonal(7, 6, fitted.left.data()), reference_diagonal(7, 1, std::vector<float>(7, 1).data()));
  EXPECT_EQ(reference_diagonal(22, 6, fitted.right.data()),
            reference_diagonal(22, 1, std::vector<float>(22, 1).data()));
}

// A matrix that is a product of the form itself: the fit gets almost all of it, 2 to 3 percent of the loss being left.
TEST(ArmorFit, FindsWhatIsThere) {
  Rng rng(4);
  Fitted hidden(make_params(2, 4, 0, 64, 64, 16));
  hidden.run(rng.normals(64 * 64), {});
  for (int64_t i = 0; i < hidden.left.size(); ++i) hidden.left[i] += 0.2f * rng.normal();
  for (int64_t i = 0; i < hidden.right.size(); ++i) hidden.right[i] += 0.2f * rng.normal();
  const std::vector<double> product = hidden.product();
  const std::vector<float> w(product.begin(), product.end());
  Fitted found(make_params(2, 4, 40, 64, 64, 16));
  found.run(w, {});
  found.check(w, {});
  EXPECT_LT(found.last(), 0.05 * found.losses[0]);
}

TEST(ArmorFit, AnyNumberOfThreads) {
  Rng rng(5);
  const std::vector<float> w = rng.normals(150 * 130);
  Fitted one(make_params(2, 4, 3, 150, 130, 32));
  one.run(w, {});
  for (const int32_t threads : {0, 2, 5}) {
    Fitted more(one.p);
    more.p.threads = threads;
    more.run(w, {});
    EXPECT_TRUE(test::identical(more.left.copy(), one.left.copy()));
    EXPECT_TRUE(test::identical(more.right.copy(), one.right.copy()));
    EXPECT_TRUE(test::identical(more.values.copy(), one.values.copy()));
    EXPECT_TRUE(test::identical(more.indices.copy(), one.indices.copy()));
    EXPECT_TRUE(test::identical(more.losses.copy(), one.losses.copy()));
  }
}

// Scale changes nothing but the scale: powers of 2 give the same factors, even at the ends of f32.
TEST(ArmorFit, AnyScale) {
  Rng rng(6);
  const std::vector<float> w = rng.small_integers(40 * 36, -99, 99);
  Fitted one(make_params(2, 4, 4, 40, 36, 12));
  one.run(w, {});
  for (const int power : {-120, -60, 60, 120}) {
    std::vector<float> scaled = w;
    for (float& x : scaled) x = std::ldexp(x, power);
    Fitted other(one.p);
    other.run(scaled, {});
    EXPECT_TRUE(test::identical(other.indices.copy(), one.indices.copy())) << power;
    EXPECT_TRUE(test::identical(other.right.copy(), one.right.copy())) << power;
    EXPECT_DOUBLE_EQ(other.last(), std::ldexp(one.last(), 2 * power)) << power;
    for (int64_t i = 0; i < other.values.size(); ++i) EXPECT_TRUE(std::isfinite(other.values[i])) << power;
  }
}

TEST(ArmorFit, ZerosAndEmptyMatrices) {
  Fitted zeros(make_params(2, 4, 3, 9, 10, 4));
  zeros.run(std::vector<float>(90), {});
  zeros.check(std::vector<float>(90), {});
  EXPECT_EQ(zeros.last(), 0);
  Fitted unseen(make_params(2, 4, 2, 9, 10, 4));  // nothing counts
  unseen.run(std::vector<float>(90, 1), std::vector<float>(10, 0));
  unseen.check(std::vector<float>(90, 1), std::vector<float>(10, 0));
  for (const auto& [columns, depth] : {std::pair<int64_t, int64_t>{0, 0}, {0, 5}, {5, 0}}) {
    Fitted empty(make_params(2, 4, 2, columns, depth, 3));
    empty.run({}, {});
    empty.check({}, {});
  }
}

// As if somebody had changed w since it was checked: its exponent is none to calculate with.
TEST(ArmorFit, WeightsThatAreNoNumbersAnyLonger) {
  constexpr int64_t kColumns = 8, kDepth = 16, kBlock = 4;
  const gatun_armor_fit_params p = make_params(2, 4, 1, kColumns, kDepth, kBlock);
  for (const float number : {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(),
                             std::numeric_limits<float>::quiet_NaN()}) {
    std::vector<float> w(kColumns * kDepth, 1), core(w.size());
    w[70] = number;
    std::vector<uint8_t> mask(w.size() / 8, 0x33);
    GuardBuffer<float> left(kColumns * kBlock), right(kDepth * kBlock);
    EXPECT_EQ(fit(gemm::kernel_of(active_tier()), p, w.data(), nullptr, left.data(), core.data(), mask.data(),
                  right.data(), nullptr),
              GATUN_INTERNAL);
    EXPECT_NE(std::strstr(gatun_last_error(), "w: a number is NaN or infinite"), nullptr) << gatun_last_error();
  }
}

// Against all choices of positions, each solved by elimination.
TEST(ArmorGroup, FindsTheBestChoice) {
  Rng rng(7);
  for (const auto& choice : {std::pair<int, int>{4, 2}, {4, 1}, {4, 4}, {3, 2}, {8, 2}, {8, 4}, {32, 1}}) {
    const int size = choice.first, kept = choice.second;
    const GroupSearch search(size, kept);
    for (int trial = 0; trial < 20; ++trial) {
      double h[kMaxGroup * kMaxGroup] = {}, c[kMaxGroup], y[kMaxGroup] = {};
      std::vector<float> root = rng.normals(size * (size + 2));
      for (int i = 0; i < size; ++i) {
        c[i] = double{rng.normal()};
        for (int j = 0; j < size; ++j) {
          for (int k = 0; k < size + 2; ++k) {
            h[i * kMaxGroup + j] += double{root[static_cast<size_t>(i * (size + 2) + k)]} *
                                    double{root[static_cast<size_t>(j * (size + 2) + k)]};
          }
        }
      }
      uint32_t mask = (uint32_t{1} << (kept - 1) << 1) - 1;
      ASSERT_TRUE(search.improve(h, c, &mask, y));
      EXPECT_EQ(__builtin_popcount(mask), kept);
      const auto gain = [&](const double* values) {
        double sum = 0;
        for (int i = 0; i < size; ++i) {
          sum += 2 * c[i] * values[i];
          for (int j = 0; j < size; ++j) sum -= values[i] * h[i * kMaxGroup + j] * values[j];
        }
        return sum;
      };
      const double found = gain(y);
      for (int i = 0; i < size; ++i) EXPECT_EQ(y[i] != 0, (mask >> i & 1) == 1);
      // No single exchange of a position is better, and no nudge of a value.
      for (uint64_t other = 0; other < uint64_t{1} << std::min(size, 8); ++other) {
        if (__builtin_popcountll(other) != kept) continue;
        // Conjugate directions would do; steepest coordinate steps do, too.
        double values[kMaxGroup] = {};
        for (int step = 0; step < 400; ++step) {
          for (int i = 0; i < size; ++i) {
            if (!(other >> i & 1)) continue;
            double rest = c[i];
            for (int j = 0; j < size; ++j) rest -= h[i * kMaxGroup + j] * values[j];
            values[i] += rest / h[i * kMaxGroup + i];
          }
        }
        EXPECT_LE(gain(values), found + 1e-6 * std::fabs(found));
      }
    }
  }
}

}  // namespace
}  // namespace gatun::armor
