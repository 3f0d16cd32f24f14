// Where the parts of a workspace lie: one behind the other, each aligned as allocations of a device are.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/check.h"

namespace gatun::cuda {

class WorkspaceParts {
 public:
  static constexpr int64_t kAlignment = 256;
  static constexpr int64_t kNoMemory = int64_t{1} << 60;  // more than any device has; sums stay there

  // Where a part of so many bytes begins.
  int64_t take(int64_t bytes) {
    const int64_t at = bytes_;
    bytes_ = std::min(bytes_ + blocks_of(std::min(bytes, kNoMemory), kAlignment) * kAlignment, kNoMemory);
    return at;
  }
  int64_t bytes() const { return bytes_; }

 private:
  int64_t bytes_ = 0;
};

}  // namespace gatun::cuda
