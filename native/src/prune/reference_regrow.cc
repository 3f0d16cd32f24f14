#include <cmath>

#include "prune/reference.h"

namespace gatun::prune {
namespace {

// A row whose weights are looked through in each cycle for the one to grow and the one to prune.
struct Row {
  const gatun_regrow_params& p;
  std::vector<double> change, growth, cost;  // e, |e| / variance^power, |w| * norm
  std::vector<bool> kept, changed;

  // Whether a weight that has not changed yet, kept or not, would move an error of this sign towards 0.
  bool helps(size_t k, bool of_kept, double error) const {
    if (changed[k] || kept[k] != of_kept) return false;
    const double moved = of_kept ? change[k] : -change[k];
    return error > 0 ? moved < 0 : moved > 0;
  }

  // The cheapest kept weight of [begin, end) that helps; end if none does.
  size_t to_prune(size_t begin, size_t end, double error) const {
    size_t found = end;
    for (size_t k = begin; k < end; ++k) {
      if (helps(k, true, error) && (found == end || cost[k] < cost[found])) found = k;
    }
    return found;
  }

  void group_of(size_t k, size_t* begin, size_t* end) const {
    const size_t m = p.n == 0 ? change.size() : static_cast<size_t>(p.m);
    *begin = k / m * m;
    *end = *begin + m < change.size() ? *begin + m : change.size();
  }

  void run() {
    double error = 0;
    for (size_t k = 0; k < change.size(); ++k) error += kept[k] ? 0.0 : change[k];
    for (int32_t cycle = 0; cycle < p.max_cycles && std::fabs(error) > static_cast<double>(p.threshold); ++cycle) {
      size_t grown = change.size(), pruned = 0, begin, end;
      for (size_t k = 0; k < change.size(); ++k) {
        if (!helps(k, false, error)) continue;
        group_of(k, &begin, &end);
        const size_t partner = to_prune(begin, end, error);
        if (partner == end || (grown < change.size() && growth[k] <= growth[grown])) continue;
        grown = k;
        pruned = partner;
      }
      if (grown == change.size()) return;
      const double after = error + change[pruned] - change[grown];
      if (std::fabs(after) >= std::fabs(error)) return;
      error = after;
      kept[grown] = changed[grown] = changed[pruned] = true;
      kept[pruned] = false;
    }
  }
};

}  // namespace

std::vector<uint8_t> reference_regrow(const gatun_regrow_params& p, const std::vector<float>& w, const float* means,
                                      const float* variances, const float* norms, const std::vector<uint8_t>& mask) {
  std::vector<uint8_t> result(mask.size());
  const size_t depth = static_cast<size_t>(p.depth), row_bytes = (depth + 7) / 8;
  for (size_t r = 0; r < static_cast<size_t>(p.columns); ++r) {
    Row row{p, {}, {}, {}, {}, std::vector<bool>(depth)};
    for (size_t k = 0; k < depth; ++k) {
      const double weight = static_cast<double>(w[r * depth + k]);
      row.change.push_back(weight * static_cast<double>(means[k]));
      row.growth.push_back(std::fabs(row.change[k]) /
                           std::pow(static_cast<double>(variances[k]), static_cast<double>(p.variance_power)));
      row.cost.push_back(std::fabs(weight) * static_cast<double>(norms[k]));
      row.kept.push_back((mask[r * row_bytes + k / 8] >> k % 8 & 1) != 0);
    }
    row.run();
    for (size_t k = 0; k < depth; ++k) {
      result[r * row_bytes + k / 8] |= static_cast<uint8_t>(int{row.kept[k]} << k % 8);
    }
  }
  return result;
}

}  // namespace gatun::prune
