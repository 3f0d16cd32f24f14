// Products of many rows on sm_90a: a tile of y by asynchronous products of four warps (wgmma).
//
//   y[m][n] = finish(sum over groups g of scale[n][g] * sum over k in g of w[n][k] x[m][k])
//
// A block of three groups of four warps makes a tile of 128 * kFragments columns by kRows rows:
//
//   group 0          one warp copies stages of 64 (f16, bf16) or 128 (i8) of depth into a ring in shared memory: x by
//                    a tensor map, 128 bytes of each row in the swizzle that wgmma reads; packed weights, which lie in
//                    one piece for each strip of 16 columns, as they are
//   groups 1 and 2   multiply 64 * kFragments columns each. Weights are the left operand: a lane reads its 16 bytes of
//                    a unit (form.h), decodes them to the registers that wgmma wants, while the products before run.
//
//              rows of x (kRows)
//             +-----------------+
//    group 1  | 64 columns      |  fragment 0: warp w has strip w of it
//             | 64 columns      |  fragment 1
//             +-----------------+
//    group 2  | 64 columns      |
//             | 64 columns      |
//             +-----------------+
//
// A chain of products over at most 128 of depth, or one group if that is less, goes to `part`; then one fused operation
// a sum scales it into `sum`: 64 of them a thread beside 8 products of 64 cycles, while the other group multiplies.
// Where one scale covers the depth (kDirect, i8 alone), products go to `sum` itself. Integer sums are exact: a chain is
// at most 128 * 255 * 127 < 2^23; kDirect takes depths up to 2^17, 2^17 * 127 * 127 < 2^31.
//
// Tails: x beyond rows and depth is zeros that the tensor map supplies, strips beyond the last are not copied, and what
// comes of them is not written.
//
// Limit: 2048 multiply-adds a cycle and multiprocessor in 16 bits. A tile of 256 x 128 reads 128 * 128 + 256 * 32 bytes
// for 16384 * 128 of them: 24 bytes a cycle from the L2 cache, half of what it has; shared memory is read by wgmma for
// half of its cycles. Decoding takes 11 instructions for 8 4-bit codes a lane, 44 a product of 64 x 128 x 64, whose
// 256 cycles have 256 slots a scheduler.
#pragma once

#include <cstdint>

#include "ptx/mbarrier.h"
#include "ptx/memory.h"
#include "ptx/number.h"
#include "ptx/registers.h"
#include "ptx/thread.h"
#include "ptx/tma.h"
#include "ptx/warp.h"
#include "ptx/wgmma.h"
#include "qmatmul/finish.h"
#include "qmatmul/fragments.h"
#include "qmatmul/job.h"

namespace gatun::cuda::qmatmul {

inline constexpr int kGroupThreads = 128;
inline constexpr int kMultiplyingGroups = 2;
inline constexpr int kTileThreads = kGroupThreads * (1 + kMultiplyingGroups);
inline constexpr int kStageRowBytes = 128;               // of x: the swizzle's row
inline constexpr int kStageSteps = 4;                    // products a stage, of 32 bytes of each row
inline constexpr int kScaleLane = 30, kOffsetLane = 31;  // of the warp that copies, beside up to 16 for strips
inline constexpr int kBand = 8;  // tiles of rows that share what they read of the weights in the L2 cache

// Products in f16 or bf16, of weights decoded to that.
template <Codes kCodesOf, bool kBf16>
struct Halves {
  using Sum = float;
  static constexpr Codes kCodes = kCodesOf;
  static constexpr int kStageDepth = 64, kElementBytes = 2;

  Decoder<kCodes, kBf16> decoders[2];
  GATUN_DEVICE Halves(int lower, int lower_second)
      : decoders{Decoder<kCodes, kBf16>(lower), Decoder<kCodes, kBf16>(lower_second)} {}

  // The left operand of step kStep of the lane's words of a unit.
  template <int kStep>
  GATUN_DEVICE void operand(const Words4& unit, uint32_t (&a)[4]) const {
    fragment<kCodes, kBf16>(unit, kStep, decoders, a);
  }

