// Random bits of an element, made of a seed and the element's index alone, so that results depend neither on threads
// nor on the tier:
//
//   key = mix64(seed + floor(i / 2^32) * 0x9e3779b97f4a7c15)    mix64: the output function of splitmix64 (Steele, Lea,
//   h = i mod 2^32 ^ key mod 2^32                                Flood 2014)
//   h = (h ^ h >> 16) * 0x7feb352d                               in 32 bits, multipliers of the lowbias32 hash (Wellons
//   h = (h ^ h >> 15 ^ floor(key / 2^32)) * 0x846ca68b           2018); half of the key enters in the middle, so that
//   bits = floor((h ^ h >> 16) / 2^8)                            seeds give different sequences, not shifted ones
#pragma once

#include "simd/vec.h"

namespace gatun::GATUN_ISA {

// Of the elements from `first` on.
class RandomBits {
 public:
  GATUN_INLINE RandomBits(uint64_t seed, uint64_t first) : seed_(seed), first_(first), key_(key_of(first >> 32)) {}

  // 24 bits of each of kLanes elements from first + i on.
  GATUN_INLINE I32 at(int64_t i) const {
    const uint64_t index = first_ + static_cast<uint64_t>(i), high = index >> 32;
    const I32 bits = hash(static_cast<uint32_t>(index), high == first_ >> 32 ? key_ : key_of(high));
    const uint64_t left = (uint64_t{1} << 32) - (index & 0xffffffff);  // lanes with these upper bits of their index
    if (left >= kLanes) return bits;
    return select_n(bits, hash(static_cast<uint32_t>(index), key_of(high + 1)), static_cast<int>(left));
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

  const uint64_t seed_, first_, key_;
};

}  // namespace gatun::GATUN_ISA
