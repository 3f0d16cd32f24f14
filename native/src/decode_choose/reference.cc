#include "decode_choose/reference.h"

#include <algorithm>
#include <cmath>

namespace gatun::decode_choose {

double reference_score(const gatun_decode_scores_params& p, const float* logits, const float* lse, int64_t item,
                       int64_t head, int64_t j, double* magnitude) {
  double sum = 0, product = 0;
  for (int64_t h = 0; h < p.query_heads; ++h) {
    if (h / (p.query_heads / p.heads) != head) continue;
    for (int64_t i = 0; i < p.query_length; ++i) {
      const float of_row = lse[item * p.lse_batch_stride + h * p.lse_head_stride + i];
      if (of_row == -INFINITY) continue;
      const float logit = logits[item * p.logits_batch_stride + h * p.logits_head_stride + i * p.logits_row_stride + j];
      const double exponent = static_cast<double>(logit) - static_cast<double>(of_row), weight = std::exp(exponent);
      sum += weight;
      if (weight > 0) product += std::fabs(exponent) * weight;
    }
  }
  if (magnitude != nullptr) *magnitude = product;
  return sum;
}

std::vector<int64_t> reference_choice(const gatun_decode_choose_params& p, const float* scores, int64_t pages) {
  std::vector<bool> kept(static_cast<size_t>(pages));
  int64_t places = p.budget;
  const auto keep = [&](int64_t page) {
    const auto at = static_cast<size_t>(page);
    if (places == 0 || kept[at]) return;
    kept[at] = true;
    --places;
  };
  for (int64_t i = 0; i < std::min(p.keep_last, pages); ++i) keep(pages - 1 - i);
  for (int64_t i = 0; i < std::min(p.keep_first, pages); ++i) keep(i);
  const auto better = [&](int64_t a, int64_t b) {
    if (std::isnan(scores[a]) || std::isnan(scores[b])) return std::isnan(scores[a]) && !std::isnan(scores[b]);
    return scores[a] > scores[b];
  };
  while (places > 0) {
    int64_t best = -1;
    for (int64_t i = 0; i < pages; ++i) {
      if (!kept[static_cast<size_t>(i)] && (best == -1 || better(i, best))) best = i;
    }
    if (best == -1) break;
    keep(best);
  }
  std::vector<int64_t> chosen;
  for (int64_t i = 0; i < pages; ++i) {
    if (kept[static_cast<size_t>(i)]) chosen.push_back(i);
  }
  return chosen;
}

}  // namespace gatun::decode_choose
