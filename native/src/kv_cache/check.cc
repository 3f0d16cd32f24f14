#include "kv_cache/check.h"

#include <utility>

#include "attention/tensor.h"
#include "base/status.h"

namespace gatun::kv_cache {
namespace {

using LongLong = long long;

constexpr int64_t kMaxRows = int64_t{1} << 59;
constexpr PoolNames kNames = GATUN_KV_POOL_NAMES("layout", "pages", "scales", "zeros");

int32_t check_pool_of(const gatun_kv_layout* given, const void* pages, const void* scales, const void* zeros,
                      bool output, Pool* pool, Buffer* buffers) {
  GATUN_TRY(check_layout(given, "layout", &pool->layout));
  pool->pages = static_cast<uint8_t*>(const_cast<void*>(pages));
  pool->scales = static_cast<uint16_t*>(const_cast<void*>(scales));
  pool->zeros = static_cast<uint16_t*>(const_cast<void*>(zeros));
  return check_pool(pool->layout, kNames, pages, scales, zeros, output, buffers);
}

// Each in `least` .. slots - 1; if `groups`, each group of tokens has one of slots, or -1 where that is allowed.
int32_t check_slots(const Pool& pool, const char* name, const int64_t* slots, int64_t tokens, int64_t least,
                    bool groups) {
  const int64_t group = pool.layout.group;
  for (int64_t t = 0, before = -1; t < tokens; ++t) {
    const int64_t slot = __atomic_load_n(slots + t, __ATOMIC_RELAXED), last = std::exchange(before, slot);
    if (slot < least || slot >= pool.slots()) {
      return fail(GATUN_INVALID_ARGUMENT, "%s[%lld] = %lld; allowed: %lld..%lld", name, LongLong{t}, LongLong{slot},
                  LongLong{least}, LongLong{pool.slots() - 1});
    }
    if (!groups) continue;
    if (t % group == 0) {
      if (slot == -1 || slot % group == 0) continue;
      return fail(GATUN_INVALID_ARGUMENT, "%s[%lld] = %lld, the first of a group; allowed: multiples of %lld", name,
                  LongLong{t}, LongLong{slot}, LongLong{group});
    }
    const int64_t wanted = last == -1 ? -1 : last + 1;
    if (slot != wanted) {
      return fail(GATUN_INVALID_ARGUMENT, "%s[%lld] = %lld; allowed: %lld, as %s[%lld] of its group is %lld", name,
                  LongLong{t}, LongLong{slot}, LongLong{wanted}, name, LongLong{t - 1}, LongLong{last});
    }
  }
  return GATUN_OK;
}

}  // namespace

int32_t check_tokens(const Pool& pool, int64_t tokens, const char* name, bool groups) {
  GATUN_TRY(check_range(tokens, 0, kMaxRows, name));
  if (groups && tokens % pool.layout.group != 0) {
    return fail(GATUN_INVALID_ARGUMENT, "%s = %lld; allowed: multiples of layout.group = %lld", name, LongLong{tokens},
                LongLong{pool.layout.group});
  }
  int64_t rows;
  if (__builtin_mul_overflow(tokens, pool.layout.heads, &rows) || rows > kMaxRows) {
    return fail(GATUN_INVALID_ARGUMENT, "%s = %lld with layout.heads = %lld; allowed: up to 2^59 rows", name,
                LongLong{tokens}, LongLong{pool.layout.heads});
  }
  return GATUN_OK;
}

int32_t check_rows_arrays(const gatun_kv_rows_params* params, const gatun_kv_layout* layout, const void* x,
                          const int64_t* slots, const void* pages, const void* scales, const void* zeros, bool write,
                          Call* call, Buffer (&buffers)[kBuffers]) {
  GATUN_TRY(check_not_null(params, "params"));
  GATUN_TRY(check_struct_size(params->struct_size, sizeof(*params), "params"));
  gatun_kv_rows_params& p = call->p;
  p = *params;
  GATUN_TRY(check_dtype(p.dtype, {GATUN_F32, GATUN_BF16, GATUN_F16}, "params.dtype"));
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_range(p.reserved, 0, 0, "params.reserved"));
  Pool& pool = call->pool;
  GATUN_TRY(check_pool_of(layout, pages, scales, zeros, write, &pool, buffers));
  GATUN_TRY(check_tokens(pool, p.tokens, "params.tokens", write && pool.per_channel()));
  const attention::Tensor of_x = {"x",
                                  x,
                                  {{1, 0, ""},
                                   {pool.layout.heads, p.x_head_stride, "params.x_head_stride"},
                                   {p.tokens, p.x_row_stride, "params.x_row_stride"}},
                                  pool.layout.size,
                                  dtype_bytes(p.dtype, 1),
                                  !write};
  GATUN_TRY(attention::check_needed(of_x, ""));
  GATUN_TRY(attention::check_tensor(of_x, &buffers[3]));
  GATUN_TRY(check_row_stride(p.tokens, pool.layout.size, p.x_row_stride, "params.x_row_stride"));
  attention::settle({{pool.layout.heads, &p.x_head_stride}, {p.tokens, &p.x_row_stride}});
  buffers[4] = {"slots", slots, 1, p.tokens, 0, 8, false};
  return check_buffers(buffers);
}

int32_t check_rows(const gatun_kv_rows_params* params, const gatun_kv_layout* layout, const void* x,
                   const int64_t* slots, const void* pages, const void* scales, const void* zeros, bool write,
                   Call* call) {
  Buffer buffers[kBuffers];
  GATUN_TRY(check_rows_arrays(params, layout, x, slots, pages, scales, zeros, write, call, buffers));
  return check_slots(call->pool, "slots", slots, call->p.tokens, -1, write && call->pool.per_channel());
}

int32_t check_move_arrays(const gatun_kv_layout* layout, int64_t tokens, const int64_t* from, const int64_t* to,
                          void* pages, void* scales, void* zeros, Pool* pool, Buffer (&buffers)[kBuffers]) {
  GATUN_TRY(check_pool_of(layout, pages, scales, zeros, true, pool, buffers));
  GATUN_TRY(check_tokens(*pool, tokens, "tokens", pool->per_channel()));
  buffers[3] = {"from", from, 1, tokens, 0, 8, false};
  buffers[4] = {"to", to, 1, tokens, 0, 8, false};
  return check_buffers(buffers);
}

int32_t check_move(const gatun_kv_layout* layout, int64_t tokens, const int64_t* from, const int64_t* to, void* pages,
                   void* scales, void* zeros, Pool* pool) {
  Buffer buffers[kBuffers];
  GATUN_TRY(check_move_arrays(layout, tokens, from, to, pages, scales, zeros, pool, buffers));
  GATUN_TRY(check_slots(*pool, "from", from, tokens, 0, pool->per_channel()));
  return check_slots(*pool, "to", to, tokens, 0, pool->per_channel());
}

}  // namespace gatun::kv_cache
