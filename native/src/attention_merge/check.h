// The checks of gatun_attention_merge.
#pragma once

#include "base/check.h"
#include "gatun/attention.h"

namespace gatun::attention_merge {

// Copies the caller's struct, then checks of the copy what it says alone, but strides.
int32_t read_params(const gatun_attention_merge_params* given, gatun_attention_merge_params* params);

// How many rows there are; they have a lse each.
int32_t count_rows(const gatun_attention_merge_params& params, int64_t* rows);

// Everything else, before anything is written.
inline constexpr int kArguments = 6;
int32_t check(const gatun_attention_merge_params& params, int64_t rows, const void* a, const float* a_lse,
              const void* b, const float* b_lse, const void* out, const float* lse, Buffer (&buffers)[kArguments]);

}  // namespace gatun::attention_merge
