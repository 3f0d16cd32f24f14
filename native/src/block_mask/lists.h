// The lists of a block mask (gatun/block_mask.h) and their checks, for the ops that read masks.
#pragma once

#include <cstdint>

namespace gatun::block_mask {

struct Lists {
  const int64_t* full_offsets;
  const int32_t* full_blocks;
  int64_t full_count;
  const int64_t* partial_offsets;
  const int32_t* partial_blocks;
  int64_t partial_count;
};

// Sizes, nulls but of empty lists, alignment, the first offsets; `name` is that of `rows`.
int32_t check_lists(const Lists& lists, int64_t rows, const char* name);

// Offsets and blocks of rows [begin, end), whose items have `key_blocks` blocks of keys. Every element is read once.
int32_t check_rows(const Lists& lists, int64_t begin, int64_t end, int64_t key_blocks);

}  // namespace gatun::block_mask
