// Bit masks as gatun/prune.h defines them.
#pragma once

#include <cstdint>

namespace gatun::prune {

// Unused bits of rows that exist are 0.
int32_t check_mask(int64_t rows, int64_t depth, const uint8_t* mask);

inline bool is_kept(const uint8_t* row, int64_t k) { return (row[k / 8] >> k % 8 & 1) != 0; }

}  // namespace gatun::prune
