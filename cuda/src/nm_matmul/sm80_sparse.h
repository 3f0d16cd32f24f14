// Products with sparse weights by matrix instructions, of few rows and of many.
//
//   y[m][n] = sum_g s[g][n] sum over kept k in g of x[m][k] (q[n][k] - z[g][n])        floats: one group, s = 1, z = 0
//
// Sums are those of y^T = w x^T, since only a left operand may be sparse: columns of y are rows of the instruction. A
// warp makes kStrips strips of 16 columns by kTiles tiles of 8 rows, a block kColumnWarps x kRowWarps such:
//
//   shape   strips tiles   warps   columns x rows   for
//   Few       2      2     4 x 1     128 x 16       up to 16 rows
//   Many      2      8     4 x 2     128 x 128      any; groups, whose sums are scaled and added to totals
//   Wide      4     12     4 x 2     256 x 192      2:4 with one group: no totals, so that a warp has 64 columns by
//                                                   96 rows; needs 126 KiB of shared memory (int8: 132)
//
// A stage is 128 bytes of each row of x, two slices, and the units of the block's strips that hold their depth. kStages
// of them are in shared memory, copied by cp.async past the L1 cache, 16 bytes at a time, kStages - 1 ahead. Piece p
// (16 bytes) of row m of x lies at piece p ^ m % 8, so that ldmatrix meets no bank twice. Lanes read what they have of
// a unit in order. Left operands: left_operands.h; those of general N:M are first written with their zeros by all
// threads.
//
// Sums of a group are f32 or int32 (|sum| <= 2^17 * 128 * 127 < 2^31) and go scaled to the totals where the group ends.
// The error is at most 2^-23 (K + 2 groups + 8) sum |x w|. Totals reach y through shared memory, so that stores of a
// warp are neighbours.
//
// Tails: rows beyond the last are zeros, strips beyond it copies, that nobody stores; depth is padded to 128.
//
// What bounds Wide in 16 bits on an H200 (132 multiprocessors, 1.7 GHz) is the L2 cache, which gives a multiprocessor
// about 25 bytes a cycle: 192 * 2 + 256 * 9 / 8 = 672 bytes for 98304 dense operations, 820 Tflop/s (of cuBLAS' 790 in
// dense bf16); shared memory, of which a warp's slice reads 12 tiles of x and 4 strips, 512 bytes each and 128 of
// metadata a strip, for 48 mma.sp, gives 1.3 Pflop/s. Prediction: 600 to 750 Tflop/s, 0.75 to 0.95 times cuBLAS; more
// wants blocks that share what they read, as only sm_90a has them. Few with u4: a warp's stage is 8 mma.sp, 4 ldmatrix,
// 44 instructions that decode, about 60 that copy, count and wait for 32 columns of 24 bytes; memory gives a
// multiprocessor 19 bytes a cycle, that is 160 slots for a warp's stage. Prediction: 70 to 90 % of the bandwidth. Not
// measured: emulated only.
#pragma once

#include <cstdint>

#include "nm_matmul/left_operands.h"
#include "ptx/cp_async.h"
#include "ptx/launch.h"
#include "qmatmul/block_tile.h"

namespace gatun::cuda::nm_matmul {

using qmatmul::Job;
using qmatmul::TilePlace;

struct TileJob {
  SparseJob sparse;
  qmatmul::GroupOf group_of;
};

// As many stages of 16 rows as let 4 blocks into an H200's multiprocessor, and of 128 as a block of every device has
// room for; with decoded weights what is left of it.
template <class Left>
constexpr int stages_of_few() {
  return Left::kDecodes ? 3 : Left::kMostUnitBytes > 512 ? 4 : 6;
}
template <class Left>
constexpr int stages_of_many() {
  if (Left::kDecodes) return 2;
  return 4 * (128 * kRowBytes + 8 * Left::kUnits * Left::kMostUnitBytes) <= qmatmul::kSharedBytes ? 4 : 3;
}

template <class Left_, int strips, int tiles, int column_warps, int row_warps, int stages, int blocks, bool folds>
struct Shape {
  using Left = Left_;
  static constexpr int kStrips = strips, kTiles = tiles, kColumnWarps = column_warps, kRowWarps = row_warps;
  static constexpr int kStages = stages;
  static constexpr int kBlocks = blocks;  // that shall fit into a multiprocessor
  static constexpr bool kFolds = folds;   // sums of groups go to totals
  static constexpr int kWarps = column_warps * row_warps, kThreads = 32 * kWarps;
  static constexpr int kBlockStrips = column_warps * strips, kColumns = kBlockStrips * kStripColumns;
  static constexpr int kRows = row_warps * tiles * 8, kXBytes = kRows * kRowBytes;
  static constexpr int kDenseBytes = Left::kDecodes ? kColumns * kRowBytes : 0;
  static constexpr int kPutTiles = tiles < 4 ? tiles : 4;  // of a warp that reach y at once
  static constexpr int kPutRows = kPutTiles * 8, kSumStride = kColumns + 4;
  static constexpr int kSumBytes = row_warps * kPutRows * kSumStride * 4;

