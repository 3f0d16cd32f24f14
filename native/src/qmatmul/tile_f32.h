// Precise mode: f32 activations times weights that are dequantized to f32 in registers.
//
//   y[m][n] = sum_k x[m][k] * ((w[n][k] - z[n][g]) * sw[n][g]),   ascending k, one fma each
//
// x: tiles of T rows [depth][T] f32 (rows.h). w, sw, z: a panel of R rows (layout.h). A depth block of the panel (128
// depths, 32 KiB) is dequantized to [depth][R] f32 once for all rows; the tile is that of tile_i8.h with f32 sums, kept
// in registers over the block.
//
// (w - z) is exact, the product with sw is rounded once, then one rounding an fma:
// |y - reference| <= 2^-23 (depth + 8) sum |x w|, the reference using the same dequantized weights.
#pragma once

#include "qmatmul/epilogue.h"
#include "qmatmul/kernel.h"
#include "qmatmul/rows.h"
#include "simd/vec.h"

namespace gatun::GATUN_ISA {

inline constexpr int kBlockDepth = 128;
static_assert(kBlockDepth * qmatmul::kPanelRows * 4 <= qmatmul::kUnpackedBytes);

// One depth of kLanes rows: (code - zero) * scale.
template <bool kFourBits, int J>
GATUN_INLINE void dequantize_depth(Bytes first, Bytes second, I32 zero, F32 scale, int64_t panel_rows, float* out) {
  const I32 code = [&] {
    if constexpr (kFourBits)
      return J < 4 ? nibble_lane<2 * (J % 4)>(first) : nibble_lane<2 * (J % 4) + 1>(first);
    else
      return J < 4 ? byte_lane<J % 4>(first) : byte_lane<J % 4>(second);
  }();
  store_f32(out + J * panel_rows, mul(to_f32(sub_i32(code, zero)), scale));
}

// Depths [begin, end) of a piece, both multiples of 8, to [depth][R].
template <bool kFourBits>
inline void dequantize(const qmatmul::Job& job, const qmatmul::Panel& panel, const qmatmul::Piece& piece, int32_t begin,
                       int32_t end, float* out) {
  const int64_t rows = panel.rows;
  const int kDepthBytes = kFourBits ? 4 : 8;  // of a row and 8 depths
  const uint8_t* codes = panel.base + rows * (piece.codes + begin / 8 * kDepthBytes);
  const uint8_t* scales = panel.base + rows * piece.scales;
  for (int32_t k = begin; k < end; k += 8) {
    for (int32_t row = 0; row < rows; row += kLanes) {
      const F32 scale = job.f16_scales ? load_f16(reinterpret_cast<const uint16_t*>(scales) + row)
                                       : load_f32(reinterpret_cast<const float*>(scales) + row);
      const I32 zero =
          job.asymmetric ? load_u8_i32(panel.base + rows * piece.zero_points + row) : set1_i32(job.zero_code);
      const Bytes first = load_bytes(codes + 4 * row);
      const Bytes second = kFourBits ? first : load_bytes(codes + 4 * (rows + row));
      dequantize_depth<kFourBits, 0>(first, second, zero, scale, rows, out + row);
      dequantize_depth<kFourBits, 1>(first, second, zero, scale, rows, out + row);
      dequantize_depth<kFourBits, 2>(first, second, zero, scale, rows, out + row);
      dequantize_depth<kFourBits, 3>(first, second, zero, scale, rows, out + row);
      dequantize_depth<kFourBits, 4>(first, second, zero, scale, rows, out + row);
      dequantize_depth<kFourBits, 5>(first, second, zero, scale, rows, out + row);
      dequantize_depth<kFourBits, 6>(first, second, zero, scale, rows, out + row);
      dequantize_depth<kFourBits, 7>(first, second, zero, scale, rows, out + row);
    }
    codes += kDepthBytes * rows;
    out += 8 * rows;
  }
}

template <int T, int V>
GATUN_INLINE void multiply_block(const float* weights, int64_t panel_rows, const float* x, int64_t depth, float* sums) {
  F32 sum[T][V];
  for (int t = 0; t < T; ++t) {
    for (int v = 0; v < V; ++v) sum[t][v] = load_f32(sums + t * qmatmul::kPanelRows + v * kLanes);
  }
  for (int64_t k = 0; k < depth; ++k) {
    F32 w[V];
    for (int v = 0; v < V; ++v) w[v] = load_f32(weights + v * kLanes);
    for (int t = 0; t < T; ++t) {
      const F32 broadcast = set1(x[t]);
      for (int v = 0; v < V; ++v) sum[t][v] = fma(broadcast, w[v], sum[t][v]);
    }
    weights += panel_rows;
    x += T;
  }
  for (int t = 0; t < T; ++t) {
    for (int v = 0; v < V; ++v) store_f32(sums + t * qmatmul::kPanelRows + v * kLanes, sum[t][v]);
  }
}

template <bool kFourBits, int T, int V>
inline void multiply_panel_f32(const qmatmul::Job& job, const qmatmul::Panel& panel, int64_t tile_begin,
                               int64_t tile_end, uint8_t* scratch) {
  float* sums = reinterpret_cast<float*>(scratch);
  float* weights = reinterpret_cast<float*>(scratch + qmatmul::kSumBytes);
  const int64_t tiles = tile_end - tile_begin;
  std::memset(sums, 0, static_cast<size_t>(tiles * T * qmatmul::kPanelRows * 4));
  // A block: up to kBlockDepth padded depths, from several short pieces or a part of a long one.
  int64_t x_begin = 0;
  int32_t filled = 0;
  for (int64_t p = 0; p < job.piece_count; ++p) {
    const qmatmul::Piece& piece = job.pieces[p];
    for (int32_t k = 0, end; k < piece.depth; k = end) {
      end = piece.depth - k < kBlockDepth - filled ? piece.depth : k + kBlockDepth - filled;
      dequantize<kFourBits>(job, panel, piece, k, end, weights + filled * panel.rows);
      filled += end - k;
      if (filled < kBlockDepth && (p + 1 < job.piece_count || end < piece.depth)) continue;
      for (int64_t i = 0; i < tiles; ++i) {
        const float* x = static_cast<const float*>(job.values) + ((tile_begin + i) * job.padded_depth + x_begin) * T;
        for (int32_t column = 0; column < panel.rows; column += V * kLanes) {
          multiply_block<T, V>(weights + column, panel.rows, x, filled, sums + i * T * qmatmul::kPanelRows + column);
        }
      }
      x_begin += filled;
      filled = 0;
    }
  }
  finish(job, panel, tile_begin, tile_end, sums, false);
}

template <bool kFourBits>
inline void multiply_f32(const qmatmul::Job& job, const qmatmul::Panel& panel, int64_t tile_begin, int64_t tile_end,
                         uint8_t* scratch) {
  constexpr int kT = qmatmul::kTileRows, kWide = kLanes == 16 ? 4 : 16 / kLanes, kNarrow = 16 / kLanes;
  using Multiply = void (*)(const qmatmul::Job&, const qmatmul::Panel&, int64_t, int64_t, uint8_t*);
  static constexpr Multiply kTable[2][2] = {
      {multiply_panel_f32<kFourBits, 1, kNarrow>, multiply_panel_f32<kFourBits, 1, kWide>},
      {multiply_panel_f32<kFourBits, kT, kNarrow>, multiply_panel_f32<kFourBits, kT, kWide>}};
  const bool wide = panel.rows % (kWide * kLanes) == 0;
  kTable[job.tile_rows == kT][wide](job, panel, tile_begin, tile_end, scratch);
}

}  // namespace gatun::GATUN_ISA
