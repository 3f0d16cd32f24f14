// Products of many rows by matrix instructions.
//
//   y[m][n] = sum_g s[g][n] sum_{k in g} x[m][k] (q[n][k] - z[g][n])
//
// A block of 8 warps makes 128 columns (8 strips, form.h) by kRows = 16 kTiles rows; a warp 32 columns by 8 kTiles
// rows:
//
//                    rows 0 ..  8 kTiles - 1 | 8 kTiles .. 16 kTiles - 1
//   columns  0..31          warp 0           |        warp 4
//           32..63          warp 1           |        warp 5
//           64..95          warp 2           |        warp 6
//           96..127         warp 3           |        warp 7
//
// A stage is four slices of depth: 128 bytes of each row of x and the units of the 8 strips that hold them (of a unit
// of 2-bit codes for 16-bit products, a half). kStages of them are in shared memory, copied by cp.async kStages - 1
// ahead. Piece p (16 bytes) of row m of x lies at piece p ^ m % 8, so that ldmatrix meets no bank twice; lanes read
// their 16 bytes of a unit in order. Codes become left operands in registers, operands of the next slice are loaded
// while one is multiplied.
//
// Sums of an interval are f32 or int32 and go scaled to the totals (tile_mma.h): at the ends of groups, or of intervals
// within a stage where groups end within one; in int8 at least each 64 stages, |sum| <= 64 * 128 * 127 * 255 < 2^31.
// Totals reach y through shared memory, so that stores of a warp are neighbours. The error is at most
// 2^-23 (depth + 2 groups + 8) sum |x w|.
//
// Tails: rows and strips beyond the last are copies of it that nobody stores; codes and x are padded to 128 in depth.
//
// A warp's stage of u4 codes in f16 with 128 rows: 64 mma, 16 ldmatrix, 72 that decode, about 110 that scale, copy and
// count with groups of 128. An A100 takes 8 cycles of a scheduler for an mma, 512 for these; two warps share a
// scheduler. Prediction: 70 to 85 % of what mma reaches, bound by it. Not measured: emulated only.
#pragma once

#include <cstdint>

#include "ptx/cp_async.h"
#include "ptx/launch.h"
#include "qmatmul/block_tile.h"
#include "qmatmul/tile_mma.h"

namespace gatun::cuda::qmatmul {

struct TiledJob {
  Job job;
  GroupOf group_of;
  int32_t interval;  // in slices
};

namespace tiled {

inline constexpr int kWarps = 8, kThreads = 32 * kWarps;
inline constexpr int kColumnWarps = 4, kRowWarps = 2;
inline constexpr int kStrips = kColumnWarps * kWarpStrips, kColumns = kStrips * kStripColumns;
inline constexpr int kStageSlices = 4, kStageRowBytes = kStageSlices * kSliceBytes, kPieces = kStageRowBytes / 16;
inline constexpr int kCopies = 16;
inline constexpr int kMostStagesAtOnce = 64;  // whose sums int32 holds

template <class Operand, int kTiles>
struct Sizes {
  static constexpr int kRows = kRowWarps * kTiles * 8;
  // Units of a strip in a stage, and stages in a unit; one of them is 1.
  static constexpr int kUnits = Operand::kSlices < kStageSlices ? kStageSlices / Operand::kSlices : 1;
  static constexpr int kStagesOfUnit = Operand::kSlices > kStageSlices ? Operand::kSlices / kStageSlices : 1;
  static constexpr int kXBytes = kRows * kStageRowBytes, kStageBytes = kXBytes + kStrips * kUnits * kUnitBytes;
  static constexpr int kStages = Operand::kTableBytes + 4 * kStageBytes <= kSharedBytes ? 4 : 3;
  static constexpr int kSharedOfStages = kStages * kStageBytes;
  static constexpr int kSumStride = kColumns + 4;
  static_assert(Operand::kTableBytes + kSharedOfStages <= kSharedBytes, "");
  static_assert(kRows * kSumStride * 4 <= kSharedOfStages, "");
};

// What a thread copies of each stage.
template <class Operand, int kTiles>
class Copies {
  using Size = Sizes<Operand, kTiles>;

