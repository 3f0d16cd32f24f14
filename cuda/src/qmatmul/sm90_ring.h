// A block's tile of y on sm_90a: one warp copies stages of the depth into a ring in shared memory, two groups of four
// warps multiply what has come and store their sums. What they multiply by is up to each kernel: sm90_tile.h, and
// nm_matmul/sm90_sparse.cu for sparse weights.
//
//   group 0          one warp copies stages of 128 bytes of each row of x by a tensor map, in the swizzle that wgmma
//                    reads, and the packed weights of that depth, which lie in one piece for each strip of 16
//                    columns, as they are
//   groups 1 and 2   multiply 64 * kFragments columns by kRows rows each. Weights are the left operand, whose rows are
//                    columns of y: warp w of a group has strip w of each fragment.
//
// Tails: x beyond the last row is zeros that the tensor map supplies, strips beyond the last are not copied, and what
// comes of them is not written. Depth is padded to whole stages, in x too.
#pragma once

#include <cstdint>

#include "base/check.h"
#include "ptx/launch.h"
#include "ptx/mbarrier.h"
#include "ptx/memory.h"
#include "ptx/number.h"
#include "ptx/registers.h"
#include "ptx/thread.h"
#include "ptx/tma.h"
#include "ptx/warp.h"
#include "ptx/wgmma.h"
#include "qmatmul/finish.h"
#include "qmatmul/job.h"

namespace gatun::cuda::qmatmul {

inline constexpr int kGroupThreads = 128;
inline constexpr int kMultiplyingGroups = 2;
inline constexpr int kTileThreads = kGroupThreads * (1 + kMultiplyingGroups);
inline constexpr int kStageRowBytes = 128;               // of x: the swizzle's row
inline constexpr int kScaleLane = 30, kOffsetLane = 31;  // of the warp that copies, beside up to 16 for strips
inline constexpr int kBand = 8;  // tiles of rows that share what they read of the weights in the L2 cache

// kDirect: one scale covers the depth, so none travel with the stages. Arithmetic says the type of sums, bytes of an
// element of x, the depth of a stage and of a unit, and the bytes of a unit.
template <class Arithmetic, int kFragmentsOf, int kRowsOf, bool kDirectOf>
struct Tile {
  using Sum = typename Arithmetic::Sum;
  static constexpr int kFragments = kFragmentsOf, kRows = kRowsOf;
  static constexpr bool kDirect = kDirectOf;
  static constexpr int kColumns = kMultiplyingGroups * kFragments * 64, kStrips = kColumns / kStripColumns;
  static constexpr int kStageDepth = Arithmetic::kStageDepth;
  static constexpr int kElementBytes = Arithmetic::kElementBytes, kUnitDepth = Arithmetic::kUnitDepth;
  static constexpr int kUnits = kStageDepth / kUnitDepth;  // of each strip in a stage
  static constexpr int kUnitBytes = Arithmetic::kUnitBytes, kStripBytes = kUnits * kUnitBytes;
  static constexpr int kXBytes = kRows * kStageRowBytes, kWeightBytes = kStrips * kStripBytes;
  // Scales of up to 4 bytes a column, then zero points of one; a multiple of 1024.
  static constexpr int kScaleBytes = kDirect ? 0 : (kColumns * 5 + 1023) / 1024 * 1024;
  static constexpr int kStageBytes = kXBytes + kWeightBytes + kScaleBytes;
  static constexpr int kShared = 220 * 1024, kMostStages = 8;
  static constexpr int kStages = kShared / kStageBytes < kMostStages ? kShared / kStageBytes : kMostStages;
  static constexpr int kSumStride = kColumns + 4;  // so that lanes that write 8 columns of 4 rows hit 32 banks
  static constexpr int kRingBytes = kStages * kStageBytes, kSumBytes = kRows * kSumStride * 4;
  static constexpr int kSharedBytes =
      (kRingBytes > kSumBytes ? kRingBytes : kSumBytes) + 2 * kStages * static_cast<int>(sizeof(Barrier));
  static_assert(kUnits >= 1 && kStages >= 2 && kStageBytes % 1024 == 0);
};

GATUN_DEVICE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// A number that is known when it is compiled, for bodies of loops.
template <int kValue>
struct Step {
  static constexpr int value = kValue;
};

// Where a block's tile is, and which stages of the depth it sums.
struct Place {
  int64_t row, strip;  // the first ones
  int strips, first_stage, stages;
};

// Tiles of a band of kBand tiles of rows follow each other, column by column.
template <class T>
GATUN_DEVICE Place place_of(const Job& job) {
  const int64_t row_tiles = (job.rows + T::kRows - 1) / T::kRows;
  const int64_t strips = job.strip_end - job.strip_begin, column_tiles = (strips + T::kStrips - 1) / T::kStrips;
  const int64_t band = block_x() / (kBand * column_tiles), in_band = block_x() % (kBand * column_tiles);
  const int64_t band_rows = smaller(row_tiles - band * kBand, kBand);
  const int64_t strip = in_band / band_rows * T::kStrips;
  const int64_t first_unit = block_y() * job.units_a_part;
  const int64_t depth =
      smaller((first_unit + job.units_a_part) * T::kUnitDepth, job.depth) - first_unit * T::kUnitDepth;
  return {(band * kBand + in_band % band_rows) * T::kRows, job.strip_begin + strip,
          static_cast<int>(smaller(strips - strip, T::kStrips)), static_cast<int>(first_unit / T::kUnits),
          static_cast<int>((depth + T::kStageDepth - 1) / T::kStageDepth)};
}

// A ring of stages in shared memory: `full` ends a phase when a stage has come, `empty` when all warps that
// multiply are done with it.
template <class T>
struct Ring {
  uint8_t* memory;
  Barrier* full;
  Barrier* empty;

