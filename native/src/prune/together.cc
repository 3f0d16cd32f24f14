// NM and TRANSPOSABLE: rows by themselves, or as many as share their positions.
//
//   NM, vector V   [ .. 512 sums of V scores .. ]   a key beats those after it that are not larger; kept if fewer
//                                                    than n beat it, as in tile_best.h
//   TRANSPOSABLE   a tile is continued by scores of 0; its rows have 6 sums of two scores each, and the pattern is the
//                  best of 90 choices of one of them a row
#include <algorithm>
#include <cmath>
#include <cstring>

#include "prune/pattern.h"
#include "prune/tile_patterns.h"

namespace gatun::prune {
namespace {

// The best pattern of a tile whose row r starts at scores + r * kChunk.
const uint8_t* best_pattern(const float* scores) {
  double sums[4][6];
  for (int r = 0; r < 4; ++r) {
    const float* row = scores + r * kChunk;
    for (int p = 0; p < 6; ++p) sums[r][p] = double{row[kPairs[p][0]]} + double{row[kPairs[p][1]]};
  }
  int best = 0;
  double largest = 0;
  for (int i = 0; i < Patterns::kCount; ++i) {
    const uint8_t* pair = kPatterns.pair[i];
    const double sum = sums[0][pair[0]] + sums[1][pair[1]] + sums[2][pair[2]] + sums[3][pair[3]];
    if (i == 0 || sum > largest) {
      largest = sum;
      best = i;
    }
  }
  return kPatterns.pair[best];
}

// Bits of rows [row, row + rows) and weights [k, k + count) of them.
void prune_tiles(const Job& job, int64_t row, int rows, int64_t k, int64_t count, uint8_t* mask, int64_t mask_stride) {
  float scores[4 * kChunk] = {};
  for (int r = 0; r < rows; ++r) job.kernel->score(job.weights, row + r, k, count, scores + r * kChunk);
  for (int64_t i = 0; i < count; i += 4) {
    const uint8_t* pair = best_pattern(scores + i);
    const int inside = count - i < 4 ? (1 << (count - i)) - 1 : 15;
    for (int r = 0; r < rows; ++r) {
      uint8_t& byte = mask[r * mask_stride + i / 8];
      byte = static_cast<uint8_t>(byte | (pair_bits(pair[r]) & inside) << i % 8);
    }
  }
}

// The bits of weights [k, k + count) that the rows [row, row + rows) share.
void prune_vector(const Job& job, int64_t row, int64_t rows, int64_t k, int64_t count, uint8_t* mask) {
  float scores[kChunk];
  double sums[kChunk] = {};
  for (int64_t r = row; r < row + rows; ++r) {
    job.kernel->score(job.weights, r, k, count, scores);
    for (int64_t i = 0; i < count; ++i) sums[i] += double{scores[i]};
  }
  // Scores were finite when they were checked. If somebody has changed them since, a sum may be NaN, with which no
  // order is left, and more than n would be kept.
  for (int64_t i = 0; i < count; ++i) sums[i] = std::isnan(sums[i]) ? -HUGE_VAL : sums[i];
  for (int64_t first = 0; first < count; first += job.p.m) {
    const int size = static_cast<int>(std::min<int64_t>(job.p.m, count - first));
    const double* group = sums + first;
    int beaten[32] = {};
    for (int i = 0; i < size; ++i) {
      for (int j = i + 1; j < size; ++j) {
        const bool later = group[j] > group[i];
        beaten[i] += later;
        beaten[j] += !later;
      }
    }
    for (int i = 0; i < size; ++i) set_bit(mask, first + i, beaten[i] < job.p.n);
  }
}

}  // namespace

void prune_rows(const Job& job, int64_t begin, int64_t end, uint8_t* mask) {
  const gatun_prune_params& p = job.p;
  if (p.pattern == GATUN_PATTERN_NM && p.vector == 1) {
    job.kernel->nm(job.weights, p.n, p.m, begin, end, mask);
    return;
  }
  const int64_t stride = mask_bytes(p.depth), together = rows_together(p);
  std::memset(mask, 0, static_cast<size_t>((end - begin) * stride));
  for (int64_t row = begin; row < end; row += together) {
    const int64_t rows = std::min(together, end - row);
    uint8_t* first = mask + (row - begin) * stride;
    for (int64_t k = 0; k < p.depth; k += kChunk) {
      const int64_t count = std::min(kChunk, p.depth - k);
      if (p.pattern == GATUN_PATTERN_TRANSPOSABLE) {
        prune_tiles(job, row, static_cast<int>(rows), k, count, first + k / 8, stride);
      } else {
        prune_vector(job, row, rows, k, count, first + k / 8);
      }
    }
    if (p.pattern == GATUN_PATTERN_TRANSPOSABLE) continue;
    for (int64_t r = 1; r < rows; ++r) std::memcpy(first + r * stride, first, static_cast<size_t>(stride));
  }
}

}  // namespace gatun::prune
