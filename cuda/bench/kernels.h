// Kernels of the bench itself: values to work on, and the limits of memory.
#pragma once

#include <cstdint>

namespace gatun::bench {

// Values evenly spread over [-1, 1), another sequence for each seed, as F32 or BF16.
int32_t fill(int32_t dtype, int64_t count, uint64_t seed, void* values, void* stream);

// Reads the bytes, a multiple of kBytesOfBlock, once; `sink` is 4 bytes that are hardly ever written.
int32_t read_all(const void* from, int64_t bytes, void* sink, void* stream);
// Reads and writes each of the bytes, a multiple of kBytesOfBlock, once.
int32_t copy_all(void* to, const void* from, int64_t bytes, void* stream);

inline constexpr int64_t kBytesOfBlock = 256 * 16 * 8;

}  // namespace gatun::bench
