// Integer matrix multiplication: int8 activations times unsigned 4- or 8-bit weights, scaled per group.
//
//   y[m][n] = sx[m] * sum_pieces sw[n][g] * (sum_{k in piece} x[m][k] * w[n][k] - z[n][g] * sum_{k in piece} x[m][k])
//
// x: tiles of T rows [depth / 4][T][4] int8 (rows.h). w, sw, z: a panel of R rows (layout.h).
//
//              columns of the tile: V vectors of kLanes rows of the panel
//                      w[0]   w[1] .. w[V-1]     one 4-depth quad of kLanes rows each
//   x[0] broadcast4  sum[0][0] ...               each lane of a sum: one output, exact in int32
//   ..
//   x[T-1]           sum[T-1][0] ...
//
// The sums of a piece start from -z * (sum of the row's codes), so they are exact: at most 512 * 255 * 127 < 2^24 (8
// bits) in magnitude. One fma a piece adds them to f32 sums [row][64], which stay in cache, so registers hold integers
// only. All tiles take turns on 512 depths of the panel, which stay in the L1 cache (16 or 32 KiB). Nibbles are taken
// apart in registers for each tile: the shifts and masks run beside the dots, and bytes would take twice the cache.
//
// Tails: depth and rows are padded in what we packed; columns beyond y's end are computed and not stored.
// Error: integers exact; one f32 rounding a piece (two with group scales) and two at the end:
// |y - exact| <= 2^-23 (2 pieces + 8) sum |terms|.
// Measured (AMD EPYC 9004, avx512vnni, one thread, 14336 x 4096, 512 rows; limit 469 GOP/s): groups of 32 73 %, groups
// of 128 88 %, 8 bits per row 90 %; one row at the speed of memory (bench/NOTES.md).
#pragma once

#include "qmatmul/epilogue.h"
#include "qmatmul/kernel.h"
#include "qmatmul/rows.h"
#include "qmatmul/tile.h"
#include "simd/vec.h"

