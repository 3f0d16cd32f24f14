// What the entry points demand of their arguments.
#pragma once

#include "base/parallel.h"
#include "kv_cache/pool.h"

namespace gatun::kv_cache {

struct Place {
  int64_t head, unit;
};

// A checked call of write or read.
struct Call {
  gatun_kv_rows_params p;
  Pool pool;

  // Of all heads' rows, or groups of rows, number i: in the order in which x has them, or head by head.
  Place place(int64_t i, int64_t units_of_head, bool by_heads) const {
    const int64_t heads = pool.layout.heads;
    if (by_heads || p.x_head_stride >= p.x_row_stride) return {i / units_of_head, i % units_of_head};
    return {i % heads, i / heads};
  }
};

// How many threads work on `units` parts of the rows.
inline int32_t threads_of(const Call& call, int64_t units) {
  constexpr int64_t kGrainBytes = 128 * 1024;  // of rows in f32, for which waking another one pays
  const int64_t rows = std::min(call.pool.layout.heads * call.p.tokens, int64_t{1} << 40);
  return useful_threads(call.p.threads, units, rows * call.pool.layout.size * 4, kGrainBytes);
}

// How many tokens there may be; of whole groups if `groups`.
int32_t check_tokens(const Pool& pool, int64_t tokens, const char* name, bool groups);

// The checks but those of what slots hold; the arrays of a call. x is the output or, if `write`, the pool is.
inline constexpr int kBuffers = 5;
int32_t check_rows_arrays(const gatun_kv_rows_params* params, const gatun_kv_layout* layout, const void* x,
                          const int64_t* slots, const void* pages, const void* scales, const void* zeros, bool write,
                          Call* call, Buffer (&buffers)[kBuffers]);
int32_t check_move_arrays(const gatun_kv_layout* layout, int64_t tokens, const int64_t* from, const int64_t* to,
                          void* pages, void* scales, void* zeros, Pool* pool, Buffer (&buffers)[kBuffers]);

// All checks.
int32_t check_rows(const gatun_kv_rows_params* params, const gatun_kv_layout* layout, const void* x,
                   const int64_t* slots, const void* pages, const void* scales, const void* zeros, bool write,
                   Call* call);

int32_t check_move(const gatun_kv_layout* layout, int64_t tokens, const int64_t* from, const int64_t* to, void* pages,
                   void* scales, void* zeros, Pool* pool);

}  // namespace gatun::kv_cache
