// Rows into and out of a pool straight from the definition in gatun/kv_cache.h, one value at a time: what kernels are
// compared with. Arguments are checked ones.
#pragma once

#include "kv_cache/check.h"

namespace gatun::kv_cache {

// INVALID_ARGUMENT, with a message, if a value that becomes a code is NaN or infinite or a scale or zero point leaves
// the range of f16.
int32_t reference_check(const Call& call, const void* x, const int64_t* slots);

// Of what passes the check.
void reference_write(const Call& call, const void* x, const int64_t* slots);

void reference_read(const Call& call, const int64_t* slots, void* x);

}  // namespace gatun::kv_cache
