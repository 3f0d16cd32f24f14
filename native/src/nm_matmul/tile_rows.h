// Multiplication with N:M sparse weights for many rows of x: lanes are rows, and a kept weight is a broadcast.
//
//   y[m][n] = sum over slots s of x[m][group(s) * m + index[n][s]] * w[n][s]
//
// x: tiles of kRowLanes rows, depth-major: [piece][tile][depth][row] f32; what is kept: below.
//
//                 one lane a row: kRowVectors vectors of x
//   slot s        x[depth of (s, n)] [0] [1] .. [kRowVectors - 1]       from the L1 cache, at an offset that is stored
//   4 columns n   sum[n][v] += w[n][s] * x[depth of (s, n)][v]           one fma with an operand in memory
//
// A block of the depth is what kBlockBytes of x hold, half of an L1 cache. Its weights of all the panel's columns are
// taken apart once, to offsets and values, and come by for each tile of rows. A multiply-add costs one load; offsets
// and values of four columns are few. So the kernel runs at the rate of loads, where one whose lanes are columns needs
// a permutation beside each multiply-add.
//
// Sums lie in memory between blocks, [tile][column][row]; every one is a chain of fmas in ascending depth, as in
// tile.h, so results are equal bit for bit. Tails: the last tile of rows is filled up with zeros that are not stored.
#pragma once

#include "nm_matmul/tile.h"
#include "simd/transpose.h"

