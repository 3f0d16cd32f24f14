#include "prune/reference.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>

namespace gatun::prune {
namespace {

// Weights that are kept or pruned together, with their score.
struct Unit {
  double score = 0;
  std::vector<int64_t> weights;
};

class Mask {
 public:
  explicit Mask(const gatun_prune_params& p)
      : depth_(p.depth), bytes_(static_cast<size_t>(p.columns * ((p.depth + 7) / 8))) {}

  void keep(int64_t weight) {
    const int64_t row = weight / depth_, k = weight % depth_;
    bytes_[static_cast<size_t>(row * ((depth_ + 7) / 8) + k / 8)] |= static_cast<uint8_t>(1 << k % 8);
  }

  // Keeps the best of the units, of equal ones those that come first.
  void keep_best(const std::vector<Unit>& units, int64_t count) {
    std::vector<size_t> order(units.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return units[a].score != units[b].score ? units[a].score > units[b].score : a < b;
    });
    for (size_t i = 0; i < order.size() && static_cast<int64_t>(i) < count; ++i) {
      for (const int64_t weight : units[order[i]].weights) keep(weight);
    }
  }

  std::vector<uint8_t> bytes() const { return bytes_; }

 private:
  int64_t depth_;
  std::vector<uint8_t> bytes_;
};

// The units of a rectangle of weights: blocks of rows x depth, line by line.
std::vector<Unit> units_of(const gatun_prune_params& p, const std::vector<float>& scores, int64_t row, int64_t row_end,
                           int64_t k, int64_t k_end, int64_t block_rows, int64_t block_depth) {
  std::map<std::pair<int64_t, int64_t>, Unit> units;
  for (int64_t r = row; r < row_end; ++r) {
    for (int64_t i = k; i < k_end; ++i) {
      Unit& unit = units[{(r - row) / block_rows, (i - k) / block_depth}];
      const int64_t weight = r * p.depth + i;
      unit.score += static_cast<double>(scores[static_cast<size_t>(weight)]);
      unit.weights.push_back(weight);
    }
  }
  std::vector<Unit> list;
  for (const auto& [place, unit] : units) list.push_back(unit);
  return list;
}

int popcount(int bits) { return bits == 0 ? 0 : (bits & 1) + popcount(bits >> 1); }

// All masks of 16 bits, bit 4 r + k for row r, with two in each row and column. Of two that come after one another the
// first has the lower index where they differ first.
std::vector<int> transposable_masks() {
  std::vector<int> masks;
  for (int reversed = 0xffff; reversed >= 0; --reversed) {
    int bits = 0;
    for (int i = 0; i < 16; ++i) bits |= (reversed >> (15 - i) & 1) << i;
    bool fits = true;
    for (int i = 0; i < 4; ++i) {
      fits = fits && popcount(bits >> 4 * i & 0xf) == 2 && popcount(bits >> i & 0x1111) == 2;
    }
    if (fits) masks.push_back(bits);
  }
  return masks;
}

void keep_tile(const gatun_prune_params& p, const std::vector<float>& scores, int64_t row, int64_t k, Mask* mask) {
  static const std::vector<int> masks = transposable_masks();
  const auto score = [&](int i) {
    const int64_t r = row + i / 4, c = k + i % 4;
    return r < p.columns && c < p.depth ? static_cast<double>(scores[static_cast<size_t>(r * p.depth + c)]) : 0.0;
  };
  int best = 0;
  double best_sum = 0;
  for (const int bits : masks) {
    double sum = 0;
    for (int r = 0; r < 4; ++r) {
      double of_row = 0;
      for (int i = 4 * r; i < 4 * r + 4; ++i) of_row += bits >> i & 1 ? score(i) : 0;
      sum = r == 0 ? of_row : sum + of_row;
    }
    if (best == 0 || sum > best_sum) {
      best = bits;
      best_sum = sum;
    }
  }
  for (int i = 0; i < 16; ++i) {
    const int64_t r = row + i / 4, c = k + i % 4;
    if (best >> i & 1 && r < p.columns && c < p.depth) mask->keep(r * p.depth + c);
  }
}

}  // namespace

std::vector<float> reference_scores(const gatun_prune_params& p, const std::vector<float>& w, const float* norms) {
  std::vector<float> scores = w;
  if (p.score == GATUN_SCORE_GIVEN) return scores;
  std::map<double, double, std::greater<double>> numbers;  // of weights of a magnitude
  for (size_t i = 0; i < w.size(); ++i) {
    const double magnitude = std::fabs(static_cast<double>(w[i]));
    numbers[magnitude] += 1;
    scores[i] = static_cast<float>(magnitude);
    if (p.score == GATUN_SCORE_WANDA) {
      scores[i] = static_cast<float>(magnitude * static_cast<double>(norms[i % static_cast<size_t>(p.depth)]));
    }
  }
  if (p.score != GATUN_SCORE_LAMP) return scores;
  std::map<double, double> sums;
  double sum = 0;
  for (const auto& [magnitude, number] : numbers) sums[magnitude] = sum += number * (magnitude * magnitude);
  for (size_t i = 0; i < w.size(); ++i) {
    const double magnitude = std::fabs(static_cast<double>(w[i]));
    scores[i] = magnitude == 0 ? 0.0f : static_cast<float>(magnitude * magnitude / sums[magnitude]);
  }
  return scores;
}

std::vector<uint8_t> reference_mask(const gatun_prune_params& p, const std::vector<float>& scores) {
  Mask mask(p);
  const auto units = [&](int64_t row, int64_t row_end, int64_t k, int64_t k_end, int64_t rows, int64_t depth) {
    return units_of(p, scores, row, row_end, k, k_end, rows, depth);
  };
  switch (p.pattern) {
    case GATUN_PATTERN_NM:
      for (int64_t row = 0; row < p.columns; row += p.vector) {
        const int64_t row_end = std::min<int64_t>(row + p.vector, p.columns);
        for (int64_t k = 0; k < p.depth; k += p.m) {
          mask.keep_best(units(row, row_end, k, std::min<int64_t>(k + p.m, p.depth), p.vector, 1), p.n);
        }
      }
      break;
    case GATUN_PATTERN_TRANSPOSABLE:
      for (int64_t row = 0; row < p.columns; row += 4) {
        for (int64_t k = 0; k < p.depth; k += 4) keep_tile(p, scores, row, k, &mask);
      }
      break;
    case GATUN_PATTERN_ROW:
      for (int64_t row = 0; row < p.columns; ++row) mask.keep_best(units(row, row + 1, 0, p.depth, 1, 1), p.keep);
      break;
    case GATUN_PATTERN_UNSTRUCTURED:
      mask.keep_best(units(0, p.columns, 0, p.depth, 1, 1), p.keep);
      break;
    case GATUN_PATTERN_ROWS:
      mask.keep_best(units(0, p.columns, 0, p.depth, 1, p.depth + 1), p.keep);
      break;
    case GATUN_PATTERN_COLUMNS:
      mask.keep_best(units(0, p.columns, 0, p.depth, p.columns + 1, 1), p.keep);
      break;
    default:
      mask.keep_best(units(0, p.columns, 0, p.depth, p.block_rows, p.block_depth), p.keep);
      break;
  }
  return mask.bytes();
}

}  // namespace gatun::prune
