// gatun_prune, gatun_prune_scores and gatun_prune_explain: every documented refusal.
#include "gatun/prune.h"

#include <cmath>

#include "boundary.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

constexpr int64_t kColumns = 5, kDepth = 12;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

// A good call; each test spoils one thing.
class PruneBoundary : public ::testing::Test {
 protected:
  PruneBoundary() {
    for (size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i % 7) - 3;
    good.struct_size = sizeof(good);
    good.w_dtype = GATUN_F32;
    good.score = GATUN_SCORE_WANDA;
    good.n = 2;
    good.m = 4;
    good.vector = good.threads = 1;
    good.columns = kColumns;
    good.depth = kDepth;
    good.keep = 3;
    good.block_rows = good.block_depth = 2;
    params = good;
  }

  int32_t prune() { return gatun_prune(given, w_at, norms_at, scores_at, mask_at); }
  int32_t score() { return gatun_prune_scores(given, w_at, norms_at, scores_out); }
  void refused(std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(prune(), words));
    EXPECT_TRUE(untouched(mask)) << "the mask was written";
    params = good;
  }
  // Of what both entries check.
  void both_refused(std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(score(), words)) << "gatun_prune_scores";
    EXPECT_TRUE(untouched(out)) << "scores were written";
    refused(words);
  }
  void accepted() {
    EXPECT_EQ(prune(), GATUN_OK) << gatun_last_error();
    EXPECT_FALSE(untouched(mask));
    std::fill(mask.begin(), mask.end(), kUntouched);
    params = good;
  }
  void use_given_scores() {
    good.score = params.score = GATUN_SCORE_GIVEN;
    w_at = nullptr;
    norms_at = nullptr;
    scores_at = w.data();
  }
  void use_score(int32_t kind) {
    good.score = params.score = kind;
    norms_at = kind == GATUN_SCORE_WANDA ? norms.data() : nullptr;
  }

  gatun_prune_params good{}, params{};
  const gatun_prune_params* given = &params;
  std::vector<float> w = std::vector<float>(kColumns * kDepth), norms = std::vector<float>(kDepth, 2.0f);
  std::vector<uint8_t> mask = std::vector<uint8_t>(kColumns * 2, kUntouched),
                       out = std::vector<uint8_t>(kColumns * kDepth * 4, kUntouched);
  void* w_at = w.data();
  const float* norms_at = norms.data();
  const float* scores_at = nullptr;
  uint8_t* mask_at = mask.data();
  float* scores_out = reinterpret_cast<float*>(out.data());
};

TEST_F(PruneBoundary, TheGoodCallsAreAccepted) {
  for (int32_t pattern = GATUN_PATTERN_NM; pattern <= GATUN_PATTERN_BLOCKS; ++pattern) {
    params.pattern = pattern;
    accepted();
  }
  EXPECT_EQ(score(), GATUN_OK) << gatun_last_error();
  EXPECT_FALSE(untouched(out));
  for (const int32_t kind : {GATUN_SCORE_MAGNITUDE, GATUN_SCORE_LAMP}) {
    use_score(kind);
    accepted();
  }
  use_given_scores();
  accepted();
}

TEST_F(PruneBoundary, Struct) {
  check_struct(params, given, "params", [&](auto words) { both_refused(words); });
}

TEST_F(PruneBoundary, Enums) {
  for (const int32_t dtype : {0, -1, int{GATUN_I8}, int{GATUN_U4}, int{GATUN_F8E4M3}}) {
    params.w_dtype = dtype;
    both_refused({"w_dtype", std::to_string(dtype).c_str(), "F32, F16, BF16"});
  }
  for (const int32_t kind : {-1, 4, 1 << 30}) {
    params.score = kind;
    both_refused({"score", std::to_string(kind).c_str(), "0..3"});
  }
  for (const int32_t pattern : {-1, 7, 1 << 30}) {
    params.pattern = pattern;
    refused({"pattern", std::to_string(pattern).c_str(), "0..6"});
  }
}

