// The checks of gatun_attention.
#pragma once

#include "attention/inputs.h"
#include "base/check.h"
#include "gatun/attention.h"

namespace gatun::attention {

// Of lengths and numbers of anything: sums of some of them, and of a position and a length, stay far below 2^63.
inline constexpr int64_t kMaxLength = int64_t{1} << 60;

// Copies the caller's struct, then checks of the copy what it says alone, but strides and what is said of the mask.
int32_t read_params(const gatun_attention_params* given, gatun_attention_params* params);

// Everything else, before anything is written; `further` is an argument besides, or null.
int32_t check(const gatun_attention_params& params, const Inputs& inputs, const void* out, const float* lse,
              const Buffer* further = nullptr);

// The same but of what arrays contain, which is not looked at.
struct Arguments {
  Buffer buffers[16];
  int count;
  int64_t mask_rows;
};
int32_t check_arguments(const gatun_attention_params& params, const Inputs& inputs, const void* out, const float* lse,
                        const Buffer* further, Arguments* arguments);

// Parts of it.
int32_t check_mode_of_cpu(const gatun_attention_params& params);
int32_t check_scale(float scale, float soft_cap);
int32_t check_multiple(int64_t value, int64_t unit, int64_t low, int64_t high, const char* name);
int32_t check_offsets(const int64_t* offsets, int64_t batch, int64_t length, const char* name, const char* length_name);
// For check_buffers: two of the offsets; then q, k and an lse that is read, if it is given.
int32_t check_offset_arrays(const gatun_attention_params& params, const Inputs& inputs, Buffer* buffers);
int32_t check_queries_and_keys(const gatun_attention_params& params, const Inputs& inputs, const float* lse,
                               Buffer* buffers);
bool has_mask(const Inputs& inputs);
int32_t check_mask_params(const gatun_attention_params& params, const Inputs& inputs, int64_t* rows);
int32_t check_query_blocks(const gatun_attention_params& params, int64_t queries, int64_t batch_item);
int32_t check_mask_lists(const gatun_attention_params& params, const Inputs& inputs, int64_t rows);

}  // namespace gatun::attention
