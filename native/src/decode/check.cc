#include "decode/check.h"

#include <algorithm>

#include "attention/check.h"
#include "attention/tensor.h"
#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/status.h"
#include "kv_cache/layout.h"

namespace gatun::decode {
namespace {

using attention::Axis;
using attention::kMaxLength;
using attention::Tensor;
using Params = gatun_decode_params;
using LongLong = long long;

constexpr kv_cache::PoolNames kKeys = GATUN_KV_POOL_NAMES("k_layout", "k", "k_scales", "k_zeros");
constexpr kv_cache::PoolNames kValues = GATUN_KV_POOL_NAMES("v_layout", "v", "v_scales", "v_zeros");

int32_t check_numbers(const Params& p) {
  GATUN_TRY(attention::check_scale(p.scale, p.soft_cap));
  GATUN_TRY(check_range(p.window_left, -1, INT64_MAX, "params.window_left"));
  return check_range(p.sink_keys, 0, INT64_MAX, "params.sink_keys");
}

int32_t check_params(const Params& p) {
  GATUN_TRY(check_dtype(p.dtype, {GATUN_F32, GATUN_BF16, GATUN_F16}, "params.dtype"));
  if (p.dtype == GATUN_F32) {
    GATUN_TRY(check_dtype(p.out_dtype, {GATUN_F32}, "params.out_dtype"));
  } else {
    GATUN_TRY(check_dtype(p.out_dtype, {GATUN_F32, p.dtype}, "params.out_dtype"));
  }
  GATUN_TRY(check_range(p.mode, GATUN_DECODE_EXACT, GATUN_DECODE_INT8, "params.mode"));
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_range(p.causal, 0, 1, "params.causal"));
  GATUN_TRY(check_numbers(p));
  GATUN_TRY(check_range(p.batch, 0, kMaxLength, "params.batch"));
  GATUN_TRY(check_range(p.query_heads, 0, kMaxLength, "params.query_heads"));
  GATUN_TRY(check_range(p.query_length, 0, 256, "params.query_length"));
  return check_range(p.table_stride, 0, kMaxLength, "params.table_stride");
}

int32_t check_heads(const Params& p, int64_t heads) {
  if (heads == 0 ? p.query_heads != 0 : p.query_heads % heads != 0) {
    return fail(GATUN_INVALID_ARGUMENT, "params.query_heads = %lld; allowed: multiples of k_layout.heads = %lld",
                LongLong{p.query_heads}, LongLong{heads});
  }
  if (p.table_heads != 1 && p.table_heads != heads) {
    return fail(GATUN_INVALID_ARGUMENT, "params.table_heads = %lld; allowed: 1, or k_layout.heads = %lld",
                LongLong{p.table_heads}, LongLong{heads});
  }
  return GATUN_OK;
}

int32_t check_same(int64_t of_v, int64_t of_k, const char* field) {
  if (of_v == of_k) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "v_layout.%s = %lld; allowed: k_layout.%s = %lld", field, LongLong{of_v}, field,
              LongLong{of_k});
}

Buffer array(const char* name, const void* address, int64_t count) {
  return {name, address, 1, address != nullptr ? count : 0, 0, 4, false};
}

// a * b, but no more than 2^62.
int64_t product(int64_t a, int64_t b) {
  int64_t result;
  return __builtin_mul_overflow(a, b, &result) ? int64_t{1} << 62 : std::min(result, int64_t{1} << 62);
}

// Arrays of [batch, table_heads, columns] without gaps.
Tensor of_items(const Params& p, const char* name, const void* address, int64_t columns, int64_t element_bytes) {
  return {name,
          address,
          {{p.batch, product(p.table_heads, columns), "params.table_stride"},
           {p.table_heads, columns, "params.table_stride"},
           {columns > 0 ? 1 : 0, 0, "params.table_stride"}},
          columns,
          element_bytes,
          false};
}

