// Positions of N:M weights in canonical form from the fuzzer's bytes.
#pragma once

#include "input.h"

namespace gatun::fuzz {

// K of gatun/nm_format.h, and the bytes of a row of indices; n and m are a group's, depth at most INT64_MAX - 31.
int64_t kept_of_row(int64_t depth, int32_t n, int32_t m);
int64_t index_row_bytes(int64_t kept, int32_t m);

// Fills a buffer that holds them: mostly well, rarely with any bits. Whether they are canonical.
bool fill_indices(Input& input, test::Rng& rng, int64_t columns, int64_t depth, int32_t n, int32_t m, int32_t vector,
                  Buffer* indices);

}  // namespace gatun::fuzz
