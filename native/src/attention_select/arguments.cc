// The checks of what selections are given.
#include "attention_select/arguments.h"

#include <algorithm>
#include <cmath>

#include "attention/check.h"
#include "base/status.h"

namespace gatun::attention_select {
namespace {

using LongLong = long long;

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

int32_t check_lse(const Params& p, const Selection& s, const Arguments& a, const char* name) {
  const bool wanted = s.kind == GATUN_SELECT_MASS;
  GATUN_TRY(check_absent(wanted, a.lse, name, "the selection is not by MASS"));
  return wanted && p.batch > 0 && p.query_heads > 0 && p.query_length > 0 ? check_not_null(a.lse, name) : GATUN_OK;
}

}  // namespace

int32_t check_amount(float amount, const char* name, int64_t index) {
  if (amount >= 0 && amount <= 1) return GATUN_OK;
  if (index < 0) {
    return fail(GATUN_INVALID_ARGUMENT, "%s = %g; allowed: 0..1", name, static_cast<double>(amount));
  }
  return fail(GATUN_INVALID_ARGUMENT, "%s[%lld] = %g; allowed: 0..1", name, LongLong{index},
              static_cast<double>(amount));
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

int32_t check_product(const Params& p, int64_t rows, int64_t columns, const char* what, int64_t* product) {
  int64_t heads, lines;
  if (__builtin_mul_overflow(p.batch, p.query_heads, &heads) || __builtin_mul_overflow(heads, rows, &lines) ||
      __builtin_mul_overflow(lines, columns, product) || *product > attention::kMaxLength) {
    return fail(GATUN_INVALID_ARGUMENT, "%s: %lld x %lld x %lld x %lld elements; allowed: up to 2^60", what,
                LongLong{p.batch}, LongLong{p.query_heads}, LongLong{rows}, LongLong{columns});
  }
  return GATUN_OK;
}

int32_t check_map_size(const Params& p, const Selection& s, const char* name, int64_t* count) {
  GATUN_TRY(check_range(p.query_blocks, 0, attention::kMaxLength, "params.query_blocks"));
  GATUN_TRY(check_range(s.key_blocks, 0, INT32_MAX, "selection.key_blocks"));
  return check_product(p, p.query_blocks, s.key_blocks, name, count);
}

int32_t check_sums(const Params& params, bool ragged, int64_t* count) {
  Params p = params;
  if (ragged) p.batch = std::min<int64_t>(p.batch, 1);
  return check_product(p, 1, p.kv_length, "columns", count);
}

int32_t check_blocks(const Params& p, const Selection& s, int64_t queries, int64_t keys, int64_t b) {
  const int64_t query_blocks = blocks_of(queries, p.query_block), key_blocks = blocks_of(keys, p.key_block);
  if (p.query_blocks < query_blocks) {
    return fail(GATUN_INVALID_ARGUMENT,
                "params.query_blocks = %lld; allowed: at least %lld, of the %lld queries of batch item %lld",
                LongLong{p.query_blocks}, LongLong{query_blocks}, LongLong{queries}, LongLong{b});
  }
  if (s.key_blocks < key_blocks) {
    return fail(GATUN_INVALID_ARGUMENT,
                "selection.key_blocks = %lld; allowed: at least %lld, of the %lld keys of batch item %lld",
                LongLong{s.key_blocks}, LongLong{key_blocks}, LongLong{keys}, LongLong{b});
  }
  return GATUN_OK;
}

int32_t read_structs(const Arguments& a, Params* p, Selection* s) {
  GATUN_TRY(attention::read_params(a.params, p));
  GATUN_TRY(check_not_null(a.selection, "selection"));
  GATUN_TRY(check_struct_size(a.selection->struct_size, sizeof(Selection), "selection"));
  *s = *a.selection;
  return GATUN_OK;
}

int32_t check_scores_kind(const Params& p, const Selection& s, const Arguments& a) {
  GATUN_TRY(check_range(s.kind, GATUN_SELECT_MEANS, GATUN_SELECT_MASS, "selection.kind"));
  if (s.kind == GATUN_SELECT_VERTICAL_SLASH) {
    return fail(GATUN_INVALID_ARGUMENT, "selection.kind = %d (VERTICAL_SLASH); allowed: kinds that have scores",
                s.kind);
  }
  return check_lse(p, s, a, "lse");
}

int32_t check_select_kind(const Params& p, const Selection& s, const Arguments& a) {
  GATUN_TRY(check_range(s.kind, GATUN_SELECT_MEANS, GATUN_SELECT_MASS, "selection.kind"));
  GATUN_TRY(check_lse(p, s, a, "lse_before"));
  return s.kind == GATUN_SELECT_VERTICAL_SLASH ? check_absent(false, a.budgets, "budgets", "VERTICAL_SLASH has none")
                                               : GATUN_OK;
}

int32_t check_both_lines(const float* columns, const float* diagonals) {
  if ((columns == nullptr) == (diagonals == nullptr)) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "%s is null; allowed: both of columns and diagonals, or none",
              columns == nullptr ? "columns" : "diagonals");
}

int32_t check_arguments(const Params& p, const Selection& s, const Arguments& a, const Uses& uses,
                        const Buffer* outputs, int output_count, CheckedArguments* checked) {
  GATUN_TRY(check_selection(p, s, uses));
  attention::Inputs in = {};
  in.q = a.q;
  in.k = a.k;
  in.q_offsets = a.q_offsets;
  in.kv_offsets = a.kv_offsets;
  Buffer(&buffers)[10] = checked->buffers;
  int& count = checked->count;
  for (count = 0; count < output_count; ++count) buffers[count] = outputs[count];
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
  return check_buffers(buffers, count);
}

}  // namespace gatun::attention_select