  template <int kRows>
  static GATUN_DEVICE void multiply(float (&d)[kRows / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
    if constexpr (kBf16) wgmma_bf16<kRows>(d, a, b, accumulate);
    if constexpr (!kBf16) wgmma_f16<kRows>(d, a, b, accumulate);
  }
};

// Products in int8, of I8 as they are, and of U4 lowered by their zero point.
template <Codes kCodesOf>
struct Integers {
  using Sum = int32_t;
  static constexpr Codes kCodes = kCodesOf;
  static constexpr int kStageDepth = 128, kElementBytes = 1;
  static_assert(kCodes == Codes::i8 || kCodes == Codes::u4);

  uint32_t raise[2];  // 128 - zero point, in each byte
  GATUN_DEVICE Integers(int lower, int lower_second)
      : raise{static_cast<uint32_t>(128 - lower) * 0x01010101u,
              static_cast<uint32_t>(128 - lower_second) * 0x01010101u} {}

  template <int kStep>
  GATUN_DEVICE void operand(const Words4& unit, uint32_t (&a)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint32_t codes = quad<kCodes>(unit, kStep * 2 + i / 2, i % 2);  // of two steps of 16
      // Codes and zero points are at most 15: no byte carries into its neighbour.
      a[i] = kCodes == Codes::i8 ? codes : (codes + raise[i % 2]) ^ 0x80808080u;
    }
  }

