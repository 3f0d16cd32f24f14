// The patterns of a tile of 4 x 4 weights with two in each row and column, in the order in which ties are decided.
#pragma once

#include <cstdint>

namespace gatun::prune {

// The pairs of a row in the order in which ties are decided: lower positions first.
inline constexpr int kPairs[6][2] = {{0, 1}, {0, 2}, {0, 3}, {1, 2}, {1, 3}, {2, 3}};
constexpr int pair_bits(int pair) { return 1 << kPairs[pair][0] | 1 << kPairs[pair][1]; }

// The choices of a pair for each of four rows that leave two in each column, in the order of the first row's pair, then
// the second one's and so on.
struct Patterns {
  static constexpr int kCount = 90;
  uint8_t pair[kCount][4];
};

constexpr Patterns make_patterns() {
  Patterns patterns{};
  int count = 0;
  for (int code = 0; code < 6 * 6 * 6 * 6; ++code) {
    const int pair[4] = {code / 216, code / 36 % 6, code / 6 % 6, code % 6};
    int in_column[4] = {};
    for (const int p : pair) {
      ++in_column[kPairs[p][0]];
      ++in_column[kPairs[p][1]];
    }
    if (in_column[0] != 2 || in_column[1] != 2 || in_column[2] != 2 || in_column[3] != 2) continue;
    for (int r = 0; r < 4; ++r) patterns.pair[count][r] = static_cast<uint8_t>(pair[r]);
    ++count;
  }
  return patterns;
}

inline constexpr Patterns kPatterns = make_patterns();
static_assert(kPatterns.pair[Patterns::kCount - 1][0] == 5 && kPatterns.pair[Patterns::kCount - 1][3] == 0);

}  // namespace gatun::prune
