// The sizes that every kernel is tested with.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace gatun::test {

// 0, 1, tile - 1, tile, tile + 1, 2 tile + 1: ascending, without repetitions.
inline std::vector<int64_t> edge_sizes(int64_t tile) {
  std::vector<int64_t> sizes = {0, 1, tile - 1, tile, tile + 1, 2 * tile + 1};
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  return sizes;
}

// Numbers that no tile divides.
inline const std::vector<int64_t>& prime_sizes() {
  static const std::vector<int64_t> primes = {2, 3, 7, 13, 31, 61, 127, 257};
  return primes;
}

// Group sizes allowed for this depth (16..depth, or depth): one group a row, the usual ones, and ones that neither
// divide the depth nor are a multiple of any vector.
inline std::vector<int64_t> group_sizes(int64_t depth) {
  std::vector<int64_t> groups = {depth};
  for (int64_t group : {16, 17, 31, 32, 33, 64, 100, 128}) {
    if (group < depth) groups.push_back(group);
  }
  if (depth - 1 >= 16) groups.push_back(depth - 1);
  std::sort(groups.begin(), groups.end());
  groups.erase(std::unique(groups.begin(), groups.end()), groups.end());
  return groups;
}

}  // namespace gatun::test
