#include "attention_select/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace gatun::attention_select {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Mean row, and the mean cosine of all pairs of rows; false if a value is not finite.
bool mean_of(const std::vector<double>& x, int64_t first, int64_t last, int64_t size, std::vector<double>* mean,
             double* cosine) {
  mean->assign(static_cast<size_t>(size), 0);
  *cosine = 0;
  const double n = static_cast<double>(last - first);
  for (int64_t i = first; i < last; ++i) {
    for (int64_t k = 0; k < size; ++k) {
      if (!std::isfinite(x[at(i, size, k)])) return false;
      (*mean)[static_cast<size_t>(k)] += x[at(i, size, k)] / n;
    }
  }
  const auto dot = [&](int64_t i, int64_t j) {
    double sum = 0;
    for (int64_t k = 0; k < size; ++k) sum += x[at(i, size, k)] * x[at(j, size, k)];
    return sum;
  };
  for (int64_t i = first; i < last; ++i) {
    for (int64_t j = first; j < last; ++j) {
      const double norms = std::sqrt(dot(i, i) * dot(j, j));
      if (norms > 0) *cosine += dot(i, j) / norms / (n * n);
    }
  }
  return true;
}

}  // namespace

Reference::Reference(const gatun_attention_params& params, const gatun_selection_params& selection, int64_t queries,
                     int64_t keys)
    : p_(params), s_(selection), queries_(queries), keys_(keys) {}

bool Reference::sees(int64_t i, int64_t j) const {
  const int64_t p = position(i);
  if (p_.causal != 0 && j > p) return false;
  if (p_.window_left >= 0 && p - j > p_.window_left && j >= p_.sink_keys) return false;
  return p_.window_right < 0 || j - p <= p_.window_right;
}

bool Reference::allowed(int64_t block, int64_t key_block) const {
  for (int64_t i = block * p_.query_block; i < std::min(queries_, (block + 1) * p_.query_block); ++i) {
    for (int64_t j = key_block * p_.key_block; j < std::min(keys_, (key_block + 1) * p_.key_block); ++j) {
      if (sees(i, j)) return true;
    }
  }
  return false;
}

double Reference::capped(double logit) const {
  return p_.soft_cap == 0 ? logit : double{p_.soft_cap} * std::tanh(logit / double{p_.soft_cap});
}

double Reference::dot(const Rows& q, int64_t i, const Rows& k, int64_t j, double factor, int64_t roundings) {
  double sum = 0, magnitude = 0;
  for (int64_t x = 0; x < p_.head_size; ++x) {
    const double product = q[at(i, p_.head_size, x)] * k[at(j, p_.head_size, x)] * factor;
    sum += product;
    magnitude += std::fabs(product);
  }
  logit_error_ = std::max(logit_error_, 0x1p-23 * (static_cast<double>(p_.head_size + roundings) + 16) * magnitude +
                                            0x1p-21 * std::fabs(sum));
  return sum;
}

Reference::Rows Reference::softmax(const Rows& logits, const std::vector<uint8_t>& seen) const {
  double most = -kInfinity, sum = 0;
  for (size_t c = 0; c < logits.size(); ++c) {
    if (seen[c] != 0) most = std::max(most, logits[c]);
  }
  Rows result(logits.size());
  for (size_t c = 0; c < logits.size(); ++c) sum += seen[c] != 0 ? std::exp(logits[c] - most) : 0;
  for (size_t c = 0; c < logits.size(); ++c) result[c] = seen[c] != 0 ? std::exp(logits[c] - most) / sum : 0;
  return result;
}

Reference::Rows Reference::scores(const Rows& q, const Rows& k, const Rows& lse) {
  logit_error_ = 0;
  switch (s_.kind) {
    case GATUN_SELECT_ANTIDIAGONAL:
      return antidiagonal(q, k);
    case GATUN_SELECT_MASS:
      return mass(q, k, lse);
    case GATUN_SELECT_PROXY:
      return proxy(q, k);
    default:
      return means(q, k);
  }
}

