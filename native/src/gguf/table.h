// The table of kernels.inc, and the entry points with the tier as an argument.
#pragma once

#include "base/table.h"
#include "gguf/kernel.h"

namespace gatun::gguf {

// Rows tell types of blocks apart (from); `to` is 0.
KernelTable<Kernel> table();

// As in gatun/gguf.h, with kernels of `limit` and lower tiers.
int32_t run_quantize(Tier limit, int32_t type, int32_t x_dtype, int64_t rows, int64_t depth, int64_t x_row_stride,
                     int32_t threads, const void* x, void* blocks);
int32_t run_dequantize(Tier limit, int32_t type, int32_t x_dtype, int64_t rows, int64_t depth, int64_t x_row_stride,
                       int32_t threads, const void* blocks, void* x);

}  // namespace gatun::gguf