TEST_F(PruneBoundary, ScoresThatAreGivenAreNotMade) {
  use_given_scores();
  EXPECT_TRUE(invalid(score(), {"score", "3", "0..2"}));
  EXPECT_TRUE(untouched(out));
}

TEST_F(PruneBoundary, Groups) {
  for (const int32_t m : {-4, 0, 1, 3, 5, 6, 12, 33, 64}) {
    params.m = m;
    refused({"params.m", std::to_string(m).c_str(), "2, 4, 8, 16, 32"});
  }
  for (const int32_t n : {-1, 0, 5, std::numeric_limits<int32_t>::min()}) {
    params.n = n;
    refused({"params.n", std::to_string(n).c_str(), "1..4"});
  }
  for (const int32_t vector : {-1, 0, std::numeric_limits<int32_t>::min()}) {
    params.vector = vector;
    refused({"vector", std::to_string(vector).c_str()});
  }
  params.vector = std::numeric_limits<int32_t>::max();
  accepted();
  // Other patterns ignore them.
  params.pattern = GATUN_PATTERN_ROW;
  params.n = params.m = params.vector = -1;
  accepted();
}

TEST_F(PruneBoundary, Keep) {
  const int64_t most[] = {0, 0, kColumns * kDepth, kDepth, kColumns, kDepth, 3 * 6};
  for (int32_t pattern = GATUN_PATTERN_UNSTRUCTURED; pattern <= GATUN_PATTERN_BLOCKS; ++pattern) {
    for (const int64_t keep : {int64_t{-1}, kMin, kMax, most[pattern] + 1}) {
      params.pattern = pattern;
      params.keep = keep;
      refused({"keep", std::to_string(keep).c_str(), ("0.." + std::to_string(most[pattern])).c_str()});
    }
    params.pattern = pattern;
    params.keep = most[pattern];
    accepted();
  }
  for (const int32_t pattern : {GATUN_PATTERN_NM, GATUN_PATTERN_TRANSPOSABLE}) {
    params.pattern = pattern;
    params.keep = -1;
    accepted();
  }
}

TEST_F(PruneBoundary, Blocks) {
  for (const int64_t size : {int64_t{0}, int64_t{-1}, kMin}) {
    params.pattern = GATUN_PATTERN_BLOCKS;
    params.block_rows = size;
    refused({"block_rows", std::to_string(size).c_str()});
    params.pattern = GATUN_PATTERN_BLOCKS;
    params.block_depth = size;
    refused({"block_depth", std::to_string(size).c_str()});
  }
  params.pattern = GATUN_PATTERN_BLOCKS;
  params.block_rows = params.block_depth = kMax;
  params.keep = 1;
  accepted();
  params.pattern = GATUN_PATTERN_ROWS;
  params.block_rows = params.block_depth = -1;
  accepted();
}

TEST_F(PruneBoundary, Sizes) {
  for (const int32_t threads : {-1, 1025, std::numeric_limits<int32_t>::min()}) {
    params.threads = threads;
    both_refused({"threads", std::to_string(threads).c_str(), "1024"});
  }
  for (const int64_t size : {int64_t{-1}, kMin}) {
    params.columns = size;
    both_refused({"columns", std::to_string(size).c_str()});
    params.depth = size;
    both_refused({"depth", std::to_string(size).c_str()});
  }
  for (const int64_t huge : {kMax, kMax / 2, int64_t{1} << 60}) {
    params.columns = huge;
    both_refused({"scores", std::to_string(huge).c_str()});
    params.depth = huge;
    both_refused({"scores", std::to_string(huge).c_str()});
    params.columns = params.depth = huge;
    both_refused({"scores", std::to_string(huge).c_str()});
  }
}

