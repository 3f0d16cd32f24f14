// Selections in double precision, pair by pair of rows from the definitions in gatun/attention_select.h: what kernels
// are compared with. Of one head of one batch item: q [queries][head_size], k [keys][head_size].
#pragma once

#include <cstddef>
#include <vector>

#include "gatun/attention_select.h"

namespace gatun::attention_select {

// Where an element of a matrix is.
inline size_t at(int64_t row, int64_t columns, int64_t column) { return static_cast<size_t>(row * columns + column); }

class Reference {
 public:
  using Rows = std::vector<double>;

  Reference(const gatun_attention_params& params, const gatun_selection_params& selection, int64_t queries,
            int64_t keys);

  int64_t query_blocks() const { return (queries_ + p_.query_block - 1) / p_.query_block; }
  int64_t key_blocks() const { return (keys_ + p_.key_block - 1) / p_.key_block; }
  bool allowed(int64_t block, int64_t key_block) const;

  // Scores [query_blocks()][key_blocks()] by the kind; lse [queries] for MASS. Of PROXY q and k are the means of heads.
  Rows scores(const Rows& q, const Rows& k, const Rows& lse);
  // How far f32 may be off in a logit of the last scores or lines.
  double logit_error() const { return logit_error_; }

  // The map [query_blocks()][key_blocks()] from scores.
  std::vector<uint8_t> choose(const std::vector<float>& scores, float amount) const;

  // [keys] each.
  void lines(const Rows& q, const Rows& k, Rows* columns, Rows* diagonals);
  std::vector<uint8_t> vertical_slash(const std::vector<float>& columns, const std::vector<float>& diagonals) const;
  double budget(const Rows& columns) const;

 private:
  int64_t position(int64_t i) const { return i + keys_ - queries_; }
  bool sees(int64_t i, int64_t j) const;
  bool forced(int64_t block, int64_t key_block) const;
  double capped(double logit) const;
  // A logit from rows of q and of k; its rounding errors are noted.
  double dot(const Rows& q, int64_t i, const Rows& k, int64_t j, double factor, int64_t roundings);
  Rows softmax(const Rows& logits, const std::vector<uint8_t>& seen) const;
  Rows means(const Rows& q, const Rows& k);
  Rows antidiagonal(const Rows& q, const Rows& k);
  Rows mass(const Rows& q, const Rows& k, const Rows& lse);
  Rows proxy(const Rows& q, const Rows& k);

  const gatun_attention_params p_;
  const gatun_selection_params s_;
  const int64_t queries_, keys_;
  double logit_error_ = 0;
};

}  // namespace gatun::attention_select
