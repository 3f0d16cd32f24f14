#include "quantize/check.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/status.h"

namespace gatun::quantize {
namespace {

using LongLong = long long;

template <class... Dtypes>
bool is_one_of(int32_t dtype, Dtypes... dtypes) {
  return ((dtype == dtypes) || ...);
}

bool is_float(int32_t codes) {
  return is_one_of(codes, GATUN_F8E4M3, GATUN_F8E5M2, GATUN_F6E3M2, GATUN_F6E2M3, GATUN_F4E2M1);
}

// What a code is and which zero points go with it.
int32_t check_codes(const gatun_quantize_params& p) {
  const char* const codes = dtype_name(p.code_dtype);
  GATUN_TRY(check_dtype(
      p.code_dtype,
      {GATUN_I8, GATUN_U8, GATUN_U4, GATUN_U2, GATUN_F8E4M3, GATUN_F8E5M2, GATUN_F6E3M2, GATUN_F6E2M3, GATUN_F4E2M1},
      "params.code_dtype"));
  GATUN_TRY(check_range(p.book, GATUN_BOOK_NONE, GATUN_BOOK_LINEAR_UNSIGNED, "params.book"));
  GATUN_TRY(check_range(p.zero_point, GATUN_ZERO_NONE, GATUN_ZERO_FLOAT, "params.zero_point"));
  if (p.book != GATUN_BOOK_NONE) {
    const bool small = is_one_of(p.book, GATUN_BOOK_NF4, GATUN_BOOK_FP4), any = p.book == GATUN_BOOK_GIVEN;
    if (!is_one_of(p.code_dtype, GATUN_U4, GATUN_U8) || (!any && small != (p.code_dtype == GATUN_U4))) {
      return fail(GATUN_INVALID_ARGUMENT, "params.code_dtype = %d (%s) with params.book = %d; allowed: %s",
                  p.code_dtype, codes, p.book,
                  any     ? "U4, U8"
                  : small ? "U4"
                          : "U8");
    }
  }
  const bool none = p.book != GATUN_BOOK_NONE || !is_one_of(p.code_dtype, GATUN_U8, GATUN_U4, GATUN_U2);
  if (none && p.zero_point != GATUN_ZERO_NONE) {
    return fail(GATUN_INVALID_ARGUMENT, "params.zero_point = %d with %s codes%s; allowed: 0 (none)", p.zero_point,
                codes, p.book != GATUN_BOOK_NONE ? " of a code book" : "");
  }
  if (!none && p.code_dtype == GATUN_U8 && p.zero_point == GATUN_ZERO_NONE) {
    return fail(GATUN_INVALID_ARGUMENT,
                "params.zero_point = 0 (none) with U8 codes; allowed: 1 (integer), 2 (float), or a params.book");
  }
  return GATUN_OK;
}

int32_t check_scales(const gatun_quantize_params& p) {
  const bool floats = is_float(p.code_dtype), nibble_floats = p.code_dtype == GATUN_F4E2M1;
  const bool book = p.book != GATUN_BOOK_NONE;
  if (!is_one_of(p.scale_dtype, GATUN_F32) && !(p.scale_dtype == GATUN_F16 && !book) &&
      !(p.scale_dtype == GATUN_E8M0 && floats) && !(p.scale_dtype == GATUN_F8E4M3 && nibble_floats)) {
    return fail(GATUN_INVALID_ARGUMENT, "params.scale_dtype = %d (%s) with %s codes%s; allowed: %s", p.scale_dtype,
                dtype_name(p.scale_dtype), dtype_name(p.code_dtype), book ? " of a code book" : "",
                book            ? "F32"
                : nibble_floats ? "F32, F16, E8M0, F8E4M3"
                : floats        ? "F32, F16, E8M0"
                                : "F32, F16");
  }
  const bool two_levels = p.scale_dtype == GATUN_F8E4M3;
  if (two_levels ? !(p.tensor_scale > 0 && std::isfinite(p.tensor_scale)) : p.tensor_scale != 1) {
    return fail(GATUN_INVALID_ARGUMENT, "params.tensor_scale = %g with %s scales; allowed: %s", double{p.tensor_scale},
                dtype_name(p.scale_dtype), two_levels ? "finite values above 0" : "1");
  }
  return GATUN_OK;
}

// How scales and codes are made: not a matter of dequantize.
int32_t check_rules(const gatun_quantize_params& p) {
  GATUN_TRY(check_range(p.scale_rule, GATUN_SCALE_DEFAULT, GATUN_SCALE_EVEN, "params.scale_rule"));
  GATUN_TRY(check_range(p.rounding, GATUN_ROUND_NEAREST, GATUN_ROUND_GIVEN, "params.rounding"));
  const bool integers = is_one_of(p.code_dtype, GATUN_I8, GATUN_U4, GATUN_U2) && p.zero_point == GATUN_ZERO_NONE &&
                        p.book == GATUN_BOOK_NONE;
  const bool powers = p.scale_dtype == GATUN_E8M0;
  if (!is_one_of(p.scale_rule, GATUN_SCALE_DEFAULT, GATUN_SCALE_GIVEN) &&
      !(integers && is_one_of(p.scale_rule, GATUN_SCALE_FULL_RANGE, GATUN_SCALE_NO_CLIPPING)) &&
      !(powers && p.scale_rule >= GATUN_SCALE_FLOOR)) {
    return fail(GATUN_INVALID_ARGUMENT,
                "params.scale_rule = %d with %s codes%s and %s scales; allowed: 0 (default), 1 (given)%s", p.scale_rule,
                dtype_name(p.code_dtype), p.zero_point != GATUN_ZERO_NONE ? " with zero points" : "",
                dtype_name(p.scale_dtype),
                integers ? ", 2 (full range), 3 (no clipping)"
                : powers ? ", 4 (floor), 5 (ceil), 6 (rceil), 7 (even)"
                         : "");
  }
  return GATUN_OK;
}

int32_t check_shape(const gatun_quantize_params& p, bool dequantize) {
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_range(p.rows, 0, INT64_MAX, "params.rows"));
  GATUN_TRY(check_range(p.depth, 0, INT64_MAX, "params.depth"));
  if (p.group != p.depth && (p.group < 16 || p.group > p.depth)) {
    return fail(GATUN_INVALID_ARGUMENT, "params.group = %lld with params.depth = %lld; allowed: 16..depth, or depth",
                LongLong{p.group}, LongLong{p.depth});
  }
  const bool bytes = is_one_of(p.code_dtype, GATUN_F8E4M3, GATUN_F8E5M2);
  if (p.group_rows < 1 || (p.group_rows > 1 && (!bytes || p.group_rows > p.rows))) {
    return fail(GATUN_INVALID_ARGUMENT,
                "params.group_rows = %lld with params.rows = %lld and %s codes; allowed: 1, with F8 codes up to rows",
                LongLong{p.group_rows}, LongLong{p.rows}, dtype_name(p.code_dtype));
  }
  if (dequantize) {
    GATUN_TRY(check_range(p.x_column_stride, 1, 1, "params.x_column_stride"));
    return check_row_stride(p.rows, p.depth, p.x_row_stride, "params.x_row_stride");
  }
  GATUN_TRY(check_range(p.x_column_stride, 1, INT64_MAX, "params.x_column_stride"));
  return check_range(p.x_row_stride, 0, INT64_MAX, "params.x_row_stride");
}

}  // namespace

