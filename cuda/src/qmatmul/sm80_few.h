// Products of at most 16 rows by matrix instructions: weights go once from memory to registers, as fast as memory gives
// them.
//
//   y[m][n] = sum_g s[g][n] sum_{k in g} x[m][k] (q[n][k] - z[g][n])
//
// A block has `pairs` pairs of strips (form.h) and `slots` warps for each; a warp takes every slots-th unit of its
// pair:
//
//              depth ->   round 0                 round 1
//   pair 0  32 columns    warp 0 | 2 | 4 | 6      warp 0 | 2 | 4 | 6 ..        here pairs = 2, slots = 4
//   pair 1  32 columns    warp 1 | 3 | 5 | 7      warp 1 | 3 | 5 | 7 ..
//
// Both units of a round are asked for kRing rounds before they are needed, scales and zero points up to two rounds;
// nothing of the weights goes through shared memory, and no warp waits for another but for x. x comes in chunks of
// several rounds, the next one by cp.async while one is multiplied; rows of a chunk are 16 bytes further apart than a
// multiple of 128, so that ldmatrix meets no bank twice. Lanes that ask for rows beyond the last get the last one,
// whose sums nobody stores.
//
// Sums of an interval, at most a unit, are f32 (or int32: |sum| <= 128 * 255 * 127, exact in f32) and go scaled to the
// warp's totals (tile_mma.h); at the end totals of slots are added through shared memory in ascending order. How warps
// are divided depends on the shape alone, so do the bits of the result. The error is at most
// 2^-23 (depth + 2 groups + 8) sum |x w|: a product is part of at most 128 sums of its interval, one for each of the
// depth / 16 / slots intervals of its warp, `slots` at the end.
//
// Tails: warps without a unit in the last round leave it out; codes and x are padded to 128 in depth; the second strip
// of a pair beyond the last one is a copy of the first and not stored.
//
// Instructions for a unit of u4 codes in f16, without folds within it, of rows up to 8: 36 that decode (4 shifts, 16
// lop3, 16 fma), 4 mma, 1 ldmatrix, 8 that scale sums, 26 that load, count and branch: 75; up to 16 rows 88; in bf16 8
// more. An H200 (132 multiprocessors of 4 schedulers at 1.7 GHz, 4.3 TB/s) gets a unit each 27 cycles, 108 slots.
// Prediction for 16384 x 16384: 128 blocks, each a multiprocessor; 36 to 43 us, 75 to 90 % of the bandwidth. Not
// measured: emulated only.
#pragma once

#include <cstdint>

#include "ptx/cp_async.h"
#include "ptx/launch.h"
#include "qmatmul/tile_mma.h"

namespace gatun::cuda::qmatmul {

struct FewJob {
  Job job;
  GroupOf group_of;
  int32_t pairs, slots;  // of a block's warps
  int32_t chunk_rounds;  // a power of two
  int32_t interval;      // in slices
};

namespace few {

inline constexpr int kWarps = 16, kThreads = 32 * kWarps;
inline constexpr int kCopies = 32;
inline constexpr int kChunksBytes = 66 * 1024;  // of both chunks of x

// A warp and its pair of strips. kFolds: intervals are shorter than a unit.
template <class Operand, int kTiles, bool kFolds>
class Warp {
 public:
  // `units` units from `begin` on, of these each slots-th from the slot-th on.
  GATUN_DEVICE Warp(const FewJob& few, const uint32_t* table, int64_t strip, int64_t begin, int units, int slot)
      : few_(few),
        operand_(few.job, table),
        columns_(few.job, strip * kStripColumns),
        end_(static_cast<int>(begin) + units),
        now_(static_cast<int>(begin) + slot) {
    const Job& job = few.job;
    const int64_t strips = job.padded_columns / kStripColumns;
    for (int i = 0; i < kWarpStrips; ++i) {
      const int64_t own = strip + i < strips ? strip + i : strips - 1;
      codes_[i] = job.codes + ((own * job.units + begin + slot) * 32 + lane()) * 16;
    }
    const int row = kTiles == 1 ? lane() % 8 : lane() % 8 + lane() / 16 * 8;
    row_ = row < job.rows ? row : static_cast<int>(job.rows) - 1;
    if (!columns_.has_zeros()) lower_columns(operand_, common_zero<Operand>(job), lower_);
#pragma unroll
    for (int i = 0; i < kColumnRing; ++i) load_columns(now_ + i * few.slots, i);
    load_rows(now_);
#pragma unroll
    for (int i = 0; i < kRing; ++i) load_units(now_ + i * few.slots, i);
  }

