// Multiplication with N:M sparse weights: lanes are columns of y, and each takes the elements of x that its indices say
// out of a window of x in memory.
//
//   y[m][n] = sum over slots s of x[m][group(s) * m + index[n][s]] * w[n][s]
//
// x: tiles of rows in windows of 64 or 128 bytes (rows.h); w and index: a panel of R columns (layout.h).
//
//               one lane a column: V vectors of kLanes columns of the panel
//                      w[0] w[1] .. w[V-1]                    a chunk of 1, 2 or 4 slots of kLanes columns each
//                      p[0] p[1] .. p[V-1]                    their places in the window of x
//   x[0] window    sum[0][v] += select(x[0], p[v]) . w[v]     one permutation and one multiply-add (f32) or dot product
//   ..
//   x[T-1] window  sum[T-1][v]
//
// A permutation of x from memory and a multiply-add are two instructions for what a dense kernel does with m / n of
// them; where both are of 512 bits in pipes of 256 (Zen 4) they share one of three pipes, so a pair takes 4/3 cycles.
// Few rows: tile_few.h. Here a panel's piece (512 depths) is taken apart once to places and weights, which stream from
// the L2 cache while the windows of a tile of rows stay in the L1 cache.
//
// Overflow: integer sums of a piece are at most 512 * 128 * 127 < 2^24; where x is unsigned (kI8Bias = 128), 512 * 128
// * 255 < 2^24, before the excess of 128 * sum w is taken off. Floats add in ascending depth, so T and the pieces don't
// matter.
// Tails: slots that fill a unit up are not multiplied (f32) or have weight 0 and a place where x is 0 (bf16) or finite
// (int8); windows are padded in what we packed; columns beyond y's end are computed and not stored.
// Error: F32 and BF16 2^-23 (K + 8) sum |x w|; integers exact, one f32 rounding a piece and two at the end.
// Measured: bench/NOTES.md.
#pragma once

#include "nm_matmul/tile_few.h"
#include "qmatmul/epilogue.h"

namespace gatun::GATUN_ISA {

// A panel's piece, taken apart: weights and places [R / kLanes][chunk][2][kLanes] of 4 bytes; for integers what the
// bias of x adds to the sums, [R].
struct Kept {
  uint8_t* lanes;
  int32_t* excess;
};
inline constexpr int kKeptBytes = 2 * 4 * kLanes;
// Chunks of floats that are multiplied at a time: 16 KiB, half of an L1 cache.
inline constexpr int kBlockChunks = 16384 / kKeptBytes;
// And their windows of x, which are 64 bytes but for the sparsest, times the rows of a tile: the other half.
inline constexpr int kBlockWindows = 16384 / 64 / nm_matmul::kTileRows;

template <class Multiply>
GATUN_INLINE F32 scales_of(const nm_matmul::Job& job, const nm_matmul::Piece& piece, const Columns& at) {
  return Multiply::kInteger ? load_scales(job, piece, at) : zero_f32();
}

// Takes a piece of a panel apart.
template <class Multiply, class Reader, int kBits>
__attribute__((noinline)) void keep_piece(const nm_matmul::Job& job, const nm_matmul::Panel& panel,
                                          const nm_matmul::Piece& piece, const Kept& kept) {
  uint8_t* to = kept.lanes;
  for (int32_t column = 0; column < panel.columns; column += kLanes) {
    I32 excess = zero_i32();
    for_each_chunk<Reader, kBits, 1>(
        job, piece, {panel.base, panel.columns, column}, 0, chunks_of<typename Reader::Packed>(piece),
        [&](int, int32_t, const nm_matmul::Chunk&, Bytes places, auto w) GATUN_INLINE_LAMBDA {
          if constexpr (kBits != 0) store_bytes(to, places);
          Multiply::store(to + kKeptBytes / 2, w);
          to += kKeptBytes;
          add_excess<Multiply>(excess, w);
        });
    if constexpr (Multiply::kInteger) store_i32(kept.excess + column, excess);
  }
}

// Chunks [begin, end) of a piece, and where they are kept for kLanes columns.
struct KeptChunks {
  const nm_matmul::Chunk* begin;
  const nm_matmul::Chunk* end;
  const uint8_t* lanes;
};

// T rows from `row` on, of one tile, by kLanes columns. sums [T][kPanelColumns]. A function of its own, so that GCC has
// all registers for the accumulators.
template <class Multiply, int kBits, int T>
__attribute__((noinline)) void multiply_tile(const nm_matmul::Job& job, int64_t piece, const KeptChunks& kept,
                                             int64_t row, I32 excess, F32 scales, float* sums) {
  constexpr int kWindowBytes = Multiply::window_bytes(kBits);
  const RowWindows windows = row_windows(job, row, piece);
  typename Multiply::Sum sum[T];
  // Where GCC keeps a loop around these, sums go through memory.
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t) sum[t] = begin_of<Multiply>(load_f32(sums + t * nm_matmul::kPanelColumns));
  const uint8_t* lanes = kept.lanes;
  for (const nm_matmul::Chunk* chunk = kept.begin; chunk != kept.end; ++chunk, lanes += kKeptBytes) {
    const uint8_t* x = windows.x + chunk->window * windows.step;
    const Bytes places = load_bytes(lanes);
    const auto w = Multiply::load(lanes + kKeptBytes / 2);
#pragma GCC unroll 16
    for (int t = 0; t < T; ++t) {
      sum[t] = add_chunk<Multiply, kBits>(sum[t], x + t * kWindowBytes, *chunk, places, w);
    }
  }
#pragma GCC unroll 16
  for (int t = 0; t < T; ++t) {
    float* const to = sums + t * nm_matmul::kPanelColumns;
    F32 y = Multiply::kInteger ? load_f32(to) : zero_f32();
    add_piece<Multiply>(y, sum[t], excess, scales);
    store_f32(to, y);
  }
}

