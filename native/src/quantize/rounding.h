// Where rounding is not to nearest: a value goes up from the lower of its two neighbouring codes if its distance to it,
// in parts of their distance, is above a threshold.
//
// Stochastic rounding's threshold of element i = r * depth + k is the 24 bits of simd/random.h as a fraction: a
// multiple of 2^-24 in [0, 1). Given rounding's threshold is 0 for up and 1 for down; a distance of 0 is above neither.
#pragma once

#include "gatun/quantize.h"
#include "quantize/blocks.h"
#include "simd/random.h"

namespace gatun::GATUN_ISA {
namespace {

// Thresholds of elements that lie side by side in a row.
class Thresholds {
 public:
  // The elements from (row, k) on.
  GATUN_INLINE Thresholds(const Job& job, int64_t row, int64_t k)
      : up_(job.rounding == GATUN_ROUND_GIVEN ? job.round_up + row * job.depth + k : nullptr),
        random_(job.seed, static_cast<uint64_t>(row * job.depth + k)) {}

  // Of elements i.. of the stretch, of which the first n exist: in a lane each.
  GATUN_INLINE F32 at(int64_t i, int n) const {
    if (up_ != nullptr) return select_less(zero_f32(), to_f32(load_u8_i32_n(up_ + i, n)), zero_f32(), set1(1));
    return mul(to_f32(random_.at(i)), set1(0x1p-24f));
  }

 private:
  const uint8_t* const up_;
  const RandomBits random_;
};

}  // namespace
}  // namespace gatun::GATUN_ISA
