// Pruning and compression in one pass over the weights: the best n of m scores (gatun/prune.h), or of tiles of 4 x 4
// the best of 90 patterns. Scores that belong together add up in double, in the order of the definition.
#include <utility>

#include "nm_format/compress.h"
#include "prune/tile_patterns.h"

namespace gatun::cuda::nm_format {
namespace {

// Of a weight of the matrix. One that is NaN, or infinite where scores add up, is reported.
GATUN_DEVICE double score_of(const FormatJob& job, int64_t row, int64_t k, bool adds_up) {
  float score;
  if (job.score == GATUN_SCORE_GIVEN) {
    score = job.scores[row * job.depth + k];
  } else {
    const uint32_t bits = bits_at(job, row, k);
    score = absolute(job.value_dtype == GATUN_F32   ? as_float(bits)
                     : job.value_dtype == GATUN_F16 ? f16_to_f32(static_cast<uint16_t>(bits))
                                                    : bf16_to_f32(static_cast<uint16_t>(bits)));
    if (job.score == GATUN_SCORE_WANDA) score = score * job.norms[k];
  }
  const uint32_t magnitude = as_bits(score) & 0x7fffffffu;
  if (magnitude > 0x7f800000u || (adds_up && magnitude == 0x7f800000u)) {
    report(&job.faults->value, row * job.depth + k);
  }
  return static_cast<double>(score);
}

template <int kM>
struct Best {
  GATUN_DEVICE static uint32_t kept(const FormatJob& job, const Place& at) {
    double scores[kM] = {};
    uint32_t left = 0;
#pragma unroll 1
    for (int64_t row = first_row(job, at); row < end_row(job, at); ++row) {
#pragma unroll
      for (int i = 0; i < kM; ++i) {
        const int64_t k = at.group * kM + i;
        if (k >= job.depth) continue;
        left |= 1u << i;
        scores[i] += score_of(job, row, k, job.vector > 1);
      }
    }
    uint32_t kept = 0;
#pragma unroll 1
    for (int count = 0; count < job.n && left != 0; ++count) {
      uint32_t best = 0;
      double highest = 0;
#pragma unroll
      for (int i = 0; i < kM; ++i) {
        const bool better = (left >> i & 1) != 0 && (best == 0 || scores[i] > highest);
        best = better ? 1u << i : best;
        highest = better ? scores[i] : highest;
      }
      kept |= best;
      left &= ~best;
    }
    return kept;
  }
};

// The sums of the six pairs of each row of a tile, and the best pattern so far.
struct Tile {
  double sums[4][6];
  double largest;
  uint32_t rows;  // four bits each

  template <int kPattern>
  GATUN_DEVICE void take() {
    constexpr gatun::prune::Patterns kAll = gatun::prune::make_patterns();
    constexpr int a = kAll.pair[kPattern][0], b = kAll.pair[kPattern][1], c = kAll.pair[kPattern][2],
                  d = kAll.pair[kPattern][3];
    constexpr uint32_t kRows =
        static_cast<uint32_t>(gatun::prune::pair_bits(a) | gatun::prune::pair_bits(b) << 4 |
                              gatun::prune::pair_bits(c) << 8 | gatun::prune::pair_bits(d) << 12);
    const double sum = sums[0][a] + sums[1][b] + sums[2][c] + sums[3][d];
    if (kPattern == 0 || sum > largest) {
      largest = sum;
      rows = kRows;
    }
  }
  template <int... kPatterns>
  GATUN_DEVICE void take_all(std::integer_sequence<int, kPatterns...>) {
    (take<kPatterns>(), ...);
  }
};

struct BestTile {
  GATUN_DEVICE static uint32_t kept(const FormatJob& job, const Place& at) {
    Tile tile;
    const int64_t top = at.vector / 4 * 4, begin = at.group * 4;
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      double s[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const bool inside = top + r < job.columns && begin + i < job.depth;
        s[i] = inside ? score_of(job, top + r, begin + i, true) : 0.0;
      }
      int pair = 0;
#pragma unroll
      for (int i = 0; i < 3; ++i) {
#pragma unroll
        for (int j = i + 1; j < 4; ++j) tile.sums[r][pair++] = s[i] + s[j];
      }
    }
    tile.take_all(std::make_integer_sequence<int, gatun::prune::Patterns::kCount>());
    const uint32_t own = tile.rows >> (at.vector - top) * 4 & 15;
    return job.depth - begin < 4 ? own & ((1u << (job.depth - begin)) - 1) : own;
  }
};

}  // namespace

int32_t run_prune(const FormatJob& job, void* stream) {
  switch (job.m) {
    case 2:
      return run<Best<2>>("nm_prune", job, stream);
    case 4:
      return run<Best<4>>("nm_prune", job, stream);
    case 8:
      return run<Best<8>>("nm_prune", job, stream);
    case 16:
      return run<Best<16>>("nm_prune", job, stream);
    default:
      return run<Best<32>>("nm_prune", job, stream);
  }
}

int32_t run_prune_transposable(const FormatJob& job, void* stream) {
  return run<BestTile>("nm_prune_transposable", job, stream);
}

}  // namespace gatun::cuda::nm_format