// Rows [row, end) of one tile, T at a time, then what is left by smaller T.
template <class Multiply, int kBits, int T>
GATUN_INLINE void multiply_rows(const nm_matmul::Job& job, int64_t piece, const KeptChunks& kept, int64_t row,
                                int64_t end, I32 excess, F32 scales, float* sums) {
  for (; row + T <= end; row += T, sums += T * nm_matmul::kPanelColumns) {
    multiply_tile<Multiply, kBits, T>(job, piece, kept, row, excess, scales, sums);
  }
  if constexpr (T > 1) multiply_rows<Multiply, kBits, T / 2>(job, piece, kept, row, end, excess, scales, sums);
}

// As many rows as registers hold sums for, next to places and weights.
inline constexpr int kRowsOfTile = kLanes == 16 ? 16 : kLanes == 8 ? 8 : 2;

// Sums of a panel, [kBlockRows][kPanelColumns], and of its kept chunks the most that there may be.
inline constexpr int64_t kPanelSums = nm_matmul::kBlockRows * nm_matmul::kPanelColumns;
template <class Packed>
inline constexpr int64_t kMostKept =
    int64_t{nm_matmul::kPanelColumns / kLanes} * (nm_matmul::kMaxPieceSlots / Packed::kSlots) * kKeptBytes;

// Panels whose pieces are taken apart together, so that a tile's windows, once they are in the L1 cache, meet more
// columns: as many as have their memory.
inline constexpr int kMostPanels = 4;

template <class Multiply, class Reader, int kBits>
inline void multiply_block(const nm_matmul::Job& job, const nm_matmul::Panels& panels, int64_t row_begin,
                           int64_t row_end, float* sums, int32_t* excesses, uint8_t* lanes) {
  using Packed = typename Reader::Packed;
  for (int64_t p = 0; p < job.piece_count; ++p) {
    const nm_matmul::Piece& piece = job.pieces[p];
    const int32_t count = chunks_of<Packed>(piece);
    const int64_t vector_bytes = int64_t{count} * kKeptBytes;
    for (int32_t i = 0; i < panels.count; ++i) {
      keep_piece<Multiply, Reader, kBits>(
          job, panel_at(panels, i), piece,
          {lanes + i * (nm_matmul::kPanelColumns / kLanes) * vector_bytes, excesses + i * nm_matmul::kPanelColumns});
    }
    // Sums of integers are those of a whole piece.
    for (int32_t c = 0, end_chunk; c < count; c = end_chunk) {
      end_chunk = count;
      if (!Multiply::kInteger && count - c > kBlockChunks) end_chunk = c + kBlockChunks;
      if (!Multiply::kInteger) {
        while (job.chunks[end_chunk - 1].window - job.chunks[c].window >= kBlockWindows) --end_chunk;
      }
      for (int64_t row = row_begin, end; row < row_end; row = end) {
        end = row + nm_matmul::kTileRows < row_end ? row + nm_matmul::kTileRows : row_end;
        for (int32_t i = 0; i < panels.count; ++i) {
          const nm_matmul::Panel panel = panel_at(panels, i);
          for (int32_t column = 0; column < panel.columns; column += kLanes) {
            const int32_t vector = (i * nm_matmul::kPanelColumns + column) / kLanes;
            const KeptChunks chunks{job.chunks + c, job.chunks + end_chunk,
                                    lanes + vector * vector_bytes + c * kKeptBytes};
            const I32 excess = load_i32(excesses + vector * kLanes);
            const F32 scales = scales_of<Multiply>(job, piece, {panel.base, panel.columns, column});
            multiply_rows<Multiply, kBits, kRowsOfTile>(
                job, p, chunks, row, end, excess, scales,
                sums + i * kPanelSums + (row - row_begin) * nm_matmul::kPanelColumns + column);
          }
        }
      }
    }
  }
}

