// Rows of blocks: from what products left to scores, from scores to the map. A block of threads has a row.
//
//   parts of rows r of products        most[r][c], sum[r][c]
//   ANTIDIAGONAL  score[c] = sum over r of sum[r][c] 2^(most[r][c] - top[r]) / (total[r] rows),
//                 top, total: the largest of most[r], the sum of sum[r][c] 2^(most[r][c] - top[r])
//   MASS          the same with top = lse log2(e), total = 1
//   PROXY         softmax over c of the largest of most[r][c]
//   MEANS         softmax over c of logits, of one row
#include <cstdint>

#include "attention_select/choice_of_row.h"
#include "ptx/launch.h"

namespace gatun::cuda::attention_select {
namespace {

struct RowsShared {
  struct Factor {
    float top, share;
  } factors[kTile];  // of rows of products
  ChoiceShared choice;
};

// A block's place in the work.
struct Place {
  int64_t b, head, block;
  int64_t row;  // of results of products
};
GATUN_DEVICE Place place_of_block(const RowsJob& job) {
  const int64_t line = quotient(block_x(), job.tile_blocks), in_tile = block_x() - line * job.tile_blocks;
  const int64_t unit = quotient(line, job.sharing), shared_head = line - unit * job.sharing;
  const int64_t heads = quotient(job.items.p.query_heads, job.sharing);
  const int64_t all = quotient(job.first_unit + unit, job.row_tiles), b = quotient(all, heads);
  return {b, (all - b * heads) * job.sharing + shared_head,
          (job.first_unit + unit - all * job.row_tiles) * job.tile_blocks + in_tile,
          unit * job.tile_rows + in_tile * job.rows_of_block};
}

// Logits in base 2 -> the softmax of those that `counts` says, 0 where it is not. A thread has its places alone.
template <class Counts>
GATUN_DEVICE void soften(float* row, int64_t blocks, float* of_warps, Counts counts) {
  float top = -infinity(), sum = 0;
  for (int64_t c = thread_index(); c < blocks; c += kRowThreads) {
    if (counts(c)) top = max_or_nan(top, row[c]);
  }
  top = most_block(top, of_warps);
  for (int64_t c = thread_index(); c < blocks; c += kRowThreads) {
    row[c] = counts(c) ? exp2_fast(row[c] - top) : 0.0f;
    sum += row[c];
  }
  sum = sum_block(sum, of_warps);
  for (int64_t c = thread_index(); c < blocks; c += kRowThreads) {
    if (counts(c)) row[c] /= sum;
  }
}

// Of ANTIDIAGONAL; by a warp.
GATUN_DEVICE RowsShared::Factor factor_of(const Part* parts, int64_t blocks, int rows) {
  float top = -infinity(), total = 0;
  for (int64_t c = lane(); c < blocks; c += 32) top = max_or_nan(top, parts[c].most);
#pragma unroll
  for (int i = 1; i < 32; i *= 2) top = max_or_nan(top, shuffle_xor(top, i));
  for (int64_t c = lane(); c < blocks; c += 32) {
    if (parts[c].most != -infinity()) total = fused(parts[c].sum, exp2_fast(parts[c].most - top), total);
  }
#pragma unroll
  for (int i = 1; i < 32; i *= 2) total += shuffle_xor(total, i);
  return {top, 1.0f / (total * static_cast<float>(rows))};
}

GATUN_DEVICE void score_row(const RowsJob& job, const Place& place, const Item& item, const BlockRow& row,
                            RowsShared& shared, float* scores) {
  const int64_t blocks = job.items.s.key_blocks;
  const auto allowed = [&](int64_t c) { return row.allowed.holds(c); };
  if (job.kind == GATUN_SELECT_MEANS) {
    const int64_t heads = job.items.p.query_heads;
    const bool query_similar =
        job.similar_queries[(place.b * heads + place.head) * job.query_stride + place.block] != 0;
    const int64_t kv_heads = job.items.p.kv_heads, kv_head = quotient(place.head, quotient(heads, kv_heads));
    const uint8_t* const similar = job.similar_keys + (place.b * kv_heads + kv_head) * job.key_stride;
    const auto counts = [&](int64_t c) { return allowed(c) && similar[c] != 0; };
    for (int64_t c = thread_index(); c < blocks; c += kRowThreads) scores[c] = job.logits[place.row * blocks + c];
    soften(scores, blocks, shared.choice.of_warps, counts);
    for (int64_t c = thread_index(); c < blocks; c += kRowThreads) {
      if (allowed(c) && (!query_similar || similar[c] == 0)) scores[c] = infinity();
    }
    return;
  }
  const Part* const parts = job.parts + place.row * blocks;
  const int rows =
      static_cast<int>(job.kind == GATUN_SELECT_ANTIDIAGONAL ? units_of(row.last - row.first, job.items.s.stride)
                                                             : row.last - row.first);
  if (job.kind == GATUN_SELECT_PROXY) {
    for (int64_t c = thread_index(); c < blocks; c += kRowThreads) {
      float largest = -infinity();
      for (int r = 0; r < rows; ++r) largest = max_or_nan(largest, parts[r * blocks + c].most);
      scores[c] = largest;
    }
    soften(scores, blocks, shared.choice.of_warps, allowed);
    return;
  }
  if (job.kind == GATUN_SELECT_MASS) {
    const Params& p = job.items.p;
    const int64_t at = (job.items.q_offsets != nullptr ? item.q_first : place.b * p.lse_batch_stride) +
                       place.head * p.lse_head_stride + row.first;
    if (thread_index() < rows) {
      shared.factors[thread_index()] = {job.lse[at + thread_index()] * kLog2e, 1.0f / static_cast<float>(rows)};
    }
  } else {
    for (int r = warp(); r < rows; r += kRowThreads / 32) {
      const RowsShared::Factor factor = factor_of(parts + r * blocks, blocks, rows);
      if (lane() == 0) shared.factors[r] = factor;
    }
  }
  block_barrier();
  for (int64_t c = thread_index(); c < blocks; c += kRowThreads) {
    float score = 0;
    for (int r = 0; r < rows; ++r) {
      const Part part = parts[r * blocks + c];
      if (part.most == -infinity()) continue;
      score = fused(part.sum * exp2_fast(part.most - shared.factors[r].top), shared.factors[r].share, score);
    }
    scores[c] = score;
  }
}

// Blocks: blocks of a tile, query heads of a head of products, units, the first fastest.
GATUN_KERNEL(kRowThreads, 6)
select_rows(GATUN_GRID_CONSTANT RowsJob job) {
  RowsShared& shared = *reinterpret_cast<RowsShared*>(shared_memory());
  const Place place = place_of_block(job);
  const Params& p = job.items.p;
  if (place.block >= p.query_blocks) return;
  const int64_t blocks = job.items.s.key_blocks;
  const int64_t at = ((place.b * p.query_heads + place.head) * p.query_blocks + place.block) * blocks;
  float* const scores = job.scores != nullptr ? job.scores + at : job.row_memory + block_x() * blocks;
  const Item item = item_of(job.items, place.b);
  if (place.block * p.query_block >= item.sight.queries) {
    for (int64_t c = thread_index(); c < blocks; c += kRowThreads) {
      if (job.kind >= 0) scores[c] = 0;
      if (job.map != nullptr) job.map[at + c] = 0;
    }
    return;
  }
  const BlockRow row(job.items, item.sight, place.block);
  if (job.kind >= 0) {
    score_row(job, place, item, row, shared, scores);
    block_barrier();
  }
  if (job.map == nullptr) return;
  float amount = job.items.s.amount;
  if (job.budgets != nullptr) {
    const float budget = job.budgets[place.b * p.query_heads + place.head];
    amount = budget < 0 ? 0.0f : budget <= 1 ? budget : 1.0f;
  }
  choose_row(job.items, row, amount, scores, shared.choice, job.map + at);
}

}  // namespace

int32_t run_rows(const RowsJob& job, void* stream) {
  const bool sorted = job.map != nullptr && job.items.s.keep != GATUN_KEEP_FRACTION;
  const int64_t bytes = static_cast<int64_t>(sizeof(RowsShared)) + (sorted ? job.items.s.key_blocks * 8 : 0);
  return launch("select_rows_sm80", select_rows, {job.units * job.sharing * job.tile_blocks, 1, 1, kRowThreads, bytes},
                stream, job);
}

}  // namespace gatun::cuda::attention_select
