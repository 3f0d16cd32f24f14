// One group of the sparse core: the positions to keep and their values, exactly.
//
//   minimize y^T H y - 2 c^T y over y [size] with at most `kept` entries that are not 0
#pragma once

#include <cstdint>
#include <vector>

namespace gatun::armor {

inline constexpr int kMaxGroup = 32;

class GroupSearch {
 public:
  // Groups of `size` positions that keep `kept`: tries all choices if these are at most kMostChoices; otherwise the
  // current one, and one made greedily, position by position (orthogonal matching pursuit).
  GroupSearch(int size, int kept);

  // `mask` and `y` hold what is kept now, and become what is best; true if that is better. h is [size][kMaxGroup].
  bool improve(const double* h, const double* c, uint32_t* mask, double* y) const;

  static constexpr int64_t kMostChoices = 128;

 private:
  int size_, kept_;
  std::vector<uint32_t> choices_;
};

}  // namespace gatun::armor