 public:
  GATUN_DEVICE Copies(const Job& job, int64_t strip, int64_t row, int64_t unit) {
    const int thread = thread_index();
#pragma unroll
    for (int i = 0; i < kOfX; ++i) {
      const int64_t own = row + thread / kPieces + i * (kThreads / kPieces);
      const int64_t m = own < job.rows ? own : job.rows - 1;
      x_[i] = static_cast<const uint8_t*>(job.x.x) + m * job.x.row_stride * (Operand::kHalves ? 2 : 1) +
              unit * (Operand::kSlices * kSliceBytes) + thread % kPieces * 16;
    }
    const int64_t strips = job.padded_columns / kStripColumns, own = strip + thread / 32;
    codes_ = job.codes + (((own < strips ? own : strips - 1) * job.units + unit) * 32 + thread % 32) * 16;
  }

  // Stage `index` from its x and codes to `stage`.
  GATUN_DEVICE void copy(int64_t index, uint8_t* stage) const {
    const int thread = thread_index();
#pragma unroll
    for (int i = 0; i < kOfX; ++i) {
      const int row = thread / kPieces + i * (kThreads / kPieces);
      copy_async_16(stage + row * kStageRowBytes + (thread % kPieces ^ row % 8) * 16, x_[i] + index * kStageRowBytes);
    }
    const uint8_t* const codes = codes_ + index / Size::kStagesOfUnit * Size::kUnits * kUnitBytes;
    uint8_t* const to = stage + Size::kXBytes + thread / 32 * (Size::kUnits * kUnitBytes) + thread % 32 * 16;
#pragma unroll
    for (int i = 0; i < Size::kUnits; ++i) copy_async_16(to + i * kUnitBytes, codes + i * kUnitBytes);
  }

 private:
  static constexpr int kOfX = Size::kRows * kPieces / kThreads;
  const uint8_t* x_[kOfX];
  const uint8_t* codes_;
};

template <class Operand, int kTiles>
class Warp {
  using Size = Sizes<Operand, kTiles>;
  using Sum = typename Operand::Sum;

 public:
  // The totals of 32 columns from `strip` on by rows from `row` on, which are rows from `row_of_stage` on of a stage.
  GATUN_DEVICE Warp(const TiledJob& tiled, const uint32_t* table, int64_t strip, int64_t row, int row_of_stage,
                    int64_t unit)
      : tiled_(tiled), operand_(tiled.job, table), columns_(tiled.job, strip * kStripColumns), row_(row) {
    first_step_ = static_cast<uint32_t>(unit) * (Operand::kSlices * kSteps);
    // Row l % 8 of one of two tiles, the first or second half of a slice.
    right_ = (row_of_stage + lane() % 8 + lane() / 16 * 8) * kStageRowBytes;
    left_ = Size::kXBytes + (strip_of_block() * Size::kUnits * 32 + lane()) * 16;
    if (!columns_.has_zeros()) lower_columns(operand_, common_zero<Operand>(tiled.job), lower_);
    load_columns(0, next_columns_);
    load_rows(0);
  }

  // Stage `index` of `count`.
  GATUN_DEVICE void add_stage(int index, int count, const uint8_t* stage) {
#pragma unroll
    for (int i = 0; i < kStageSlices; ++i) {
      of_columns_[i] = next_columns_[i];
#pragma unroll
      for (int j = 0; j < kRowValues<kTiles>; ++j) of_rows_[i][j] = next_rows_[i][j];
    }
    if (index + 1 < count) {
      load_columns(index + 1, next_columns_);
      load_rows(index + 1);
    }
    if (tiled_.interval < kStageSlices) {
      multiply<true>(index, stage);
      return;
    }
    multiply<false>(index, stage);
    const bool ends = index + 1 == count || group_of(index, 0) != group_of(index + 1, 0) ||
                      (!Operand::kHalves && index % kMostStagesAtOnce == kMostStagesAtOnce - 1);
    if (ends) end_interval();
  }

  GATUN_DEVICE void store(float* sums) const {
    const int row = row_of_block() + lane() % 4 * 2, column = strip_of_block() * kStripColumns + lane() / 4;
#pragma unroll
    for (int i = 0; i < kWarpStrips * kTiles * 4; ++i) {
      const int strip = i / (kTiles * 4), tile = i / 4 % kTiles, e = i % 4;
      sums[(row + tile * 8 + e % 2) * Size::kSumStride + column + strip * kStripColumns + e / 2 * 8] =
          total[strip][tile][e];
    }
  }

  GATUN_DEVICE static int strip_of_block() { return warp() % kColumnWarps * kWarpStrips; }
  GATUN_DEVICE static int row_of_block() { return warp() / kColumnWarps * kTiles * 8; }