Reference::Rows Reference::means(const Rows& q, const Rows& k) {
  const int64_t size = p_.head_size, columns = key_blocks();
  Rows result, mean, key_means;
  std::vector<uint8_t> similar(static_cast<size_t>(columns));
  double cosine;
  for (int64_t c = 0; c < columns; ++c) {
    const int64_t last = std::min(keys_, (c + 1) * p_.key_block);
    const bool finite = mean_of(k, c * p_.key_block, last, size, &mean, &cosine);
    similar[static_cast<size_t>(c)] = finite && cosine >= double{s_.similarity};
    key_means.insert(key_means.end(), mean.begin(), mean.end());
  }
  for (int64_t a = 0; a < query_blocks(); ++a) {
    const int64_t last = std::min(queries_, (a + 1) * p_.query_block);
    const bool finite = mean_of(q, a * p_.query_block, last, size, &mean, &cosine);
    const bool query_similar = finite && cosine >= double{s_.similarity};
    Rows logits(static_cast<size_t>(columns));
    std::vector<uint8_t> seen(logits.size());
    for (int64_t c = 0; c < columns; ++c) {
      const size_t i = static_cast<size_t>(c);
      seen[i] = allowed(a, c) && similar[i] != 0;
      logits[i] = dot(mean, 0, key_means, c, double{p_.scale}, p_.query_block + p_.key_block);
    }
    Rows row = softmax(logits, seen);
    for (int64_t c = 0; c < columns; ++c) {
      if (allowed(a, c) && (!query_similar || similar[static_cast<size_t>(c)] == 0))
        row[static_cast<size_t>(c)] = kInfinity;
    }
    result.insert(result.end(), row.begin(), row.end());
  }
  return result;
}

Reference::Rows Reference::antidiagonal(const Rows& q, const Rows& k) {
  const int64_t stride = s_.stride, columns = key_blocks();
  const int64_t q_groups = (queries_ + stride - 1) / stride, k_groups = (keys_ + stride - 1) / stride;
  Rows result(at(query_blocks(), columns, 0));
  double most_error = 0;
  for (int64_t a = 0; a < q_groups; ++a) {
    Rows logits(static_cast<size_t>(k_groups));
    std::vector<uint8_t> seen(logits.size());
    for (int64_t c = 0; c < k_groups; ++c) {
      double error = 0;
      for (int64_t i = a * stride; i < std::min(queries_, (a + 1) * stride); ++i) {
        for (int64_t j = c * stride; j < std::min(keys_, (c + 1) * stride); ++j) {
          if (sees(i, j)) seen[static_cast<size_t>(c)] = 1;
          if (i % stride + j % stride != stride - 1) continue;
          logit_error_ = 0;
          const double scale = double{p_.scale} / static_cast<double>(stride);
          logits[static_cast<size_t>(c)] += dot(q, i, k, j, scale, p_.head_size * stride);
          error += logit_error_;
        }
      }
      most_error = std::max(most_error, error);
    }
    const Rows row = softmax(logits, seen);
    const int64_t block = a * stride / p_.query_block;
    const int64_t rows = std::min(queries_, (block + 1) * p_.query_block) - block * p_.query_block;
    const double groups = static_cast<double>((rows + stride - 1) / stride);
    for (int64_t c = 0; c < k_groups; ++c) {
      if (seen[static_cast<size_t>(c)] == 0) continue;
      result[at(block, columns, c * stride / p_.key_block)] += row[static_cast<size_t>(c)] / groups;
    }
  }
  logit_error_ = most_error;
  return result;
}

Reference::Rows Reference::mass(const Rows& q, const Rows& k, const Rows& lse) {
  Rows result(at(query_blocks(), key_blocks(), 0));
  for (int64_t i = 0; i < queries_; ++i) {
    const int64_t block = i / p_.query_block;
    const int64_t rows = std::min(queries_, (block + 1) * p_.query_block) - block * p_.query_block;
    for (int64_t j = 0; j < keys_; ++j) {
      if (!sees(i, j)) continue;
      const double logit = capped(dot(q, i, k, j, double{p_.scale}, 0));
      result[at(block, key_blocks(), j / p_.key_block)] +=
          std::exp(logit - lse[static_cast<size_t>(i)]) / static_cast<double>(rows);
    }
  }
  return result;
}

Reference::Rows Reference::proxy(const Rows& q, const Rows& k) {
  Rows result;
  for (int64_t a = 0; a < query_blocks(); ++a) {
    Rows most(static_cast<size_t>(key_blocks()), -kInfinity);
    std::vector<uint8_t> seen(most.size());
    for (int64_t i = a * p_.query_block; i < std::min(queries_, (a + 1) * p_.query_block); ++i) {
      for (int64_t j = 0; j < keys_; ++j) {
        if (!sees(i, j)) continue;
        const size_t c = static_cast<size_t>(j / p_.key_block);
        seen[c] = 1;
        most[c] = std::max(most[c], dot(q, i, k, j, double{p_.scale}, 2 * p_.query_heads));
      }
    }
    const Rows row = softmax(most, seen);
    result.insert(result.end(), row.begin(), row.end());
  }
  return result;
}

}  // namespace gatun::attention_select
