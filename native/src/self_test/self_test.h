// The self-test of a tier: each op runs the kernels that the tier selects on small problems and compares with its
// reference. An op takes part by one line in ops.inc and a function self_test(Tier, Report&) in its namespace.
#pragma once

#include <cstdint>

#include "base/cpu.h"
#include "base/table.h"
#include "base/text.h"

namespace gatun {

class Report {
 public:
  // One line: a kernel agrees with its reference on `cases` problems, or how many of them it gets wrong.
  void add(const char* kernel, int cases, int wrong) {
    if (wrong == 0) {
      text_.add("%s: ok, %d cases\n", kernel, cases);
    } else {
      text_.add("%s: WRONG in %d of %d cases\n", kernel, wrong, cases);
      ++wrong_kernels_;
    }
  }

  int wrong_kernels() const { return wrong_kernels_; }
  const Text& text() const { return text_; }

 private:
  Text text_;
  int wrong_kernels_ = 0;
};

// Values for small problems: uniform in [-1, 1), the same on every call.
class SmallValues {
 public:
  float next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX
    return static_cast<float>(static_cast<int32_t>(state_ >> 40) - (1 << 23)) * 0x1p-23f;
  }

 private:
  uint64_t state_ = 1;
};

// Calls visit(row) for the rows of a table that `tier` selects.
template <class Kernel, class Visit>
void for_each_selected(const KernelTable<Kernel>& table, Tier tier, Visit visit) {
  for (const KernelRow<Kernel>& row : table) {
    if (&table.select(row.from, row.to, tier) == &row) visit(row);
  }
}

#define GATUN_OP(op)                         \
  namespace op {                             \
  void self_test(Tier tier, Report& report); \
  }
#include "self_test/ops.inc"
#undef GATUN_OP

}  // namespace gatun
