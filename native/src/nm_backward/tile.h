// Gradients through N:M sparse weights, vectorized over rows (tokens) of x and dy.
//
//   spread  dx[t][k] = sum over the n that keep k of dy[t][n] * w[n][k]
//   dot     dw[n][k] = sum_t dy[t][n] * x[t][k], at kept (n, k) alone
//
// Operands: panels of P rows, transposed (kernel.h).
//
//   spread  depth k:  entries (n, w) in ascending n          [ sums[k]: V vectors of rows, in registers over the job ]
//                     each: w broadcast, V fmas with dy[n] from memory
//           The panel of dy, kBlockColumns columns, stays in the first-level cache for all depths of the job.
//   dot     column n: dy[n] in V registers; for each of a vector of kept positions V fmas with x[k] from memory into a
//           sum of its own; then the sums of a vector of positions are transposed and added up.
//           The panel of x of the job stays in the first-level cache for all columns.
//
// Order of sums: spread, ascending n; dot, row t of a panel goes to lane t % lanes, vectors in ascending t; panels are
// added in ascending t by the caller.
// Tails: rows that a panel lacks are zeros; from_panel stores only those that exist. Positions beyond `kept` read
// position 0, and their sums are nobody's.
// Bound: 2^-23 (terms + 8) times the sum of the terms' magnitudes; f32 sums may overflow as any.
// Measured (AMD EPYC 9004, one core, avx512, 512 rows, 4096 x 4096; percent of the fma limit for kept weights alone,
// transposing, listing and all): spread 45 % with 2:4, 36 % with 1:8; dot 50 % and 27 %. Dense products (gemm) would
// reach 43 % and 11 %.
#pragma once

#include "nm_backward/kernel.h"
#include "simd/transpose.h"

namespace gatun::GATUN_ISA {
namespace {

using nm_backward::DotJob;
using nm_backward::Entry;
using nm_backward::Panel;
using nm_backward::SpreadJob;

constexpr int kSpreadVectors = 4;
constexpr int kDotVectors = kLanes == 16 ? 8 : 4;

GATUN_INLINE int lanes_left(int64_t count) { return count < kLanes ? static_cast<int>(count) : kLanes; }

void to_panel(const float* x, int64_t row_stride, int64_t rows, int64_t columns, Panel panel) {
  for (int64_t t = 0; t < panel.width; t += kLanes) {
    for (int64_t k = 0; k < columns; k += kLanes) {
      const int n = lanes_left(columns - k);
      F32 square[kLanes];
      for (int i = 0; i < kLanes; ++i) {
        square[i] = t + i < rows ? load_f32_n(x + (t + i) * row_stride + k, n) : zero_f32();
      }
      transpose(square);
      for (int j = 0; j < n; ++j) store_f32(panel.data + (k + j) * panel.width + t, square[j]);
    }
  }
}

void from_panel(Panel panel, int64_t rows, int64_t columns, float* x, int64_t row_stride) {
  for (int64_t t = 0; t < rows; t += kLanes) {
    for (int64_t k = 0; k < columns; k += kLanes) {
      const int n = lanes_left(columns - k);
      F32 square[kLanes];
      for (int j = 0; j < kLanes; ++j) {
        square[j] = j < n ? load_f32(panel.data + (k + j) * panel.width + t) : zero_f32();
      }
      transpose(square);
      for (int i = 0; i < kLanes && t + i < rows; ++i) store_f32_n(x + (t + i) * row_stride + k, square[i], n);
    }
  }
}

// The next entry of D depths each, to sums that stay in registers: D * V chains, more than an fma takes cycles.
template <int D, int V>
GATUN_INLINE void spread_entries(const float* dy, const Entry* const (&entries)[D], int64_t begin, int64_t end,
                                 F32 (&sum)[D][V]) {
  for (int64_t i = begin; i < end; ++i) {
    for (int d = 0; d < D; ++d) {
      const F32 weight = set1(entries[d][i].weight);
      const float* const from = dy + entries[d][i].offset;
      for (int v = 0; v < V; ++v) sum[d][v] = fma(weight, load_f32(from + v * kLanes), sum[d][v]);
    }
  }
}

// D depths from k on.
template <int D, int V>
GATUN_INLINE void spread_depths(const SpreadJob& job, int64_t k) {
  const Entry* entries[D];
  F32 sum[D][V];
  int64_t common = job.counts[k];
  for (int d = 0; d < D; ++d) {
    entries[d] = job.entries + (k + d) * nm_backward::kBlockColumns;
    if (job.counts[k + d] < common) common = job.counts[k + d];
    for (int v = 0; v < V; ++v) sum[d][v] = load_f32(job.sums + ((k + d) * V + v) * kLanes);
  }
  spread_entries<D, V>(job.dy, entries, 0, common, sum);
  for (int d = 0; d < D; ++d) {
    const Entry* const rest[1] = {entries[d]};
    F32 one[1][V];
    for (int v = 0; v < V; ++v) one[0][v] = sum[d][v];
    spread_entries<1, V>(job.dy, rest, common, job.counts[k + d], one);
    for (int v = 0; v < V; ++v) store_f32(job.sums + ((k + d) * V + v) * kLanes, one[0][v]);
  }
}

template <int V>
inline void spread_vectors(const SpreadJob& job) {
  int64_t k = 0;
  for (; k + 2 <= job.depths; k += 2) spread_depths<2, V>(job, k);
  for (; k < job.depths; ++k) spread_depths<1, V>(job, k);
}

void spread(const SpreadJob& job) {
  const auto run = job.vectors == 4 ? spread_vectors<4> : job.vectors == 2 ? spread_vectors<2> : spread_vectors<1>;
  run(job);
}

template <int V>
inline void dot_vectors(const DotJob& job) {
  for (int64_t n = 0; n < job.columns; ++n) {
    F32 dy[V];
    for (int v = 0; v < V; ++v) dy[v] = load_f32(job.dy + (n * V + v) * kLanes);
    for (int64_t i = 0; i < job.kept; i += kLanes) {
      const uint32_t* const offsets = job.offsets + n * job.stride + i;
      F32 sum[kLanes];
#pragma GCC unroll 16
      for (int l = 0; l < kLanes; ++l) {
        const float* const x = job.x + offsets[l];
        sum[l] = mul(dy[0], load_f32(x));
        for (int v = 1; v < V; ++v) sum[l] = fma(dy[v], load_f32(x + v * kLanes), sum[l]);
      }
      float* const sums = job.sums + n * job.stride + i;
      store_f32(sums, add(load_f32(sums), reduce_add_each(sum)));
    }
  }
}

void dot(const DotJob& job) {
  const auto run = job.vectors == 4 ? dot_vectors<4> : job.vectors == 2 ? dot_vectors<2> : dot_vectors<1>;
  job.vectors == kDotVectors ? dot_vectors<kDotVectors>(job) : run(job);
}

constexpr nm_backward::Kernel nm_backward_kernel() {
  return {kLanes, kSpreadVectors, kDotVectors, to_panel, from_panel, spread, dot};
}

}  // namespace
}  // namespace gatun::GATUN_ISA
