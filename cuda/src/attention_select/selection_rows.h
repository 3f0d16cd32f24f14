// Where rows of blocks are, what they may see, and sums over a block of threads.
#pragma once

#include <cstdint>

#include "attention/device_rows.h"
#include "attention_select/selection_job.h"
#include "attention_select/sight.h"
#include "base/quotient.h"
#include "ptx/warp.h"

namespace gatun::cuda::attention_select {

using cuda::attention::infinity;
using cuda::attention::is_finite;
using cuda::attention::kLog2e;
using cuda::attention::load_float;
using gatun::attention_select::between;
using gatun::attention_select::lesser;
using gatun::attention_select::Seen;
using gatun::attention_select::Sight;
using gatun::attention_select::units_of;

// A batch item. Offsets may be any numbers.
struct Item {
  Sight sight;
  int64_t batch;
  int64_t q_first, k_first;  // rows before its own
};

GATUN_DEVICE Item item_of(const Items& items, int64_t b) {
  const Params& p = items.p;
  if (items.q_offsets == nullptr) return {Sight(p, p.query_length, p.kv_length), b, 0, 0};
  const int64_t q = between(items.q_offsets[b], 0, p.query_length), k = between(items.kv_offsets[b], 0, p.kv_length);
  return {Sight(p, between(items.q_offsets[b + 1], q, p.query_length) - q,
                between(items.kv_offsets[b + 1], k, p.kv_length) - k),
          b, q, k};
}

GATUN_DEVICE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }

// The first of the last queries.
GATUN_DEVICE int64_t first_of_last(const Sight& sight, int64_t last_queries) {
  return most(sight.queries - last_queries, 0);
}

// The place of row 0 of an item's head.
GATUN_DEVICE int64_t place_of(const Operand& x, bool ragged, int64_t batch, int64_t first, int64_t head) {
  return (ragged && !x.of_blocks ? first * x.row_stride : batch * x.batch_stride) + head * x.head_stride;
}

// Blocks that queries [first, last), at least one, may see, of those that the map has.
GATUN_DEVICE Seen allowed_of(const Items& items, const Sight& sight, int64_t first, int64_t last) {
  const Seen seen = sight.of(first, last, items.p.key_block);
  const int64_t blocks = items.s.key_blocks;
  return {lesser(seen.sinks, blocks), lesser(seen.begin, blocks), lesser(seen.end, blocks)};
}

// A row of blocks of an item, which has queries.
struct BlockRow {
  int64_t first, last;  // its queries
  Seen allowed;
  int64_t forced_first,
      forced_last;  // blocks with the queries' own positions; none if the last one is before the first

  GATUN_DEVICE BlockRow(const Items& items, const Sight& sight, int64_t block)
      : first(block * items.p.query_block),
        last(lesser(sight.queries, first + items.p.query_block)),
        allowed(allowed_of(items, sight, first, last)),
        forced_first(0),
        forced_last(-1) {
    if (items.s.keep_diagonal == 0 || sight.position(last - 1) < 0) return;
    forced_first = quotient(most(sight.position(first), 0), items.p.key_block);
    forced_last = quotient(sight.position(last - 1), items.p.key_block);
  }

  GATUN_DEVICE bool forced(const Items& items, int64_t c) const {
    return (items.s.keep_first != 0 && c == 0) || (c >= forced_first && c <= forced_last);
  }
};

// Over the threads of a block, in a fixed order; of each `Combine` the result is that of all. `memory` has room for one
// of each warp, and may be used again after the next barrier.
template <class T, class Combine>
GATUN_DEVICE T combine_block(T x, T* memory, Combine combine) {
#pragma unroll
  for (int i = 1; i < 32; i *= 2) x = combine(x, shuffle_xor(x, i));
  block_barrier();
  if (lane() == 0) memory[warp()] = x;
  block_barrier();
  T result = memory[0];
  for (int i = 1; i < thread_count() / 32; ++i) result = combine(result, memory[i]);
  return result;
}
template <class T>
GATUN_DEVICE T sum_block(T x, T* memory) {
  return combine_block(x, memory, [](T a, T b) { return a + b; });
}
GATUN_DEVICE float most_block(float x, float* memory) {
  return combine_block(x, memory, [](float a, float b) { return max_or_nan(a, b); });
}

// Sort ascending to: the larger value first, NaN before all, then the lower index (base/order_key.h).
GATUN_DEVICE uint64_t order_key(float value, int64_t index) {
  const uint32_t bits = as_bits(value);
  uint32_t place = (bits >> 31) != 0 ? bits : ~bits & 0x7fffffffu;
  if (value != value) place = 0;
  if (value == 0) place = 0x7fffffffu;
  return uint64_t{place} << 32 | static_cast<uint64_t>(index);
}
GATUN_DEVICE int64_t index_of(uint64_t key) { return static_cast<int64_t>(key & 0xffffffffu); }
// Of a key whose value is a number.
GATUN_DEVICE float value_of(uint64_t key) {
  const uint32_t place = static_cast<uint32_t>(key >> 32);
  return as_float((place >> 31) != 0 ? place : ~place & 0x7fffffffu);
}

// The key that `count`, at least one, keys are not above: bit by bit from the highest on, by counting. All keys differ;
// key_of(i), i < n, is kNoKey where there is none. By all threads of a block.
inline constexpr uint64_t kNoKey = ~uint64_t{0};
template <class KeyOf>
GATUN_DEVICE uint64_t key_of_rank(int64_t n, int64_t count, int32_t* memory, KeyOf key_of) {
  uint64_t result = 0;
  for (int bit = 63; bit >= 0; --bit) {
    if (bit < 32 && (n - 1) >> bit == 0) continue;  // no index has it
    const uint64_t below = result | ((uint64_t{1} << bit) - 1);
    int32_t found = 0;
    for (int64_t i = thread_index(); i < n; i += thread_count()) found += key_of(i) <= below;
    if (sum_block(found, memory) < count) result |= uint64_t{1} << bit;
  }
  return result;
}

// Sorts n keys in shared memory ascending, by all threads of a block: a bitonic network whose comparisons all put the
// smaller key first, so that keys beyond n, which there are none of, would stay where they are.
GATUN_DEVICE void sort_block(uint64_t* keys, int n) {
  const auto exchange = [&](int a, int b) {
    if (b < n && keys[a] > keys[b]) {
      const uint64_t key = keys[a];
      keys[a] = keys[b];
      keys[b] = key;
    }
  };
  for (int size = 2; size / 2 < n; size *= 2) {
    for (int step = size / 2; step > 0; step /= 2) {
      block_barrier();
      for (int i = thread_index(); i < (n + 2 * step - 1) / (2 * step) * step; i += thread_count()) {
        const int first = i / step * 2 * step + i % step;
        // The first step of a size compares places that lie symmetrically.
        exchange(first, step == size / 2 ? (first | (size - 1)) - i % step : first + step);
      }
    }
  }
  block_barrier();
}

}  // namespace gatun::cuda::attention_select
