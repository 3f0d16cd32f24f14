// What the entry points demand of their arguments.
#pragma once

#include "kv_cache/pool.h"

namespace gatun::kv_cache {

// A checked call of write or read.
struct Call {
  gatun_kv_rows_params p;
  Pool pool;
};

// x is the output or, if `write`, the pool is.
int32_t check_rows(const gatun_kv_rows_params* params, const gatun_kv_layout* layout, const void* x,
                   const int64_t* slots, const void* pages, const void* scales, const void* zeros, bool write,
                   Call* call);

int32_t check_move(const gatun_kv_layout* layout, int64_t tokens, const int64_t* from, const int64_t* to, void* pages,
                   void* scales, void* zeros, Pool* pool);

}  // namespace gatun::kv_cache
