// Needles: a few keys that all queries of a head look for, in keys that none does.
//
// Queries and keys are normal, but in one direction u of each head, of length 1: an ordinary key has nothing there, a
// needle is a u alone, and query i has c[i] u, which makes the needle's logit scale * c[i] * a. It tops the largest one
// of ordinary keys, row by row, by 2 to 4, one needle after the other; c is near 8. Those largest logits come from the
// log-sum-exp at 8 times the scale, divided by 8, and the test looks at some of them.
//
// The scale decides what is asked. At 1 / sqrt(head_size) = 0.088 needles that top the others so hold an eighth of the
// attention of 32k keys, and whoever keeps a tenth of the blocks loses most of the rest: no selection can be right. At
// 0.5 logits spread so far that a few keys hold all, and the needles keep 98 % of the attention. In raw products a
// needle tops by 4 at least, so that in the mean of 64 keys it stands 0.7 above others, whose means over 128 queries
// and 64 keys scatter by sqrt(128 / (128 * 64)) = 0.125: 6 deviations, while the best tenth of the blocks begins
// at 1.3.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "attention_select/test_problem.h"
#include "gatun/gatun.h"

namespace gatun::test {
namespace {

constexpr int64_t kHeadSize = 128, kNeedles = 8;
constexpr float kScale = 0.5f, kSharper = 8;
constexpr double kAlong = 8, kSpread = 0.6;
constexpr int64_t kQueryBlock = 128, kKeyBlock = 32;

using Rows = std::vector<double>;

double dot(const double* a, const double* b) { return std::inner_product(a, a + kHeadSize, b, 0.0); }

struct Haystack {
  Problem x;
  std::vector<float> v;
  std::vector<int64_t> needles;  // keys of a head, head by head
  std::vector<float> largest;    // of ordinary logits, [heads, length]
};

// The largest logit of each row, nearly.
std::vector<float> largest_logits(Problem& x) {
  gatun_attention_params p = x.p;
  p.scale *= kSharper;
  p.query_block = p.key_block = p.query_blocks = 0;
  std::vector<float> lse(static_cast<size_t>(p.query_heads * p.query_length));
  EXPECT_EQ(gatun_attention(&p, x.q->data(), x.k->data(), nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                            nullptr, nullptr, nullptr, nullptr, nullptr, lse.data()),
            GATUN_OK)
      << gatun_last_error();
  for (float& value : lse) value /= kSharper;
  return lse;
}

Rows unit_row(Rng& rng) {
  const std::vector<float> direction = rng.normals(kHeadSize);
  Rows u(direction.begin(), direction.end());
  const double norm = std::sqrt(dot(u.data(), u.data()));
  for (double& value : u) value /= norm;
  return u;
}

void set_along(const Rows& u, double along, float* row) {
  const Rows values(row, row + kHeadSize);
  const double change = along - dot(values.data(), u.data());
  for (size_t d = 0; d < u.size(); ++d) row[d] = static_cast<float>(values[d] + change * u[d]);
}

Haystack haystack(uint64_t seed, int32_t dtype, int64_t heads, int64_t length) {
  Rng rng(seed);
  Haystack h;
  h.x = plain_problem(dtype, heads, heads, length, length, kHeadSize);
  h.x.p.scale = kScale;
  h.x.p.threads = 2;
  h.x.p.query_block = kQueryBlock;
  h.x.p.key_block = kKeyBlock;
  h.x.p.query_blocks = length / kQueryBlock;
  h.x.s.key_blocks = length / kKeyBlock;
  h.v = rng.normals(heads * length * kHeadSize);
  std::vector<float> q = rng.normals(heads * length * kHeadSize), k = rng.normals(heads * length * kHeadSize);
  std::vector<Rows> directions;
  for (int64_t head = 0; head < heads; ++head) {
    directions.push_back(unit_row(rng));
    for (int64_t row = head * length; row < (head + 1) * length; ++row) {
      set_along(directions.back(), 0, q.data() + row * kHeadSize);
      set_along(directions.back(), 0, k.data() + row * kHeadSize);
    }
  }
  for (int64_t head = 0; head < heads; ++head) {
    std::vector<int64_t> blocks(static_cast<size_t>(length / kKeyBlock));
    std::iota(blocks.begin(), blocks.end(), 0);
    for (int64_t n = 0; n < kNeedles; ++n) {
      const int64_t other = rng.integer(n, static_cast<int64_t>(blocks.size()) - 1);
      std::swap(blocks[static_cast<size_t>(n)], blocks[static_cast<size_t>(other)]);
      const int64_t key = blocks[static_cast<size_t>(n)] * kKeyBlock + rng.integer(0, kKeyBlock - 1);
      h.needles.push_back(key);
      std::fill_n(k.begin() + (head * length + key) * kHeadSize, kHeadSize, 0.0f);
    }
  }
  h.x.set(q, k, Edge::back);
  h.largest = largest_logits(h.x);
  for (int64_t head = 0; head < heads; ++head) {
    const Rows& u = directions[static_cast<size_t>(head)];
    const auto first = h.largest.begin() + head * length;
    const double mean = std::accumulate(first, first + length, 0.0) / static_cast<double>(length);
    const double a = (mean + 3) / (double{kScale} * kAlong);
    for (int64_t i = 0; i < length; ++i) {
      set_along(u, (double{first[i]} + 3) / (double{kScale} * a), q.data() + (head * length + i) * kHeadSize);
    }
    for (int64_t n = 0; n < kNeedles; ++n) {
      const int64_t key = h.needles[static_cast<size_t>(head * kNeedles + n)];
      const double along = a * (1 + kSpread * (2 * static_cast<double>(n) / (kNeedles - 1) - 1) / (mean + 3));
      for (size_t d = 0; d < u.size(); ++d) {
        k[static_cast<size_t>((head * length + key) * kHeadSize) + d] = static_cast<float>(along * u[d]);
      }
    }
  }
  h.x.set(q, k, Edge::back);
  return h;
}

// Each needle's logit is 2 to 4 above all others; two of these that are nearly the same look larger by ln(2) / 8.
// Rounded to bf16, ordinary keys have up to 0.02 along u.
void expect_topped(const Haystack& h, int64_t head, Rows logits) {
  Rows needles;
  for (int64_t n = 0; n < kNeedles; ++n) {
    double& logit = logits[static_cast<size_t>(h.needles[static_cast<size_t>(head * kNeedles + n)])];
    needles.push_back(logit);
    logit = -1e9;
  }
  const double most = *std::max_element(logits.begin(), logits.end());
  const double rounding = h.x.p.dtype == GATUN_F32 ? 0 : 0.15;
  for (const double needle : needles) {
    EXPECT_GT(needle - most, 1.99 - rounding);
    EXPECT_LT(needle - most, 4.1 + rounding);
  }
}

// |attention over the map's blocks - attention| / |attention| over 256 rows by chance, in double.
double error_of(const Haystack& h, const std::vector<uint8_t>& map) {
  const Problem& x = h.x;
  Rng rng(77);
  const int64_t length = x.p.kv_length, samples = 256 / x.p.query_heads;
  double error = 0, magnitude = 0;
  for (int64_t head = 0; head < x.p.query_heads; ++head) {
    for (int64_t sample = 0; sample < samples; ++sample) {
      const int64_t i = rng.integer(0, length - 1);
      const double* const query = x.q_values.data() + x.q_index(0, head, i);
      Rows logits(static_cast<size_t>(length));
      for (int64_t j = 0; j < length; ++j) {
        logits[static_cast<size_t>(j)] = double{kScale} * dot(query, x.k_values.data() + x.k_index(0, head, j));
      }
      const double most = *std::max_element(logits.begin(), logits.end());
      expect_topped(h, head, logits);
      double all = 0, kept = 0;
      Rows dense(kHeadSize), sparse(kHeadSize);
      for (int64_t j = 0; j < length; ++j) {
        const double weight = std::exp(logits[static_cast<size_t>(j)] - most);
        const bool seen = map[x.map_index(0, head, i / kQueryBlock, j / kKeyBlock)] != 0;
        all += weight;
        kept += seen ? weight : 0;
        if (weight < 1e-12) continue;
        for (size_t d = 0; d < dense.size(); ++d) {
          const double part = weight * double{h.v[static_cast<size_t>((head * length + j) * kHeadSize) + d]};
          dense[d] += part;
          sparse[d] += seen ? part : 0;
        }
      }
      for (size_t d = 0; d < dense.size(); ++d) {
        const double difference = (kept > 0 ? sparse[d] / kept : 0) - dense[d] / all;
        error += difference * difference;
        magnitude += dense[d] / all * (dense[d] / all);
      }
    }
  }
  return std::sqrt(error / magnitude);
}

bool keeps_needles(const Haystack& h, const std::vector<uint8_t>& map) {
  for (size_t n = 0; n < h.needles.size(); ++n) {
    for (int64_t a = 0; a < h.x.p.query_blocks; ++a) {
      if (map[h.x.map_index(0, static_cast<int64_t>(n) / kNeedles, a, h.needles[n] / kKeyBlock)] == 0) return false;
    }
  }
  return true;
}

double density(const std::vector<uint8_t>& map) {
  return static_cast<double>(std::count(map.begin(), map.end(), 1)) / static_cast<double>(map.size());
}

std::vector<uint8_t> select(const Problem& x) {
  std::vector<uint8_t> map(static_cast<size_t>(x.map_size()));
  EXPECT_EQ(
      gatun_attention_select(&x.p, &x.s, nullptr, x.q->data(), x.k->data(), nullptr, nullptr, nullptr, map.data()),
      GATUN_OK)
      << gatun_last_error();
  return map;
}

// A tenth of 128 blocks of keys, 12, has to hold the 8 needles.
TEST(Needles, AreFoundAndEnough) {
  for (uint64_t seed = 1; seed <= 2; ++seed) {
    Haystack h = haystack(seed, seed == 1 ? GATUN_F32 : GATUN_BF16, 2, 4096);
    h.x.s.amount = 0.1f;
    const std::vector<uint8_t> by_means = select(h.x);
    EXPECT_LE(density(by_means), 0.1);
    EXPECT_TRUE(keeps_needles(h, by_means)) << seed;
    EXPECT_LE(error_of(h, by_means), 0.05) << seed;

    h.x.s.kind = GATUN_SELECT_VERTICAL_SLASH;
    h.x.s.forced_verticals = 30;
    h.x.s.verticals = 30 + kNeedles;
    h.x.s.forced_slashes = h.x.s.slashes = 0;
    const std::vector<uint8_t> by_lines = select(h.x);
    EXPECT_LE(density(by_lines), 0.1);
    EXPECT_TRUE(keeps_needles(h, by_lines)) << seed;
    EXPECT_LE(error_of(h, by_lines), 0.05) << seed;

    Rng rng(seed);
    h.x.s.kind = GATUN_SELECT_MEANS;
    std::vector<uint8_t> by_chance(by_means.size());
    std::vector<float> scores(by_chance.size());
    for (float& score : scores) score = rng.uniform(0, 1);
    ASSERT_EQ(gatun_attention_choose(&h.x.p, &h.x.s, nullptr, nullptr, scores.data(), nullptr, by_chance.data()),
              GATUN_OK);
    EXPECT_FALSE(keeps_needles(h, by_chance));
    EXPECT_GT(error_of(h, by_chance), 0.5);
  }
}

}  // namespace
}  // namespace gatun::test