TEST_F(PruneBoundary, NullsAndAlignment) {
  w_at = nullptr;
  both_refused({"w is null"});
  w_at = w.data();
  norms_at = nullptr;
  both_refused({"norms is null"});
  norms_at = norms.data();
  mask_at = nullptr;
  EXPECT_TRUE(invalid(prune(), {"mask is null"}));
  mask_at = mask.data();
  scores_out = nullptr;
  EXPECT_TRUE(invalid(score(), {"scores is null"}));
  scores_out = reinterpret_cast<float*>(out.data() + 2);
  params.columns = kColumns - 1;
  EXPECT_TRUE(invalid(score(), {"scores", "4"}));
  scores_out = reinterpret_cast<float*>(out.data());
  params.columns = kColumns - 1;
  w_at = reinterpret_cast<char*>(w.data()) + 2;
  both_refused({"w", "4"});
  params.columns = kColumns - 1;
  params.w_dtype = GATUN_BF16;
  w_at = reinterpret_cast<char*>(w.data()) + 1;
  both_refused({"w", "2"});
  w_at = w.data();
  params.depth = kDepth - 1;
  norms_at = reinterpret_cast<const float*>(reinterpret_cast<const char*>(norms.data()) + 3);
  both_refused({"norms", "4"});
}

TEST_F(PruneBoundary, WhatAScoreHasNoUseFor) {
  use_score(GATUN_SCORE_MAGNITUDE);
  norms_at = norms.data();
  both_refused({"norms is not null", "WANDA"});
  use_score(GATUN_SCORE_LAMP);
  norms_at = norms.data();
  both_refused({"norms is not null", "WANDA"});
  use_score(GATUN_SCORE_WANDA);
  scores_at = w.data();
  refused({"scores is not null", "GIVEN"});
  use_given_scores();
  w_at = w.data();
  refused({"w is not null", "GIVEN"});
  w_at = nullptr;
  norms_at = norms.data();
  refused({"norms is not null", "WANDA"});
  norms_at = nullptr;
  scores_at = nullptr;
  refused({"scores is null"});
}

TEST_F(PruneBoundary, Overlaps) {
  const std::vector<float> w_before = w, norms_before = norms;
  mask_at = reinterpret_cast<uint8_t*>(w.data());
  EXPECT_TRUE(invalid(prune(), {"mask", "w", "overlap"}));
  mask_at = reinterpret_cast<uint8_t*>(norms.data() + kDepth) - 1;
  EXPECT_TRUE(invalid(prune(), {"mask", "norms", "overlap"}));
  scores_out = w.data();
  EXPECT_TRUE(invalid(score(), {"scores", "w", "overlap"}));
  scores_out = norms.data();
  EXPECT_TRUE(invalid(score(), {"scores", "norms", "overlap"}));
  use_given_scores();
  mask_at = reinterpret_cast<uint8_t*>(w.data() + 1);
  EXPECT_TRUE(invalid(prune(), {"mask", "scores", "overlap"}));
  EXPECT_TRUE(identical(w, w_before) && identical(norms, norms_before));
}

TEST_F(PruneBoundary, Norms) {
  for (const float bad : {-1.0f, -0x1p-149f, kNan, kInfinity}) {
    for (const size_t at : {size_t{0}, norms.size() - 1}) {
      norms[at] = bad;
      both_refused({("norms[" + std::to_string(at) + "]").c_str(), "at least 0"});
      norms[at] = -0.0f;
    }
  }
  accepted();
}

TEST_F(PruneBoundary, NanIsRefusedWithItsPlace) {
  for (const int32_t kind : {GATUN_SCORE_MAGNITUDE, GATUN_SCORE_WANDA, GATUN_SCORE_LAMP}) {
    use_score(kind);
    for (const int64_t at : {int64_t{0}, kDepth * 2 + 7, kColumns * kDepth - 1}) {
      const std::string place = "w[" + std::to_string(at / kDepth) + "][" + std::to_string(at % kDepth) + "]";
      const float before = w[static_cast<size_t>(at)];
      w[static_cast<size_t>(at)] = kNan;
      w.back() = kNan;  // the first one is named
      both_refused({place.c_str(), "NaN"});
      for (int32_t pattern = GATUN_PATTERN_NM; pattern <= GATUN_PATTERN_BLOCKS; ++pattern) {
        params.pattern = pattern;
        refused({place.c_str(), "NaN"});
      }
      w[static_cast<size_t>(at)] = before;
      w.back() = before;
    }
  }
  w[14] = kInfinity;
  use_score(GATUN_SCORE_WANDA);
  norms[2] = 0;
  both_refused({"w[1][2]", "norms[2]", "inf", "nan"});
  w[14] = kNan;
  use_given_scores();
  refused({"scores[1][2]", "nan"});
}

