// The checks of gatun_decode.
#pragma once

#include "base/check.h"
#include "decode/call.h"
#include "decode/inputs.h"

namespace gatun::decode {

// Copies the caller's structs, then checks of the copies what they say alone, but strides of params. Without v there is
// no v_layout.
int32_t read(const gatun_decode_params* given, const gatun_kv_layout* k, const gatun_kv_layout* v, Call* call);

// What a check of arrays leaves for further ones.
inline constexpr int kBuffers = 14;
// Everything else but what lengths and the table hold. *count of the arrays are set, all but logits.
int32_t check_arrays(const Call& call, const Inputs& inputs, const void* out, const float* lse, const float* logits,
                     Buffer (&buffers)[kBuffers], int* count);
// The most keys that the table has room for.
int64_t most_keys(const Call& call);
// Rows of logits with room for `columns` keys, beside the arrays before.
int32_t check_logits(const Call& call, const float* logits, int64_t columns, Buffer (&buffers)[kBuffers], int* count);

// All of that, before anything is written. *longest is the largest length: what another thread makes of lengths later
// is within the table and the rows of logits if it is not above.
int32_t check(const Call& call, const Inputs& inputs, const void* out, const float* lse, const float* logits,
              int64_t* longest);

// Strides that lead nowhere become 0.
void settle(gatun_decode_params* params);

}  // namespace gatun::decode
