// c[i][j] += sum_k a[i][k] * b[k][j] in f32.
//
//   b   blocks of kBlockDepth x kBlockColumns, packed to panels of V vectors of columns: [panel][k][V * kLanes], those
//       at the end of one vector each, filled up with zeros
//   a   as it is if its depth is contiguous; otherwise blocks of kBlockRows rows, packed to tiles of T rows:
//   [tile][k][T]
//
//           b: V vectors of columns
//         +---------+
//   a     | k ..    |        T x V sums stay in registers over a block of the depth, 6 x 4 of 32 registers or 6 x 2 of
//   T x k | sums    |        16; each k takes V loads and T broadcasts
//
// The panel of b (64 KiB on AVX-512) comes from the second-level cache, at a quarter of what that gives; the tile of a
// stays in the first. Sums go on from block to block of the depth in c, so each is one chain in ascending k.
// Tails: fewer rows are another T; columns beyond the end are computed with zeros and not stored.
// Bound: 2^-23 (depth + 8) sum |a b|; f32 sums may overflow to infinity as any.
// Measured (AMD EPYC 9004, one core, avx512): 512 x 1024 x 1024 at 87 % of the fma limit, avx2 at 77 %;
// 512 x 128 x 128 at 94 % and 74 %.
#pragma once

#include "gemm/kernel.h"
#include "simd/transpose.h"

namespace gatun::GATUN_ISA {
namespace {

constexpr int kGemmRows = 6;                                          // T
constexpr int kGemmVectors = kLanes == 16 ? 4 : kLanes == 8 ? 2 : 1;  // V
constexpr int64_t kGemmColumns = kGemmVectors * kLanes;
static_assert(gemm::kBlockColumns % kGemmColumns == 0 && gemm::kBlockRows % kGemmRows == 0);

template <int T, int V>
GATUN_INLINE void multiply_tile(const float* a, int64_t a_row, int64_t a_depth, const float* b, int64_t depth, float* c,
                                int64_t c_row, int64_t columns, bool add_to) {
  const auto lanes_of = [columns](int v) GATUN_INLINE_LAMBDA {
    const int64_t left = columns - v * kLanes;
    return left >= kLanes ? kLanes : left > 0 ? static_cast<int>(left) : 0;
  };
  F32 sum[T][V];
#pragma GCC unroll 6
  for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      sum[t][v] = add_to ? load_f32_n(c + t * c_row + v * kLanes, lanes_of(v)) : zero_f32();
    }
  }
  for (int64_t k = 0; k < depth; ++k) {
    F32 w[V];
    for (int v = 0; v < V; ++v) w[v] = load_f32(b + v * kLanes);
    for (int t = 0; t < T; ++t) {
      const F32 broadcast = set1(a[t * a_row]);
      for (int v = 0; v < V; ++v) sum[t][v] = fma(broadcast, w[v], sum[t][v]);
    }
    a += a_depth;
    b += V * kLanes;
  }
#pragma GCC unroll 6
  for (int t = 0; t < T; ++t) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) store_f32_n(c + t * c_row + v * kLanes, sum[t][v], lanes_of(v));
  }
}

// of(tile rows T as a constant's type, first row) for tiles of [0, rows).
template <int T>
struct TileRows {
  static constexpr int value = T;
};
template <int T, class Of>
GATUN_INLINE void for_each_row_tile(int64_t begin, int64_t rows, Of of) {
  for (; begin + T <= rows; begin += T) of(TileRows<T>(), begin);
  if constexpr (T > 1) for_each_row_tile<T - 1>(begin, rows, of);
}

