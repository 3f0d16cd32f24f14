// Block means (SpargeAttn).
#include <cmath>
#include <limits>
#include <new>

#include "attention_select/scores.h"

namespace gatun::attention_select {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int64_t kMaxHeadSize = 256;

// Means of the blocks of all heads of q or k.
struct Means {
  std::vector<float> rows;       // [batch, heads, blocks, head_size]
  std::vector<uint8_t> similar;  // [batch, heads, blocks]
  int64_t heads, blocks;

  size_t index(int64_t batch, int64_t head, int64_t block) const {
    return static_cast<size_t>((batch * heads + head) * blocks + block);
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

Means means_of(const Call& call, bool of_keys) {
  Means means;
  means.heads = of_keys ? call.p.kv_heads : call.p.query_heads;
  const int64_t block = of_keys ? call.p.key_block : call.p.query_block;
  means.blocks = blocks_of(of_keys ? call.p.kv_length : call.p.query_length, block);  // no item has more
  const int64_t count = call.p.batch * means.heads * means.blocks;
  means.rows.resize(static_cast<size_t>(count * call.p.head_size));
  means.similar.resize(static_cast<size_t>(count));
  const int32_t threads = useful_threads(call.p.threads, count, count * block * call.p.head_size, 1 << 17);
  parallel_for(count, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const Item item = call.item(i / means.blocks / means.heads);
      const int64_t head = i / means.blocks % means.heads, first = i % means.blocks * block;
      const int64_t rows = std::min(of_keys ? item.keys() : item.queries(), first + block) - first;
      if (rows <= 0) continue;
      const void* const from = of_keys ? call.k_row(item, head, first) : call.q_row(item, head, first);
      const int64_t stride = of_keys ? call.p.k_row_stride : call.p.q_row_stride;
      means.similar[static_cast<size_t>(i)] =
          mean_of(call, from, stride, rows, means.rows.data() + i * call.p.head_size);
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
  try {
    const Means queries = means_of(call, false), keys = means_of(call, true);
    const double cost = all_products(call) / static_cast<double>(call.p.query_block * call.p.key_block);
    return for_each_unit(call, call.p.query_heads, cost, [&](const Unit& unit, const Item& item) {
      const int64_t head = unit.keys_of, columns = call.key_blocks(item);
      const size_t key_first = keys.index(item.batch, head / call.ratio(), 0);
      return for_each_chunk(unit, call.query_blocks(item), kBlocksAtOnce, [&](int64_t first, int64_t last) {
        float* const rows = sink.room(item, head, first, last - first);
        if (rows == nullptr) return false;
        const size_t query_first = queries.index(item.batch, head, first);
        const int64_t depth = call.p.head_size, width = call.s.key_blocks;
        const gemm::Product product = {queries.rows.data() + query_first * static_cast<size_t>(depth),
                                       depth,
                                       1,
                                       keys.rows.data() + key_first * static_cast<size_t>(depth),
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
          finish_row(call, call.allowed(item, a), queries.similar[query_first + static_cast<size_t>(a - first)] != 0,
                     keys.similar.data() + key_first, columns, row);
          std::fill(row + columns, row + width, 0.0f);
        }
        sink.done(item, head, first, last - first, rows);
        return true;
      });
    });
  } catch (const std::bad_alloc&) {
    return false;
  }
}

}  // namespace gatun::attention_select
