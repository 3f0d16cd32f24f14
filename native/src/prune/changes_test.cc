// Weights that somebody changes while they are read pass after pass: what comes of it is unspecified, but nothing
// leaves its memory. A kernel whose scores are others in each pass stands for whoever changes them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "prune/mask.h"
#include "prune/pattern.h"
#include "prune/test_prune.h"

namespace gatun::prune {
namespace {

constexpr int64_t kDepth = 512;  // a pass is one call

std::vector<std::vector<float>> passes;  // scores of each; the last ones stay
size_t pass;

void score(const Weights&, int64_t, int64_t, int64_t count, float* scores) {
  std::copy_n(passes[std::min(pass++, passes.size() - 1)].begin(), count, scores);
}

struct ChangingJob : Job {
  ChangingJob(int32_t pattern, std::vector<std::vector<float>> scores_of_passes, int64_t keep = 0) {
    static constexpr Kernel kKernel = {score, nullptr, nullptr};
    passes = std::move(scores_of_passes);
    pass = 0;
    p = make_params(pattern, GATUN_SCORE_MAGNITUDE, 1, kDepth);
    p.keep = keep;
    weights = {nullptr, nullptr, false, kDepth};
    kernel = &kKernel;
  }
};

std::vector<float> all(float score) { return std::vector<float>(kDepth, score); }

// No score begins like those of the pass before: the threshold is the lowest one that does.
TEST(PruneChanges, DigitsOfAThreshold) {
  const ChangingJob job(GATUN_PATTERN_UNSTRUCTURED, {all(1), all(2), all(2), all(1)}, 100);
  std::vector<uint8_t> mask(kDepth / 8, 0xff), expected(kDepth / 8);
  ASSERT_EQ(prune_unstructured(job, mask.data()), GATUN_OK);
  for (int64_t k = 0; k < job.p.keep; ++k) set_bit(expected.data(), k, true);
  EXPECT_EQ(mask, expected);
}

// A magnitude below all that LAMP has sorted has no score but 0.
TEST(PruneChanges, MagnitudesBelowAllThatWereSorted) {
  std::vector<float> distinct(kDepth);
  std::iota(distinct.begin(), distinct.end(), 1.0f);
  std::vector<float> larger(kDepth);
  std::iota(larger.begin(), larger.end(), kDepth + 1.0f);
  for (const float later : {0.0f, 0.5f}) {
    ChangingJob job(GATUN_PATTERN_NM, {distinct, larger, all(later)});
    job.p.columns = 2;  // 4096 bytes of magnitudes: memory comes in as many
    std::vector<float> scores(2 * kDepth, -1);
    ASSERT_EQ(lamp_scores(job, scores.data()), GATUN_OK);
    EXPECT_TRUE(test::identical(scores, std::vector<float>(2 * kDepth)));
  }
}

// Numbers that were finite when they were checked: sums that are none are not kept.
TEST(PruneChanges, SumsThatAreNoNumbers) {
  for (const int64_t block : {1, 3, 64}) {
    for (const size_t step : {1, 3}) {
      std::vector<float> scores = all(1);
      for (size_t k = 0; k < scores.size(); k += step) scores[k] = std::numeric_limits<float>::quiet_NaN();
      const ChangingJob job(GATUN_PATTERN_BLOCKS, {scores}, 20 / block + 1);
      std::vector<uint8_t> mask(kDepth / 8);
      EXPECT_EQ(prune_blocks(job, 1, block, mask.data()), GATUN_OK);
      for (size_t k = 0; k < kDepth; k += step) EXPECT_FALSE(is_kept(mask.data(), static_cast<int64_t>(k))) << k;
    }
  }
}

// Likewise with vectors: no group keeps more than n, as it would if a beat b, b beat c and c beat a.
TEST(PruneChanges, SumsOfVectorsThatAreNoNumbers) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> scores(kDepth);
  for (size_t k = 0; k < scores.size(); ++k) {
    scores[k] = (k / 4 >> k % 4 & 1) != 0 ? nan : static_cast<float>(k * 7 % 5);  // all choices of four
  }
  ChangingJob job(GATUN_PATTERN_NM, {scores});
  job.p.columns = job.p.vector = 2;
  std::vector<uint8_t> mask(2 * kDepth / 8);
  for (job.p.n = 1; job.p.n <= 3; ++job.p.n) {
    prune_rows(job, 0, 2, mask.data());
    for (int64_t group = 0; group < kDepth / 4; ++group) {
      int kept = 0, numbers = 0, kept_numbers = 0;
      for (int64_t k = group * 4; k < group * 4 + 4; ++k) {
        const bool number = !std::isnan(scores[static_cast<size_t>(k)]), is = is_kept(mask.data(), k);
        numbers += number;
        kept += is;
        kept_numbers += is && number;
      }
      EXPECT_EQ(kept, job.p.n) << "group " << group;
      EXPECT_EQ(kept_numbers, std::min(job.p.n, numbers)) << "group " << group;
    }
  }
}

// A score that is refused, and is none when its place is looked up.
TEST(PruneChanges, RefusedScoresThatAreGone) {
  ChangingJob job(GATUN_PATTERN_NM, {all(1)});
  static constexpr Kernel kKernel = {score, [](const Weights&, int64_t, int64_t, int64_t) { return ~uint32_t{0}; },
                                     nullptr};
  job.kernel = &kKernel;
  EXPECT_EQ(check_scores(job, kNoNan, kAnyNumber), GATUN_INTERNAL);
  EXPECT_NE(std::string(gatun_last_error()).find("read again"), std::string::npos) << gatun_last_error();
}

}  // namespace
}  // namespace gatun::prune
