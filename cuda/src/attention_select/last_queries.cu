// Sums over the softmax of the last queries, the lines chosen by them, the map of lines, and budgets of heads.
//
//   logits[i][j]  of the last queries, in base 2, -infinity where key j is not seen (product_tile.h)
//   columns[j] = sum over i of P[i][j], diagonals[t] = sum over i of P[i][position(i) - t]
//   P[i][j] = 2^(logits[i][j] - most[i]) / sum[i]
//
// A thread has a key for its column and for its diagonal: neighbours read neighbouring logits. Chosen lines are bits, a
// bit for each key; a block of the map looks for a bit among its columns and among the diagonals that cross it.
#include <cstdint>

#include "attention_select/choice_of_row.h"
#include "base/check.h"
#include "ptx/launch.h"

namespace gatun::cuda::attention_select {
namespace {

constexpr int kThreads = 256, kMostChoiceThreads = 1024;  // for a choice of few keys, fewer

// The place of an item's sums of a head, and its bits.
GATUN_DEVICE int64_t sums_place(const Items& items, const Item& item, int64_t head) {
  const int64_t first = items.q_offsets != nullptr ? 0 : item.batch * items.p.query_heads;
  return (first + head) * items.p.kv_length + item.k_first;
}
GATUN_DEVICE int64_t words_place(const DrawJob& job, const Item& item, int64_t head) {
  if (job.items.q_offsets != nullptr) return head * job.words + item.k_first / 32 + item.batch;
  return (item.batch * job.items.p.query_heads + head) * job.words;
}

// A block for each row of a head.
GATUN_KERNEL(kThreads, 4)
select_line_stats(GATUN_GRID_CONSTANT LinesJob job) {
  const Params& p = job.items.p;
  const int64_t index = quotient(block_x(), job.rows), row = block_x() - index * job.rows;
  const Item item = item_of(job.items, quotient(job.first + index, p.query_heads));
  if (row >= lesser(item.sight.queries, job.items.s.last_queries)) return;
  const float* const logits = job.logits + block_x() * p.kv_length;
  float* const of_warps = reinterpret_cast<float*>(shared_memory());
  float largest = -infinity(), sum = 0;
  for (int64_t j = thread_index(); j < item.sight.keys; j += kThreads) largest = max_or_nan(largest, logits[j]);
  largest = most_block(largest, of_warps);
  for (int64_t j = thread_index(); j < item.sight.keys; j += kThreads) {
    if (logits[j] != -infinity()) sum += exp2_fast(logits[j] - largest);
  }
  sum = sum_block(sum, of_warps);
  if (thread_index() == 0) job.stats[block_x()] = {largest, 1.0f / sum};
}

// A thread for each key of a head.
GATUN_KERNEL(kThreads, 4)
select_line_sums(GATUN_GRID_CONSTANT LinesJob job, int64_t key_blocks) {
  const Params& p = job.items.p;
  const int64_t index = quotient(block_x(), key_blocks), head = job.first + index;
  const int64_t j = (block_x() - index * key_blocks) * kThreads + thread_index();
  const int64_t b = quotient(head, p.query_heads);
  const Item item = item_of(job.items, b);
  const Sight& sight = item.sight;
  if (j >= sight.keys) return;
  const int64_t first = first_of_last(sight, job.items.s.last_queries);
  const float* logits = job.logits + index * job.rows * p.kv_length;
  const Part* const stats = job.stats + index * job.rows;
  float column = 0, diagonal = 0;
  const auto add = [&](int64_t row, int64_t key, float& sum) {
    const float logit = logits[row * p.kv_length + key];
    if (logit != -infinity()) sum = fused(exp2_fast(logit - stats[row].most), stats[row].sum, sum);
  };
  for (int64_t row = 0; row < sight.queries - first; ++row) {
    add(row, j, column);
    const int64_t key = sight.position(first + row) - j;
    if (job.diagonals != nullptr && key >= 0 && key < sight.keys) add(row, key, diagonal);
  }
  const int64_t to = sums_place(job.items, item, head - b * p.query_heads) + j;
  job.columns[to] = column;
  if (job.diagonals != nullptr) job.diagonals[to] = diagonal;
}

// Blocks: columns or diagonals, heads of batch items.
GATUN_KERNEL(kMostChoiceThreads, 1)
select_choose_lines(GATUN_GRID_CONSTANT DrawJob job) {
  const Params& p = job.items.p;
  const Selection& s = job.items.s;
  const int which = static_cast<int>(block_x() % 2);
  const int64_t all = block_x() / 2, b = quotient(all, p.query_heads), head = all - b * p.query_heads;
  const Item item = item_of(job.items, b);
  const int64_t keys = item.sight.keys;
  const int64_t forced = lesser(which == 0 ? s.forced_verticals : s.forced_slashes, keys);
  const float* const given = which == 0 ? job.sums[0] : job.sums[1];
  const float* const sums = given == nullptr ? nullptr : given + sums_place(job.items, item, head);
  const int64_t count = between(which == 0 ? s.verticals : s.slashes, forced, keys) - forced;
  const auto key_of = [&](int64_t i) { return order_key(sums[forced + i], forced + i); };
  uint64_t last = 0;
  const bool any = sums != nullptr && count > 0;
  if (any) {
    last = key_of_rank(keys, count, reinterpret_cast<int32_t*>(shared_memory()),
                       [&](int64_t i) { return i < forced ? kNoKey : order_key(sums[i], i); });
  }
  uint32_t* const words = (which == 0 ? job.chosen[0] : job.chosen[1]) + words_place(job, item, head);
  for (int64_t word = warp(); word < units_of(keys, 32); word += thread_count() / 32) {
    const int64_t i = word * 32 + lane();
    const uint32_t bits = ballot(i < forced || (any && i < keys && key_of(i - forced) <= last));
    if (lane() == 0) words[word] = bits;
  }
}

// Whether one of the bits first..last is set.
GATUN_DEVICE bool any_bit(const uint32_t* words, int64_t first, int64_t last) {
  for (int64_t word = first / 32; word <= last / 32 && first <= last; ++word) {
    uint32_t bits = words[word];
    if (word == first / 32) bits &= ~0u << first % 32;
    if (word == last / 32) bits &= ~0u >> (31 - last % 32);
    if (bits != 0) return true;
  }
  return false;
}

// A block for each row of the map.
GATUN_KERNEL(kRowThreads, 8)
select_draw(GATUN_GRID_CONSTANT DrawJob job) {
  const Params& p = job.items.p;
  const int64_t all = quotient(block_x(), p.query_blocks), b = quotient(all, p.query_heads);
  const int64_t block = block_x() - all * p.query_blocks, head = all - b * p.query_heads;
  const Item item = item_of(job.items, b);
  const Sight& sight = item.sight;
  uint8_t* const map = job.map + block_x() * job.items.s.key_blocks;
  if (block * p.query_block >= sight.queries) {
    for (int64_t c = thread_index(); c < job.items.s.key_blocks; c += kRowThreads) map[c] = 0;
    return;
  }
  const BlockRow row(job.items, sight, block);
  const int64_t place = words_place(job, item, head);
  const int64_t first = sight.position(row.first), last = sight.position(row.last - 1);
  for (int64_t c = thread_index(); c < job.items.s.key_blocks; c += kRowThreads) {
    const int64_t key = c * p.key_block, last_key = lesser(key + p.key_block, sight.keys) - 1;
    map[c] = row.allowed.holds(c) && (row.forced(job.items, c) || any_bit(job.chosen[0] + place, key, last_key) ||
                                      any_bit(job.chosen[1] + place, most(first - last_key, 0), last - key));
  }
}

// A block for each head.
GATUN_KERNEL(kRowThreads, 8)
select_budgets(GATUN_GRID_CONSTANT Items items, const float* columns, float* budgets) {
  ChoiceShared& shared = *reinterpret_cast<ChoiceShared*>(shared_memory());
  const Params& p = items.p;
  const int64_t b = quotient(block_x(), p.query_heads);
  const Item item = item_of(items, b);
  const Sight& sight = item.sight;
  const int64_t first = first_of_last(sight, items.s.last_queries);
  float budget = 1;
  if (first < sight.queries && sight.keys > 0) {
    const Seen allowed = sight.of(first, sight.queries, p.key_block);
    const int64_t end = most(allowed.sinks, allowed.end), count = allowed.count();
    columns += sums_place(items, item, block_x() - b * p.query_heads);
    float strange = 0;
    for (int64_t c = thread_index(); c < end; c += kRowThreads) {
      double mass = 0;
      for (int64_t j = c * p.key_block; j < lesser((c + 1) * p.key_block, sight.keys); ++j) {
        mass += static_cast<double>(columns[j]);
      }
      if (allowed.holds(c) && !is_finite(static_cast<float>(mass))) strange = 1;
      shared.keys()[c] = allowed.holds(c) ? order_key(static_cast<float>(mass), c) : kNoKey;
    }
    strange = most_block(strange, shared.of_warps);
    sort_block(shared.keys(), static_cast<int>(end));
    if (strange == 0 && count > 0) {
      double sum = 0, mass = 0;
      for (int64_t i = 0; i < count; ++i) sum += static_cast<double>(value_of(shared.keys()[i]));
      int64_t kept = 0;
      while (kept < count && mass < static_cast<double>(items.s.amount) * sum) {
        mass += static_cast<double>(value_of(shared.keys()[kept++]));
      }
      budget = static_cast<float>(kept) / static_cast<float>(count);
    }
  }
  if (thread_index() == 0) budgets[block_x()] = budget;
}

// A warp for each head.
GATUN_KERNEL(kThreads, 4)
select_density(GATUN_GRID_CONSTANT Items items, const int64_t* offsets, float* density) {
  const Params& p = items.p;
  const int64_t all = block_x() * (kThreads / 32) + warp();
  if (all >= p.batch * p.query_heads) return;
  const Item item = item_of(items, quotient(all, p.query_heads));
  int64_t allowed = 0;
  for (int64_t a = lane(); a < lesser(p.query_blocks, units_of(item.sight.queries, p.query_block)); a += 32) {
    allowed += BlockRow(items, item.sight, a).allowed.count();
  }
#pragma unroll
  for (int i = 1; i < 32; i *= 2) allowed += shuffle_xor(allowed, i);
  const int64_t kept = offsets[(all + 1) * p.query_blocks] - offsets[all * p.query_blocks];
  if (lane() == 0) density[all] = allowed == 0 ? 0.0f : static_cast<float>(kept) / static_cast<float>(allowed);
}

}  // namespace

int32_t run_lines(const LinesJob& job, void* stream) {
  const int64_t key_blocks = blocks_of(job.items.p.kv_length, kThreads);
  GATUN_TRY(launch("select_line_stats_sm80", select_line_stats,
                   {job.heads * job.rows, 1, 1, kThreads, kThreads / 32 * 4}, stream, job));
  return launch("select_line_sums_sm80", select_line_sums, {job.heads * key_blocks, 1, 1, kThreads, 0}, stream, job,
                key_blocks);
}

int32_t run_draw(const DrawJob& job, void* stream) {
  const int64_t heads = job.items.p.batch * job.items.p.query_heads;
  const int32_t threads = job.items.p.kv_length > 4096 ? kMostChoiceThreads : 128;
  GATUN_TRY(launch("select_choose_lines_sm80", select_choose_lines, {2 * heads, 1, 1, threads, threads / 32 * 4},
                   stream, job));
  return launch("select_draw_sm80", select_draw, {heads * job.items.p.query_blocks, 1, 1, kRowThreads, 0}, stream, job);
}

int32_t run_budgets(const Items& items, const float* columns, float* budgets, void* stream) {
  const int64_t bytes =
      static_cast<int64_t>(sizeof(ChoiceShared)) + blocks_of(items.p.kv_length, items.p.key_block) * 8;
  return launch("select_budgets_sm80", select_budgets, {items.p.batch * items.p.query_heads, 1, 1, kRowThreads, bytes},
                stream, items, columns, budgets);
}

int32_t run_density(const Items& items, const int64_t* offsets, float* density, void* stream) {
  const int64_t heads = items.p.batch * items.p.query_heads;
  return launch("select_density_sm80", select_density, {blocks_of(heads, kThreads / 32), 1, 1, kThreads, 0}, stream,
                items, offsets, density);
}

}  // namespace gatun::cuda::attention_select