  GATUN_DEVICE explicit Ring(uint8_t* shared)
      : memory(shared),
        full(reinterpret_cast<Barrier*>(shared + T::kSharedBytes) - 2 * T::kStages),
        empty(full + T::kStages) {}

  GATUN_DEVICE uint8_t* x(int stage) const { return memory + stage % T::kStages * T::kStageBytes; }
  GATUN_DEVICE uint8_t* strip(int stage, int strip) const { return x(stage) + T::kXBytes + strip * T::kStripBytes; }
  GATUN_DEVICE uint8_t* scales(int stage) const { return x(stage) + T::kXBytes + T::kWeightBytes; }
  GATUN_DEVICE uint8_t* offsets(int stage) const { return scales(stage) + T::kColumns * 4; }
  GATUN_DEVICE static int round(int stage) { return stage / T::kStages & 1; }
};

// The group that a stage is in, as stages follow each other.
class GroupOfStage {
 public:
  GATUN_DEVICE GroupOfStage(const Job& job, int first_stage, int stage_depth)
      : stages_(job.groups == 1 ? INT32_MAX : static_cast<int>(job.group / stage_depth)),
        group_(first_stage / stages_),
        left_(stages_) {}  // a part of the depth begins where a group begins
  GATUN_DEVICE int group() const { return group_; }
  GATUN_DEVICE int stages() const { return stages_; }
  GATUN_DEVICE void next() {
    if (--left_ > 0) return;
    left_ = stages_;
    ++group_;
  }