int32_t check_params(const gatun_quantize_params* params, bool dequantize) {
  GATUN_TRY(check_not_null(params, "params"));
  GATUN_TRY(check_struct_size(params->struct_size, sizeof(*params), "params"));
  GATUN_TRY(check_dtype(params->x_dtype, {GATUN_F32, GATUN_F16, GATUN_BF16}, "params.x_dtype"));
  GATUN_TRY(check_codes(*params));
  GATUN_TRY(check_scales(*params));
  if (!dequantize) GATUN_TRY(check_rules(*params));
  return check_shape(*params, dequantize);
}

int32_t list_buffers(const gatun_quantize_params& p, bool dequantize, const Buffers& b, Buffer* list) {
  const bool book = p.book == GATUN_BOOK_GIVEN, zeros = p.zero_point != GATUN_ZERO_NONE;
  const bool given_rounding = !dequantize && p.rounding == GATUN_ROUND_GIVEN;
  const bool given_scales = dequantize || p.scale_rule == GATUN_SCALE_GIVEN;
  GATUN_TRY(check_absent(book, b.code_book, "code_book", "params.book is not 1 (given)"));
  GATUN_TRY(check_absent(given_rounding, b.round_up, "round_up", "params.rounding is not 2 (given)"));
  GATUN_TRY(check_absent(zeros, b.zero_points, "zero_points", "params.zero_point = 0"));
  const int64_t code_bytes = dtype_bytes(p.code_dtype, p.depth);
  const int64_t blocks = blocks_of(p.rows, p.group_rows), groups = blocks_of(p.depth, p.group);
  const Buffer buffers[kBuffers] = {
      {"x", b.x, p.rows, p.depth, p.x_row_stride, dtype_bytes(p.x_dtype, 1), dequantize, p.x_column_stride},
      {"code_book", b.code_book, book ? 1 : 0, p.code_dtype == GATUN_U4 ? 16 : 256, 0, 4, false},
      {"round_up", b.round_up, given_rounding ? p.rows : 0, p.depth, p.depth, 1, false},
      {"codes", b.codes, p.rows, code_bytes, code_bytes, 1, !dequantize},
      {"scales", b.scales, blocks, groups, groups, dtype_bytes(p.scale_dtype, 1), !given_scales},
      {"zero_points", b.zero_points, blocks, zeros ? groups : 0, groups, p.zero_point == GATUN_ZERO_FLOAT ? 4 : 1,
       !given_scales},
  };
  std::copy(buffers, buffers + kBuffers, list);
  return GATUN_OK;
}

int32_t check_buffers(const gatun_quantize_params& p, bool dequantize, const Buffers& b) {
  Buffer list[kBuffers];
  GATUN_TRY(list_buffers(p, dequantize, b, list));
  return gatun::check_buffers(list);
}

}  // namespace gatun::quantize
