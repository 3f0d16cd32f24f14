// Groups of bits, 64 at a time: bit i of a word belongs to weight i, and m of them in a row are a group. For ISA units,
// too: everything is inlined, so that no unit has a symbol outside its namespace.
#pragma once

#include <cstdint>

namespace gatun::nm_format {

#define GATUN_GROUPS_INLINE inline __attribute__((always_inline))

inline constexpr int kWord = 64;

// Ones in each group, as a number of m bits in its place.
GATUN_GROUPS_INLINE uint64_t count_groups(uint64_t word, int m) {
  uint64_t counts = word - (word >> 1 & 0x5555555555555555u);
  if (m >= 4) counts = (counts & 0x3333333333333333u) + (counts >> 2 & 0x3333333333333333u);
  if (m >= 8) counts = (counts + (counts >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  if (m >= 16) counts = (counts + (counts >> 8)) & 0x00ff00ff00ff00ffu;
  if (m >= 32) counts = (counts + (counts >> 16)) & 0x0000ffff0000ffffu;
  return counts;
}

// n as the count of every group.
GATUN_GROUPS_INLINE uint64_t counts_of(int n, int m) {
  return ~uint64_t{0} / ((uint64_t{1} << m) - 1) * static_cast<uint64_t>(n);
}

// The highest bit of each group with more than n ones.
GATUN_GROUPS_INLINE uint64_t overfull_groups(uint64_t word, int n, int m) {
  if (n == m) return 0;
  const int half = static_cast<int>((uint32_t{1} << (m - 1)) - 1);
  return (count_groups(word, m) + counts_of(half - n, m)) & counts_of(1, m) << (m - 1);
}

// The lowest `count` bits, 0 <= count.
GATUN_GROUPS_INLINE uint64_t lowest_bits(int64_t count) {
  return count >= kWord ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
}

// Fills the groups that lie within the lowest `bits` bits, a multiple of m, up to n ones with their lowest zeros. False
// if one of them has more.
GATUN_GROUPS_INLINE bool fill_groups(uint64_t word, int n, int m, int64_t bits, uint64_t* filled) {
  *filled = word;
  if (bits >= kWord && count_groups(word, m) == counts_of(n, m)) return true;
  for (int at = 0; at < kWord && at < bits; at += m) {
    uint64_t group = word >> at & lowest_bits(m);
    int count = __builtin_popcountll(group);
    if (count > n) return false;
    for (; count < n; ++count) group |= group + 1;
    *filled |= group << at;
  }
  return true;
}

// The two positions of 2 bits, the lower first, of the ones in each group of four, of which two are 1. From the group's
// bits, the lowest first, p q r s: the lower position is 1 if q is its first one, 2 if neither p nor q is; the upper
// one is 3 with s, otherwise 2 with r, otherwise 1.
GATUN_GROUPS_INLINE uint64_t positions_of_pairs(uint64_t word) {
  constexpr uint64_t kFirst = 0x1111111111111111u;
  const uint64_t p = word, q = word >> 1, r = word >> 2, s = word >> 3;
  return (~p & q & kFirst) | (~p & ~q & kFirst) << 1 | ((s | ~r) & kFirst) << 2 | ((s | r) & kFirst) << 3;
}

#undef GATUN_GROUPS_INLINE

}  // namespace gatun::nm_format
