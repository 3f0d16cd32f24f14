// What the entry points demand of their arguments.
#pragma once

#include "base/parallel.h"
#include "kv_cache/pool.h"

namespace gatun::kv_cache {

// A checked call of write or read.
struct Call {
  gatun_kv_rows_params p;
  Pool pool;
};

// How many threads work on `units` parts of the rows.
inline int32_t threads_of(const Call& call, int64_t units) {
  constexpr int64_t kGrainBytes = 128 * 1024;  // of rows in f32, for which waking another one pays
  const int64_t rows = std::min(call.pool.layout.heads * call.p.tokens, int64_t{1} << 40);
  return useful_threads(call.p.threads, units, rows * call.pool.layout.size * 4, kGrainBytes);
}

// x is the output or, if `write`, the pool is.
int32_t check_rows(const gatun_kv_rows_params* params, const gatun_kv_layout* layout, const void* x,
                   const int64_t* slots, const void* pages, const void* scales, const void* zeros, bool write,
                   Call* call);

int32_t check_move(const gatun_kv_layout* layout, int64_t tokens, const int64_t* from, const int64_t* to, void* pages,
                   void* scales, void* zeros, Pool* pool);

}  // namespace gatun::kv_cache
