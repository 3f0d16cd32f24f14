// What quantize and dequantize demand of their arguments.
#pragma once

#include "base/check.h"
#include "gatun/quantize.h"

namespace gatun::quantize {

// The arguments of a call that are memory.
struct Buffers {
  const void *x, *code_book, *round_up, *codes, *scales, *zero_points;
};

// INVALID_ARGUMENT, with a message, unless the parameters agree with each other. dequantize ignores some.
int32_t check_params(const gatun_quantize_params* params, bool dequantize);

// What must be null for these parameters, and the rest as base/check.h has it: x, code_book, round_up, codes, scales,
// zero_points.
inline constexpr int kBuffers = 6, kCodeBookBuffer = 1;
int32_t list_buffers(const gatun_quantize_params& params, bool dequantize, const Buffers& buffers, Buffer* list);

// The same of memory, for parameters that are checked: sizes in bytes do not overflow.
int32_t check_buffers(const gatun_quantize_params& params, bool dequantize, const Buffers& buffers);

}  // namespace gatun::quantize
