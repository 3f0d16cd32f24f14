// GGUF blocks straight from their definitions, one element at a time: what kernels are compared with. Arguments are
// those of the entry points, valid.
#pragma once

#include <cstdint>

#include "gguf/block.h"

namespace gatun::gguf {

// Whether ggml's reference quantizer defines the bytes; the others follow the search that tile_search.h states.
bool made_as_ggml(const Type& type);

// INVALID_ARGUMENT, with a message, if a value is NaN or infinite or a scale overflows.
int32_t reference_check(const Type& type, int32_t x_dtype, int64_t rows, int64_t depth, int64_t x_row_stride,
                        const void* x);

// Of a matrix that passes the check.
void reference_quantize(const Type& type, int32_t x_dtype, int64_t rows, int64_t depth, int64_t x_row_stride,
                        const void* x, void* blocks);

void reference_dequantize(const Type& type, int32_t x_dtype, int64_t rows, int64_t depth, int64_t x_row_stride,
                          const void* blocks, void* x);

}  // namespace gatun::gguf
