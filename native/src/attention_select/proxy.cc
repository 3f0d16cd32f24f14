// Scores of groups of heads from their mean (ProxyAttn).
#include <cmath>
#include <cstring>
#include <limits>

#include "attention_select/tokens.h"

namespace gatun::attention_select {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

class Proxy {
 public:
  Proxy(const Call& call, const Unit& unit, const Item& item, Sink& sink)
      : call_(call),
        unit_(unit),
        item_(item),
        sink_(sink),
        products_(call),
        tokens_(call),
        heads_(call.p.query_heads / call.s.proxy_heads),
        first_head_(unit.keys_of * heads_) {}

  bool run() {
    const int64_t depth = call_.p.head_size, keys = item_.keys();
    pooled_keys_ = get<float>(thread_memory().keys, keys * depth);
    pooled_queries_ = get<float>(thread_memory().queries, tokens_.rows_at_once() * depth);
    wide_ = get<float>(thread_memory().sums, std::max(depth, call_.s.key_blocks * tokens_.blocks_at_once()));
    if (pooled_keys_ == nullptr || pooled_queries_ == nullptr || wide_ == nullptr || !tokens_.take(item_)) return false;
    average(0, keys, pooled_keys_,
            [&](int64_t head, int64_t j) { return call_.k_row(item_, head / call_.ratio(), j); });
    products_.take_f32(item_, pooled_keys_);
    return for_each_chunk(unit_, call_.query_blocks(item_), tokens_.blocks_at_once(),
                          [&](int64_t first, int64_t last) { return chunk(first, last); });
  }

 private:
  // Rows [first, last), each the mean over the heads.
  template <class RowOf>
  void average(int64_t first, int64_t last, float* to, RowOf row_of) {
    const int64_t depth = call_.p.head_size;
    const float share = 1 / static_cast<float>(heads_);
    std::memset(to, 0, static_cast<size_t>((last - first) * depth) * sizeof(float));
    for (int64_t head = first_head_; head < first_head_ + heads_; ++head) {
      for (int64_t i = first; i < last; ++i) {
        call_.kernel->widen(row_of(head, i), 0, 1, depth, wide_);
        call_.kernel->add_scaled(to + (i - first) * depth, wide_, depth, share);
      }
    }
  }

  bool chunk(int64_t first, int64_t last) {
    const int64_t begin = tokens_.first_row(first), end = tokens_.last_row(last - 1), width = call_.s.key_blocks;
    average(begin, end, pooled_queries_, [&](int64_t head, int64_t i) { return call_.q_row(item_, head, i); });
    products_.take_f32_queries(pooled_queries_, begin, end);
    if (!tokens_.multiply(products_, first, last)) return false;
    float* const shared = wide_;
    for (int64_t block = first; block < last; ++block) score_block(block, shared + (block - first) * width);
    for (int64_t head = first_head_; head < first_head_ + heads_; ++head) {
      float* const scores = sink_.room(item_, head, first, last - first);
      if (scores == nullptr) return false;
      std::memcpy(scores, shared, static_cast<size_t>((last - first) * width) * sizeof(float));
      sink_.done(item_, head, first, last - first, scores);
    }
    return true;
  }

  void score_block(int64_t block, float* scores) {
    const Seen allowed = call_.allowed(item_, block);
    std::fill(scores, scores + call_.s.key_blocks, kNone);
    tokens_.for_each_part(block, [&](int64_t, int64_t c, float* logits, int64_t n) {
      call_.kernel->scale(logits, n, call_.p.scale, 0);
      const float most = call_.kernel->largest(logits, n);
      if (!(most <= scores[c]) && !std::isnan(scores[c])) scores[c] = most;
    });
    for (int64_t c = 0; c < call_.s.key_blocks; ++c) {
      if (!allowed.holds(c)) scores[c] = 0;
    }
    if (allowed.count() == 0) return;
    const float share = exponentiate_seen(*call_.kernel, allowed, 1, 0, scores);
    allowed.for_each([&](int64_t first, int64_t last) { call_.kernel->scale(scores + first, last - first, share, 0); });
  }

  const Call& call_;
  const Unit& unit_;
  const Item& item_;
  Sink& sink_;
  Products products_;
  Tokens tokens_;
  const int64_t heads_, first_head_;
  float *pooled_keys_ = nullptr, *pooled_queries_ = nullptr, *wide_ = nullptr;
};

}  // namespace

bool score_proxy(const Call& call, Sink& sink) {
  const double heads = static_cast<double>(call.p.query_heads / call.s.proxy_heads);
  return for_each_unit(call, call.s.proxy_heads, all_products(call) / heads,
                       [&](const Unit& unit, const Item& item) { return Proxy(call, unit, item, sink).run(); });
}

}  // namespace gatun::attention_select