 private:
  int stages_, group_, left_;
};

constexpr int bytes_of_scale(int32_t dtype) { return dtype == GATUN_F32 ? 4 : dtype == GATUN_F16 ? 2 : 1; }

template <class T>
GATUN_DEVICE void fill_ring(const TensorMap* x_map, const Job& job, const Place& place, const Ring<T>& ring) {
  const uint8_t* const weights =
      job.codes + ((place.strip + lane()) * job.units + int64_t{place.first_stage} * T::kUnits) * T::kUnitBytes;
  const int columns = place.strips * kStripColumns;
  const int scale_bytes = T::kDirect ? 0 : columns * bytes_of_scale(job.scale_dtype);
  const int offset_bytes = T::kDirect || job.zero_point != GATUN_ZERO_INTEGER ? 0 : columns;
  GroupOfStage group(job, place.first_stage, T::kStageDepth);
  if (lane() == 0) prefetch_tensor_map(x_map);
  for (int stage = 0; stage < place.stages; ++stage, group.next()) {
    Barrier* const full = ring.full + stage % T::kStages;
    wait_for(ring.empty + stage % T::kStages, ring.round(stage) ^ 1);
    if (lane() == 0) {
      barrier_expect(full, T::kXBytes + place.strips * T::kStripBytes + scale_bytes + offset_bytes);
      copy_tile(ring.x(stage), x_map, static_cast<int>(place.row), (place.first_stage + stage) * T::kStageDepth, full);
    }
    warp_barrier();  // the bytes are announced before they come
    if (lane() < place.strips) {
      copy_bulk(ring.strip(stage, lane()), weights + int64_t{stage} * T::kStripBytes, T::kStripBytes, full);
    }
    const int64_t column = group.group() * job.padded_columns + place.strip * kStripColumns;
    if (lane() == kScaleLane && scale_bytes > 0) {
      const uint8_t* const scales = static_cast<const uint8_t*>(job.scales);
      copy_bulk(ring.scales(stage), scales + column * bytes_of_scale(job.scale_dtype), scale_bytes, full);
    }
    if (lane() == kOffsetLane && offset_bytes > 0) {
      copy_bulk(ring.offsets(stage), static_cast<const uint8_t*>(job.offsets) + column, offset_bytes, full);
    }
  }
}

// The scales of a lane's two columns, of which `first` is one of those in `scales`.
GATUN_DEVICE void load_scales(const Job& job, const void* scales, int64_t first, float (&scale)[2]) {
  for (int i = 0; i < 2; ++i) {
    scale[i] = scale_value(load_scale(scales, job.scale_dtype, first + 8 * i), job.scale_dtype);
  }
}

// sum += scale * part: of every four, two are of the lane's first column.
template <int kCount, class Sum>
GATUN_DEVICE void add_scaled(const float (&scale)[2], const Sum (&part)[kCount], float (&sum)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) sum[i] = fused(scale[i / 2 % 2], static_cast<float>(part[i]), sum[i]);
}

// A warp's strip of a fragment. Of one beyond the last, whose sums nobody wants, the tile's first.
GATUN_DEVICE int strip_of(const Place& place, int first_strip, int fragment) {
  const int strip = first_strip + 4 * fragment;
  return strip < place.strips ? strip : 0;
}

// The lane's first column in a strip of the place.
GATUN_DEVICE int64_t column_of(const Place& place, int strip) {
  return (place.strip + strip) * kStripColumns + lane() / 4;
}

// All products of a group of warps where one scale covers the depth; `first_strip` is the warp's in fragment 0.
// multiply_stage(stage, fragment, strip, sums) issues the kProducts of a fragment with a stage that has come, by
// left operands in the `left` registers, and returns with at most kRunning running.
template <class T, int kProducts, int kRunning, class MultiplyStage, class... Left>
GATUN_DEVICE void multiply_depth(const Job& job, const Place& place, const Ring<T>& ring, int first_strip,
                                 float (&sum)[T::kFragments][T::kRows / 2], MultiplyStage multiply_stage,
                                 Left&... left) {
  static_assert(kRunning <= T::kFragments * kProducts, "the stage before may be given back");
  // Before all products: ptxas keeps no sums in registers across the branches of this.
  float scale[T::kFragments][2];
#pragma unroll
  for (int f = 0; f < T::kFragments; ++f) {
    load_scales(job, job.scales, column_of(place, strip_of(place, first_strip, f)), scale[f]);
  }
  typename T::Sum part[T::kFragments][T::kRows / 2] = {};
  wgmma_fence(part);
  for (int stage = 0; stage < place.stages; ++stage) {
    wait_for(ring.full + stage % T::kStages, ring.round(stage));
#pragma unroll
    for (int f = 0; f < T::kFragments; ++f) multiply_stage(stage, f, strip_of(place, first_strip, f), part[f]);
    if (stage > 0 && lane() == 0) barrier_arrive_at(ring.empty + (stage - 1) % T::kStages);
  }
  wgmma_wait<0>(part, left...);
#pragma unroll
  for (int f = 0; f < T::kFragments; ++f) add_scaled(scale[f], part[f], sum[f]);
}