  // Of one strip in a stage, and of a stage.
  static constexpr int strip_bytes(const SparseJob& sparse) {
    if constexpr (Left::kDecodes) {
      return Left::kUnits * sparse.unit_bytes;
    } else {
      return Left::kUnits * Left::kUnitBytes;
    }
  }
  static constexpr int stage_bytes(const SparseJob& sparse) { return kXBytes + kBlockStrips * strip_bytes(sparse); }

  // Of a block at most: what every device has, unless the table of kernels asks for more.
  static constexpr int kMostBytes =
      kDenseBytes + kStages * (kXBytes + kBlockStrips * Left::kUnits * Left::kMostUnitBytes);
  static_assert(!folds || (kMostBytes <= qmatmul::kSharedBytes && kSumBytes <= qmatmul::kSharedBytes), "");
  static_assert(kBlockStrips % kWarps == 0, "");
};

template <class Left>
using Few = Shape<Left, 2, 2, 4, 1, stages_of_few<Left>(), Left::kDecodes ? 2 : 4, true>;
template <class Left>
using Many = Shape<Left, 2, 8, 4, 2, stages_of_many<Left>(), 1, true>;
template <class Left>
using Wide = Shape<Left, 4, 12, 4, 2, 3, 1, false>;

// What a thread copies of each stage, one stage after the other: addresses advance by as much each time.
template <class Shape>
class Copies {
  using Left = typename Shape::Left;

 public:
  GATUN_DEVICE Copies(const SparseJob& sparse, const TilePlace& place, int64_t unit)
      : bytes_(Shape::strip_bytes(sparse)) {
    const Job& job = sparse.product;
    const int64_t row_bytes = job.x.row_stride * (Left::kHalves ? 2 : 1);
    rows_ = static_cast<int>(job.rows - place.row < Shape::kRows ? job.rows - place.row : Shape::kRows) - row();
    // Rows that are not there are read nowhere, but have an address.
    x_ = static_cast<const uint8_t*>(job.x.x) + (place.row + (rows_ > 0 ? row() : 0)) * row_bytes +
         unit / Left::kUnits * kRowBytes + piece() * 16;
    apart_ = kRowsAtOnce * row_bytes;
    const int64_t strips = job.padded_columns / kStripColumns;
#pragma unroll
    for (int i = 0; i < kStrips; ++i) {
      const int64_t own = place.strip + i * Shape::kWarps + warp();
      from_[i] =
          job.codes + ((own < strips ? own : strips - 1) * job.units + unit) * (bytes_ / Left::kUnits) + lane() * 16;
    }
  }

  // The next stage to `stage`.
  GATUN_DEVICE void copy(uint8_t* stage) {
    uint8_t* const own = stage + row() * kRowBytes + (piece() ^ row() % 8) * 16;
#pragma unroll
    for (int i = 0; i < kOfX; ++i) {
      const bool inside = i * kRowsAtOnce < rows_;
      copy_async_16(own + i * (kRowsAtOnce * kRowBytes), x_ + (inside ? i * apart_ : 0), inside ? 16 : 0);
    }
    x_ += kRowBytes;
    uint8_t* const to = stage + Shape::kXBytes + warp() * bytes_ + lane() * 16;
#pragma unroll
    for (int i = 0; i < kStrips; ++i) {
      for (int at = 0; at < bytes_ - lane() * 16; at += 32 * 16) {
        copy_async_16(to + i * Shape::kWarps * bytes_ + at, from_[i] + at);
      }
      from_[i] += bytes_;
    }
  }

 private:
  static constexpr int kPieces = kRowBytes / 16, kRowsAtOnce = Shape::kThreads / kPieces;
  static constexpr int kOfX = Shape::kRows / kRowsAtOnce, kStrips = Shape::kBlockStrips / Shape::kWarps;
  static_assert(Shape::kRows % kRowsAtOnce == 0 && kRowsAtOnce % 8 == 0, "");

  GATUN_DEVICE static int row() { return thread_index() / kPieces; }  // the first of the thread
  GATUN_DEVICE static int piece() { return thread_index() % kPieces; }

  int bytes_;  // of a strip
  int rows_;   // from the first of the thread on
  int64_t apart_;
  const uint8_t* x_;
  const uint8_t* from_[kStrips];
};

template <class Shape>
class Warp {
  using Left = typename Shape::Left;
  using Sum = typename Left::Sum;
  static constexpr int kStrips = Shape::kStrips, kTiles = Shape::kTiles;

