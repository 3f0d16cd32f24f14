// What the patterns share.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "base/parallel.h"
#include "base/scratch.h"
#include "base/status.h"
#include "prune/prune.h"

namespace gatun::prune {

using LongLong = long long;

// Scores at a time: a multiple of every m, and of 8, so that each part has bytes of its own in the mask.
inline constexpr int64_t kChunk = 512;

// Bytes of scores for which waking another thread pays.
inline constexpr int64_t kGrainBytes = 128 * 1024;

inline int32_t threads_of(const gatun_prune_params& p, int64_t parts) {
  return useful_threads(p.threads, parts, p.columns * p.depth * 4, kGrainBytes);
}

// Memory for `count` values; OUT_OF_RESOURCES, also where their bytes are no number.
template <class T>
int32_t get_array(Scratch& scratch, int64_t count, T** array) {
  int64_t bytes;
  *array = nullptr;
  if (!__builtin_mul_overflow(count, int64_t{sizeof(T)}, &bytes) && bytes <= INT64_MAX - 4096) {
    *array = reinterpret_cast<T*>(scratch.get(std::max<int64_t>(bytes, 1)));
  }
  if (*array != nullptr) return GATUN_OK;
  return fail(GATUN_OUT_OF_RESOURCES, "no memory for %lld numbers of %d bytes", LongLong{count}, int{sizeof(T)});
}

// Bit k of a mask's row, of bits that were 0.
inline void set_bit(uint8_t* row, int64_t k, bool value) {
  row[k / 8] = static_cast<uint8_t>(row[k / 8] | int{value} << k % 8);
}

// The scores of a row, a chunk at a time: visit(k, scores, count).
template <class Visit>
void for_each_chunk(const Job& job, int64_t row, int64_t begin, int64_t end, Visit visit) {
  float scores[kChunk];
  for (int64_t k = begin; k < end; k += kChunk) {
    const int64_t count = std::min(kChunk, end - k);
    job.kernel->score(job.weights, row, k, count, scores);
    visit(k, scores, count);
  }
}

int32_t check_nonnegative(const float* values, int64_t count, const char* name);

// The magnitudes, as bits, that are allowed: not above these.
inline constexpr uint32_t kNoNan = 0x7f800000u, kFinite = 0x7f7fffffu;
inline constexpr const char* kAnyNumber = "any number but NaN";
// Scores of a matrix that is not empty; the message names the first one that is refused, and says `why`. Each row is
// pruned by N:M as soon as it is checked, into nm_masks unless that is null.
int32_t check_scores(const Job& job, uint32_t allowed, const char* why, uint8_t* nm_masks = nullptr);

// A job that is not checked, with the weights themselves for LAMP.
void fill(const gatun_prune_params& p, const void* w, const float* norms, const float* scores, Tier limit, Job* job);

// The patterns, of matrices that are not empty.
int32_t prune_unstructured(const Job& job, uint8_t* mask);
int32_t prune_row_by_row(const Job& job, uint8_t* mask);
int32_t prune_blocks(const Job& job, int64_t block_rows, int64_t block_depth, uint8_t* mask);

// LAMP's scores [columns, depth] of a job that scores by magnitude, of finite weights.
int32_t lamp_scores(const Job& magnitudes, float* scores);

}  // namespace gatun::prune