namespace gatun::GATUN_ISA {

// How the weights of 8 depths (two quads) of kLanes rows are read and multiplied. kDepthBytes: of a row and 8 depths.
struct NibbleWeights {
  static constexpr int kDepthBytes = 4;
  static constexpr int kBias = 0;
  struct Quads {
    Bytes first, second;
  };
  static GATUN_INLINE Quads load(const uint8_t* p, int64_t) {
    const Bytes both = load_bytes(p);
    return {low_nibbles(both), high_nibbles(both)};
  }
  static GATUN_INLINE I32 dot(I32 sum, Bytes w, Bytes x) { return dot_u4(sum, w, x); }
};

struct ByteWeights {
  static constexpr int kDepthBytes = 8;
  static constexpr int kBias = kU8Bias;
  struct Quads {
    U8Weights first, second;
  };
  static GATUN_INLINE Quads load(const uint8_t* p, int64_t panel_rows) {
    return {prepare_u8(load_bytes(p)), prepare_u8(load_bytes(p + 4 * panel_rows))};
  }
  static GATUN_INLINE I32 dot(I32 sum, U8Weights w, Bytes x) { return dot_u8(sum, w, x); }
};

// A piece of a panel from the tile's first column on.
struct PieceWeights {
  const uint8_t* codes;
  const uint8_t* scales;
  const uint8_t* zero_points;
  int64_t panel_rows;
  int32_t depth;
};

// x_scales: of the T rows in this piece, or null where a row has one scale for its whole depth.
template <class Weights, int T, int V>
GATUN_INLINE void multiply_piece(const qmatmul::Job& job, const PieceWeights& piece, const int8_t* x,
                                 const int32_t* x_sums, const float* x_scales, float* sums) {
  // A single row's dots would wait for each other: the two quads get sums of their own (integers: any order is exact).
  constexpr int kChains = T == 1 ? 2 : 1;
  I32 sum[kChains][T][V];
  for (int v = 0; v < V; ++v) {
    const I32 zero = job.asymmetric ? load_u8_i32(piece.zero_points + v * kLanes) : set1_i32(job.zero_code);
    for (int t = 0; t < T; ++t) sum[0][t][v] = mul_i32(sub_i32(set1_i32(Weights::kBias), zero), set1_i32(x_sums[t]));
  }
  if constexpr (kChains == 2) {
    for (int v = 0; v < V; ++v) sum[1][0][v] = zero_i32();
  }

  reload_memory();  // or GCC would carry the f32 sums of the previous piece in registers, and spill them
  const uint8_t* codes = piece.codes;
  for (int32_t k = 0; k < piece.depth; k += 8) {
    typename Weights::Quads w[V];
    for (int v = 0; v < V; ++v) w[v] = Weights::load(codes + 4 * kLanes * v, piece.panel_rows);
    for (int t = 0; t < T; ++t) {
      const Bytes x_first = broadcast4(x + 4 * t);
      for (int v = 0; v < V; ++v) sum[0][t][v] = Weights::dot(sum[0][t][v], w[v].first, x_first);
    }
    for (int t = 0; t < T; ++t) {
      const Bytes x_second = broadcast4(x + 4 * (T + t));
      for (int v = 0; v < V; ++v) sum[kChains - 1][t][v] = Weights::dot(sum[kChains - 1][t][v], w[v].second, x_second);
    }
    codes += Weights::kDepthBytes * piece.panel_rows;
    x += 8 * T;
  }

  for (int v = 0; v < V; ++v) {
    const F32 scale = job.f16_scales ? load_f16(reinterpret_cast<const uint16_t*>(piece.scales) + v * kLanes)
                                     : load_f32(reinterpret_cast<const float*>(piece.scales) + v * kLanes);
    for (int t = 0; t < T; ++t) {
      I32 total = sum[0][t][v];
      if constexpr (kChains == 2) total = add_i32(total, sum[1][t][v]);
      float* y = sums + t * qmatmul::kPanelRows + v * kLanes;
      if (x_scales != nullptr) {
        store_f32(y, fma(mul(to_f32(total), scale), set1(x_scales[t]), load_f32(y)));
      } else {
        store_f32(y, fma(to_f32(total), scale, load_f32(y)));
      }
    }
  }
}

// Pieces [begin, end) of one tile of rows, all columns of the panel.
template <class Weights, int T, int V>
inline void multiply_tile(const qmatmul::Job& job, const qmatmul::Panel& panel, int64_t begin, int64_t end, int64_t row,
                          float* sums) {
  const int8_t* x = static_cast<const int8_t*>(job.values) + row * job.padded_depth;
  const int32_t* x_sums = job.sums + row * job.piece_count;
  const float* x_scales = job.piece_scales ? job.scales + row * job.piece_count : nullptr;
  const int scale_bytes = job.f16_scales ? 2 : 4;
  for (int32_t column = 0; column < panel.rows; column += V * kLanes) {
    for (int64_t p = begin; p < end; ++p) {
      const qmatmul::Piece& piece = job.pieces[p];
      const PieceWeights weights{panel.base + piece.codes * panel.rows + 4 * column,
                                 panel.base + piece.scales * panel.rows + scale_bytes * column,
                                 panel.base + piece.zero_points * panel.rows + column, panel.rows, piece.depth};
      multiply_piece<Weights, T, V>(job, weights, x + piece.x * T, x_sums + p * T,
                                    x_scales == nullptr ? nullptr : x_scales + p * T, sums + column);
    }
  }
}

template <class Weights, int V>
inline void multiply_panel(const qmatmul::Job& job, const qmatmul::Panel& panel, int64_t row_begin, int64_t row_end,
                           uint8_t* scratch) {
  float* sums = reinterpret_cast<float*>(scratch);
  std::memset(sums, 0, static_cast<size_t>((row_end - row_begin) * qmatmul::kPanelRows * 4));
  int64_t end;
  for (int64_t begin = 0; begin < job.piece_count; begin = end) {
    int32_t depth = job.pieces[begin].depth;
    for (end = begin + 1; end < job.piece_count && depth + job.pieces[end].depth <= qmatmul::kPieceDepth; ++end) {
      depth += job.pieces[end].depth;
    }
    for_each_tile(row_begin, row_end, [&](auto rows, int64_t row) {
      multiply_tile<Weights, decltype(rows)::value, V>(job, panel, begin, end, row,
                                                       sums + (row - row_begin) * qmatmul::kPanelRows);
    });
  }
  finish(job, panel, row_begin, row_end, sums, !job.piece_scales);
}

template <class Weights>
inline void multiply_i8(const qmatmul::Job& job, const qmatmul::Panel& panel, int64_t row_begin, int64_t row_end,
                        uint8_t* scratch) {
  const auto multiply = panel.rows % (kWideVectors * kLanes) == 0 ? multiply_panel<Weights, kWideVectors>
                                                                  : multiply_panel<Weights, kNarrowVectors>;
  multiply(job, panel, row_begin, row_end, scratch);
}

}  // namespace gatun::GATUN_ISA