  // The next round, whose units are in place `kPlace` of the ring; x of its unit from `x` on.
  template <int kPlace>
  GATUN_DEVICE void add_round(const uint8_t* x) {
    if (now_ < end_) {
      multiply<kPlace>(x);
      load_columns(now_ + kColumnRing * few_.slots, kPlace % kColumnRing);
    }
    load_units(now_ + kRing * few_.slots, kPlace);
    now_ += few_.slots;
    load_rows(now_);
  }

  // Where this lane's row of x lies in a chunk, with the bytes of a slice that it asks for.
  GATUN_DEVICE int place_in_chunk(int stride) const {
    return row_ * stride + (kTiles == 1 ? lane() / 8 : lane() / 8 % 2) * 16;
  }

  // Rounds that units are loaded ahead: two where registers are too few.
  static constexpr int kRing =
      kFolds || (Operand::kBook && Operand::kSlices == 2) || (!Operand::kHalves && Operand::kSlices == 4) ? 2 : 4;

  float total[kWarpStrips][kTiles][4] = {};

 private:
  static constexpr int kSlices = Operand::kSlices, kIntervals = kFolds ? kSlices : 1;
  // Rounds that scales and zero points are loaded ahead: one where registers are too few for those of many intervals.
  static constexpr int kColumnRing = kIntervals > (Operand::kHalves ? 4 : 2) ? 1 : 2;
  static constexpr uint32_t kSteps = Operand::kSliceDepth / kStepDepth;

  // The codes of a unit; each time that of the next round.
  GATUN_DEVICE void load_units(int unit, int place) {
    if (unit >= end_) return;
#pragma unroll
    for (int i = 0; i < kWarpStrips; ++i) {
      ring_[place][i] = load_once(codes_[i]);
      codes_[i] += few_.slots * kUnitBytes;
    }
  }

  GATUN_DEVICE uint32_t group_of(int unit, int slice) const {
    return few_.group_of((static_cast<uint32_t>(unit) * kSlices + static_cast<uint32_t>(slice)) * kSteps);
  }

  // Whether an interval begins with a slice; one does after the last.
  GATUN_DEVICE bool begins(int slice) const {
    return kFolds ? (slice & (few_.interval - 1)) == 0 : slice % kSlices == 0;
  }

  // Of the intervals of a unit.
  GATUN_DEVICE void load_columns(int unit, int place) {
    if (unit >= end_) return;
#pragma unroll
    for (int i = 0; i < kIntervals; ++i) {
      if (begins(i)) of_columns_[place][i] = columns_.load(group_of(unit, i));
    }
  }
  GATUN_DEVICE void load_rows(int unit) {
    const Job& job = few_.job;
    if (Operand::kHalves || !job.x.scales_of_groups || unit >= end_) return;
    const int64_t row = lane() % 16 < job.rows ? lane() % 16 : job.rows - 1;
#pragma unroll
    for (int i = 0; i < kIntervals; ++i) {
      if (begins(i)) of_rows_[i] = job.x.scales[row * job.groups + group_of(unit, i)];
    }
  }

