// The checks of gatun_decode.
#pragma once

#include "decode/call.h"
#include "decode/inputs.h"

namespace gatun::decode {

// Copies the caller's structs, then checks of the copies what they say alone, but strides of params. Without v there is
// no v_layout.
int32_t read(const gatun_decode_params* given, const gatun_kv_layout* k, const gatun_kv_layout* v, Call* call);

// Everything else, before anything is written. *longest is the largest length: what another thread makes of lengths
// later is within the table and the rows of logits if it is not above.
int32_t check(const Call& call, const Inputs& inputs, const void* out, const float* lse, const float* logits,
              int64_t* longest);

}  // namespace gatun::decode
