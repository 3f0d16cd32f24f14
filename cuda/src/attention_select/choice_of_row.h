// The choice from a row of scores (gatun_attention_choose), by a block of threads.
//
// FRACTION counts: the key of the last block that is kept is found bit by bit. By mass the keys are sorted in shared
// memory, and one thread adds them up, as the CPU does.
#pragma once

#include <cstdint>

#include "attention_select/selection_rows.h"
#include "gatun/attention_select.h"

namespace gatun::cuda::attention_select {

struct ChoiceShared {
  union {
    float of_warps[kRowThreads / 32];
    int32_t counts[kRowThreads / 32];
  };
  int64_t kept;  // of those that are sorted

  // By mass: of key_blocks.
  GATUN_DEVICE uint64_t* keys() { return reinterpret_cast<uint64_t*>(this + 1); }
};

// How many of the sorted keys are kept besides blocks that have `mass`, `kept` of them. By one thread.
GATUN_DEVICE int64_t count_by_mass(const Selection& s, float amount, const uint64_t* keys, int64_t others, double mass,
                                   int64_t kept) {
  double sum = mass;  // in the order of the mass, or all of it would not be all
  for (int64_t i = 0; i < others; ++i) sum += static_cast<double>(value_of(keys[i]));
  const double goal = static_cast<double>(amount) * sum;
  for (int64_t i = 0; i < others; ++i) {
    const double score = static_cast<double>(value_of(keys[i]));
    const bool enough = s.keep == GATUN_KEEP_MASS ? mass >= goal : mass + score > goal;
    if (enough && kept + i > 0) return i;
    mass += score;
  }
  return others;
}

GATUN_DEVICE void choose_row(const Items& items, const BlockRow& row, float amount, const float* scores,
                             ChoiceShared& shared, uint8_t* map) {
  const Selection& s = items.s;
  const int64_t end = most(row.allowed.sinks, row.allowed.end);
  const auto taken = [&](int64_t c) { return row.forced(items, c) || !(scores[c] < infinity()); };  // NaN, too
  const auto key_of = [&](int64_t c) { return row.allowed.holds(c) && !taken(c) ? order_key(scores[c], c) : kNoKey; };
  int32_t forced = 0, others = 0;
  for (int64_t c = thread_index(); c < end; c += kRowThreads) {
    if (!row.allowed.holds(c)) continue;
    forced += row.forced(items, c) && scores[c] < infinity();
    others += !taken(c);
  }
  forced = sum_block(forced, shared.counts);
  others = sum_block(others, shared.counts);
  uint64_t last = 0;  // the key of the last one that is kept
  bool any = false;
  if (s.keep == GATUN_KEEP_FRACTION) {
    const int64_t wanted = static_cast<int64_t>(amount * static_cast<float>(row.allowed.count()));
    const int64_t more = between(most(wanted, 1) - forced, 0, others);
    any = more > 0;
    if (any) last = key_of_rank(end, more, shared.counts, key_of);
  } else {
    for (int64_t c = thread_index(); c < end; c += kRowThreads) shared.keys()[c] = key_of(c);
    sort_block(shared.keys(), static_cast<int>(end));
    if (thread_index() == 0) {
      double mass = 0;
      const auto add = [&](int64_t c) {
        if (row.allowed.holds(c) && scores[c] < infinity()) mass += static_cast<double>(scores[c]);
      };
      if (s.keep_first != 0) add(0);
      for (int64_t c = most(row.forced_first, s.keep_first); c <= row.forced_last; ++c) add(c);
      shared.kept = count_by_mass(s, amount, shared.keys(), others, mass, forced);
    }
    block_barrier();
    any = shared.kept > 0;
    if (any) last = shared.keys()[shared.kept - 1];
  }
  for (int64_t c = thread_index(); c < s.key_blocks; c += kRowThreads) {
    map[c] = row.allowed.holds(c) && (taken(c) || (any && key_of(c) <= last));
  }
}

}  // namespace gatun::cuda::attention_select
