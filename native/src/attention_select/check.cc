// The checks of selections.
#include "attention/check.h"

#include <cmath>

#include "attention/tensor.h"
#include "attention_select/call.h"
#include "attention_select/selection.h"
#include "base/status.h"

namespace gatun::attention_select {
namespace {

using LongLong = long long;

int32_t check_amount(float amount, const char* name, int64_t index) {
  if (amount >= 0 && amount <= 1) return GATUN_OK;
  if (index < 0) {
    return fail(GATUN_INVALID_ARGUMENT, "%s = %g; allowed: 0..1", name, static_cast<double>(amount));
  }
  return fail(GATUN_INVALID_ARGUMENT, "%s[%lld] = %g; allowed: 0..1", name, LongLong{index},
              static_cast<double>(amount));
}

int32_t check_kind(const Params& p, const Selection& s) {
  switch (s.kind) {
    case GATUN_SELECT_MEANS:
      if (std::isfinite(s.similarity)) return GATUN_OK;
      return fail(GATUN_INVALID_ARGUMENT, "selection.similarity = %g; allowed: finite",
                  static_cast<double>(s.similarity));
    case GATUN_SELECT_ANTIDIAGONAL:
      GATUN_TRY(check_range(s.stride, 1, 16, "selection.stride"));
      if (p.query_block % s.stride == 0 && p.key_block % s.stride == 0) return GATUN_OK;
      return fail(GATUN_INVALID_ARGUMENT,
                  "selection.stride = %d; allowed: what divides params.query_block = %lld and params.key_block = %lld",
                  s.stride, LongLong{p.query_block}, LongLong{p.key_block});
    case GATUN_SELECT_PROXY:
      if (p.query_heads == 0) return GATUN_OK;
      GATUN_TRY(check_range(s.proxy_heads, 1, p.query_heads, "selection.proxy_heads"));
      if (p.query_heads % s.proxy_heads == 0) return GATUN_OK;
      return fail(GATUN_INVALID_ARGUMENT,
                  "selection.proxy_heads = %lld; allowed: what divides params.query_heads = %lld",
                  LongLong{s.proxy_heads}, LongLong{p.query_heads});
    default:
      return GATUN_OK;
  }
}

int32_t check_choice(const Selection& s) {
  GATUN_TRY(check_range(s.keep, GATUN_KEEP_FRACTION, GATUN_KEEP_BELOW_MASS, "selection.keep"));
  return check_amount(s.amount, "selection.amount", -1);
}

int32_t check_chosen_lines(const Selection& s) {
  GATUN_TRY(check_range(s.verticals, 0, INT64_MAX, "selection.verticals"));
  GATUN_TRY(check_range(s.slashes, 0, INT64_MAX, "selection.slashes"));
  GATUN_TRY(check_range(s.forced_verticals, 0, INT64_MAX, "selection.forced_verticals"));
  return check_range(s.forced_slashes, 0, INT64_MAX, "selection.forced_slashes");
}

int32_t check_selection(const Params& p, const Selection& s, const Uses& uses) {
  GATUN_TRY(attention::check_multiple(p.query_block, 16, 16, 128, "params.query_block"));
  GATUN_TRY(attention::check_multiple(p.key_block, 16, 16, 128, "params.key_block"));
  if (uses.scores) GATUN_TRY(check_kind(p, s));
  if (uses.choice) GATUN_TRY(check_choice(s));
  if (uses.map) {
    GATUN_TRY(check_range(s.keep_first, 0, 1, "selection.keep_first"));
    GATUN_TRY(check_range(s.keep_diagonal, 0, 1, "selection.keep_diagonal"));
  }
  if (uses.lines || uses.chosen_lines) GATUN_TRY(check_range(p.kv_length, 0, UINT32_MAX, "params.kv_length"));
  if (uses.lines) GATUN_TRY(check_range(s.last_queries, 1, 1024, "selection.last_queries"));
  if (uses.chosen_lines) GATUN_TRY(check_chosen_lines(s));
  if (uses.budget) GATUN_TRY(check_amount(s.amount, "selection.amount", -1));
  return GATUN_OK;
}

// Each item's blocks fit the map.
int32_t check_blocks(const Call& call) {
  for (int64_t b = 0; b < (call.ragged() ? call.p.batch : std::min<int64_t>(call.p.batch, 1)); ++b) {
    const Item item = call.item(b);
    if (call.p.query_blocks < call.query_blocks(item)) {
      return fail(GATUN_INVALID_ARGUMENT,
                  "params.query_blocks = %lld; allowed: at least %lld, of the %lld queries of batch item %lld",
                  LongLong{call.p.query_blocks}, LongLong{call.query_blocks(item)}, LongLong{item.queries()},
                  LongLong{b});
    }
    if (call.s.key_blocks < call.key_blocks(item)) {
      return fail(GATUN_INVALID_ARGUMENT,
                  "selection.key_blocks = %lld; allowed: at least %lld, of the %lld keys of batch item %lld",
                  LongLong{call.s.key_blocks}, LongLong{call.key_blocks(item)}, LongLong{item.keys()}, LongLong{b});
    }
  }
  return GATUN_OK;
}

}  // namespace

int32_t check_product(const Params& p, int64_t rows, int64_t columns, const char* what, int64_t* product) {
  int64_t heads, lines;
  if (__builtin_mul_overflow(p.batch, p.query_heads, &heads) || __builtin_mul_overflow(heads, rows, &lines) ||
      __builtin_mul_overflow(lines, columns, product) || *product > attention::kMaxLength) {
    return fail(GATUN_INVALID_ARGUMENT, "%s: %lld x %lld x %lld x %lld elements; allowed: up to 2^60", what,
                LongLong{p.batch}, LongLong{p.query_heads}, LongLong{rows}, LongLong{columns});
  }
  return GATUN_OK;
}

int32_t read_structs(const Arguments& a, Call* call) {
  GATUN_TRY(attention::read_params(a.params, &call->p));
  GATUN_TRY(check_not_null(a.selection, "selection"));
  GATUN_TRY(check_struct_size(a.selection->struct_size, sizeof(Selection), "selection"));
  call->s = *a.selection;
  return GATUN_OK;
}

int32_t check_map_size(const Call& call, const char* name, int64_t* count) {
  GATUN_TRY(check_range(call.p.query_blocks, 0, attention::kMaxLength, "params.query_blocks"));
  GATUN_TRY(check_range(call.s.key_blocks, 0, INT32_MAX, "selection.key_blocks"));
  return check_product(call.p, call.p.query_blocks, call.s.key_blocks, name, count);
}

int32_t no_memory() { return fail(GATUN_OUT_OF_RESOURCES, "no memory for the selection of blocks"); }

int32_t Call::read(Tier limit, const Arguments& a) {
  kernel = table().select(p.dtype, GATUN_F32, limit).kernel;
  gemm = &gemm::kernel_of(limit);
  q_ = static_cast<const uint8_t*>(a.q);
  k_ = static_cast<const uint8_t*>(a.k);
  lse = a.lse;
  attention::settle(
      {{p.batch, &p.q_batch_stride}, {p.query_heads, &p.q_head_stride}, {p.query_length, &p.q_row_stride}});
  attention::settle({{p.batch, &p.k_batch_stride}, {p.kv_heads, &p.k_head_stride}, {p.kv_length, &p.k_row_stride}});
  if (a.budgets != nullptr) {
    budgets_.assign(a.budgets, a.budgets + heads());
    budgets = budgets_.data();
    for (int64_t i = 0; i < heads(); ++i) GATUN_TRY(check_amount(budgets[i], "budgets", i));
  }
  if (a.q_offsets == nullptr) return GATUN_OK;
  q_offsets_.assign(a.q_offsets, a.q_offsets + p.batch + 1);
  kv_offsets_.assign(a.kv_offsets, a.kv_offsets + p.batch + 1);
  GATUN_TRY(attention::check_offsets(q_offsets_.data(), p.batch, p.query_length, "q_offsets", "params.query_length"));
  return attention::check_offsets(kv_offsets_.data(), p.batch, p.kv_length, "kv_offsets", "params.kv_length");
}

int32_t check_call(Tier limit, const Arguments& a, const Uses& uses, Buffer* outputs, int output_count, Call* call) {
  const Params& p = call->p;
  const Selection& s = call->s;
  GATUN_TRY(check_selection(p, s, uses));
  attention::Inputs in = {};
  in.q = a.q;
  in.k = a.k;
  in.q_offsets = a.q_offsets;
  in.kv_offsets = a.kv_offsets;
  Buffer buffers[10];
  int count = 0;
  for (; count < output_count; ++count) buffers[count] = outputs[count];
  GATUN_TRY(attention::check_offset_arrays(p, in, &buffers[count]));
  count += 2;
  if (uses.values) {
    GATUN_TRY(attention::check_queries_and_keys(p, in, a.lse, &buffers[count]));
    count += 3;
  }
  if (a.budgets != nullptr) {
    int64_t heads;
    GATUN_TRY(check_product(p, 1, 1, "budgets", &heads));
    buffers[count++] = {"budgets", a.budgets, 1, heads, 0, 4, false};
  }
  GATUN_TRY(check_buffers(buffers, count));
  GATUN_TRY(call->read(limit, a));
  return uses.map ? check_blocks(*call) : GATUN_OK;
}

}  // namespace gatun::attention_select
