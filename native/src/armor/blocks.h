// The blocks on the diagonal of a square matrix.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/check.h"

namespace gatun::armor {

// Blocks of `block` rows and columns, the last one smaller; block b is [rows(b), rows(b)] at offset(b).
struct Blocks {
  int64_t size;
  int64_t block;

  int64_t count() const { return blocks_of(size, block); }
  int64_t first(int64_t b) const { return b * block; }
  int64_t rows(int64_t b) const { return std::min(block, size - first(b)); }
  int64_t offset(int64_t b) const { return b * block * block; }
  // Of all blocks.
  int64_t floats() const {
    const int64_t rest = size % block;
    return size / block * block * block + rest * rest;
  }
};

}  // namespace gatun::armor
