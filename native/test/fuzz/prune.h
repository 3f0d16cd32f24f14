// What the fuzzers of pruning share.
#pragma once

#include <cstdint>
#include <vector>

#include "input.h"

namespace gatun::fuzz {

bool is_float(int32_t dtype);
bool is_group(int32_t n, int32_t m);

// The values of a buffer of F32, F16 or BF16.
std::vector<float> floats(const Buffer& buffer, int32_t dtype);

// Mostly finite numbers that are not negative, and whether they are.
Buffer factors(test::Rng& rng, int64_t bytes, Input& input);
bool good_factors(const Buffer& buffer);

}  // namespace gatun::fuzz
