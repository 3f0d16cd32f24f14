// Products of many rows on sm_90a: a tile of y by asynchronous products of four warps (wgmma).
//
//   y[m][n] = finish(sum over groups g of scale[n][g] * sum over k in g of w[n][k] x[m][k])
//
// A block makes a tile of 128 * kFragments columns by kRows rows (sm90_ring.h), in stages of 64 (f16, bf16) or 128 (i8)
// of depth. A lane reads its 16 bytes of a unit (form.h), decodes them to the registers that wgmma wants, while the
// products before run.
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
// Limit: 2048 multiply-adds a cycle and multiprocessor in 16 bits. A tile of 256 x 128 reads 128 * 128 + 256 * 32 bytes
// for 16384 * 128 of them: 24 bytes a cycle from the L2 cache, half of what it has; shared memory is read by wgmma for
// half of its cycles. Decoding takes 11 instructions for 8 4-bit codes a lane, 44 a product of 64 x 128 x 64, whose
// 256 cycles have 256 slots a scheduler.
#pragma once

#include <cstdint>

#include "ptx/wgmma.h"
#include "qmatmul/fragments.h"
#include "qmatmul/sm90_ring.h"

namespace gatun::cuda::qmatmul {

inline constexpr int kStageSteps = 4;         // products a stage, of 32 bytes of each row
inline constexpr int kRunning = kStageSteps;  // of all fragments, at most: each step has registers of its own

// Products in f16 or bf16, of weights decoded to that.
template <Codes kCodesOf, bool kBf16>
struct Halves {
  using Sum = float;
  static constexpr Codes kCodes = kCodesOf;
  static constexpr int kStageDepth = 64, kElementBytes = 2;
  static constexpr int kUnitDepth = unit_depth(kCodes), kUnitBytes = qmatmul::kUnitBytes;

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
  static constexpr int kUnitDepth = unit_depth(kCodes), kUnitBytes = qmatmul::kUnitBytes;
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
    wgmma_wait<kRunning - 1>(a[kStep]);  // the product that read these registers
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

// What codes of a column are lowered by; `offsets` are those of a group.
template <Codes kCodes>
GATUN_DEVICE int lower_of(const Job& job, const void* offsets, int64_t column) {
  return job.zero_point == GATUN_ZERO_INTEGER ? static_cast<const uint8_t*>(offsets)[column] : zero_code(kCodes);
}

// All products of a group of warps; `first_strip` is the warp's in fragment 0.
template <class T, class Arithmetic>
GATUN_DEVICE void multiply(const Job& job, const Place& place, const Ring<T>& ring, int first_strip,
                           float (&sum)[T::kFragments][T::kRows / 2]) {
  constexpr int kChainStages = 128 / T::kStageDepth;  // at most
  uint32_t a[kStageSteps][4] = {};
  const int stages_a_group = GroupOfStage(job, 0, T::kStageDepth).stages();
  const bool whole = job.groups == 1 || stages_a_group % kChainStages == 0;
  const int chain = kChainStages > 1 && whole ? kChainStages : 1;
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
  int lower[T::kFragments][2];
#pragma unroll
  for (int f = 0; f < T::kFragments; ++f) {
    const int64_t column = column_of(place, strip_of(place, first_strip, f));
    lower[f][0] = lower_of<Arithmetic::kCodes>(job, job.offsets, column);
    lower[f][1] = lower_of<Arithmetic::kCodes>(job, job.offsets, column + 8);
  }
  uint32_t a[kStageSteps][4] = {};
  const auto multiply_fragment = [&](int stage, int f, int strip, auto& part) {
    const Arithmetic arithmetic(lower[f][0], lower[f][1]);
    multiply_stage<T>(ring, arithmetic, stage, strip, false, a, part);
  };
  multiply_depth<T, kStageSteps, kRunning>(job, place, ring, first_strip, sum, multiply_fragment, a);
}

}  // namespace gatun::cuda::qmatmul
