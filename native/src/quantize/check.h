// What quantize and dequantize demand of their arguments.
#pragma once

#include "gatun/quantize.h"

namespace gatun::quantize {

// The arguments of a call that are memory.
struct Buffers {
  const void *x, *code_book, *round_up, *codes, *scales, *zero_points;
};

// INVALID_ARGUMENT, with a message, unless the parameters agree with each other. dequantize ignores some.
int32_t check_params(const gatun_quantize_params* params, bool dequantize);

// The same of memory, for parameters that are checked: sizes in bytes do not overflow.
int32_t check_buffers(const gatun_quantize_params& params, bool dequantize, const Buffers& buffers);

}  // namespace gatun::quantize