// One vector of columns of a panel: [depth][width], `columns` of them and zeros.
inline void pack_vector(const gemm::Product& p, const float* b, int64_t depth, int columns, float* to, int64_t width) {
  if (p.b_column_stride == 1) {
    for (int64_t k = 0; k < depth; ++k) {
      const float* from = b + k * p.b_depth_stride;
      store_f32(to + k * width, columns == kLanes ? load_f32(from) : load_f32_n(from, columns));
    }
    return;
  }
  for (int64_t k = 0; k < depth; k += kLanes) {
    const int n = depth - k < kLanes ? static_cast<int>(depth - k) : kLanes;
    F32 square[kLanes];
    for (int j = 0; j < kLanes; ++j) {
      square[j] = j < columns ? load_f32_n(b + j * p.b_column_stride + k, n) : zero_f32();
    }
    transpose(square);
    for (int i = 0; i < n; ++i) store_f32(to + (k + i) * width, square[i]);
  }
}

// Panels of b from `b` on; where panel_at(column) begins is column * depth.
inline void pack_columns(const gemm::Product& p, const float* b, int64_t depth, int64_t columns, float* to) {
  if (depth == 0) return;  // b may be null
  for (int64_t j = 0; j < columns; j += kLanes) {
    const int n = columns - j < kLanes ? static_cast<int>(columns - j) : kLanes;
    const int64_t panel = j / kGemmColumns * kGemmColumns;
    const bool wide = panel + kGemmColumns <= columns;
    float* const at = wide ? to + panel * depth + (j - panel) : to + j * depth;
    pack_vector(p, b + j * p.b_column_stride, depth, n, at, wide ? kGemmColumns : kLanes);
  }
}

inline void pack_tiles(const float* a, int64_t a_depth, int64_t depth, int64_t rows, float* to) {
  for_each_row_tile<kGemmRows>(0, rows, [&](auto tile, int64_t row) {
    constexpr int T = decltype(tile)::value;
    for (int64_t k = 0; k < depth; ++k) std::memcpy(to + row * depth + k * T, a + row + k * a_depth, T * sizeof(float));
  });
}

void multiply_dense(const gemm::Product& p, float* scratch) {
  float* const packed_b = scratch;
  float* const packed_a = scratch + gemm::kBlockColumns * gemm::kBlockDepth;
  const bool packs_a = p.a_depth_stride != 1;
  for (int64_t column = 0; column < p.columns; column += gemm::kBlockColumns) {
    const int64_t columns = p.columns - column < gemm::kBlockColumns ? p.columns - column : gemm::kBlockColumns;
    int64_t k = 0;
    do {  // depth 0 is a block, too: it stores zeros
      const int64_t depth = p.depth - k < gemm::kBlockDepth ? p.depth - k : gemm::kBlockDepth;
      const bool add_to = p.add || k > 0;
      pack_columns(p, p.b + column * p.b_column_stride + k * p.b_depth_stride, depth, columns, packed_b);
      for (int64_t first = 0; first < p.rows; first += gemm::kBlockRows) {
        const int64_t rows = p.rows - first < gemm::kBlockRows ? p.rows - first : gemm::kBlockRows;
        const float* const a = p.a + first * p.a_row_stride + k * p.a_depth_stride;
        if (packs_a) pack_tiles(a, p.a_depth_stride, depth, rows, packed_a);
        const auto multiply_panel = [&](auto width, int64_t j) {
          constexpr int V = decltype(width)::value;
          for_each_row_tile<kGemmRows>(0, rows, [&](auto tile, int64_t row) {
            constexpr int T = decltype(tile)::value;
            float* const c = p.c + (first + row) * p.c_row_stride + column + j;
            multiply_tile<T, V>(packs_a ? packed_a + row * depth : a + row * p.a_row_stride,
                                packs_a ? 1 : p.a_row_stride, packs_a ? T : 1, packed_b + j * depth, depth, c,
                                p.c_row_stride, columns - j, add_to);
          });
        };
        int64_t j = 0;
        for (; j + kGemmColumns <= columns; j += kGemmColumns) multiply_panel(TileRows<kGemmVectors>(), j);
        for (; j < columns; j += kLanes) multiply_panel(TileRows<1>(), j);
      }
      k += depth;
    } while (k < p.depth);
  }
}

}  // namespace
}  // namespace gatun::GATUN_ISA
