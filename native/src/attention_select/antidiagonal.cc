// Sums along antidiagonals (XAttention).
#include <cstring>

#include "attention_select/scores.h"

namespace gatun::attention_select {
namespace {

// Query groups whose logits are in memory at a time, but whole blocks.
constexpr int64_t kGroupsAtOnce = 96;

class Antidiagonals {
 public:
  Antidiagonals(const Call& call, const Item& item, Sink& sink)
      : call_(call),
        item_(item),
        sink_(sink),
        products_(call),
        stride_(call.s.stride),
        block_groups_(call.p.query_block / stride_),
        blocks_(std::max<int64_t>(1, kGroupsAtOnce / block_groups_)) {}

  bool run(const Unit& unit) {
    if (!products_.take_keys(item_, unit.keys_of, stride_)) return false;
    width_ = logits_stride(products_.key_groups());
    const int64_t rows = blocks_ * block_groups_;
    logits_ = get<float>(thread_memory().logits, rows * width_);
    sums_ = get<float>(thread_memory().sums, width_);
    seen_ = get<Seen>(thread_memory().rows, rows);
    if (logits_ == nullptr || sums_ == nullptr || seen_ == nullptr) return false;
    for (int64_t head = unit.keys_of * call_.ratio(); head < (unit.keys_of + 1) * call_.ratio(); ++head) {
      const bool good = for_each_chunk(unit, call_.query_blocks(item_), blocks_,
                                       [&](int64_t first, int64_t last) { return chunk(head, first, last); });
      if (!good) return false;
    }
    return true;
  }

 private:
  bool chunk(int64_t head, int64_t first, int64_t last) {
    const int64_t begin = first * block_groups_;
    const int64_t end = std::min(last * block_groups_, blocks_of(item_.queries(), stride_));
    for (int64_t a = begin; a < end; ++a) seen_[a - begin] = products_.seen(a);
    if (!products_.take_queries(head, begin, end) || !products_.multiply(seen_, logits_, width_)) return false;
    float* const scores = sink_.room(item_, head, first, last - first);
    if (scores == nullptr) return false;
    for (int64_t block = first; block < last; ++block) {
      const int64_t from = block * block_groups_ - begin, to = std::min(from + block_groups_, end - begin);
      score_block(from, to, scores + (block - first) * call_.s.key_blocks);
    }
    sink_.done(item_, head, first, last - first, scores);
    return true;
  }

  // A block's query groups, counted from the chunk's first.
  void score_block(int64_t from, int64_t to, float* scores) {
    const int64_t groups = products_.key_groups(), key_groups = call_.p.key_block / stride_;
    std::memset(sums_, 0, static_cast<size_t>(groups) * sizeof(float));
    for (int64_t a = from; a < to; ++a) {
      const Seen& seen = seen_[a];
      if (seen.count() == 0) continue;
      float* const row = logits_ + a * width_;
      const float scale = call_.p.scale / static_cast<float>(stride_);
      const float share = exponentiate_seen(*call_.kernel, seen, scale, 0, row) / static_cast<float>(to - from);
      seen.for_each([&](int64_t first, int64_t last) {
        call_.kernel->add_scaled(sums_ + first, row + first, last - first, share);
      });
    }
    for (int64_t c = 0; c < call_.s.key_blocks; ++c) {
      float sum = 0;
      for (int64_t i = c * key_groups; i < std::min((c + 1) * key_groups, groups); ++i) sum += sums_[i];
      scores[c] = sum;
    }
  }

  const Call& call_;
  const Item& item_;
  Sink& sink_;
  Products products_;
  const int64_t stride_, block_groups_, blocks_;
  int64_t width_ = 0;
  float *logits_ = nullptr, *sums_ = nullptr;
  Seen* seen_ = nullptr;
};

}  // namespace

bool score_antidiagonal(const Call& call, Sink& sink) {
  return for_each_unit(call, call.p.kv_heads, all_products(call) / static_cast<double>(call.s.stride),
                       [&](const Unit& unit, const Item& item) { return Antidiagonals(call, item, sink).run(unit); });
}

}  // namespace gatun::attention_select
