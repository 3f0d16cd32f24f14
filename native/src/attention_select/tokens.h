// Logits of all pairs of rows, a few query blocks at a time: what MASS and PROXY have in common.
#pragma once

#include "attention_select/scores.h"

namespace gatun::attention_select {

class Tokens {
 public:
  explicit Tokens(const Call& call)
      : call_(call), blocks_at_once_(std::max<int64_t>(1, kRowsAtOnce / call.p.query_block)) {}

  int64_t blocks_at_once() const { return blocks_at_once_; }
  int64_t rows_at_once() const { return blocks_at_once_ * call_.p.query_block; }

  // Memory for an item.
  [[nodiscard]] bool take(const Item& item) {
    item_ = &item;
    width_ = logits_stride(item.keys());
    logits_ = get<float>(thread_memory().logits, rows_at_once() * width_);
    seen_ = get<Seen>(thread_memory().rows, rows_at_once());
    return logits_ != nullptr && seen_ != nullptr;
  }

  int64_t first_row(int64_t block) const { return block * call_.p.query_block; }
  int64_t last_row(int64_t block) const { return std::min((block + 1) * call_.p.query_block, item_->queries()); }

  // The logits of blocks [first, last), whose queries `products` has taken.
  [[nodiscard]] bool multiply(const Products& products, int64_t first, int64_t last) {
    first_ = first_row(first);
    for (int64_t i = first_; i < last_row(last - 1); ++i) seen_[i - first_] = products.seen(i);
    return products.multiply(seen_, logits_, width_);
  }

  // of(row i, block of keys, its logits that the row sees, how many) in ascending order.
  template <class Of>
  void for_each_part(int64_t block, Of of) {
    for (int64_t i = first_row(block); i < last_row(block); ++i) {
      float* const row = logits_ + (i - first_) * width_;
      seen_[i - first_].for_each([&](int64_t begin, int64_t end) {
        for (int64_t j = begin; j < end;) {
          const int64_t next = std::min(end, (j / call_.p.key_block + 1) * call_.p.key_block);
          of(i, j / call_.p.key_block, row + j, next - j);
          j = next;
        }
      });
    }
  }

 private:
  static constexpr int64_t kRowsAtOnce = 96;

  const Call& call_;
  const int64_t blocks_at_once_;
  const Item* item_ = nullptr;
  int64_t first_ = 0, width_ = 0;
  float* logits_ = nullptr;
  Seen* seen_ = nullptr;
};

}  // namespace gatun::attention_select