// Lengths and the pages that count; *longest is the largest length.
int32_t check_lengths(const Call& call, const Inputs& in, int64_t* longest) {
  const Params& p = call.p;
  const int64_t most = most_keys(call);
  *longest = 0;
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t h = 0; h < p.table_heads; ++h) {
      const int64_t row = b * p.table_heads + h, length = __atomic_load_n(in.lengths + row, __ATOMIC_RELAXED);
      if (length < 0 || length > most) {
        return fail(GATUN_INVALID_ARGUMENT,
                    "lengths[%lld, %lld] = %lld; allowed: 0..%lld, params.table_stride times k_layout.page_size",
                    LongLong{b}, LongLong{h}, LongLong{length}, LongLong{most});
      }
      *longest = std::max(*longest, length);
      if (in.table == nullptr) continue;
      const int32_t* const pages = in.table + row * p.table_stride;
      for (int64_t i = 0; i < blocks_of(length, call.k.page_size); ++i) {
        const int32_t page = __atomic_load_n(pages + i, __ATOMIC_RELAXED);
        if (page < 0 || page >= call.k.pages) {
          return fail(GATUN_INVALID_ARGUMENT,
                      "table[%lld, %lld, %lld] = %d; allowed: 0..%lld, the pages of k_layout, for the first %lld of "
                      "the row",
                      LongLong{b}, LongLong{h}, LongLong{i}, page, LongLong{call.k.pages - 1},
                      LongLong{blocks_of(length, call.k.page_size)});
        }
      }
    }
  }
  return GATUN_OK;
}

}  // namespace

int32_t read(const Params* given, const gatun_kv_layout* k, const gatun_kv_layout* v, Call* call) {
  GATUN_TRY(check_not_null(given, "params"));
  GATUN_TRY(check_struct_size(given->struct_size, sizeof(call->p), "params"));
  *call = {*given, {}, {}, v != nullptr};
  GATUN_TRY(check_params(call->p));
  GATUN_TRY(kv_cache::check_layout(k, "k_layout", &call->k));
  GATUN_TRY(check_heads(call->p, call->k.heads));
  if (!call->has_v) return GATUN_OK;
  GATUN_TRY(kv_cache::check_layout(v, "v_layout", &call->v));
  GATUN_TRY(check_same(call->v.heads, call->k.heads, "heads"));
  GATUN_TRY(check_same(call->v.pages, call->k.pages, "pages"));
  return check_same(call->v.page_size, call->k.page_size, "page_size");
}

int64_t most_keys(const Call& call) { return std::min(product(call.p.table_stride, call.k.page_size), kMaxLength); }