namespace gatun::GATUN_ISA {

// The registers hold sums of four columns.
inline constexpr int kRowVectors = kLanes == 16 ? 4 : 2;
inline constexpr int kRowLanes = kRowVectors * kLanes;
inline constexpr int kQuad = 4;
inline constexpr int kBlockBytes = 16384;
inline constexpr int kPanelsOfRows = 4;
inline constexpr int kRowBytes = 4 * kRowLanes;  // of a depth in a tile
inline constexpr int kBlockDepth = kBlockBytes / kRowBytes;
static_assert(kRowLanes <= nm_matmul::kBlockRows && nm_matmul::kUnitSlots * 32 * kRowBytes <= 65536);

// Offsets and values of a vector of columns at a slot. A quad of columns reads its four of each.
struct KeptSlot {
  // Bytes from the block's first depth in a tile of x: a unit's 8 groups of 32, the most, are 65,536 bytes.
  uint16_t offsets[kLanes];
  float values[kLanes];
};

// Rows of x in whole tiles.
GATUN_INLINE int64_t padded_rows(const nm_matmul::Job& job) {
  return (job.rows + kRowLanes - 1) / kRowLanes * kRowLanes;
}

// A tile's elements of a piece, [depth][kRowLanes].
GATUN_INLINE float* tile_values(const nm_matmul::Job& job, int64_t piece, int64_t row) {
  const int64_t window = job.window_bytes / 4, depth = (job.windows[piece + 1] - job.windows[piece]) * window;
  return reinterpret_cast<float*>(job.values) + job.windows[piece] * window * padded_rows(job) +
         row / kRowLanes * kRowLanes * depth;
}

template <class X>
inline void pack_lanes_of(const nm_matmul::Job& job, int64_t row_begin, int64_t row_end) {
  for (int64_t tile = row_begin; tile < row_end; tile += kRowLanes) {
    for (int64_t p = 0; p < job.piece_count; ++p) {
      const nm_matmul::Piece& piece = job.pieces[p];
      const int64_t in_groups = piece.x + int64_t{piece.groups} * job.m;
      const int64_t end = in_groups < job.depth ? in_groups : job.depth;
      const int64_t padded = (job.windows[p + 1] - job.windows[p]) * (job.window_bytes / 4);
      float* out = tile_values(job, p, tile);
      for (int64_t k = 0; k < padded; k += kLanes, out += kLanes * kRowLanes) {
        for (int r = 0; r < kRowLanes; r += kLanes) {
          F32 square[kLanes];
          for (int i = 0; i < kLanes; ++i) {
            const int64_t row = tile + r + i;
            square[i] = zero_f32();
            if (row < job.rows) {
              const auto* x = static_cast<const typename X::Type*>(job.x) + row * job.x_row_stride;
              square[i] = load_row<X>(x, piece.x + k, end);
            }
          }
          transpose(square);
          for (int i = 0; i < kLanes; ++i) store_f32(out + i * kRowLanes + r, square[i]);
        }
      }
    }
  }
}

inline void pack_lanes(const nm_matmul::Job& job, int64_t row_begin, int64_t row_end) {
  job.x_dtype == GATUN_BF16 ? pack_lanes_of<bf16>(job, row_begin, row_end)
                            : pack_lanes_of<f32>(job, row_begin, row_end);
}

// The depth of a chunk's group, counted in the piece.
GATUN_INLINE int32_t depth_of(const nm_matmul::Job& job, const nm_matmul::Chunk& chunk) {
  const auto base = static_cast<int32_t>(job.index_bits == 0 ? chunk.base / 4 : chunk.base);
  return chunk.window * (job.window_bytes / 4) + base;
}

// Takes slots [begin, end) of a piece apart for V vectors of columns: [V][slot].
template <class Reader, int kBits, int V>
__attribute__((noinline)) void keep_vectors(const nm_matmul::Job& job, const nm_matmul::Panel& panel,
                                            const nm_matmul::Piece& piece, int32_t column, int32_t begin, int32_t end,
                                            KeptSlot* kept) {
  const int32_t first = depth_of(job, job.chunks[begin]);
  for_each_chunk<Reader, kBits, V>(job, piece, {panel.base, panel.columns, column}, begin, end,
                                   [&](int v, int32_t slot, const nm_matmul::Chunk& chunk, Bytes places, F32 w)
                                       GATUN_INLINE_LAMBDA {
                                         // Places within a window are base + index: bases are part of the chunk's depth
                                         // already.
                                         const int32_t window = chunk.window * (job.window_bytes / 4) - first;
                                         const I32 depth = kBits == 0 ? set1_i32(depth_of(job, chunk) - first)
                                                                      : add_i32(as_lanes(places), set1_i32(window));
                                         static_assert(kRowBytes == 64 || kRowBytes == 256);
                                         KeptSlot* const to = kept + v * (end - begin) + (slot - begin);
                                         store_u16(to->offsets, shift_left < kRowBytes == 256 ? 8 : 6 > (depth));
                                         store_f32(to->values, w);
                                       });
}

// The same for a panel, as its columns lie in memory: [R / kLanes][slot].
template <class Reader, int kBits>
GATUN_INLINE void keep_slots(const nm_matmul::Job& job, const nm_matmul::Panel& panel, const nm_matmul::Piece& piece,
                             int32_t begin, int32_t end, KeptSlot* kept) {
  constexpr int kVectors = 4;
  int32_t column = 0;
  for (; column + kVectors * kLanes <= panel.columns; column += kVectors * kLanes) {
    keep_vectors<Reader, kBits, kVectors>(job, panel, piece, column, begin, end,
                                          kept + column / kLanes * (end - begin));
  }
  for (; column < panel.columns; column += kLanes) {
    keep_vectors<Reader, kBits, 1>(job, panel, piece, column, begin, end, kept + column / kLanes * (end - begin));
  }
}

// V vectors of a tile's rows by four columns: sums [4][kRowLanes]. Stored dense, the four take the same elements of x.
template <bool kDense, int V>
__attribute__((noinline)) void multiply_quad(const uint8_t* x, const KeptSlot* kept, int32_t slots, int quad,
                                             float* sums) {
  const auto sum_at = [&](int i) { return sums + i / V * kRowLanes + i % V * kLanes; };
  F32 sum[kQuad * V];
  // Where GCC keeps a loop around these, sums go through memory.
#pragma GCC unroll 16
  for (int i = 0; i < kQuad * V; ++i) sum[i] = load_f32(sum_at(i));
  const KeptSlot* const end = kept + slots;
  for (; kept != end; ++kept) {
    uint64_t offsets;
    std::memcpy(&offsets, kept->offsets + quad, sizeof(offsets));
    const F32 values = repeat4(kept->values + quad);
    const F32 w[kQuad] = {repeat_lane<0>(values), repeat_lane<1>(values), repeat_lane<2>(values),
                          repeat_lane<3>(values)};
    if constexpr (kDense) {
      const float* element = reinterpret_cast<const float*>(x + (offsets & 0xffff));
      for (int v = 0; v < V; ++v) {
        const F32 elements = load_f32(element + v * kLanes);
        for (int c = 0; c < kQuad; ++c) sum[c * V + v] = fma(elements, w[c], sum[c * V + v]);
      }
    } else {
      for (int c = 0; c < kQuad; ++c) {
        const float* element = reinterpret_cast<const float*>(x + (offsets >> 16 * c & 0xffff));
        for (int v = 0; v < V; ++v) sum[c * V + v] = fma(load_f32(element + v * kLanes), w[c], sum[c * V + v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kQuad * V; ++i) store_f32(sum_at(i), sum[i]);
}

// A tile of rows by columns, four by four: in as many vectors as the rows take.
template <bool kDense, int V>
GATUN_INLINE void multiply_quads(const uint8_t* x, const KeptSlot* kept, int32_t slots, int64_t columns, int64_t rows,
                                 float* sums) {
  if constexpr (V > 1) {
    if (rows <= (V - 1) * kLanes) return multiply_quads<kDense, V - 1>(x, kept, slots, columns, rows, sums);
  }
  for (int64_t column = 0; column < columns; column += kQuad) {
    multiply_quad<kDense, V>(x, kept + column / kLanes * slots, slots, static_cast<int>(column % kLanes),
                             sums + column * kRowLanes);
  }
}

// Slots of a block that begins at `begin`: units whose groups lie within kBlockDepth, one at least.
inline int32_t end_of_block(const nm_matmul::Job& job, const nm_matmul::Piece& piece, int32_t begin) {
  const int32_t last_depth = depth_of(job, job.chunks[begin]) + kBlockDepth - job.m;
  int32_t end = begin + nm_matmul::kUnitSlots;
  while (end + nm_matmul::kUnitSlots <= piece.slots &&
         depth_of(job, job.chunks[end + nm_matmul::kUnitSlots - 1]) <= last_depth) {
    end += nm_matmul::kUnitSlots;
  }
  return end < piece.slots ? end : piece.slots;
}

inline constexpr int64_t kRowsSumBytes = kPanelsOfRows * kPanelSums * 4;
inline constexpr int64_t kRowsOutBytes = int64_t{kRowLanes} * nm_matmul::kPanelColumns * 4;
// A block of dense weights has the most slots.
inline constexpr int64_t kRowsKeptBytes = kPanelsOfRows * nm_matmul::kPanelColumns / kLanes *
                                          int64_t{kBlockDepth + nm_matmul::kUnitSlots} *
                                          static_cast<int64_t>(sizeof(KeptSlot));

template <class Reader, int kBits>
inline void multiply_wide(const nm_matmul::Job& job, const nm_matmul::Panels& panels, int64_t row_begin,
                          int64_t row_end, uint8_t* scratch) {
  float* const sums = reinterpret_cast<float*>(scratch);
  float* const out = reinterpret_cast<float*>(scratch + kRowsSumBytes);
  KeptSlot* const kept = reinterpret_cast<KeptSlot*>(scratch + kRowsSumBytes + kRowsOutBytes);
  const int64_t columns = int64_t{panels.count - 1} * nm_matmul::kPanelColumns + panels.last_columns;
  std::memset(sums, 0, static_cast<size_t>(columns * nm_matmul::kBlockRows * 4));
  for (int64_t p = 0; p < job.piece_count; ++p) {
    const nm_matmul::Piece& piece = job.pieces[p];
    for (int32_t begin = 0, end; begin < piece.slots; begin = end) {
      end = end_of_block(job, piece, begin);
      for (int32_t i = 0; i < panels.count; ++i) {
        keep_slots<Reader, kBits>(job, panel_at(panels, i), piece, begin, end,
                                  kept + int64_t{i} * (nm_matmul::kPanelColumns / kLanes) * (end - begin));
      }
      const int64_t first = depth_of(job, job.chunks[begin]);
      for (int64_t row = row_begin; row < row_end; row += kRowLanes) {
        const auto* x = reinterpret_cast<const uint8_t*>(tile_values(job, p, row) + first * kRowLanes);
        multiply_quads<kBits == 0, kRowVectors>(x, kept, end - begin, columns, row_end - row,
                                                sums + (row - row_begin) * columns);
      }
    }
  }
  for (int32_t i = 0; i < panels.count; ++i) {
    const nm_matmul::Panel panel = panel_at(panels, i);
    for (int64_t row = row_begin; row < row_end; row += kRowLanes) {
      const float* sum = sums + (row - row_begin) * columns + int64_t{i} * nm_matmul::kPanelColumns * kRowLanes;
      for (int32_t column = 0; column < panel.columns; column += kLanes) {
        for (int r = 0; r < kRowLanes; r += kLanes) {
          F32 square[kLanes];
          for (int c = 0; c < kLanes; ++c) square[c] = load_f32(sum + (column + c) * kRowLanes + r);
          transpose(square);
          for (int l = 0; l < kLanes; ++l) store_f32(out + (r + l) * nm_matmul::kPanelColumns + column, square[l]);
        }
      }
      const int64_t end = row_end - row < kRowLanes ? row_end : row + kRowLanes;
      finish_panel(job, 1.0f, nullptr, panel.first_column, panel.columns, row, end, out, nm_matmul::kPanelColumns);
    }
  }
}

template <class Reader>
inline void multiply_lanes(const nm_matmul::Job& job, const nm_matmul::Panels& panels, int64_t row_begin,
                           int64_t row_end, uint8_t* scratch) {
  with_bits(job.index_bits,
            [&](auto bits) { multiply_wide<Reader, decltype(bits)::value>(job, panels, row_begin, row_end, scratch); });
}

template <class Reader>
constexpr nm_matmul::Kernel kernel_rows() {
  return {pack_lanes,
          multiply_lanes<Reader>,
          kRowsSumBytes + kRowsOutBytes + kRowsKeptBytes,
          kRowLanes,
          kPanelsOfRows,
          1,
          {MultiplyF32::window_bytes(0), MultiplyF32::window_bytes(2), MultiplyF32::window_bytes(4),
           MultiplyF32::window_bytes(8)},
          1 << 18};
}

}  // namespace gatun::GATUN_ISA
