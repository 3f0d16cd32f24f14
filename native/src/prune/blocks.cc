// The best blocks of a matrix; rows are blocks of 1 x depth, columns of columns x 1.
//
//   1. sums of blocks, row by row. A thread takes a stripe of neighbouring blocks, about a chunk of each of their rows;
//      a block's scores are added up by one thread, in ascending rows and depths.
//   2. the threshold of the sums, and from it a bit for each block
//   3. the mask of a block's first row, of which the others are copies
#include <cstring>

#include "prune/pattern.h"
#include "prune/select.h"

namespace gatun::prune {
namespace {

// How the blocks lie.
struct Grid {
  int64_t block_rows, block_depth;
  int64_t down, across;  // blocks
};

void add_up(const Job& job, const Grid& grid, double* sums) {
  const gatun_prune_params& p = job.p;
  const int64_t stripe = std::max<int64_t>(1, kChunk / grid.block_depth);  // blocks
  const int64_t stripes = blocks_of(grid.across, stripe), parts = grid.down * stripes;
  parallel_for(parts, threads_of(p, parts), [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part) {
      const int64_t down = part / stripes, first = part % stripes * stripe,
                    last = std::min(first + stripe, grid.across);
      double* line = sums + down * grid.across;
      std::fill(line + first, line + last, 0.0);
      const int64_t row_end =
          grid.block_rows < p.columns - down * grid.block_rows ? (down + 1) * grid.block_rows : p.columns;
      const int64_t k_end = last == grid.across ? p.depth : last * grid.block_depth;
      for (int64_t row = down * grid.block_rows; row < row_end; ++row) {
        for_each_chunk(job, row, first * grid.block_depth, k_end, [&](int64_t k, const float* scores, int64_t count) {
          for (int64_t i = 0; i < count;) {  // a chunk begins with a block, or lies within one
            const int64_t block = (k + i) / grid.block_depth;
            const int64_t block_end = std::min(count, i + grid.block_depth);
            double sum = line[block];
            for (; i < block_end; ++i) sum += double{scores[i]};
            line[block] = sum;
          }
        });
      }
    }
  });
}

// The bits of rows in the down-th blocks.
void write_line(const gatun_prune_params& p, const Grid& grid, int64_t down, const bool* kept, uint8_t* mask) {
  const int64_t stride = mask_bytes(p.depth), row = down * grid.block_rows;
  const int64_t rows = std::min(grid.block_rows, p.columns - row);
  uint8_t* bits = mask + row * stride;
  std::memset(bits, 0, static_cast<size_t>(stride));
  for (int64_t across = 0, k = 0; across < grid.across; ++across) {
    const int64_t end = grid.block_depth < p.depth - k ? k + grid.block_depth : p.depth;
    for (; k < end; ++k) set_bit(bits, k, kept[down * grid.across + across]);
  }
  for (int64_t r = 1; r < rows; ++r) std::memcpy(bits + r * stride, bits, static_cast<size_t>(stride));
}

}  // namespace

int32_t prune_blocks(const Job& job, int64_t block_rows, int64_t block_depth, uint8_t* mask) {
  const gatun_prune_params& p = job.p;
  const Grid grid = {block_rows, block_depth, blocks_of(p.columns, block_rows), blocks_of(p.depth, block_depth)};
  const int64_t blocks = grid.down * grid.across;
  Scratch sums_memory, order_memory, kept_memory;
  double *sums, *order;
  bool* kept;
  GATUN_TRY(get_array(sums_memory, blocks, &sums));
  GATUN_TRY(get_array(order_memory, blocks, &order));
  GATUN_TRY(get_array(kept_memory, blocks, &kept));
  add_up(job, grid, sums);
  if (p.keep == 0) {
    std::fill(kept, kept + blocks, false);
  } else {
    std::copy(sums, sums + blocks, order);
    Threshold<double> threshold = threshold_of(order, blocks, p.keep);
    std::transform(sums, sums + blocks, kept, [&](double sum) { return threshold.keeps(sum); });
  }
  parallel_for(grid.down, threads_of(p, grid.down), [&](int64_t begin, int64_t end) {
    for (int64_t down = begin; down < end; ++down) write_line(p, grid, down, kept, mask);
  });
  return GATUN_OK;
}

}  // namespace gatun::prune
