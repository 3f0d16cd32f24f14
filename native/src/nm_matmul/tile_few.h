// Multiplication of few rows of x with N:M sparse weights: codes and indices are taken apart in registers, as memory
// gives them.
//
//               one lane a column: V vectors of kLanes columns of the panel
//                      w[0] w[1] .. w[V-1]                    a chunk of 1, 2 or 4 slots of kLanes columns each
//                      p[0] p[1] .. p[V-1]                    their places in the window of x
//   x[0] window    sum[0][v] += select(x[0], p[v]) . w[v]
//   ..
//   x[T-1] window  sum[T-1][v]
//
// One to four rows of floats take about the time of the weights' way from memory, of int4 up to twice that. More take
// the weights apart again, four rows at a time, out of the cache: the depth is cut into slices whose windows of x are
// half of an L1 cache.
#pragma once

#include "nm_matmul/chunks.h"

namespace gatun::GATUN_ISA {

// The scalar tier has no registers for lanes: weights are always kept.
template <class Multiply>
inline constexpr int64_t kFewRows = kLanes == 4 ? 0 : Multiply::kFewRows;
inline constexpr int kSliceBytes = 16384;

// A part of the depth: from chunk `begin` of piece `first` to chunk `end` of piece `last`.
struct Slice {
  int64_t first, last;
  int32_t begin, end;
};

// The slice from a chunk on: whole pieces, or whole units of one piece of floats, of at most so many windows where that
// can be.
template <class Multiply, class Packed>
inline Slice slice_from(const nm_matmul::Job& job, int64_t piece, int32_t begin, int64_t most_windows) {
  constexpr int kUnitChunks = nm_matmul::kUnitSlots / Packed::kSlots;
  Slice slice{piece, piece, begin, chunks_of<Packed>(job.pieces[piece])};
  const int32_t first = job.chunks[begin].window;
  const auto windows_to = [&](int64_t last) { return job.windows[last + 1] - job.windows[piece] - first; };
  if (!Multiply::kInteger && windows_to(piece) > most_windows) {
    int32_t end = begin + kUnitChunks;
    while (end + kUnitChunks < slice.end && job.chunks[end + kUnitChunks - 1].window - first < most_windows) {
      end += kUnitChunks;
    }
    if (end < slice.end) slice.end = end;
    return slice;
  }
  while (slice.last + 1 < job.piece_count && windows_to(slice.last + 1) <= most_windows) {
    ++slice.last;
    slice.end = chunks_of<Packed>(job.pieces[slice.last]);
  }
  return slice;
}

// Rows [row, row + T) of one tile by V vectors of columns from `column` on: sums [T][kPanelColumns] += what a slice
// adds. Where rows end before, the last one is multiplied again.
template <class Multiply, class Reader, int kBits, int T, int V>
__attribute__((noinline)) void multiply_slice(const nm_matmul::Job& job, const nm_matmul::Panel& panel,
                                              const Slice& slice, int64_t row, int64_t row_end, int32_t column,
                                              float* sums) {
  using Packed = typename Reader::Packed;
  int64_t offsets[T];
  for (int t = 0; t < T; ++t) {
    offsets[t] = (row + t < row_end ? t : row_end - 1 - row) * Multiply::window_bytes(kBits);
  }
  const auto sum_at = [&](int t, int v) { return sums + t * nm_matmul::kPanelColumns + v * kLanes; };
  typename Multiply::Sum sum[T * V];
  I32 excess[V];
  if constexpr (!Multiply::kInteger) {
    for (int i = 0; i < T * V; ++i) sum[i] = load_f32(sum_at(i / V, i % V));
  }
  for (int64_t p = slice.first; p <= slice.last; ++p) {
    const nm_matmul::Piece& piece = job.pieces[p];
    const RowWindows windows = row_windows(job, row, p);
    if constexpr (Multiply::kInteger) {
      for (int i = 0; i < T * V; ++i) sum[i] = zero_i32();
      for (int v = 0; v < V; ++v) excess[v] = zero_i32();
    }
    for_each_chunk<Reader, kBits, V>(
        job, piece, {panel.base, panel.columns, column}, p == slice.first ? slice.begin : 0,
        p == slice.last ? slice.end : chunks_of<Packed>(piece),
        [&](int v, int32_t, const nm_matmul::Chunk& chunk, Bytes places, auto w) GATUN_INLINE_LAMBDA {
          const uint8_t* const x = windows.x + chunk.window * windows.step;
          for (int t = 0; t < T; ++t) {
            sum[t * V + v] = add_chunk<Multiply, kBits>(sum[t * V + v], x + offsets[t], chunk, places, w);
          }
          add_excess<Multiply>(excess[v], w);
        });
    if constexpr (Multiply::kInteger) {
      for (int v = 0; v < V; ++v) {
        const F32 scales = load_scales(job, piece, {panel.base, panel.columns, column + v * kLanes});
        for (int t = 0; t < T; ++t) {
          const F32 added = to_f32(sub_i32(sum[t * V + v], excess[v]));
          store_f32(sum_at(t, v), fma(added, scales, load_f32(sum_at(t, v))));
        }
      }
    }
  }
  if constexpr (!Multiply::kInteger) {
    for (int i = 0; i < T * V; ++i) store_f32(sum_at(i / V, i % V), sum[i]);
  }
}

// T rows by all columns of a panel, as many at a time as registers hold sums for.
template <class Multiply, class Reader, int kBits, int T, int V>
GATUN_INLINE void multiply_columns(const nm_matmul::Job& job, const nm_matmul::Panel& panel, const Slice& slice,
                                   int64_t row, int64_t row_end, float* sums) {
  int32_t column = 0;
  for (; column + V * kLanes <= panel.columns; column += V * kLanes) {
    multiply_slice<Multiply, Reader, kBits, T, V>(job, panel, slice, row, row_end, column, sums + column);
  }
  for (; column < panel.columns; column += kLanes) {
    multiply_slice<Multiply, Reader, kBits, T, 1>(job, panel, slice, row, row_end, column, sums + column);
  }
}

// At most kFewRows<Multiply> rows by a panel; sums [rows to a multiple of four][kPanelColumns].
template <class Multiply, class Reader, int kBits>
inline void multiply_few(const nm_matmul::Job& job, const nm_matmul::Panel& panel, int64_t row_begin, int64_t row_end,
                         float* sums) {
  using Packed = typename Reader::Packed;
  const int64_t rows = row_end - row_begin, tile_rows = rows < nm_matmul::kTileRows ? rows : nm_matmul::kTileRows;
  const int64_t most_windows = kSliceBytes / (Multiply::window_bytes(kBits) * tile_rows);
  int32_t begin = 0;
  for (int64_t p = 0; p < job.piece_count;) {
    const Slice slice = slice_from<Multiply, Packed>(job, p, begin, most_windows);
    float* sum = sums;
    int64_t row = row_begin;
    for (; row + 1 < row_end; row += 4, sum += 4 * nm_matmul::kPanelColumns) {
      multiply_columns<Multiply, Reader, kBits, 4, kLanes / 4>(job, panel, slice, row, row_end, sum);
    }
    if (row < row_end) multiply_columns<Multiply, Reader, kBits, 1, 4>(job, panel, slice, row, row_end, sum);
    const bool whole = slice.end == chunks_of<Packed>(job.pieces[slice.last]);
    p = whole ? slice.last + 1 : slice.last;
    begin = whole ? 0 : slice.end;
  }
}

}  // namespace gatun::GATUN_ISA
