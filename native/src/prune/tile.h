// Scores of weights, and N:M masks of them:
//
//   score[r][k] = |w[r][k]|, or |w[r][k]| norms[k], or what is given
//   kept: the best n of every m consecutive scores of a row; of equal ones the lower index
//
// Operands: rows as the caller has them.
//
//   scores -> keys of 512 weights on the stack -> tile_best.h, 64 at a time -> 8 bytes of the mask
//
// Tails: a last round of the same body; the keys behind a row are below every other, and their bits are 0. A
// smaller group at the end is thereby right: what does not exist is beaten by what does.
// Exact: a product is rounded once, everything else is comparison. Every tier gives the same bits.
// Memory: the next row is asked for while this one is compared; the processor alone does not look that far ahead, and
// 2:4 of f32 took twice as long.
//
// Measured (AMD EPYC 9004, one core, avx512, from memory): f32 1:2 at 80 % of the speed of reading the weights, 2:4 at
// 59 %, 1:8 at 29 %; gatun_prune with its checks, 14336 x 4096, 2:4 in 1.06 times memcpy's time.
#pragma once

#include "prune/kernel.h"
#include "prune/tile_best.h"
#include "simd/elements.h"

namespace gatun::GATUN_ISA {
namespace {

using prune::Weights;

constexpr int32_t kLeastKey = INT32_MIN;
// Keys at a time. Those of 64 weights are read at other offsets than they were stored at, which has to wait for stores
// that are not done; of this many they are.
constexpr int kStage = 512;

enum class Score { magnitude, wanda, given };

template <class W, Score kScore>
GATUN_INLINE F32 score_of(const typename W::Type* w, const float* norms, int64_t k, int n) {
  const F32 value = n == kLanes ? W::load(w + k) : W::load_n(w + k, n);
  if (kScore == Score::given) return value;
  if (kScore == Score::magnitude) return abs(value);
  return mul(abs(value), n == kLanes ? load_f32(norms + k) : load_f32_n(norms + k, n));
}

// Calls visit(k, scores, n) for vectors of scores [begin, end) of a row.
template <class W, Score kScore, class Visit>
GATUN_INLINE void for_each_vector(const Weights& weights, int64_t row, int64_t begin, int64_t end, Visit visit) {
  const auto* w = static_cast<const typename W::Type*>(weights.w) + row * weights.depth;
  int64_t k = begin;
  for (; k + kLanes <= end; k += kLanes) visit(k, score_of<W, kScore>(w, weights.norms, k, kLanes), kLanes);
  if (k < end) {
    const int n = static_cast<int>(end - k);
    visit(k, score_of<W, kScore>(w, weights.norms, k, n), n);
  }
}

template <class W, Score kScore>
inline void nm_rows_of(const Weights& weights, int n, int m, int64_t begin, int64_t end, uint8_t* mask) {
  alignas(64) int32_t keys[kStage + kKeysBehind];
  for (int32_t& key : keys) key = kLeastKey;
  for (int64_t row = begin; row < end; ++row) {
    const auto* next_row = static_cast<const typename W::Type*>(weights.w) + (row + 1) * weights.depth;
    for (int64_t first = 0; first < weights.depth; first += kStage) {
      const int64_t last = first + kStage < weights.depth ? first + kStage : weights.depth;
      int64_t stored = 0;
      for_each_vector<W, kScore>(weights, row, first, last, [&](int64_t k, F32 score, int lanes) GATUN_INLINE_LAMBDA {
        const I32 key = kScore == Score::given ? key_of(score) : key_of_magnitude(score);
        store_i32(keys + (k - first), lanes == kLanes ? key : select_n(key, set1_i32(kLeastKey), lanes));
        stored = k - first + kLanes;
      });
      for (; stored % kKeys != 0; stored += kLanes) store_i32(keys + stored, set1_i32(kLeastKey));
      for (int64_t k = first; k < last; k += kKeys) {
        constexpr int kPerLine = 64 / static_cast<int>(sizeof(typename W::Type));
        for (int i = 0; i < kKeys; i += kPerLine) prefetch_far_line(next_row + k + i);
        uint64_t kept = best_of_groups(keys + (k - first), n, m);
        if (last - k < kKeys) kept &= (uint64_t{1} << (last - k)) - 1;
        const int64_t bytes = last - k < kKeys ? prune::mask_bytes(last - k) : int64_t{sizeof(kept)};
        __builtin_memcpy(mask, &kept, static_cast<size_t>(bytes));
        mask += bytes;
      }
    }
  }
}

// The kind of score as an argument of a lambda.
template <Score kKind>
struct Kind {
  static constexpr Score kScore = kKind;
};

template <class Body>
GATUN_INLINE void by_score(const Weights& weights, Body body) {
  if (weights.given) {
    body(Kind<Score::given>());
  } else if (weights.norms != nullptr) {
    body(Kind<Score::wanda>());
  } else {
    body(Kind<Score::magnitude>());
  }
}

template <class W>
void score_weights(const Weights& weights, int64_t row, int64_t k, int64_t count, float* scores) {
  by_score(weights, [&](auto kind) {
    for_each_vector<W, decltype(kind)::kScore>(weights, row, k, k + count, [&](int64_t i, F32 score, int n) {
      n == kLanes ? store_f32(scores + (i - k), score) : store_f32_n(scores + (i - k), score, n);
    });
  });
}

template <class W>
uint32_t largest_score(const Weights& weights, int64_t row, int64_t k, int64_t count) {
  I32 largest = zero_i32();
  by_score(weights, [&](auto kind) {
    for_each_vector<W, decltype(kind)::kScore>(
        weights, row, k, k + count, [&](int64_t, F32 score, int) { largest = max_i32(largest, as_i32(abs(score))); });
  });
  return static_cast<uint32_t>(reduce_max_i32(largest));
}

template <class W>
void nm_rows(const Weights& weights, int n, int m, int64_t begin, int64_t end, uint8_t* mask) {
  by_score(weights, [&](auto kind) { nm_rows_of<W, decltype(kind)::kScore>(weights, n, m, begin, end, mask); });
}

}  // namespace
}  // namespace gatun::GATUN_ISA