template <class Multiply, class Reader, int kBits>
inline void multiply_panels(const nm_matmul::Job& job, nm_matmul::Panels panels, int64_t row_begin, int64_t row_end,
                            uint8_t* scratch) {
  float* const sums = reinterpret_cast<float*>(scratch);
  int32_t* const excesses = reinterpret_cast<int32_t*>(sums + kMostPanels * kPanelSums);
  uint8_t* const lanes = reinterpret_cast<uint8_t*>(excesses + kMostPanels * nm_matmul::kPanelColumns);
  const bool few = row_end - row_begin <= kFewRows<Multiply>;
  // A piece's chunks decide how many panels fit where one of dense weights does.
  const int64_t piece_chunks = job.piece_count == 0 ? 1 : chunks_of<typename Reader::Packed>(job.pieces[0]);
  const int64_t fit = nm_matmul::kMaxPieceSlots / Reader::Packed::kSlots / (piece_chunks == 0 ? 1 : piece_chunks);
  const auto together = static_cast<int32_t>(fit < 1 ? 1 : fit < kMostPanels ? fit : kMostPanels);
  for (int32_t first = 0, count; first < panels.count; first += count) {
    count = panels.count - first < together ? panels.count - first : together;
    const nm_matmul::Panels part{panel_at(panels, first), count, panel_at(panels, first + count - 1).columns,
                                 panels.bytes};
    for (int32_t i = 0; i < count; ++i) {
      // Rows of four, as multiply_few takes them.
      const int64_t rows = (row_end - row_begin + 3) / 4 * 4;
      std::memset(sums + i * kPanelSums, 0, static_cast<size_t>(rows * nm_matmul::kPanelColumns * 4));
      if constexpr (kFewRows<Multiply> > 0) {
        if (few) {
          multiply_few<Multiply, Reader, kBits>(job, panel_at(part, i), row_begin, row_end, sums + i * kPanelSums);
        }
      }
    }
    if (!few) multiply_block<Multiply, Reader, kBits>(job, part, row_begin, row_end, sums, excesses, lanes);
    for (int32_t i = 0; i < count; ++i) {
      const nm_matmul::Panel panel = panel_at(part, i);
      finish_panel(job, 1.0f, job.scales, panel.first_column, panel.columns, row_begin, row_end, sums + i * kPanelSums,
                   nm_matmul::kPanelColumns);
    }
  }
}

template <class Multiply, class Reader>
inline void multiply(const nm_matmul::Job& job, const nm_matmul::Panels& panels, int64_t row_begin, int64_t row_end,
                     uint8_t* scratch) {
  with_bits(job.index_bits, [&](auto bits) {
    multiply_panels<Multiply, Reader, decltype(bits)::value>(job, panels, row_begin, row_end, scratch);
  });
}

template <class Multiply, class Reader, class Packed = typename Reader::Packed>
constexpr nm_matmul::Kernel kernel() {
  constexpr int kSlots = Packed::kSlots;
  return {pack_rows<Packed>,
          multiply<Multiply, Reader>,
          kMostPanels * (kPanelSums + nm_matmul::kPanelColumns) * 4 + kMostKept<Packed>,
          nm_matmul::kTileRows,
          kMostPanels,
          kSlots,
          {Multiply::window_bytes(0), Multiply::window_bytes(2), Multiply::window_bytes(4), Multiply::window_bytes(8)},
          kSlots == 4   ? 1 << 20
          : kSlots == 2 ? 1 << 19
                        : 1 << 18};
}

}  // namespace gatun::GATUN_ISA