 public:
  GATUN_DEVICE Warp(const TileJob& tile, const TilePlace& place, int64_t unit)
      : tile_(tile),
        strip_(warp() % Shape::kColumnWarps * kStrips),
        row_(warp() / Shape::kColumnWarps * kTiles * 8),
        right_((row_ + lane() % 8) * kRowBytes),
        left_(tile.sparse.product),
        columns_(tile.sparse.product, (place.strip + strip_) * kStripColumns),
        step_(static_cast<uint32_t>(unit) * (kUnitDepth / qmatmul::kStepDepth)) {
    if constexpr (Shape::kFolds) {
      if (!columns_.has_zeros()) qmatmul::lower_columns(left_, qmatmul::common_zero<Left>(tile.sparse.product), lower_);
      group_ = tile.group_of(step_);
      next_ = columns_.load(group_);
      begin_group();
    }
  }

  // A stage, of which `dense` are the decoded weights.
  GATUN_DEVICE void add_stage(const uint8_t* stage, const uint8_t* dense) {
    const int strip_bytes = Shape::strip_bytes(tile_.sparse);
    const uint8_t* const own =
        Left::kDecodes ? dense + strip_ * (kStripColumns * kRowBytes) : stage + Shape::kXBytes + strip_ * strip_bytes;
    const int apart = Left::kDecodes ? kStripColumns * kRowBytes : strip_bytes;
    uint32_t b[2][4];
    load_right(stage, 0, b[0]);
#pragma unroll
    for (int slice = 0; slice < 2; ++slice) {
      typename Left::Fragment a[kStrips];
#pragma unroll
      for (int strip = 0; strip < kStrips; ++strip) a[strip] = left_.load(own + strip * apart, slice, lower_[strip]);
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {
        const int next = slice * kTiles + t + 1;
        if (next < 2 * kTiles) load_right(stage, next, b[next % 2]);
#pragma unroll
        for (int strip = 0; strip < kStrips; ++strip) {
          Left::multiply(sum_[strip][t], a[strip], b[(slice * kTiles + t) % 2], slice);
        }
      }
      if constexpr (Shape::kFolds) {
        step_ += Left::kSliceDepth / qmatmul::kStepDepth;
        const uint32_t group = tile_.group_of(step_);
        if (group == group_) continue;
        end_group();
        group_ = group;
        begin_group();
      }
    }
  }

  // The sums of the tiles from `first` on, [row warp][rows][columns].
  GATUN_DEVICE void store(int first, float* sums) const {
    const int row = row_ / kTiles * Shape::kPutTiles + lane() % 4 * 2, column = strip_ * kStripColumns + lane() / 4;
#pragma unroll
    for (int i = 0; i < kStrips * Shape::kPutTiles * 4; ++i) {
      const int strip = i / (Shape::kPutTiles * 4), t = i / 4 % Shape::kPutTiles, e = i % 4;
      sums[(row + t * 8 + e % 2) * Shape::kSumStride + column + strip * kStripColumns + e / 2 * 8] =
          Shape::kFolds ? total_[strip][first + t][e] : static_cast<float>(sum_[strip][first + t][e]);
    }
  }

  // After the last stage.
  GATUN_DEVICE void end() {
    if constexpr (Shape::kFolds) end_group();
  }

 private:
  // The rows of tile `index` % kTiles in slice `index` / kTiles.
  GATUN_DEVICE void load_right(const uint8_t* stage, int index, uint32_t (&b)[4]) const {
    const int piece = (index / kTiles * 4 + lane() / 8) ^ lane() % 8;
    load_matrix_x4(b, stage + right_ + index % kTiles * (8 * kRowBytes) + piece * 16);
  }

  // The scale and zero point of the next group are asked for when a group begins.
  GATUN_DEVICE void begin_group() {
    of_column_ = columns_.scale(next_);
    if (columns_.has_zeros()) qmatmul::lower_columns(left_, next_.zero, lower_);
    next_ = columns_.load(group_ < tile_.group_of.last ? group_ + 1 : group_);
  }
  GATUN_DEVICE void end_group() {
    const float of_row[qmatmul::kRowValues<kTiles>] = {};
    qmatmul::fold<Left, kTiles>(tile_.sparse.product, of_column_, of_row, sum_, total_);
  }

