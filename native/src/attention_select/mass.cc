// Attention mass of blocks from a log-sum-exp (AdaSpa, SparseD).
#include <cmath>

#include "attention_select/tokens.h"

namespace gatun::attention_select {
namespace {

bool score_unit(const Call& call, const Unit& unit, const Item& item, Sink& sink) {
  Products products(call);
  Tokens tokens(call);
  const int64_t width = call.s.key_blocks;
  double* const sums = get<double>(thread_memory().sums, width);
  if (sums == nullptr || !tokens.take(item) || !products.take_keys(item, unit.keys_of, 1)) return false;
  const auto score_block = [&](int64_t head, int64_t block, float* scores) {
    std::fill(sums, sums + width, 0.0);
    tokens.for_each_part(block, [&](int64_t i, int64_t c, float* logits, int64_t n) {
      call.kernel->scale(logits, n, call.p.scale, call.p.soft_cap);
      sums[c] += double{call.kernel->exponentiate(logits, n, *call.lse_row(item, head, i))};
    });
    const double rows = static_cast<double>(tokens.last_row(block) - tokens.first_row(block));
    for (int64_t c = 0; c < width; ++c) scores[c] = static_cast<float>(sums[c] / rows);
  };
  for (int64_t head = unit.keys_of * call.ratio(); head < (unit.keys_of + 1) * call.ratio(); ++head) {
    const bool good =
        for_each_chunk(unit, call.query_blocks(item), tokens.blocks_at_once(), [&](int64_t first, int64_t last) {
          if (!products.take_queries(head, tokens.first_row(first), tokens.last_row(last - 1))) return false;
          if (!tokens.multiply(products, first, last)) return false;
          float* const scores = sink.room(item, head, first, last - first);
          if (scores == nullptr) return false;
          for (int64_t block = first; block < last; ++block) score_block(head, block, scores + (block - first) * width);
          sink.done(item, head, first, last - first, scores);
          return true;
        });
    if (!good) return false;
  }
  return true;
}

}  // namespace

bool score_mass(const Call& call, Sink& sink) {
  return for_each_unit(call, call.p.kv_heads, all_products(call),
                       [&](const Unit& unit, const Item& item) { return score_unit(call, unit, item, sink); });
}

}  // namespace gatun::attention_select
