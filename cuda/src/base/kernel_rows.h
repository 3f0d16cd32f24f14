// What tables of kernels have in common.
#pragma once

#include <cstdint>
#include <cstring>

namespace gatun::cuda {

struct Range {
  int64_t least, most;
  bool contains(int64_t value) const { return value >= least && value <= most; }
};

// The rows of a table, from the one to be preferred on; each has a name.
template <class Row>
struct KernelRows {
  const Row* rows;
  int count;
  const Row* begin() const { return rows; }
  const Row* end() const { return rows + count; }

  // Null if there is none.
  const Row* find(const char* name) const {
    for (const Row& row : *this) {
      if (std::strcmp(row.name, name) == 0) return &row;
    }
    return nullptr;
  }

  // The first row for which why_not(row) gives no reason; the last one for devices without kernels, which entry points
  // refuse before.
  template <class WhyNot>
  const Row& first_that_takes(WhyNot why_not) const {
    for (const Row& row : *this) {
      if (why_not(row) == nullptr) return row;
    }
    return rows[count - 1];
  }
};

}  // namespace gatun::cuda