  template <int kPlace>
  GATUN_DEVICE void multiply(const uint8_t* x) {
    typename Operand::Sum sum[kWarpStrips][kTiles][4] = {};
    float of_column = 0, of_row[1] = {1};
    uint32_t b[2][2];
#pragma unroll
    for (int slice = 0; slice < kSlices; ++slice) {
      if (begins(slice)) {
        const int i = kFolds ? slice : 0;
        const OfColumn& of = of_columns_[kPlace % kColumnRing][i];
        of_column = columns_.scale(of);
        if (!Operand::kHalves) of_row[0] = of_rows_[i];
        if (columns_.has_zeros()) lower_columns(operand_, of.zero, lower_);
      }
      load_right(x, slice, b);
#pragma unroll
      for (int strip = 0; strip < kWarpStrips; ++strip) {
        uint32_t a[4];
        operand_.left(ring_[kPlace][strip], slice, lower_[strip], a);
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile) {
          Operand::multiply(sum[strip][tile], a, b[kTiles == 1 ? slice % 2 : tile]);
        }
      }
      if (begins(slice + 1)) fold<Operand, kTiles>(few_.job, of_column, of_row, sum, total);
    }
  }

  // Of a slice the operands of two tiles, or of two slices that of one.
  GATUN_DEVICE void load_right(const uint8_t* x, int slice, uint32_t (&b)[2][2]) const {
    if constexpr (kTiles == 1 && kSlices == 1) {
      load_matrix_x2(b[0], x);
    } else {
      if (kTiles == 1 && slice % 2 == 1) return;
      uint32_t r[4];
      load_matrix_x4(r, x + slice * kSliceBytes);
      b[0][0] = r[0], b[0][1] = r[1], b[1][0] = r[2], b[1][1] = r[3];
    }
  }

  const FewJob& few_;
  Operand operand_;
  Columns<Operand> columns_;
  int end_, now_;  // units
  int row_;
  const uint8_t* codes_[kWarpStrips];
  Words4 ring_[kRing][kWarpStrips] = {};
  OfColumn of_columns_[kColumnRing][kIntervals] = {};
  float of_rows_[kIntervals] = {};
  uint32_t lower_[kWarpStrips][2] = {};
};

// Chunks of x in shared memory, by all threads of the block; one after the other, in two places by turns.
template <class Operand>
class Chunks {
 public:
  GATUN_DEVICE Chunks(const FewJob& few, int64_t begin, int units)
      : few_(few), x_(static_cast<const uint8_t*>(few.job.x.x) + begin * kUnitBytesOfX), units_(units) {}

  // Starts to copy the next chunk, if there is one.
  GATUN_DEVICE void copy() {
    const int units = units_ < chunk_units() ? units_ : chunk_units();
    const unsigned pieces = static_cast<unsigned>(units) * (kUnitBytesOfX / 16),
                   rows = static_cast<unsigned>(few_.job.rows);
    const int64_t row_bytes = few_.job.x.row_stride * (Operand::kHalves ? 2 : 1);
#pragma unroll 1
    for (unsigned i = static_cast<unsigned>(thread_index()); i < pieces * rows; i += kThreads) {
      const unsigned row = i / pieces, piece = i % pieces;
      copy_async_16(shared_memory() + shared_ + row * static_cast<unsigned>(stride()) + piece * 16,
                    x_ + row * row_bytes + piece * 16);
    }
    copy_async_commit();
    x_ += int64_t{units} * kUnitBytesOfX;
    units_ -= units;
    turn();
  }

  // Where in shared memory the chunk is that comes before the one that was copied last.
  GATUN_DEVICE int before() const { return shared_; }

  // From row to row.
  GATUN_DEVICE int stride() const { return chunk_units() * kUnitBytesOfX + 16; }
  GATUN_DEVICE int round_bytes() const { return few_.slots * kUnitBytesOfX; }

  static constexpr int kUnitBytesOfX = Operand::kSlices * kSliceBytes;

 private:
  GATUN_DEVICE int chunk_units() const { return few_.chunk_rounds * few_.slots; }
  GATUN_DEVICE void turn() {
    odd_ = !odd_;
    const int bytes = static_cast<int>(few_.job.rows) * stride();
    shared_ += odd_ ? bytes : -bytes;
  }

