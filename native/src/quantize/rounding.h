// Where rounding is not to nearest: a value goes up from the lower of its two neighbouring codes if its distance to it,
// in parts of their distance, is above a threshold.
//
// Stochastic rounding's threshold of element i = r * depth + k is a multiple of 2^-24 in [0, 1):
//
//   key = mix64(seed + floor(i / 2^32) * 0x9e3779b97f4a7c15)    mix64: the output function of splitmix64 (Steele, Lea,
//   h = i mod 2^32 ^ key mod 2^32                                Flood 2014)
//   h = (h ^ h >> 16) * 0x7feb352d                               in 32 bits, multipliers of the lowbias32 hash (Wellons
//   h = (h ^ h >> 15 ^ floor(key / 2^32)) * 0x846ca68b           2018); half of the key enters in the middle, so that
//   threshold = floor((h ^ h >> 16) / 2^8) * 2^-24               seeds give different sequences, not shifted ones
//
// Given rounding's threshold is 0 for up and 1 for down; a distance of 0 is above neither.
#pragma once

#include "gatun/quantize.h"
#include "quantize/blocks.h"

namespace gatun::GATUN_ISA {
namespace {

// Thresholds of elements that lie side by side in a row.
class Thresholds {
 public:
  // The elements from (row, k) on.
  GATUN_INLINE Thresholds(const Job& job, int64_t row, int64_t k)
      : up_(job.rounding == GATUN_ROUND_GIVEN ? job.round_up + row * job.depth + k : nullptr),
        seed_(job.seed),
        first_(static_cast<uint64_t>(row * job.depth + k)),
        key_(key_of(first_ >> 32)) {}

  // Of elements i.. of the stretch, of which the first n exist: in a lane each.
  GATUN_INLINE F32 at(int64_t i, int n) const {
    if (up_ != nullptr) return select_less(zero_f32(), to_f32(load_u8_i32_n(up_ + i, n)), zero_f32(), set1(1));
    const uint64_t index = first_ + static_cast<uint64_t>(i), high = index >> 32;
    I32 bits = hash(static_cast<uint32_t>(index), high == first_ >> 32 ? key_ : key_of(high));
    const uint64_t left = (uint64_t{1} << 32) - (index & 0xffffffff);  // lanes with these upper bits of their index
    if (left < kLanes) {
      bits = select_n(bits, hash(static_cast<uint32_t>(index), key_of(high + 1)), static_cast<int>(left));
    }
    return mul(to_f32(bits), set1(0x1p-24f));
  }

 private:
  GATUN_INLINE uint64_t key_of(uint64_t high) const {
    uint64_t key = seed_ + high * 0x9e3779b97f4a7c15u;
    key = (key ^ key >> 30) * 0xbf58476d1ce4e5b9u;
    key = (key ^ key >> 27) * 0x94d049bb133111ebu;
    return key ^ key >> 31;
  }

  static GATUN_INLINE I32 hash(uint32_t low, uint64_t key) {
    int32_t lanes[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = lane;
    const I32 index = add_i32(load_i32(lanes), set1_i32(static_cast<int32_t>(low)));
    I32 h = xor_i32(index, set1_i32(static_cast<int32_t>(key)));
    h = mul_i32(xor_i32(h, shift_right_logical<16>(h)), set1_i32(0x7feb352d));
    h = xor_i32(xor_i32(h, shift_right_logical<15>(h)), set1_i32(static_cast<int32_t>(key >> 32)));
    h = mul_i32(h, set1_i32(static_cast<int32_t>(0x846ca68bu)));
    return shift_right_logical<8>(xor_i32(h, shift_right_logical<16>(h)));
  }

  const uint8_t* const up_;
  const uint64_t seed_, first_, key_;
};

}  // namespace
}  // namespace gatun::GATUN_ISA
