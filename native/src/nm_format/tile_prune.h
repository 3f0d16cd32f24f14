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

// The bits of a chunk of a row. Raises `largest` to the magnitudes of the scores.
template <class W, Score kScore>
GATUN_INLINE void select_chunk(const Job& job, const Weights& weights, int64_t row, const Chunk& chunk, Keys& keys,
                               uint64_t* bits, I32& largest) {
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
