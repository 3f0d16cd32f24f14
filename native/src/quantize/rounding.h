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

// Thresholds of elements that lie side by side in a row, and not on both sides of a multiple of 2^32.
class Thresholds {
 public:
  // The elements from (row, k) on.
  GATUN_INLINE Thresholds(const Job& job, int64_t row, int64_t k)
      : up_(job.rounding == GATUN_ROUND_GIVEN ? job.round_up + row * job.depth + k : nullptr) {
    const uint64_t index = static_cast<uint64_t>(row * job.depth + k);
    uint64_t key = job.seed + (index >> 32) * 0x9e3779b97f4a7c15u;
    key = (key ^ key >> 30) * 0xbf58476d1ce4e5b9u;
    key = (key ^ key >> 27) * 0x94d049bb133111ebu;
    key ^= key >> 31;
    index_ = static_cast<uint32_t>(index);
    first_key_ = static_cast<int32_t>(key);
    second_key_ = static_cast<int32_t>(key >> 32);
  }

  // How many elements from (row, k) on one object serves.
  static GATUN_INLINE int64_t reach(const Job& job, int64_t row, int64_t k) {
    return (int64_t{1} << 32) - ((row * job.depth + k) & 0xffffffff);
  }

  // Of elements i.. of the stretch, of which the first n exist: in a lane each.
  GATUN_INLINE F32 at(int64_t i, int n) const {
    if (up_ != nullptr) return select_less(zero_f32(), to_f32(load_u8_i32_n(up_ + i, n)), zero_f32(), set1(1));
    int32_t lanes[kLanes];
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = lane;
    const I32 index = add_i32(load_i32(lanes), set1_i32(static_cast<int32_t>(index_ + static_cast<uint32_t>(i))));
    I32 h = xor_i32(index, set1_i32(first_key_));
    h = mul_i32(xor_i32(h, shift_right_logical<16>(h)), set1_i32(0x7feb352d));
    h = xor_i32(xor_i32(h, shift_right_logical<15>(h)), set1_i32(second_key_));
    h = mul_i32(h, set1_i32(static_cast<int32_t>(0x846ca68bu)));
    h = shift_right_logical<8>(xor_i32(h, shift_right_logical<16>(h)));
    return mul(to_f32(h), set1(0x1p-24f));
  }

 private:
  const uint8_t* up_;
  uint32_t index_;
  int32_t first_key_, second_key_;
};

}  // namespace
}  // namespace gatun::GATUN_ISA
