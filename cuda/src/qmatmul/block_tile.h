// What kernels share whose blocks make a tile of y: which one, and how it gets from shared memory to y.
#pragma once

#include <cstdint>

#include "qmatmul/finish.h"
#include "qmatmul/form.h"
#include "qmatmul/job.h"

namespace gatun::cuda::qmatmul {

inline constexpr int kRasterRows = 8;  // tiles of rows that neighbouring blocks share weights in

inline int64_t tiles_of(const Job& job, int64_t tile_rows, int64_t tile_strips) {
  return (job.rows + tile_rows - 1) / tile_rows * ((job.strip_end - job.strip_begin + tile_strips - 1) / tile_strips);
}

// The first row and strip of a block. Blocks go through kRasterRows tiles of rows, then to the next columns.
struct TilePlace {
  int64_t row, strip;
};
template <int kRows, int kStrips>
GATUN_DEVICE TilePlace place_of_block(const Job& job) {
  const int64_t row_tiles = (job.rows + kRows - 1) / kRows;
  const int64_t column_tiles = (job.strip_end - job.strip_begin + kStrips - 1) / kStrips;
  const int64_t raster = block_x() / (kRasterRows * column_tiles) * kRasterRows;
  const int64_t high = row_tiles - raster < kRasterRows ? row_tiles - raster : kRasterRows;
  const int64_t in_raster = block_x() - raster * column_tiles;
  return {(raster + in_raster % high) * kRows, job.strip_begin + in_raster / high * kStrips};
}

// Sums of a tile of kRows x kColumns, rows kStride apart in shared memory, times what `scale_of` says of their column.
// A thread has a column, and kBatch rows at a time.
template <int kRows, int kColumns, int kStride, int kThreads, class ScaleOf>
GATUN_DEVICE void put_tile(const Job& job, const TilePlace& place, const float* sums, ScaleOf scale_of) {
  constexpr int kBatch = 4, kStep = kThreads / kColumns;
  const int own = thread_index() % kColumns;
  const int64_t column = place.strip * kStripColumns + own;
  if (column >= job.padded_columns) return;
  const float scale = scale_of(column);
  const int rows = static_cast<int>(job.rows - place.row < kRows ? job.rows - place.row : kRows);
#pragma unroll 1
  for (int m = thread_index() / kColumns; m < rows; m += kBatch * kStep) {
    float batch[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) batch[i] = sums[(m + i * kStep) % kRows * kStride + own] * scale;
    put_sums(job, block_y(), place.row + m, kStep, (rows - m + kStep - 1) / kStep, column, batch);
  }
}

}  // namespace gatun::cuda::qmatmul
