// A matrix cut into blocks, and blocks into pieces: what threads take, and what sums are made of. The shape alone sets
// the pieces, and results of pieces are merged in ascending order, so they depend on nothing else.
//
//   block   group_rows x group, fewer at the matrix's ends
//   piece   up to kPiece elements of a block: some of its rows, or a part of one row if that is longer
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/parallel.h"
#include "base/scratch.h"
#include "base/status.h"
#include "simd/float_mode.h"

namespace gatun::calibrate {

inline constexpr int64_t kPiece = 4096;  // a multiple of kSums and of all blocks of GGUF
// Bytes of x for which waking another thread pays.
inline constexpr int64_t kGrainBytes = 128 * 1024;

struct Piece {
  int64_t row, column, rows, columns;  // no rows or no columns beyond the end of a block that is smaller than others
};

struct Blocks {
  // All sizes are at least 1.
  Blocks(int64_t matrix_rows, int64_t matrix_depth, int64_t block_rows, int64_t block_columns)
      : rows(matrix_rows), depth(matrix_depth), group_rows(block_rows), group(block_columns) {
    groups = (depth - 1) / group + 1;
    count = ((rows - 1) / group_rows + 1) * groups;
    piece_columns = std::min(group, kPiece);
    piece_rows = std::min(group_rows, kPiece / piece_columns);
    across = (group - 1) / piece_columns + 1;
    pieces = ((group_rows - 1) / piece_rows + 1) * across;
  }

  Piece piece(int64_t block, int64_t index) const {
    const int64_t top = block / groups * group_rows, left = block % groups * group;
    const int64_t row = top + index / across * piece_rows, column = left + index % across * piece_columns;
    return {row, column, std::max<int64_t>(0, std::min({piece_rows, top + group_rows - row, rows - row})),
            std::max<int64_t>(0, std::min({piece_columns, left + group - column, depth - column}))};
  }

  int32_t threads(int32_t requested, int64_t element_bytes) const {
    return useful_threads(requested, count * pieces, rows * depth * element_bytes, kGrainBytes);
  }

  int64_t rows, depth, group_rows, group;
  int64_t groups, count;                              // of a row, of the matrix
  int64_t piece_rows, piece_columns, across, pieces;  // the latter two of a block
};

// For every block, store(block, the merged results of its pieces). A Worker is made from `call` for each range that a
// thread takes, and maps (block, piece) to a Result with merge(const Result&).
template <class Worker, class Call, class Store>
int32_t reduce(const Blocks& blocks, int32_t threads, const Call& call, Store store) {
  using Result = typename Worker::Result;
  // So many blocks keep all threads busy.
  if (blocks.pieces == 1 || threads == 1 || blocks.count >= int64_t{4} * threads) {
    parallel_for(blocks.count, threads, [&](int64_t begin, int64_t end) {
      Worker worker(call);
      for (int64_t block = begin; block < end; ++block) {
        Result result = worker(block, blocks.piece(block, 0));
        for (int64_t i = 1; i < blocks.pieces; ++i) result.merge(worker(block, blocks.piece(block, i)));
        store(block, result);
      }
    });
    return GATUN_OK;
  }
  static thread_local Scratch scratch;
  const int64_t units = blocks.count * blocks.pieces;
  auto* results = reinterpret_cast<Result*>(scratch.get(units * static_cast<int64_t>(sizeof(Result))));
  if (results == nullptr) {
    return fail(GATUN_OUT_OF_RESOURCES, "no memory for the sums of %lld parts", static_cast<long long>(units));
  }
  parallel_for(units, threads, [&](int64_t begin, int64_t end) {
    Worker worker(call);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t block = unit / blocks.pieces;
      results[unit] = worker(block, blocks.piece(block, unit % blocks.pieces));
    }
  });
  const DefaultFloatMode mode;  // as in a loop's body
  for (int64_t block = 0; block < blocks.count; ++block) {
    Result result = results[block * blocks.pieces];
    for (int64_t i = 1; i < blocks.pieces; ++i) result.merge(results[block * blocks.pieces + i]);
    store(block, result);
  }
  return GATUN_OK;
}

// The total of independent partial sums, folded in halves.
template <int N>
double fold(double (&sums)[N]) {
  for (int half = N / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return sums[0];
}

}  // namespace gatun::calibrate