// Sums through shared memory, since a lane has two rows of two columns, to y or to this part's sums.
template <class T>
GATUN_DEVICE void store_tile(const Job& job, const Place& place, uint8_t* shared,
                             const float (&sum)[T::kFragments][T::kRows / 2]) {
  constexpr int kThreads = kMultiplyingGroups * kGroupThreads;
  float* const sums = reinterpret_cast<float*>(shared);
  const int thread = thread_index() - kGroupThreads;
  const int column = thread / kGroupThreads * T::kFragments * 64 + warp() % 4 * kStripColumns + lane() / 4;
  barrier_wait(1, kThreads);  // nobody reads the ring any more
#pragma unroll
  for (int f = 0; f < T::kFragments; ++f) {
#pragma unroll
    for (int i = 0; i < T::kRows / 2; ++i) {
      const int row = i / 4 * 8 + lane() % 4 * 2 + i % 2;
      sums[row * T::kSumStride + column + 64 * f + i / 2 % 2 * 8] = sum[f][i];
    }
  }
  barrier_wait(1, kThreads);
  // A thread has a column, and kBatch rows at a time.
  constexpr int kBatch = 4, kStep = kThreads / T::kColumns;
  const int in_tile = thread % T::kColumns;
  if (in_tile >= place.strips * kStripColumns) return;
  const int rows = static_cast<int>(smaller(job.rows - place.row, T::kRows));
  for (int row = thread / T::kColumns; row < rows; row += kBatch * kStep) {
    float batch[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int own = row + i * kStep;
      batch[i] = sums[(own < T::kRows ? own : row) * T::kSumStride + in_tile];
    }
    put_sums(job, block_y(), place.row + row, kStep, (rows - row + kStep - 1) / kStep,
             place.strip * kStripColumns + in_tile, batch);
  }
}

// A block's work: `multiply` gets the place, the ring, the warp's strip in fragment 0, and the sums to add to, of which
// each is [kFragments][kRows / 2]. Of 65536 registers a multiplying thread has 240 and a copying one 24.
template <class T, class Multiply>
GATUN_DEVICE void make_tile(const TensorMap* x_map, const Job& job, Multiply multiply) {
  const Ring<T> ring(shared_memory());
  const Place place = place_of<T>(job);
  if (thread_index() == 0) {
    for (int s = 0; s < T::kStages; ++s) {
      barrier_init(ring.full + s, 1);
      barrier_init(ring.empty + s, kMultiplyingGroups * 4);
    }
    barrier_init_fence();
  }
  block_barrier();
  const int group = warp() / 4;
  if (group == 0) {
    registers_less<24>();
    if (warp() == 0) fill_ring<T>(x_map, job, place, ring);
  } else {
    registers_more<240>();
    float sum[T::kFragments][T::kRows / 2] = {};
    multiply(place, ring, (group - 1) * T::kFragments * 4 + warp() % 4, sum);
    store_tile<T>(job, place, shared_memory(), sum);
  }
}

template <class T>
int32_t launch_tile(const char* name, void (*kernel)(TensorMap, Job), const Job& job, void* stream) {
  constexpr int kElement = T::kElementBytes;
  TensorMap map;
  GATUN_TRY(make_tensor_map(&map, job.x.x, kElement, job.rows, job.units * T::kUnitDepth, job.x.row_stride * kElement,
                            T::kRows, kStageRowBytes / kElement, kStageRowBytes));
  const int64_t tiles = blocks_of(job.rows, T::kRows) * blocks_of(job.strip_end - job.strip_begin, T::kStrips);
  return launch(name, kernel, {tiles, job.parts, 1, kTileThreads, T::kSharedBytes}, stream, map, job);
}

}  // namespace gatun::cuda::qmatmul