  const TileJob& tile_;
  int strip_, row_;  // the first of the warp in the block
  int right_;        // where the lane's row of x lies in a stage
  Left left_;
  qmatmul::Columns<Left> columns_;
  uint32_t step_, group_ = 0;
  qmatmul::OfColumn next_ = {};
  float of_column_ = 0;
  uint32_t lower_[kStrips][2] = {};
  Sum sum_[kStrips][kTiles][4] = {};
  float total_[kStrips][kTiles][4] = {};
};

// The weights of a stage as rows of kRowBytes, by all threads of the block.
template <class Shape>
GATUN_DEVICE void decode_stage(const TileJob& tile, const TilePlace& place, int64_t unit, const uint8_t* units,
                               uint8_t* dense) {
  using Left = typename Shape::Left;
  const SparseJob& sparse = tile.sparse;
  const Job& job = sparse.product;
#pragma unroll 1
  for (int i = thread_index(); i < Shape::kColumns * 2 * Left::kUnits; i += Shape::kThreads) {
    const int own = i % Shape::kColumns, segment = i / Shape::kColumns;
    const int64_t column = place.strip * kStripColumns + own, last = job.padded_columns - 1;
    const uint32_t group = tile.group_of(static_cast<uint32_t>(unit * 2 + segment) * 2);
    const uint8_t* const of_strip = units + own / kStripColumns * Shape::strip_bytes(sparse);
    Left::decode(List(sparse, of_strip + segment / 2 * sparse.unit_bytes, own % kStripColumns, segment % 2),
                 zero_of(job, group, column < last ? column : last), dense, own, segment);
  }
}

template <class Shape>
GATUN_KERNEL(Shape::kThreads, Shape::kBlocks)
multiply(GATUN_GRID_CONSTANT TileJob tile) {
  using Left = typename Shape::Left;
  const Job& job = tile.sparse.product;
  uint8_t* const dense = shared_memory();
  uint8_t* const stages = dense + Shape::kDenseBytes;
  const int stage_bytes = Shape::stage_bytes(tile.sparse);
  const TilePlace place = qmatmul::place_of_block<Shape::kRows, Shape::kBlockStrips>(job);
  const int64_t begin = block_y() * job.units_a_part;
  const int64_t end = begin + job.units_a_part < job.units ? begin + job.units_a_part : job.units;
  const int count = static_cast<int>((end - begin) / Left::kUnits);

  Copies<Shape> copies(tile.sparse, place, begin);
#pragma unroll
  for (int i = 0; i < Shape::kStages - 1; ++i) {
    if (i < count) copies.copy(stages + i * stage_bytes);
    copy_async_commit();
  }
  Warp<Shape> own(tile, place, begin);
  int now = 0, next = Shape::kStages - 1;  // places of stages
#pragma unroll 1
  for (int i = 0; i < count; ++i) {
    // The stage has come, and nobody reads the one before, whose place the next one takes.
    copy_async_wait<Shape::kStages - 2>();
    block_barrier();
    if (i + Shape::kStages - 1 < count) copies.copy(stages + next * stage_bytes);
    copy_async_commit();
    const uint8_t* const stage = stages + now * stage_bytes;
    if constexpr (Left::kDecodes) {
      decode_stage<Shape>(tile, place, begin + int64_t{i} * Left::kUnits, stage + Shape::kXBytes, dense);
      block_barrier();
    }
    own.add_stage(stage, dense);
    now = now + 1 < Shape::kStages ? now + 1 : 0;
    next = next + 1 < Shape::kStages ? next + 1 : 0;
  }

  own.end();
  float* const sums = reinterpret_cast<float*>(shared_memory());
#pragma unroll
  for (int first = 0; first < Shape::kTiles; first += Shape::kPutTiles) {
    block_barrier();
    own.store(first, sums);
    block_barrier();
#pragma unroll 1
    for (int w = 0; w < Shape::kRowWarps; ++w) {
      qmatmul::put_tile<Shape::kPutRows, Shape::kColumns, Shape::kSumStride, Shape::kThreads>(
          job, {place.row + (w * Shape::kTiles + first) * 8, place.strip},
          sums + w * Shape::kPutRows * Shape::kSumStride, [&](int64_t column) {
            if (Shape::kFolds) return 1.0f;
            return qmatmul::scale_value(qmatmul::load_scale(job.scales, job.scale_dtype, column), job.scale_dtype);
          });
    }
  }
}

template <class Shape>
int32_t run_shape(const SparseJob& sparse, const char* name, void* stream) {
  const Job& job = sparse.product;
  const int64_t stages = Shape::kDenseBytes + int64_t{Shape::kStages} * Shape::stage_bytes(sparse);
  return launch(name, multiply<Shape>,
                {qmatmul::tiles_of(job, Shape::kRows, Shape::kBlockStrips), job.parts, 1, Shape::kThreads,
                 stages > Shape::kSumBytes ? stages : Shape::kSumBytes},
                stream, {sparse, qmatmul::GroupOf(job)});
}

}  // namespace gatun::cuda::nm_matmul