  float total[kWarpStrips][kTiles][4] = {};

 private:
  static constexpr int kSteps = Operand::kSliceDepth / kStepDepth;

  GATUN_DEVICE uint32_t group_of(int stage, int slice) const {
    return tiled_.group_of(first_step_ + static_cast<uint32_t>(stage * kStageSlices + slice) * kSteps);
  }

  GATUN_DEVICE void load_columns(int stage, OfColumn (&of)[kStageSlices]) {
#pragma unroll
    for (int i = 0; i < kStageSlices; ++i) {
      if ((i & (tiled_.interval - 1)) == 0) of[i] = columns_.load(group_of(stage, i));
    }
  }

  GATUN_DEVICE void load_rows(int stage) {
    if constexpr (!Operand::kHalves) {
      const Job& job = tiled_.job;
      if (!job.x.scales_of_groups) return;
#pragma unroll
      for (int i = 0; i < kStageSlices; ++i) {
        if ((i & (tiled_.interval - 1)) != 0) continue;
#pragma unroll
        for (int j = 0; j < kRowValues<kTiles>; ++j) {
          const int64_t row = row_ + j * 32 + lane();
          next_rows_[i][j] = job.x.scales[(row < job.rows ? row : job.rows - 1) * job.groups + group_of(stage, i)];
        }
      }
    }
  }

  GATUN_DEVICE void load_right(const uint8_t* stage, int slice, uint32_t (&b)[kTiles][2]) const {
    const int piece = (slice * 2 + lane() / 8 % 2) ^ lane() % 8;
#pragma unroll
    for (int tile = 0; tile < kTiles; tile += 2) {
      uint32_t r[4];
      load_matrix_x4(r, stage + right_ + tile * 8 * kStageRowBytes + piece * 16);
      b[tile][0] = r[0], b[tile][1] = r[1], b[tile + 1][0] = r[2], b[tile + 1][1] = r[3];
    }
  }

  GATUN_DEVICE Words4 load_unit(const uint8_t* stage, int strip, int unit) const {
    return *reinterpret_cast<const Words4*>(stage + left_ + (strip * Size::kUnits + unit) * kUnitBytes);
  }

  // kFolds: groups end within the stage.
  template <bool kFolds>
  GATUN_DEVICE void multiply(int index, const uint8_t* stage) {
    uint32_t b[2][kTiles][2];
    Words4 units[kWarpStrips];
    load_right(stage, 0, b[0]);
#pragma unroll
    for (int slice = 0; slice < kStageSlices; ++slice) {
      if (slice % Operand::kSlices == 0) {
#pragma unroll
        for (int strip = 0; strip < kWarpStrips; ++strip) {
          units[strip] = load_unit(stage, strip, slice / Operand::kSlices);
          // The half of a unit of several stages that this one is.
          if (Size::kStagesOfUnit > 1 && index % Size::kStagesOfUnit != 0) {
            units[strip].word[0] = units[strip].word[2];
            units[strip].word[1] = units[strip].word[3];
          }
        }
      }
      if (slice == 0 || (kFolds && (slice & (tiled_.interval - 1)) == 0)) begin_interval(slice);
      if (slice + 1 < kStageSlices) load_right(stage, slice + 1, b[(slice + 1) % 2]);
#pragma unroll
      for (int strip = 0; strip < kWarpStrips; ++strip) {
        uint32_t a[4];
        operand_.left(units[strip], slice % Operand::kSlices, lower_[strip], a);
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) Operand::multiply(sum_[strip][tile], a, b[slice % 2][tile]);
      }
      if (kFolds && ((slice + 1) & (tiled_.interval - 1)) == 0) end_interval();
    }
  }

  GATUN_DEVICE void begin_interval(int slice) {
    of_column_ = columns_.scale(of_columns_[slice]);
    if (!Operand::kHalves) {
#pragma unroll
      for (int j = 0; j < kRowValues<kTiles>; ++j) of_row_[j] = of_rows_[slice][j];
    }
    if (columns_.has_zeros()) lower_columns(operand_, of_columns_[slice].zero, lower_);
  }

  GATUN_DEVICE void end_interval() { fold<Operand, kTiles>(tiled_.job, of_column_, of_row_, sum_, total); }

