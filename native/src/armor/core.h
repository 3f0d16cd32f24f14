// One sweep over the groups of the sparse core, in one block of its rows.
#pragma once

#include "armor/blocks.h"
#include "armor/group.h"
#include "gemm/gemm.h"

namespace gatun::armor {

// What tells groups apart: a depth that is no multiple of m ends in a smaller one.
class GroupSearches {
 public:
  GroupSearches(int32_t n, int32_t m, int64_t depth)
      : m_(m), whole_(m, n), last_(static_cast<int>(depth % m), std::min(n, static_cast<int32_t>(depth % m))) {}

  int32_t m() const { return m_; }
  const GroupSearch& of_size(int64_t size) const { return size == m_ ? whole_ : last_; }

 private:
  int32_t m_;
  GroupSearch whole_, last_;
};

// Rows of the core that belong to one block of A. For a change X of these rows, L changes by
//   trace(gram_a X gram_b X^T) - 2 <X, descent>
struct CoreBlock {
  int64_t rows, depth;
  float* s;             // [rows][depth]
  uint8_t* mask;        // [rows][ceil(depth / 8)]
  const float* gram_a;  // [rows][rows]
  const float* gram_b;  // of blocks `right`
  Blocks right;
  float* descent;  // [rows][depth]; as `s` changes, rows that are still to come change along
  float* moved;    // [kPanelRows][depth], scratch
};
inline constexpr int64_t kPanelRows = 16;

// Each group in turn gets the positions and values that are best for it. False if there is no memory.
[[nodiscard]] bool sweep(const gemm::Kernel& kernel, const GroupSearches& searches, const CoreBlock& block);

}  // namespace gatun::armor
