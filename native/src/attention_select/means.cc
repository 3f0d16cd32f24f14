// Block means (SpargeAttn).
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "attention_select/scores.h"

namespace gatun::attention_select {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kMaxHeadSize = 256;

// Means of the blocks of all heads of q or k, one item after the other.
struct Means {
  int64_t heads;
  std::vector<int64_t> before;  // blocks of a head of all items before; [batch + 1]
  float* rows;                  // [item][heads][blocks][head_size]
  uint8_t* similar;             // [item][heads][blocks]

  int64_t blocks(int64_t b) const { return before[static_cast<size_t>(b) + 1] - before[static_cast<size_t>(b)]; }
  int64_t index(int64_t b, int64_t head, int64_t block) const {
    return before[static_cast<size_t>(b)] * heads + head * blocks(b) + block;
  }
};

// Similarity is at least 0, so nothing is below 0. Returns whether the block is similar enough and of finite values.
bool mean_of(const Call& call, const void* rows, int64_t row_stride, int64_t count, float* mean) {
  float units[kMaxHeadSize];
  const int64_t columns = call.p.head_size;
  const bool measured = call.s.similarity > 0;
  call.kernel->pool(rows, row_stride, count, columns, mean, measured ? units : nullptr);
  const float inverse = 1 / static_cast<float>(count);
  bool finite = true;
  double square = 0;
  for (int64_t k = 0; k < columns; ++k) {
    mean[k] *= inverse;
    finite = finite && std::isfinite(mean[k]);
    if (measured) square += double{units[k]} * double{units[k]};
  }
  const double pairs = static_cast<double>(count) * static_cast<double>(count);
  return finite && (!measured || square / pairs >= double{call.s.similarity});
}

// In the memory of the calling thread; `similar` is null if there is none.
Means means_of(const Call& call, bool of_keys) {
  Means means{};
  means.heads = of_keys ? call.p.kv_heads : call.p.query_heads;
  means.before = {0};
  for (int64_t b = 0; b < call.p.batch; ++b) {
    const Item item = call.item(b);
    means.before.push_back(means.before.back() + (of_keys ? call.key_blocks(item) : call.query_blocks(item)));
  }
  const int64_t count = means.heads * means.before.back(), size = call.p.head_size;
  means.rows = get<float>(of_keys ? thread_memory().key_means : thread_memory().query_means, count * size);
  if (means.rows == nullptr) return means;
  means.similar = get<uint8_t>(of_keys ? thread_memory().similar_keys : thread_memory().similar_queries, count);
  if (means.similar == nullptr) return means;
  const int64_t block = of_keys ? call.p.key_block : call.p.query_block;
  const int32_t threads = useful_threads(call.p.threads, count, count * block * size, 1 << 17);
  parallel_for(count, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto after = std::upper_bound(means.before.begin(), means.before.end(), i / means.heads);
      const int64_t b = after - means.before.begin() - 1, in_item = i - means.index(b, 0, 0);
      const Item item = call.item(b);
      const int64_t head = in_item / means.blocks(b), first = in_item % means.blocks(b) * block;
      const int64_t rows = std::min(of_keys ? item.keys() : item.queries(), first + block) - first;
      const void* const from = of_keys ? call.k_row(item, head, first) : call.q_row(item, head, first);
      const int64_t stride = of_keys ? call.p.k_row_stride : call.p.q_row_stride;
      means.similar[i] = mean_of(call, from, stride, rows, means.rows + i * size);
    }
  });
  return means;
}

// Logits of all blocks -> the row's scores, in place.
void finish_row(const Call& call, const Seen& seen, bool query_similar, const uint8_t* similar, int64_t key_blocks,
                float* row) {
  constexpr float kLeftOut = std::numeric_limits<float>::lowest();
  for (int64_t c = 0; c < key_blocks; ++c) {
    if (!seen.holds(c)) row[c] = 0;
  }
  float most = kLeftOut, sum = 0;
  seen.for_each([&](int64_t first, int64_t last) {
    call.kernel->scale(row + first, last - first, call.p.scale, 0);
    for (int64_t c = first; c < last; ++c) {
      if (similar[c] == 0) row[c] = kLeftOut;
    }
    const float largest = call.kernel->largest(row + first, last - first);
    if (!(largest <= most) && !std::isnan(most)) most = largest;
  });
  seen.for_each(
      [&](int64_t first, int64_t last) { sum += call.kernel->exponentiate(row + first, last - first, most); });
  seen.for_each([&](int64_t first, int64_t last) {
    call.kernel->scale(row + first, last - first, 1 / sum, 0);
    for (int64_t c = first; c < last; ++c) {
      if (!query_similar || similar[c] == 0) row[c] = kInfinity;
    }
  });
}

}  // namespace

bool score_means(const Call& call, Sink& sink) {
  constexpr int64_t kBlocksAtOnce = 96;
  const Means queries = means_of(call, false), keys = means_of(call, true);
  if (queries.similar == nullptr || keys.similar == nullptr) return false;
  const double cost = all_products(call) / static_cast<double>(call.p.query_block * call.p.key_block);
  return for_each_unit(call, call.p.query_heads, cost, [&](const Unit& unit, const Item& item) {
    const int64_t head = unit.keys_of, columns = call.key_blocks(item), depth = call.p.head_size;
    const int64_t key_first = keys.index(item.batch, head / call.ratio(), 0), width = call.s.key_blocks;
    return for_each_chunk(unit, call.query_blocks(item), kBlocksAtOnce, [&](int64_t first, int64_t last) {
      float* const rows = sink.room(item, head, first, last - first);
      if (rows == nullptr) return false;
      const int64_t query_first = queries.index(item.batch, head, first);
      const gemm::Product product = {queries.rows + query_first * depth,
                                     depth,
                                     1,
                                     keys.rows + key_first * depth,
                                     1,
                                     depth,
                                     rows,
                                     width,
                                     last - first,
                                     columns,
                                     depth,
                                     false};
      if (!gemm::run(*call.gemm, product)) return false;
      for (int64_t a = first; a < last; ++a) {
        float* const row = rows + (a - first) * width;
        const bool query_similar = queries.similar[query_first + a - first] != 0;
        finish_row(call, call.allowed(item, a), query_similar, keys.similar + key_first, columns, row);
        std::fill(row + columns, row + width, 0.0f);
      }
      sink.done(item, head, first, last - first, rows);
      return true;
    });
  });
}

}  // namespace gatun::attention_select