int32_t check_arrays(const Call& call, const Inputs& in, const void* out, const float* lse, const float* logits,
                     Buffer (&buffers)[kBuffers], int* count) {
  const Params& p = call.p;
  if (in.table == nullptr) {
    if (p.table_stride != 1) {
      return fail(GATUN_INVALID_ARGUMENT, "params.table_stride = %lld; allowed: 1, since table is null",
                  LongLong{p.table_stride});
    }
    if (p.batch > call.k.pages) {
      return fail(GATUN_INVALID_ARGUMENT,
                  "params.batch = %lld; allowed: 0..%lld, since table is null and k_layout.pages is that",
                  LongLong{p.batch}, LongLong{call.k.pages});
    }
  }
  constexpr const char* kNoValues = "v_layout is";
  for (const auto& [address, name] : {std::pair{in.v, "v"}, {in.v_scales, "v_scales"}, {in.v_zeros, "v_zeros"}}) {
    GATUN_TRY(check_absent(call.has_v, address, name, kNoValues));
  }
  GATUN_TRY(check_absent(call.has_v, out, "out", kNoValues));

  const auto rows = [&](const char* name, const void* address, Axis batch, Axis heads, Axis row, int64_t columns,
                        int32_t dtype, bool output) -> Tensor {
    return {name, address, {batch, heads, row}, columns, dtype_bytes(dtype, 1), output};
  };
  const Tensor q = rows("q", in.q, {p.batch, p.q_batch_stride, "params.q_batch_stride"},
                        {p.query_heads, p.q_head_stride, "params.q_head_stride"},
                        {p.query_length, p.q_row_stride, "params.q_row_stride"}, call.k.size, p.dtype, false);
  const Tensor output =
      rows("out", out, {p.batch, p.out_batch_stride, "params.out_batch_stride"},
           {p.query_heads, p.out_head_stride, "params.out_head_stride"},
           {p.query_length, p.out_row_stride, "params.out_row_stride"}, call.v.size, p.out_dtype, true);
  const Tensor sums = rows("lse", lse, {p.batch, p.lse_batch_stride, "params.lse_batch_stride"},
                           {p.query_heads, p.lse_head_stride, "params.lse_head_stride"},
                           {p.query_length, 1, "the row stride of lse"}, 1, GATUN_F32, true);
  GATUN_TRY(check_needed(q, ""));
  if (call.has_v) GATUN_TRY(check_needed(output, "; allowed: only if v_layout is"));
  if (!call.has_v && logits == nullptr) {
    GATUN_TRY(check_needed(sums, "; allowed: only if v_layout is not, or logits is not"));
  }
  GATUN_TRY(check_tensor(output, &buffers[0]));
  GATUN_TRY(check_tensor(sums, &buffers[1]));
  GATUN_TRY(check_tensor(q, &buffers[2]));
  GATUN_TRY(check_pool(call.k, kKeys, in.k, in.k_scales, in.k_zeros, false, &buffers[3]));
  int& n = *count;
  n = 6;
  if (call.has_v) {
    GATUN_TRY(check_pool(call.v, kValues, in.v, in.v_scales, in.v_zeros, false, &buffers[n]));
    n += 3;
  }
  const Tensor lengths = of_items(p, "lengths", in.lengths, 1, 8);
  GATUN_TRY(check_needed(lengths, ""));
  GATUN_TRY(check_tensor(lengths, &buffers[n++]));
  GATUN_TRY(check_tensor(of_items(p, "table", in.table, p.table_stride, 4), &buffers[n++]));
  buffers[n++] = array("slopes", in.slopes, p.query_heads);
  buffers[n++] = array("sinks", in.sinks, p.query_heads);
  return check_buffers(buffers, n);
}

int32_t check_logits(const Call& call, const float* logits, int64_t columns, Buffer (&buffers)[kBuffers], int* count) {
  const Params& p = call.p;
  if (logits == nullptr || columns == 0) return GATUN_OK;
  const Tensor of_logits = {"logits",
                            logits,
                            {{p.batch, p.logits_batch_stride, "params.logits_batch_stride"},
                             {p.query_heads, p.logits_head_stride, "params.logits_head_stride"},
                             {p.query_length, p.logits_row_stride, "params.logits_row_stride"}},
                            columns,
                            4,
                            true};
  GATUN_TRY(check_tensor(of_logits, &buffers[(*count)++]));
  return check_buffers(buffers, *count);
}

int32_t check(const Call& call, const Inputs& in, const void* out, const float* lse, const float* logits,
              int64_t* longest) {
  Buffer buffers[kBuffers];
  int count;
  GATUN_TRY(check_arrays(call, in, out, lse, logits, buffers, &count));
  GATUN_TRY(check_lengths(call, in, longest));
  return check_logits(call, logits, *longest, buffers, &count);
}

void settle(Params* params) {
  Params& p = *params;
  const auto of_rows = [&](int64_t* batch_stride, int64_t* head_stride, int64_t* row_stride) {
    attention::settle({{p.batch, batch_stride}, {p.query_heads, head_stride}, {p.query_length, row_stride}});
  };
  int64_t lse_row_stride = 1;
  of_rows(&p.q_batch_stride, &p.q_head_stride, &p.q_row_stride);
  of_rows(&p.out_batch_stride, &p.out_head_stride, &p.out_row_stride);
  of_rows(&p.lse_batch_stride, &p.lse_head_stride, &lse_row_stride);
  of_rows(&p.logits_batch_stride, &p.logits_head_stride, &p.logits_row_stride);
}

}  // namespace gatun::decode