  template <int kRows>
  static GATUN_DEVICE void multiply(int32_t (&d)[kRows / 2], const uint32_t (&a)[4], uint64_t b, bool accumulate) {
    wgmma_i8<kRows>(d, a, b, accumulate);
  }
};

template <class Arithmetic, int kFragmentsOf, int kRowsOf, bool kDirectOf>
struct Tile {
  using Sum = typename Arithmetic::Sum;
  static constexpr int kFragments = kFragmentsOf, kRows = kRowsOf;
  static constexpr bool kDirect = kDirectOf;
  static constexpr int kColumns = kMultiplyingGroups * kFragments * 64, kStrips = kColumns / kStripColumns;
  static constexpr int kStageDepth = Arithmetic::kStageDepth;
  static constexpr int kUnits = kStageDepth / unit_depth(Arithmetic::kCodes);  // of each strip in a stage
  static constexpr int kStripBytes = kUnits * kUnitBytes;
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
  static constexpr int kChainStages = 128 / kStageDepth;  // at most
  static_assert(kUnits >= 1 && kStages >= 2 && kStageBytes % 1024 == 0);
};

template <class T>
inline constexpr int kUnitDepth = T::kStageDepth / T::kUnits;

GATUN_DEVICE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

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
      smaller((first_unit + job.units_a_part) * kUnitDepth<T>, job.depth) - first_unit * kUnitDepth<T>;
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
      job.codes + ((place.strip + lane()) * job.units + int64_t{place.first_stage} * T::kUnits) * kUnitBytes;
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

// One fragment's products of a stage that has come; `first` forgets what d was.
template <class T, class Arithmetic>
GATUN_DEVICE void multiply_stage(const Ring<T>& ring, const Arithmetic& arithmetic, int stage, int strip, bool first,
                                 uint32_t (&a)[kStageSteps][4], typename T::Sum (&d)[T::kRows / 2]) {
  constexpr int kSteps = kStageSteps / T::kUnits;  // of a unit
  const uint8_t* const weights = ring.strip(stage, strip) + lane() * 16;
  const uint64_t b = shared_matrix(ring.x(stage));
  Words4 unit;
  const auto step = [&](auto index) {
    constexpr int kStep = decltype(index)::value;
    if constexpr (kStep % kSteps == 0) unit = *reinterpret_cast<const Words4*>(weights + kStep / kSteps * kUnitBytes);
    wgmma_wait<kStageSteps - 1>(a[kStep]);  // the product that read these registers
    arithmetic.template operand<kStep % kSteps>(unit, a[kStep]);
    wgmma_fence(a[kStep]);
    Arithmetic::template multiply<T::kRows>(d, a[kStep], b + kStep * 2, kStep > 0 || !first);
    wgmma_commit();
  };
  step(Step<0>());
  step(Step<1>());
  step(Step<2>());
  step(Step<3>());
}

// The scales of a lane's two columns, of which `first` is one of those in `scales`.
GATUN_DEVICE void load_scales(const Job& job, const void* scales, int64_t first, float (&scale)[2]) {
  for (int i = 0; i < 2; ++i) {
    scale[i] = scale_value(load_scale(scales, job.scale_dtype, first + 8 * i), job.scale_dtype);
  }
}

// What codes of a column are lowered by; `offsets` are those of a group.
template <Codes kCodes>
GATUN_DEVICE int lower_of(const Job& job, const void* offsets, int64_t column) {
  return job.zero_point == GATUN_ZERO_INTEGER ? static_cast<const uint8_t*>(offsets)[column] : zero_code(kCodes);
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

// All products of a group of warps; `first_strip` is the warp's in fragment 0.
template <class T, class Arithmetic>
GATUN_DEVICE void multiply(const Job& job, const Place& place, const Ring<T>& ring, int first_strip,
                           float (&sum)[T::kFragments][T::kRows / 2]) {
  uint32_t a[kStageSteps][4] = {};
  const int stages_a_group = GroupOfStage(job, 0, T::kStageDepth).stages();
  const bool whole = job.groups == 1 || stages_a_group % T::kChainStages == 0;
  const int chain = T::kChainStages > 1 && whole ? T::kChainStages : 1;
  for (int first = 0; first < place.stages; first += chain) {
    const auto for_stages = [&](auto act) {
      for (int i = 0; i < chain && first + i < place.stages; ++i) act(first + i);
    };
    for_stages([&](int stage) { wait_for(ring.full + stage % T::kStages, ring.round(stage)); });
#pragma unroll
    for (int f = 0; f < T::kFragments; ++f) {
      const int strip = strip_of(place, first_strip, f), column = strip * kStripColumns + lane() / 4;
      const uint8_t* const offsets = ring.offsets(first);
      const Arithmetic arithmetic(lower_of<Arithmetic::kCodes>(job, offsets, column),
                                  lower_of<Arithmetic::kCodes>(job, offsets, column + 8));
      typename T::Sum part[T::kRows / 2];
      wgmma_fence(part);
      for_stages([&](int stage) { multiply_stage<T>(ring, arithmetic, stage, strip, stage == first, a, part); });
      float scale[2];
      load_scales(job, ring.scales(first), column, scale);
      wgmma_wait<0>(part);
      add_scaled(scale, part, sum[f]);
    }
    warp_barrier();  // the other lanes have read their scales and zero points
    for_stages([&](int stage) {
      if (lane() == 0) barrier_arrive_at(ring.empty + stage % T::kStages);
    });
  }
}

// The same where one scale covers the depth: nothing waits for a product but what needs its registers.
template <class T, class Arithmetic>
GATUN_DEVICE void multiply_direct(const Job& job, const Place& place, const Ring<T>& ring, int first_strip,
                                  float (&sum)[T::kFragments][T::kRows / 2]) {
  // Before all products: ptxas keeps no sums in registers across the branches of this.
  float scale[T::kFragments][2];
  int lower[T::kFragments][2];
#pragma unroll
  for (int f = 0; f < T::kFragments; ++f) {
    const int64_t column = (place.strip + strip_of(place, first_strip, f)) * kStripColumns + lane() / 4;
    load_scales(job, job.scales, column, scale[f]);
    lower[f][0] = lower_of<Arithmetic::kCodes>(job, job.offsets, column);
    lower[f][1] = lower_of<Arithmetic::kCodes>(job, job.offsets, column + 8);
  }
  uint32_t a[kStageSteps][4] = {};
  typename T::Sum part[T::kFragments][T::kRows / 2] = {};
  wgmma_fence(part);
  for (int stage = 0; stage < place.stages; ++stage) {
    wait_for(ring.full + stage % T::kStages, ring.round(stage));
#pragma unroll
    for (int f = 0; f < T::kFragments; ++f) {
      const Arithmetic arithmetic(lower[f][0], lower[f][1]);
      multiply_stage<T>(ring, arithmetic, stage, strip_of(place, first_strip, f), false, a, part[f]);
    }
    // At most four products are running now, all of this stage, so the one before is done.
    if (stage > 0 && lane() == 0) barrier_arrive_at(ring.empty + (stage - 1) % T::kStages);
  }
  wgmma_wait<0>(part);
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

}  // namespace gatun::cuda::qmatmul
