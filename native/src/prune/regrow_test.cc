// gatun_prune_regrow against reference_regrow.cc.
#include <gtest/gtest.h>

#include <cmath>

#include "prune/mask.h"
#include "prune/test_prune.h"

namespace gatun::prune {
namespace {

gatun_regrow_params make_regrow(int64_t columns, int64_t depth, int32_t n = 0, int32_t m = 0,
                                int32_t dtype = GATUN_F32) {
  return {sizeof(gatun_regrow_params), dtype, n, m, 50, 1, 0.1f, 1.0f, columns, depth};
}

struct Statistics {
  Statistics(Rng& rng, int64_t depth)
      : means(rng.normals(depth)), variances(some_norms(rng, depth)), norms(some_norms(rng, depth)) {}
  std::vector<float> means, variances, norms;
};

// A random mask: of rows, or at most n of every m.
std::vector<uint8_t> some_mask(Rng& rng, const gatun_regrow_params& p) {
  const int64_t row_bytes = mask_bytes(p.depth);
  std::vector<uint8_t> mask(static_cast<size_t>(p.columns * row_bytes));
  for (int64_t row = 0; row < p.columns; ++row) {
    int left = 0;
    for (int64_t k = 0; k < p.depth; ++k) {
      if (p.n > 0 && k % p.m == 0) left = p.n;
      const bool kept = rng.integer(0, 1) == 1 && (p.n == 0 || left-- > 0);
      mask[static_cast<size_t>(row * row_bytes + k / 8)] |= static_cast<uint8_t>(int{kept} << k % 8);
    }
  }
  return mask;
}

// Returns how many bits changed.
int compare_regrow(const gatun_regrow_params& p, const std::vector<float>& values, const Statistics& statistics,
                   const std::vector<uint8_t>& mask) {
  const std::vector<unsigned char> stored = test::from_floats(values, p.w_dtype);
  const std::vector<double> exact = test::to_doubles(stored.data(), p.w_dtype, p.columns * p.depth);
  const std::vector<uint8_t> expected = reference_regrow(p, {exact.begin(), exact.end()}, statistics.means.data(),
                                                         statistics.variances.data(), statistics.norms.data(), mask);
  GuardBuffer<unsigned char> w(stored);
  GuardBuffer<float> means(statistics.means), variances(statistics.variances), norms(statistics.norms);
  GuardBuffer<uint8_t> actual(mask);
  EXPECT_EQ(gatun_prune_regrow(&p, w.data(), means.data(), variances.data(), norms.data(), actual.data()), GATUN_OK)
      << gatun_last_error();
  EXPECT_TRUE(test::identical(actual.copy(), expected, mask_bytes(p.depth)))
      << p.n << ":" << p.m << ", " << p.columns << " x " << p.depth << ", " << dtype_name(p.w_dtype) << ", power "
      << p.variance_power << ", threshold " << p.threshold << ", at most " << p.max_cycles;
  int changed = 0;
  for (size_t i = 0; i < mask.size(); ++i) changed += __builtin_popcount(mask[i] ^ expected[i]);
  return changed;
}

TEST(PruneRegrow, RowsAndGroups) {
  Rng rng(21);
  int changed = 0;
  for (const int32_t dtype : kFloats) {
    for (const int32_t m : {0, 2, 4, 8, 16, 32}) {
      for (const int64_t depth : {0, 1, 2, 5, 8, 31, 64, 100, 515}) {
        for (int repeat = 0; repeat < 8; ++repeat) {
          const int64_t columns = rng.integer(0, 5);
          const int32_t n = m == 0 ? 0 : static_cast<int32_t>(rng.integer(1, m));
          gatun_regrow_params p = make_regrow(columns, depth, n, m, dtype);
          p.max_cycles = repeat == 0 ? 0 : rng.integer(0, 1) ? 50 : static_cast<int32_t>(rng.integer(1, 4));
          p.threshold = rng.integer(0, 1) ? 0.0f : 0.1f;
          p.variance_power = rng.integer(0, 3) == 0 ? 0.5f : static_cast<float>(rng.integer(0, 2));
          changed +=
              compare_regrow(p, some_weights(rng, columns * depth, repeat), Statistics(rng, depth), some_mask(rng, p));
          if (HasFailure()) return;
        }
      }
    }
  }
  EXPECT_GT(changed, 1000);
}

// Small integers: many ties, errors that become exactly 0.
TEST(PruneRegrow, Ties) {
  Rng rng(22);
  for (int repeat = 0; repeat < 300; ++repeat) {
    const int32_t m = repeat % 2 ? 0 : 8;
    gatun_regrow_params p = make_regrow(3, 40, m == 0 ? 0 : 5, m);
    p.threshold = 0;
    Statistics statistics(rng, 40);
    statistics.means = rng.small_integers(40, -2, 2);
    statistics.variances = rng.small_integers(40, 1, 2);
    statistics.norms = rng.small_integers(40, 0, 2);
    compare_regrow(p, rng.small_integers(120, -2, 2), statistics, some_mask(rng, p));
    if (HasFailure()) return;
  }
}

double error_of(const std::vector<float>& w, const std::vector<float>& means, const std::vector<uint8_t>& mask) {
  double error = 0;
  for (size_t k = 0; k < w.size(); ++k) {
    if (!is_kept(mask.data(), static_cast<int64_t>(k))) {
      error += static_cast<double>(w[k]) * static_cast<double>(means[k]);
    }
  }
  return error;
}

int kept_of(const std::vector<uint8_t>& mask, int64_t begin, int64_t end) {
  int kept = 0;
  for (int64_t k = begin; k < end; ++k) kept += is_kept(mask.data(), k);
  return kept;
}

// What the header promises, without the reference: nearer to 0, as many kept weights as before.
TEST(PruneRegrow, TheErrorShrinksAndCountsStay) {
  Rng rng(23);
  int smaller = 0;
  for (int repeat = 0; repeat < 100; ++repeat) {
    const bool groups = repeat % 2;
    gatun_regrow_params p = make_regrow(1, 203, groups ? 4 : 0, groups ? 8 : 0);
    const std::vector<float> w = rng.normals(203);
    const Statistics s(rng, 203);
    const std::vector<uint8_t> before = some_mask(rng, p);
    std::vector<uint8_t> after = before;
    ASSERT_EQ(gatun_prune_regrow(&p, w.data(), s.means.data(), s.variances.data(), s.norms.data(), after.data()),
              GATUN_OK);
    const double was = std::fabs(error_of(w, s.means, before)), is = std::fabs(error_of(w, s.means, after));
    EXPECT_LE(is, was + 1e-9);
    smaller += is < was / 2;
    const int64_t group = groups ? 8 : 203;
    for (int64_t k = 0; k < 203; k += group) {
      EXPECT_EQ(kept_of(after, k, std::min<int64_t>(k + group, 203)),
                kept_of(before, k, std::min<int64_t>(k + group, 203)));
    }
  }
  EXPECT_GT(smaller, 50);
}

TEST(PruneRegrow, ByHand) {
  const float w[] = {1, 2, -1, 3, 1, 0.5f}, means[] = {1, 1, 1, 1, 1, 1}, variances[] = {1, 8, 1, 1, 1, 1},
              norms[] = {1, 1, 1, 1, 1, 1};
  gatun_regrow_params p = make_regrow(1, 6);
  // Kept: -1 and 0.5. The error is 7; 3 (of 1, 2 / 8, 3, 1) grows, and -1, the only one below 0, is pruned: 7 - 1 - 3.
  uint8_t mask = 0x24;
  ASSERT_EQ(gatun_prune_regrow(&p, w, means, variances, norms, &mask), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(mask, 0x28);
  // In groups of two only 3 has a partner.
  p.n = 1;
  p.m = 2;
  mask = 0x24;
  ASSERT_EQ(gatun_prune_regrow(&p, w, means, variances, norms, &mask), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(mask, 0x28);
  // 1 instead of -1 would bring 0.5 to -1.5.
  const float short_row[] = {1, -1, 0.5f, 0};
  p = make_regrow(1, 4);
  mask = 0x06;
  const float own_means[] = {1, 1, 1, 1};
  const float one_pruned[] = {0.5f, -1, 0, 0};
  ASSERT_EQ(gatun_prune_regrow(&p, short_row, own_means, variances, norms, &mask), GATUN_OK);
  EXPECT_EQ(mask, 0x06) << "1 -> -1 is no nearer to 0";
  ASSERT_EQ(gatun_prune_regrow(&p, one_pruned, own_means, variances, norms, &mask), GATUN_OK);
  EXPECT_EQ(mask, 0x06) << "0.5 -> -1 is further from 0";
}

TEST(PruneRegrow, AnyNumberOfThreads) {
  Rng rng(24);
  gatun_regrow_params p = make_regrow(300, 900, 2, 4, GATUN_F16);
  const std::vector<unsigned char> w = test::from_floats(rng.normals(300 * 900), GATUN_F16);
  const Statistics s(rng, 900);
  const std::vector<uint8_t> mask = some_mask(rng, p);
  std::vector<uint8_t> one = mask;
  ASSERT_EQ(gatun_prune_regrow(&p, w.data(), s.means.data(), s.variances.data(), s.norms.data(), one.data()), GATUN_OK);
  EXPECT_NE(one, mask);
  for (const int32_t threads : {0, 2, 8}) {
    p.threads = threads;
    std::vector<uint8_t> more = mask;
    ASSERT_EQ(gatun_prune_regrow(&p, w.data(), s.means.data(), s.variances.data(), s.norms.data(), more.data()),
              GATUN_OK);
    EXPECT_TRUE(test::identical(more, one));
  }
}

}  // namespace
}  // namespace gatun::prune