TEST_F(PruneBoundary, InfinityIsRefusedWhereScoresAddUp) {
  w[25] = -kInfinity;
  const auto summed = [&](std::initializer_list<const char*> words) {
    for (const int32_t pattern : {GATUN_PATTERN_TRANSPOSABLE, GATUN_PATTERN_ROWS, GATUN_PATTERN_COLUMNS,
                                  GATUN_PATTERN_BLOCKS, GATUN_PATTERN_NM}) {
      params.pattern = pattern;
      params.vector = 2;
      refused(words);
    }
    for (const int32_t pattern : {GATUN_PATTERN_UNSTRUCTURED, GATUN_PATTERN_ROW, GATUN_PATTERN_NM}) {
      params.pattern = pattern;
      accepted();
    }
  };
  use_score(GATUN_SCORE_MAGNITUDE);
  summed({"w[2][1]", "infinity", "finite"});
  use_score(GATUN_SCORE_LAMP);
  both_refused({"w[2][1]", "infinity", "LAMP"});
  use_score(GATUN_SCORE_WANDA);
  w[25] = -3e38f;
  summed({"w[2][1]", "norms[1]", "3e+38", "inf", "finite"});
  w[25] = -kInfinity;
  use_given_scores();
  summed({"scores[2][1]", "-inf", "finite"});
}

TEST_F(PruneBoundary, EmptyWorkNeedsNoMemory) {
  w_at = nullptr;
  norms_at = nullptr;
  mask_at = nullptr;
  scores_out = nullptr;
  for (const int32_t kind : {GATUN_SCORE_MAGNITUDE, GATUN_SCORE_WANDA, GATUN_SCORE_LAMP, GATUN_SCORE_GIVEN}) {
    for (const auto& [columns, depth] :
         {std::pair<int64_t, int64_t>{0, 0}, {0, 5}, {5, 0}, {kMax, 0}, {0, kMax}, {0, int64_t{1} << 60}}) {
      for (int32_t pattern = GATUN_PATTERN_NM; pattern <= GATUN_PATTERN_BLOCKS; ++pattern) {
        params = good;
        params.score = kind;
        params.pattern = pattern;
        params.keep = 0;
        params.columns = columns;
        params.depth = depth;
        EXPECT_EQ(prune(), GATUN_OK) << gatun_last_error();
        char text[1024];
        EXPECT_EQ(gatun_prune_explain(&params, text, sizeof(text)), GATUN_OK) << gatun_last_error();
        if (kind == GATUN_SCORE_GIVEN) continue;
        EXPECT_EQ(score(), GATUN_OK) << gatun_last_error();
      }
    }
  }
}

TEST_F(PruneBoundary, Explain) {
  for (int32_t pattern = GATUN_PATTERN_NM; pattern <= GATUN_PATTERN_BLOCKS; ++pattern) {
    for (int32_t kind = GATUN_SCORE_MAGNITUDE; kind <= GATUN_SCORE_GIVEN; ++kind) {
      params = good;
      params.pattern = pattern;
      params.score = kind;
      check_text([&](char* text, int64_t capacity) { return gatun_prune_explain(given, text, capacity); }, 1024);
    }
  }
  std::vector<char> text(1024, '\x7f');
  EXPECT_TRUE(invalid(gatun_prune_explain(nullptr, text.data(), 1024), {"params"}));
  params = good;
  params.pattern = 77;
  EXPECT_TRUE(invalid(gatun_prune_explain(given, text.data(), 1024), {"pattern", "77"}));
  EXPECT_EQ(text, std::vector<char>(1024, '\x7f'));
  // A vector that another pattern ignores is of no use here either.
  params = good;
  params.pattern = GATUN_PATTERN_ROW;
  params.vector = 0;
  EXPECT_EQ(gatun_prune_explain(given, text.data(), 1024), GATUN_OK) << gatun_last_error();
}

}  // namespace
}  // namespace gatun::test