  const FewJob& few_;
  int shared_ = Operand::kTableBytes;  // of the next chunk
  const uint8_t* x_;
  int units_;  // left
  bool odd_ = false;
};

// A block's warps.
struct Block {
  const FewJob& few;
  const uint32_t* table;
  int64_t strip, begin;  // of the warp; the first unit of the part
  int slot, units;       // of the part
  bool active;           // or without units
};

// The totals of a warp over the part's depth.
template <class Operand, int kTiles, bool kFolds>
GATUN_DEVICE void add_part(const Block& block, float (&total)[kWarpStrips][kTiles][4]) {
  const FewJob& few = block.few;
  Chunks<Operand> chunks(few, block.begin, block.units);
  chunks.copy();
  using Own = Warp<Operand, kTiles, kFolds>;
  Own own(few, block.table, block.strip, block.begin, block.active ? block.units : 0, block.slot);

  const int round_bytes = chunks.round_bytes(),
            place = own.place_in_chunk(chunks.stride()) + block.slot * Chunks<Operand>::kUnitBytesOfX;
  const int rounds = (block.units + few.slots - 1) / few.slots;
  int x = 0;  // of the lane, in shared memory
  // Before the first round of a chunk: it has come, and nobody reads the one before, whose place the next one takes.
  const auto turn = [&](int round) {
    if ((round & (few.chunk_rounds - 1)) != 0) return;
    copy_async_wait<0>();
    block_barrier();
    chunks.copy();
    x = chunks.before() + place;
  };
#pragma unroll 1
  for (int round = 0; round < rounds; round += Own::kRing) {
    turn(round);
    own.template add_round<0>(shared_memory() + x);
    x += round_bytes;
    if (round + 1 >= rounds) break;
    turn(round + 1);
    own.template add_round<1>(shared_memory() + x);
    x += round_bytes;
    if constexpr (Own::kRing == 4) {
      if (round + 2 >= rounds) break;
      turn(round + 2);
      own.template add_round<2>(shared_memory() + x);
      x += round_bytes;
      if (round + 3 >= rounds) break;
      turn(round + 3);
      own.template add_round<3>(shared_memory() + x);
      x += round_bytes;
    }
  }
#pragma unroll
  for (int i = 0; i < kWarpStrips * kTiles * 4; ++i) {
    total[i / (kTiles * 4)][i / 4 % kTiles][i % 4] = own.total[i / (kTiles * 4)][i / 4 % kTiles][i % 4];
  }
}

template <class Operand, int kTiles>
GATUN_KERNEL(kThreads, 1)
kernel(GATUN_GRID_CONSTANT FewJob few) {
  const Job& job = few.job;
  uint32_t* const table = reinterpret_cast<uint32_t*>(shared_memory());
  Operand::fill_table(job, table);

  const int pairs = few.pairs, slots = few.slots, slot = warp() / pairs;
  const int64_t first_strip = job.strip_begin + block_x() * pairs * kWarpStrips;
  const int64_t strip = first_strip + warp() % pairs * kWarpStrips;
  const int64_t begin = block_y() * job.units_a_part;
  const int units = static_cast<int>(begin + job.units_a_part < job.units ? job.units_a_part : job.units - begin);
  const bool active = slot < slots && strip * kStripColumns < job.padded_columns;
  const Block block = {few, table, active ? strip : first_strip, begin, slot, units, active};
  float total[kWarpStrips][kTiles][4];
  if (few.interval < Operand::kSlices) {
    add_part<Operand, kTiles, true>(block, total);
  } else {
    add_part<Operand, kTiles, false>(block, total);
  }
  if (is_linear(job.kind) && job.zero_point == GATUN_ZERO_FLOAT && active) {
    constexpr uint32_t kUnitSteps = Operand::kSlices * Operand::kSliceDepth / kStepDepth;
    const uint32_t first = few.group_of(static_cast<uint32_t>(begin) * kUnitSteps);
    const uint32_t last = few.group_of((static_cast<uint32_t>(begin) + static_cast<uint32_t>(units)) * kUnitSteps - 1);
    add_offsets<kTiles, typename Operand::Sum>(job, strip * kStripColumns, 0, first + static_cast<uint32_t>(slot),
                                               last + 1, static_cast<uint32_t>(slots), total);
  }

  // Totals of the slots, each [rows][columns of the block].
  block_barrier();
  constexpr int kRows = kTiles * 8;
  const int columns = pairs * kWarpColumns, stride = columns + 4;
  float* const sums = reinterpret_cast<float*>(shared_memory() + Operand::kTableBytes);
  if (slot < slots) {
#pragma unroll
    for (int i = 0; i < kWarpStrips * kTiles * 4; ++i) {
      const int s = i / (kTiles * 4), tile = i / 4 % kTiles, e = i % 4;
      const int row = tile * 8 + lane() % 4 * 2 + e % 2;
      const int column = warp() % pairs * kWarpColumns + s * kStripColumns + e / 2 * 8 + lane() / 4;
      sums[(slot * kRows + row) * stride + column] = total[s][tile][e];
    }
  }
  block_barrier();
  const int outputs = static_cast<int>(job.rows) * columns;
#pragma unroll 1
  for (int i = thread_index(); i < outputs; i += kThreads) {
    const int row = i / columns, column = i % columns;
    float sum = 0;
#pragma unroll 4
    for (int s = 0; s < slots; ++s) sum += sums[(s * kRows + row) * stride + column];
    const int64_t of_y = first_strip * kStripColumns + column;
    if (of_y < job.padded_columns) put_sum(job, block_y(), row, of_y, sum);
  }
}

// How a block's warps are divided, for the time that the shape takes on a device of kMultiprocessors: a pair takes the
// same time whatever the other warps do, and a block begins and ends slowly.
inline constexpr int kMultiprocessors = 132;

inline FewJob divide(const Job& job, int slices, int slice_depth) {
  FewJob few = {job, GroupOf(job), 1, kWarps, 1, 1};
  const int64_t pairs_of_all = (job.padded_columns / kStripColumns + kWarpStrips - 1) / kWarpStrips;
  double best = 0;
  for (const int pairs : {1, 2, 3, 4, 5, 8, 16}) {
    const int slots = kWarps / pairs;
    const int64_t blocks = (pairs_of_all + pairs - 1) / pairs * job.parts;
    const double waves = static_cast<double>((blocks + kMultiprocessors - 1) / kMultiprocessors);
    const double time = waves * (pairs * (static_cast<double>(kWarps) / (pairs * slots)) + 0.15);
    if (pairs > 1 && time > best) continue;
    best = time;
    few.pairs = pairs;
    few.slots = slots;
  }
  const auto fits = [&](int rounds) {
    return 2 * job.rows * (int64_t{rounds} * few.slots * slices * kSliceBytes + 16) <= kChunksBytes;
  };
  while (few.slots > 1 && !fits(1)) few.slots /= 2;
  few.chunk_rounds = fits(8) ? 8 : fits(4) ? 4 : fits(2) ? 2 : 1;
  few.interval = interval_slices(job, slice_depth, slices);
  return few;
}

template <Codes kCodes, Arithmetic kArithmetic, int kTiles>
int32_t run_tiles(const Job& job, const char* name, void* stream) {
  using Left = Operand<kCodes, kArithmetic, kCopies>;
  const FewJob few = divide(job, Left::kSlices, Left::kSliceDepth);
  const int64_t chunks = 2 * job.rows * (int64_t{few.chunk_rounds} * few.slots * Left::kSlices * kSliceBytes + 16);
  const int64_t sums = int64_t{4} * few.slots * kTiles * 8 * (few.pairs * kWarpColumns + 4);
  const int64_t strips = few.pairs * kWarpStrips, blocks = (job.strip_end - job.strip_begin + strips - 1) / strips;
  return launch(name, kernel<Left, kTiles>,
                {blocks, job.parts, 1, kThreads, Left::kTableBytes + (chunks > sums ? chunks : sums)}, stream, few);
}

template <Codes kCodes, Arithmetic kArithmetic>
int32_t run_codes(const Job& job, const char* name, void* stream) {
  return job.rows <= 8 ? run_tiles<kCodes, kArithmetic, 1>(job, name, stream)
                       : run_tiles<kCodes, kArithmetic, 2>(job, name, stream);
}

}  // namespace few
}  // namespace gatun::cuda::qmatmul
