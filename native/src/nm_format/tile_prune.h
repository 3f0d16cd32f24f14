// Pruning of rows and their compression, a chunk at a time, while its weights are in cache: in each group of m weights
// the n of the highest scores (prune/tile.h), which become the bits of tile.h. What lies behind a row is worst: its
// last group keeps some of it where it has fewer than n weights, the lowest, as compression fills groups up.
#pragma once

#include "nm_format/tile.h"
#include "prune/tile.h"

namespace gatun::GATUN_ISA {
namespace {

// Keys of a chunk, and what has to be readable behind them.
struct Keys {
  alignas(64) int32_t key[kChunk + kKeysBehind] = {};
};

// 2:4: what is at least the second highest of its group. False where that is not two of each group, since several are
// equal to it.
GATUN_INLINE bool best_pairs(const I32 (&keys)[kVectors], uint64_t* bits) {
  *bits = 0;
  for (int v = 0; v < kVectors; ++v) {
    const I32 other = swap_lanes<1>(keys[v]);
    const I32 high = max_i32(keys[v], other), low = min_i32(keys[v], other);
    const I32 second = max_i32(min_i32(high, swap_lanes<2>(high)), max_i32(low, swap_lanes<2>(low)));
    *bits |= uint64_t{greater_mask(second, keys[v]) ^ kAllLanes} << v * kLanes;
  }
  return nm_format::count_groups(*bits, 4) == nm_format::counts_of(2, 4);
}

// The bits of the whole blocks of 2:4 from the beginning of a chunk on, and how many these are.
template <class W, Score kScore>
GATUN_INLINE int select_pairs(const Weights& weights, int64_t row, const Chunk& chunk, Keys& keys, uint64_t* bits,
                              I32& largest) {
  const auto* w = static_cast<const typename W::Type*>(weights.w) + row * weights.depth;
  int b = 0;
  for (; chunk.k + (b + 1) * kWord <= weights.depth && b < chunk.blocks; ++b) {
    I32 of_block[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const F32 score = score_of<W, kScore>(w, weights.norms, chunk.k + b * kWord + v * kLanes, kLanes);
      of_block[v] = kScore == Score::given ? key_of(score) : key_of_magnitude(score);
      largest = max_i32(largest, as_i32(abs(score)));
    }
    if (best_pairs(of_block, bits + b)) continue;
    for (int v = 0; v < kVectors; ++v) store_i32(keys.key + v * kLanes, of_block[v]);
    bits[b] = best_of_groups<4>(keys.key, 2);
  }
  return b;
}

// The bits of a chunk of a row. Raises `largest` to the magnitudes of the scores.
template <class W, Score kScore>
GATUN_INLINE void select_chunk(const Job& job, const Weights& weights, int64_t row, Chunk chunk, Keys& keys,
                               uint64_t* bits, I32& largest) {
  if (job.n == 2 && job.m == 4) {
    const int selected = select_pairs<W, kScore>(weights, row, chunk, keys, bits, largest);
    chunk.k += int64_t{selected} * kWord;
    chunk.blocks -= selected;
    bits += selected;
    if (chunk.blocks == 0) return;
  }
  const int64_t end = smaller(chunk.k + kChunk, job.depth);
  int64_t stored = 0;
  for_each_vector<W, kScore>(weights, row, chunk.k, end, [&](int64_t k, F32 score, int lanes) GATUN_INLINE_LAMBDA {
    const I32 key = kScore == Score::given ? key_of(score) : key_of_magnitude(score);
    largest = max_i32(largest, as_i32(abs(score)));
    store_i32(keys.key + (k - chunk.k), lanes == kLanes ? key : select_n(key, set1_i32(kLeastKey), lanes));
    stored = k - chunk.k + kLanes;
  });
  for (; stored % kKeys != 0; stored += kLanes) store_i32(keys.key + stored, set1_i32(kLeastKey));
  for (int b = 0; b < chunk.blocks; ++b) {
    bits[b] = best_of_groups(keys.key + b * kKeys, job.n, job.m) & nm_format::lowest_bits(bits_left(job, chunk, b));
  }
}

template <class W, Score kScore, class Elements>
bool prune_rows_by(const Job& job, const Weights& weights, int64_t begin, int64_t end) {
  Stage stage;
  Keys keys;
  uint64_t bits[kChunkBlocks];
  for (int64_t row = begin; row < end; ++row) {
    I32 largest = zero_i32();
    for (int64_t k = 0; k < job.depth; k += kChunk) {
      const Chunk chunk = chunk_at(job, k);
      select_chunk<W, kScore>(job, weights, row, chunk, keys, bits, largest);
      write_chunk<Elements, true>(job, row, chunk, bits, bits, stage);
    }
    // NaN is above infinity.
    if (reduce_max_i32(largest) > 0x7f800000) return false;
  }
  if (job.stream) fence_streams();
  return true;
}

template <class W, class Elements>
bool prune_rows(const Job& job, int64_t begin, int64_t end) {
  if (job.scores != nullptr) {
    return prune_rows_by<f32, Score::given, Elements>(job, {job.scores, nullptr, true, job.depth}, begin, end);
  }
  const Weights weights = {job.dense, job.norms, false, job.depth};
  return job.norms != nullptr ? prune_rows_by<W, Score::wanda, Elements>(job, weights, begin, end)
                              : prune_rows_by<W, Score::magnitude, Elements>(job, weights, begin, end);
}

}  // namespace
}  // namespace gatun::GATUN_ISA