  const TiledJob& tiled_;
  Operand operand_;
  Columns<Operand> columns_;
  int64_t row_;
  uint32_t first_step_;
  int right_, left_;  // where the lane's operands lie in a stage
  Sum sum_[kWarpStrips][kTiles][4] = {};
  OfColumn of_columns_[kStageSlices] = {}, next_columns_[kStageSlices] = {};
  float of_rows_[kStageSlices][kRowValues<kTiles>] = {}, next_rows_[kStageSlices][kRowValues<kTiles>] = {};
  float of_row_[kRowValues<kTiles>] = {};
  float of_column_ = 0;
  uint32_t lower_[kWarpStrips][2] = {};
};

template <class Operand, int kTiles>
GATUN_KERNEL(kThreads, 1)
kernel(GATUN_GRID_CONSTANT TiledJob tiled) {
  using Size = Sizes<Operand, kTiles>;
  const Job& job = tiled.job;
  uint32_t* const table = reinterpret_cast<uint32_t*>(shared_memory());
  uint8_t* const stages = shared_memory() + Operand::kTableBytes;
  Operand::fill_table(job, table);

  const TilePlace place = place_of_block<Size::kRows, kStrips>(job);
  const int64_t row = place.row, strip = place.strip;

  const int64_t begin = block_y() * job.units_a_part;
  const int64_t end = begin + job.units_a_part < job.units ? begin + job.units_a_part : job.units;
  const int count = static_cast<int>((end - begin) * Operand::kSlices / kStageSlices);
  const Copies<Operand, kTiles> copies(job, strip, row, begin);
  using Own = Warp<Operand, kTiles>;
#pragma unroll
  for (int i = 0; i < Size::kStages - 1; ++i) {
    if (i < count) copies.copy(i, stages + i * Size::kStageBytes);
    copy_async_commit();
  }
  Own own(tiled, table, strip + Own::strip_of_block(), row + Own::row_of_block(), Own::row_of_block(), begin);
  int now = 0, next = Size::kStages - 1;  // places of stages
#pragma unroll 1
  for (int i = 0; i < count; ++i) {
    // The stage has come, and nobody reads the one before, whose place the next one takes.
    copy_async_wait<Size::kStages - 2>();
    block_barrier();
    if (i + Size::kStages - 1 < count) copies.copy(i + Size::kStages - 1, stages + next * Size::kStageBytes);
    copy_async_commit();
    own.add_stage(i, count, stages + now * Size::kStageBytes);
    now = now + 1 < Size::kStages ? now + 1 : 0;
    next = next + 1 < Size::kStages ? next + 1 : 0;
  }
  if (is_linear(job.kind) && job.zero_point == GATUN_ZERO_FLOAT && count > 0) {
    constexpr uint32_t kUnitSteps = Operand::kSlices * Operand::kSliceDepth / kStepDepth;
    const uint32_t first = tiled.group_of(static_cast<uint32_t>(begin) * kUnitSteps);
    const uint32_t last = tiled.group_of(static_cast<uint32_t>(end) * kUnitSteps - 1);
    add_offsets<kTiles, typename Operand::Sum>(job, (strip + Own::strip_of_block()) * kStripColumns,
                                               row + Own::row_of_block(), first, last + 1, 1, own.total);
  }

  block_barrier();
  float* const sums = reinterpret_cast<float*>(stages);
  own.store(sums);
  block_barrier();
  put_tile<Size::kRows, kColumns, Size::kSumStride, kThreads>(job, place, sums, [](int64_t) { return 1.0f; });
}

template <Codes kCodes, Arithmetic kArithmetic, int kTiles>
int32_t run_tiles(const Job& job, const char* name, void* stream) {
  using Left = Operand<kCodes, kArithmetic, kCopies>;
  using Size = Sizes<Left, kTiles>;
  const TiledJob tiled = {job, GroupOf(job), interval_slices(job, Left::kSliceDepth, kStageSlices)};
  return launch(
      name, kernel<Left, kTiles>,
      {tiles_of(job, Size::kRows, kStrips), job.parts, 1, kThreads, Left::kTableBytes + Size::kSharedOfStages}, stream,
      tiled);
}

template <Codes kCodes, Arithmetic kArithmetic>
int32_t run_codes(const Job& job, const char* name, void* stream) {
  return job.rows <= 64 ? run_tiles<kCodes, kArithmetic, 4>(job, name, stream)
                        : run_tiles<kCodes, kArithmetic, 8>(job, name, stream);
}

}  // namespace tiled
}  // namespace gatun::cuda::qmatmul
