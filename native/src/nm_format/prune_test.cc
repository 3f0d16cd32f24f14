// gatun_nm_prune: the bytes of gatun_prune's reference, compressed by this op's, for every score and format.
#include <cstring>
#include <limits>

#include "nm_format/table.h"
#include "nm_format/test_format.h"
#include "prune/reference.h"

namespace gatun::nm_format {
namespace {

constexpr int32_t kFloats[] = {GATUN_F32, GATUN_F16, GATUN_BF16};
constexpr int32_t kScores[] = {GATUN_SCORE_MAGNITUDE, GATUN_SCORE_WANDA, GATUN_SCORE_LAMP, GATUN_SCORE_GIVEN};

gatun_prune_params params_of(const gatun_nm_format& f, int32_t score, int32_t pattern = GATUN_PATTERN_NM) {
  gatun_prune_params p{};
  p.struct_size = sizeof(p);
  p.w_dtype = f.value_dtype;
  p.score = score;
  p.pattern = pattern;
  p.n = f.n;
  p.m = f.m;
  p.vector = f.vector;
  p.columns = f.columns;
  p.depth = f.depth;
  return p;
}

// Weights, norms and scores of a call, each at the edge of its memory.
struct Call {
  Call(const gatun_nm_format& f, int32_t score, const std::vector<float>& w_of, const std::vector<float>& norms_of,
       const std::vector<float>& scores_of, Edge edge = Edge::back)
      : w(test::from_floats(w_of, f.value_dtype), edge), norms(norms_of, edge), scores(scores_of, edge) {
    w.make_read_only();
    norms.make_read_only();
    scores.make_read_only();
    norms_at = score == GATUN_SCORE_WANDA ? norms.data() : nullptr;
    scores_at = score == GATUN_SCORE_GIVEN ? scores.data() : nullptr;
  }
  GuardBuffer<uint8_t> w;
  GuardBuffer<float> norms, scores;
  const float* norms_at;
  const float* scores_at;
};

std::vector<float> floats_of(const Call& call, int32_t dtype) {
  const std::vector<double> exact = test::to_doubles(call.w.data(), dtype, call.w.size() / dtype_bytes(dtype, 1));
  return std::vector<float>(exact.begin(), exact.end());
}

void check(const gatun_nm_format& f, const gatun_prune_params& p, const Call& call) {
  SCOPED_TRACE(describe(f) + ", score " + std::to_string(p.score) + ", pattern " + std::to_string(p.pattern));
  const std::vector<float> scores = call.scores_at != nullptr
                                        ? call.scores.copy()
                                        : prune::reference_scores(p, floats_of(call, f.value_dtype), call.norms_at);
  const Bytes mask = prune::reference_mask(p, scores);
  const Canonical expected = reference_compress(f, call.w.data(), mask.data(), nullptr);
  ASSERT_TRUE(expected.valid);
  const Sizes sizes(f);
  GuardBuffer<uint8_t> values(sizes.values), indices(sizes.indices);
  ASSERT_EQ(gatun_nm_prune(&f, &p, call.w.data(), call.norms_at, call.scores_at, values.data(), indices.data()),
            GATUN_OK)
      << gatun_last_error();
  ASSERT_TRUE(test::identical(indices.copy(), expected.indices)) << "indices";
  ASSERT_TRUE(test::identical(values.copy(), expected.values)) << "values";
}

// Half of the values are few, so that many scores are equal.
void check_random(Rng& rng, const gatun_nm_format& f, int32_t score, int32_t pattern = GATUN_PATTERN_NM) {
  const int64_t count = f.columns * f.depth;
  const bool few = rng.integer(0, 1) == 1;
  const Call call(f, score, few ? rng.small_integers(count, -2, 2) : rng.normals(count),
                  few ? rng.small_integers(f.depth, 0, 2) : [&] {
                    std::vector<float> norms = rng.normals(f.depth);
                    for (float& norm : norms) norm = std::fabs(norm);
                    return norms;
                  }(),
                  few ? rng.small_integers(count, -1, 1) : rng.normals(count),
                  rng.integer(0, 1) ? Edge::front : Edge::back);
  check(f, params_of(f, score, pattern), call);
}

TEST(NmFormatPrune, EveryFormatAndScore) {
  Rng rng(1);
  for (const int32_t m : kSizes) {
    for (int32_t n = 1; n <= m; ++n) {
      for (const int32_t score : kScores) {
        for (const int32_t dtype : kFloats) {
          for (const int64_t depth : {int64_t{1}, int64_t{m - 1}, int64_t{m + 1}, int64_t{64}, rng.integer(65, 200)}) {
            const int32_t vector = rng.integer(0, 2) ? 1 : static_cast<int32_t>(rng.integer(2, 4));
            check_random(rng, make_format(n, m, rng.integer(1, 6), depth, dtype, vector), score);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST(NmFormatPrune, ChunksOfDepth) {
  Rng rng(2);
  for (const int64_t depth : {63, 65, 127, 129, 1023, 1024, 1025, 2047, 2049, 3001}) {
    for (const int32_t m : kSizes) {
      for (const int32_t score : kScores) {
        const int32_t dtype = kFloats[rng.integer(0, 2)];
        check_random(rng, make_format(static_cast<int32_t>(rng.integer(1, m)), m, 2, depth, dtype), score);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(NmFormatPrune, Transposable) {
  Rng rng(3);
  for (const int64_t columns : {1, 4, 5, 16, 19}) {
    for (const int64_t depth : {1, 4, 6, 64, 67, 200}) {
      for (const int32_t dtype : kFloats) {
        for (const int32_t score : kScores) {
          check_random(rng, make_format(2, 4, columns, depth, dtype), score, GATUN_PATTERN_TRANSPOSABLE);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(NmFormatPrune, ByHand) {
  const gatun_nm_format f = make_format(2, 4, 1, 10);
  const float w[] = {1, -1, 1, 1, /**/ 0.5f, -4, -0.0f, 3, /**/ 0, 2};
  const float norms[] = {0, 1, 1, 2, /**/ 9, 1, 0, 1, /**/ 1, 0};
  float values[6];
  uint8_t indices[2];
  gatun_prune_params p = params_of(f, GATUN_SCORE_MAGNITUDE);
  ASSERT_EQ(gatun_nm_prune(&f, &p, w, nullptr, nullptr, values, indices), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(std::vector<float>(values, values + 6), (std::vector<float>{1, -1, -4, 3, 0, 2}));
  EXPECT_EQ(Bytes(indices, indices + 2), (Bytes{0xd4, 0x04}));
  p.score = GATUN_SCORE_WANDA;  // scores 0 1 1 2 | 4.5 4 0 3 | 0 0
  ASSERT_EQ(gatun_nm_prune(&f, &p, w, norms, nullptr, values, indices), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(std::vector<float>(values, values + 6), (std::vector<float>{-1, 1, 0.5f, -4, 0, 2}));
  EXPECT_EQ(Bytes(indices, indices + 2), (Bytes{0x4d, 0x04}));
  p.score = GATUN_SCORE_GIVEN;
  const float inf = std::numeric_limits<float>::infinity();
  const float scores[] = {-inf, -3, -2, -inf, /**/ -0.0f, 0, -0.0f, inf, /**/ -5, -6};
  ASSERT_EQ(gatun_nm_prune(&f, &p, w, nullptr, scores, values, indices), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(std::vector<float>(values, values + 6), (std::vector<float>{-1, 1, 0.5f, 3, 0, 2}));
  EXPECT_EQ(Bytes(indices, indices + 2), (Bytes{0xc9, 0x04}));
}

// Infinities are scores like others; NaN is refused with its place, by every way through the op.
TEST(NmFormatPrune, InfinityAndNan) {
  Rng rng(4);
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  for (const int32_t dtype : kFloats) {
    for (const int32_t m : kSizes) {
      const gatun_nm_format f = make_format(1, m, 3, 100, dtype);
      const gatun_prune_params p = params_of(f, GATUN_SCORE_MAGNITUDE);
      std::vector<float> w = rng.normals(300);
      w[7] = inf;
      w[201] = -inf;
      check(f, p, Call(f, p.score, w, {}, {}));
      for (const float bad : {nan, -nan}) {
        const int64_t row = rng.integer(0, 2), k = rng.integer(0, 99);
        std::vector<float> spoiled = w;
        spoiled[static_cast<size_t>(row * 100 + k)] = bad;
        const std::string place = "[" + std::to_string(row) + "][" + std::to_string(k) + "]";
        for (const int32_t score : kScores) {
          for (const int32_t vector : {1, 2}) {
            gatun_nm_format g = f;
            g.vector = vector;
            gatun_prune_params q = params_of(g, score);
            if (score == GATUN_SCORE_LAMP || vector == 2) {
              for (float& value : spoiled) value = value * 0 == 0 || value != value ? value : 1;  // finite, but NaN
            }
            const Call call(g, score, spoiled, std::vector<float>(100, 2.0f), spoiled);
            Bytes values(1200), indices(300);
            ASSERT_EQ(
                gatun_nm_prune(&g, &q, call.w.data(), call.norms_at, call.scores_at, values.data(), indices.data()),
                GATUN_INVALID_ARGUMENT)
                << describe(g) << ", score " << score;
            EXPECT_NE(std::string(gatun_last_error()).find(place), std::string::npos) << gatun_last_error();
          }
        }
      }
    }
  }
  // 0 times infinity.
  const gatun_nm_format f = make_format(2, 4, 1, 4);
  const gatun_prune_params p = params_of(f, GATUN_SCORE_WANDA);
  const float w[] = {1, inf, 2, 3}, norms[] = {1, 0, 1, 1};
  float values[2];
  uint8_t indices;
  EXPECT_EQ(gatun_nm_prune(&f, &p, w, norms, nullptr, values, &indices), GATUN_INVALID_ARGUMENT);
  EXPECT_NE(std::string(gatun_last_error()).find("[0][1]"), std::string::npos) << gatun_last_error();
}

// Large enough to bypass the caches and to want several threads: the same as row by row.
TEST(NmFormatPrune, ManyValuesAndThreads) {
  Rng rng(5);
  for (const int32_t dtype : {GATUN_F32, GATUN_F16}) {
    gatun_nm_format f = make_format(2, 4, 300, int64_t{1} << (dtype == GATUN_F32 ? 15 : 16), dtype);
    const Sizes sizes(f);
    ASSERT_GE(sizes.values, int64_t{16} << 20);
    const int64_t some = 100003;
    const std::vector<float> normals = rng.normals(some);
    std::vector<float> all(static_cast<size_t>(f.columns * f.depth));
    for (size_t i = 0; i < all.size(); ++i) all[i] = normals[i % static_cast<size_t>(some)];
    const Bytes w = test::from_floats(all, dtype);
    gatun_nm_format row = f;
    row.columns = 1;
    const Sizes of_row(row);
    gatun_prune_params p = params_of(f, GATUN_SCORE_MAGNITUDE), q = params_of(row, GATUN_SCORE_MAGNITUDE);
    Bytes values(static_cast<size_t>(sizes.values)), indices(static_cast<size_t>(sizes.indices));
    Bytes row_values(static_cast<size_t>(of_row.values)), row_indices(static_cast<size_t>(of_row.indices));
    f.threads = 3;
    ASSERT_EQ(gatun_nm_prune(&f, &p, w.data(), nullptr, nullptr, values.data(), indices.data()), GATUN_OK);
    for (int64_t r = 0; r < f.columns; ++r) {
      ASSERT_EQ(gatun_nm_prune(&row, &q, w.data() + r * of_row.dense, nullptr, nullptr, row_values.data(),
                               row_indices.data()),
                GATUN_OK);
      ASSERT_TRUE(test::identical(values.data() + r * of_row.values, row_values.data(), of_row.values)) << r;
      ASSERT_TRUE(test::identical(indices.data() + r * of_row.indices, row_indices.data(), of_row.indices)) << r;
    }
  }
}

TEST(NmFormatPrune, EmptyWorkNeedsNoMemory) {
  for (const int32_t score : kScores) {
    for (const auto& [columns, depth] : {std::pair<int64_t, int64_t>{0, 0}, {0, 5}, {5, 0}}) {
      const gatun_nm_format f = make_format(2, 4, columns, depth);
      const gatun_prune_params p = params_of(f, score);
      EXPECT_EQ(gatun_nm_prune(&f, &p, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK) << gatun_last_error();
      EXPECT_EQ(gatun_nm_compress(&f, nullptr, nullptr, nullptr, nullptr, nullptr), GATUN_OK) << gatun_last_error();
      EXPECT_EQ(gatun_nm_decompress(&f, nullptr, nullptr, nullptr, nullptr), GATUN_OK) << gatun_last_error();
      EXPECT_EQ(gatun_nm_mask(&f, nullptr, nullptr), GATUN_OK) << gatun_last_error();
      EXPECT_EQ(gatun_nm_check(&f, nullptr), GATUN_OK) << gatun_last_error();
    }
  }
}

}  // namespace
}  // namespace gatun::nm_format
