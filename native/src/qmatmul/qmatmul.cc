// The C entry points: check, select, call.
#include "gatun/qmatmul.h"

#include <algorithm>

#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/status.h"
#include "base/text.h"
#include "qmatmul/stack.h"
#include "qmatmul/table.h"

namespace gatun::qmatmul {
namespace {

int32_t check_dtype(int32_t dtype, int32_t first, int32_t second, const char* name) {
  if (dtype == first || dtype == second) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "%s = %d (%s); allowed: %s, %s", name, dtype, dtype_name(dtype),
              dtype_name(first), dtype_name(second));
}

int32_t check_shape(int64_t given, int64_t packed, const char* name) {
  if (given == packed) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "params.%s = %lld; the packed weights have %lld", name,
              static_cast<long long>(given), static_cast<long long>(packed));
}

// Of rows that are quantized already: their dtype, and the mode that multiplies it.
int32_t check_codes(const gatun_qmatmul_params& params) {
  const int32_t dtype = params.x_dtype;
  if (dtype == GATUN_I8) {
    return check_range(params.mode, GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP, "params.mode");
  }
  if (dtype == GATUN_F8E4M3 || dtype == GATUN_F8E5M2) {
    return check_range(params.mode, GATUN_QMATMUL_BF16, GATUN_QMATMUL_BF16, "params.mode");
  }
  return fail(GATUN_INVALID_ARGUMENT, "params.x_dtype = %d (%s); allowed: F8E4M3, F8E5M2, I8", dtype,
              dtype_name(dtype));
}

// Copies the caller's struct, then checks of the copy what does not depend on the weights.
int32_t read_params(const gatun_qmatmul_params* given, bool scaled, gatun_qmatmul_params* params) {
  GATUN_TRY(check_not_null(given, "params"));
  GATUN_TRY(check_struct_size(given->struct_size, sizeof(*params), "params"));
  *params = *given;
  GATUN_TRY(scaled ? check_codes(*params) : check_dtype(params->x_dtype, GATUN_F32, GATUN_BF16, "params.x_dtype"));
  GATUN_TRY(check_dtype(params->y_dtype, GATUN_F32, GATUN_BF16, "params.y_dtype"));
  if (!scaled) {
    GATUN_TRY(check_range(params->mode, GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_BF16, "params.mode"));
  }
  GATUN_TRY(check_range(params->activation, GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_SILU, "params.activation"));
  GATUN_TRY(check_range(params->threads, 0, kMaxThreads, "params.threads"));
  return check_range(params->rows, 0, INT64_MAX, "params.rows");
}

int32_t check_shapes(const gatun_qmatmul_params& params, const Parts& parts) {
  // The caller sized x and y for these: packed weights of another shape, perhaps written there since, must not be used.
  GATUN_TRY(check_shape(params.columns, parts.columns, "columns"));
  GATUN_TRY(check_shape(params.depth, parts.depth, "depth"));
  GATUN_TRY(check_range(params.column_begin, 0, parts.columns, "params.column_begin"));
  GATUN_TRY(check_range(params.column_end, params.column_begin, parts.columns, "params.column_end"));
  GATUN_TRY(check_row_stride(params.rows, parts.depth, params.x_row_stride, "params.x_row_stride"));
  return check_row_stride(params.rows, parts.columns, params.y_row_stride, "params.y_row_stride");
}

// Integers are multiplied as integers, other numbers as bf16; all of a call's weights need the same packed rows of x.
int32_t check_modes(int32_t mode, const Parts& parts) {
  for (const Part* part = parts.at; part != parts.at + parts.count; ++part) {
    const Stored stored = part->layout.stored(), first = parts.at[0].layout.stored();
    if (!takes_mode(stored, mode)) {
      return fail(GATUN_UNSUPPORTED, "params.mode = %d with weights stored as %s; allowed: %s, PRECISE (2)", mode,
                  stored_name(stored), is_integer(stored) ? "INT8_ROW (0), INT8_GROUP (1)" : "BF16 (3)");
    }
    if (is_integer(stored) != is_integer(first)) {
      return fail(GATUN_UNSUPPORTED, "packed[%d] is stored as %s and packed[0] as %s; allowed in a call: either",
                  static_cast<int>(part - parts.at), stored_name(stored), stored_name(first));
    }
  }
  return GATUN_OK;
}

struct Buffer {
  const void* address;
  int64_t bytes;
  const char* name;
};

int32_t check_matrix(const void* address, int64_t rows, int64_t columns, int64_t row_stride, int32_t dtype,
                     const char* name, Buffer* buffer) {
  int64_t bytes;
  const int64_t element = dtype_bytes(dtype, 1);
  GATUN_TRY(check_extent(rows, columns, row_stride, 1, element * 8, name, &bytes));
  if (bytes > 0) {
    GATUN_TRY(check_not_null(address, name));
    GATUN_TRY(check_aligned(address, element, name));
  }
  *buffer = {address, bytes, name};
  return GATUN_OK;
}

// A weight, or a stack side by side or with rows for each.
struct Weights {
  const void* packed;
  int64_t packed_bytes;
  enum { alone, side_by_side, by_rows } form;
  int32_t count;
  const int64_t* group_rows;
  bool scaled = false;  // x has scales
};

// Scales of rows that are quantized already.
struct Scales {
  const float* at;
  int64_t group, row_stride;
};

// Checks what does not depend on data buffers, and reads the headers.
int32_t check_call(const gatun_qmatmul_params* given, const Weights& weights, gatun_qmatmul_params* params,
                   Parts* parts) {
  GATUN_TRY(read_params(given, weights.scaled, params));
  if (weights.form == Weights::alone) {
    GATUN_TRY(read_alone(weights.packed, weights.packed_bytes, parts));
  } else {
    GATUN_TRY(read_stack(weights.packed, weights.packed_bytes, weights.count, parts));
  }
  if (weights.form == Weights::by_rows) {
    GATUN_TRY(place_by_rows(weights.group_rows, params->rows, parts));
  } else {
    GATUN_TRY(place_side_by_side(params->rows, parts));
  }
  GATUN_TRY(check_shapes(*params, *parts));
  return check_modes(params->mode, *parts);
}

// Of one weight; moves what they say into the call.
int32_t read_scales(const Scales& scales, const Layout& layout, Call* call) {
  const int32_t mode = call->params.mode;
  const bool of_row = scales.group == layout.depth() && mode != GATUN_QMATMUL_INT8_GROUP;
  const bool of_group = scales.group == layout.group() && mode != GATUN_QMATMUL_INT8_ROW;
  if (!of_row && !of_group) {
    return fail(GATUN_INVALID_ARGUMENT,
                "x_group = %lld with params.mode = %d; allowed: the depth %lld but in INT8_GROUP (1), "
                "or the weights' group %lld but in INT8_ROW (0)",
                static_cast<long long>(scales.group), mode, static_cast<long long>(layout.depth()),
                static_cast<long long>(layout.group()));
  }
  const int64_t count = scales.group == layout.depth() ? 1 : layout.groups();
  if (scales.row_stride != 0) {
    GATUN_TRY(check_row_stride(call->params.rows, count, scales.row_stride, "x_scales_row_stride"));
  }
  call->x_scales = scales.at;
  call->x_scales_row_stride = scales.row_stride;
  call->x_scales_groups = scales.group != layout.depth();
  return GATUN_OK;
}

int32_t check_buffers(const Call& call, const Parts& parts, const Weights& weights) {
  const gatun_qmatmul_params& params = call.params;
  const bool by_rows = weights.form == Weights::by_rows;
  Buffer x, y, bias{}, residual{}, group_rows{}, x_scales{};
  GATUN_TRY(check_matrix(call.x, params.rows, parts.depth, params.x_row_stride, params.x_dtype, "x", &x));
  GATUN_TRY(check_matrix(call.y, params.rows, parts.columns, params.y_row_stride, params.y_dtype, "y", &y));
  if (call.bias != nullptr) {
    GATUN_TRY(
        check_matrix(call.bias, by_rows ? parts.count : 1, parts.columns, parts.columns, GATUN_F32, "bias", &bias));
  }
  if (call.residual != nullptr) {
    GATUN_TRY(check_row_stride(params.rows, parts.columns, params.residual_row_stride, "params.residual_row_stride"));
    GATUN_TRY(check_matrix(call.residual, params.rows, parts.columns, params.residual_row_stride, params.y_dtype,
                           "residual", &residual));
  }
  if (weights.scaled && parts.depth > 0) {
    const int64_t rows = call.x_scales_row_stride == 0 ? std::min<int64_t>(params.rows, 1) : params.rows;
    const int64_t count = call.x_scales_groups ? parts.at[0].layout.groups() : 1;
    GATUN_TRY(check_matrix(call.x_scales, rows, count, call.x_scales_row_stride, GATUN_F32, "x_scales", &x_scales));
  }
  if (by_rows) {
    group_rows = {weights.group_rows, parts.count * static_cast<int64_t>(sizeof(*weights.group_rows)), "group_rows"};
  }
  const bool in_place =
      call.residual == call.y && (params.rows < 2 || params.residual_row_stride == params.y_row_stride);
  const Buffer packed{weights.packed, parts.packed_bytes, "packed"};
  for (const Buffer& input : {x, packed, bias, in_place ? Buffer{} : residual, group_rows, x_scales}) {
    GATUN_TRY(check_disjoint(y.address, y.bytes, y.name, input.address, input.bytes, input.name));
  }
  return GATUN_OK;
}

Call call_on(const gatun_qmatmul_params& params, const Parts& parts) {
  Call call{params, parts.at, parts.count, {}, nullptr, nullptr, 0, false, nullptr, nullptr, nullptr};
  for (const Part* part = parts.at; part != parts.at + parts.count; ++part) {
    const TableRow*& row = call.rows[static_cast<int>(part->layout.stored())];
    if (row != nullptr) continue;
    row = &table().select(multiplied_dtype(params.mode), stored_form(part->layout), active_tier());
  }
  return call;
}

int32_t check_and_run(const gatun_qmatmul_params* given, const Weights& weights, const void* x, const Scales& scales,
                      const float* bias, const void* residual, void* y) {
  gatun_qmatmul_params params;
  Parts parts;
  GATUN_TRY(check_call(given, weights, &params, &parts));
  Call call = call_on(params, parts);
  call.x = x;
  call.bias = bias;
  call.residual = residual;
  call.y = y;
  if (weights.scaled) GATUN_TRY(read_scales(scales, parts.at[0].layout, &call));
  GATUN_TRY(check_buffers(call, parts, weights));
  return run(call);
}

void explain_split(const Call& call, const Split& split, Text& out) {
  const gatun_qmatmul_params& params = call.params;
  if (split.weights == 0) {
    out.add("  nothing to do: %lld rows, columns %lld..%lld\n", static_cast<long long>(params.rows),
            static_cast<long long>(params.column_begin), static_cast<long long>(params.column_end));
    return;
  }
  // Where weights have rows of their own, blocks end with weights.
  const bool alike = call.parts[0].rows == params.rows || split.block_rows == params.rows;
  out.add(alike ? "  %lld rows in blocks of %lld; " : "  %lld rows, the first block of %lld: ",
          static_cast<long long>(params.rows), static_cast<long long>(split.block_rows));
  if (call.count > 1) out.add("%lld of %d weights, ", static_cast<long long>(split.weights), call.count);
  out.add("%lld panels of %d columns", static_cast<long long>(split.panels), kPanelRows);
  if (split.row_chunks > 1) out.add(" x %lld chunks of rows", static_cast<long long>(split.row_chunks));
  out.add(" on %d thread%s\n", split.threads, split.threads == 1 ? "" : "s");
}

int32_t check_and_explain(const gatun_qmatmul_params* given, const Weights& weights, char* text, int64_t capacity) {
  gatun_qmatmul_params params;
  Parts parts;
  GATUN_TRY(check_call(given, weights, &params, &parts));
  const Call call = call_on(params, parts);
  Text out;
  for (const TableRow* row : call.rows) {
    if (row == nullptr) continue;
    table().explain("activations", row->from, stored_name(static_cast<Stored>(row->to)), "as weights", row->to, out);
  }
  Split split;
  GATUN_TRY(split_of(call, &split));
  explain_split(call, split, out);
  return out.copy_to(text, capacity);
}

}  // namespace
}  // namespace gatun::qmatmul

using namespace gatun::qmatmul;

int32_t gatun_qmatmul(const gatun_qmatmul_params* params, const void* x, const void* packed, int64_t packed_bytes,
                      const float* bias, const void* residual, void* y) {
  return check_and_run(params, {packed, packed_bytes, Weights::alone, 1, nullptr}, x, {}, bias, residual, y);
}

int32_t gatun_qmatmul_scaled(const gatun_qmatmul_params* params, int64_t x_group, const void* x, const float* x_scales,
                             int64_t x_scales_row_stride, const void* packed, int64_t packed_bytes, const float* bias,
                             const void* residual, void* y) {
  return check_and_run(params, {packed, packed_bytes, Weights::alone, 1, nullptr, true}, x,
                       {x_scales, x_group, x_scales_row_stride}, bias, residual, y);
}

int32_t gatun_qmatmul_explain(const gatun_qmatmul_params* params, const void* packed, int64_t packed_bytes, char* text,
                              int64_t capacity) {
  return check_and_explain(params, {packed, packed_bytes, Weights::alone, 1, nullptr}, text, capacity);
}

int32_t gatun_qmatmul_concat(const gatun_qmatmul_params* params, int32_t count, const void* x, const void* packed,
                             int64_t packed_bytes, const float* bias, const void* residual, void* y) {
  return check_and_run(params, {packed, packed_bytes, Weights::side_by_side, count, nullptr}, x, {}, bias, residual, y);
}

int32_t gatun_qmatmul_concat_explain(const gatun_qmatmul_params* params, int32_t count, const void* packed,
                                     int64_t packed_bytes, char* text, int64_t capacity) {
  return check_and_explain(params, {packed, packed_bytes, Weights::side_by_side, count, nullptr}, text, capacity);
}

int32_t gatun_qmatmul_grouped(const gatun_qmatmul_params* params, const int64_t* group_rows, int32_t count,
                              const void* x, const void* packed, int64_t packed_bytes, const float* bias,
                              const void* residual, void* y) {
  return check_and_run(params, {packed, packed_bytes, Weights::by_rows, count, group_rows}, x, {}, bias, residual, y);
}

int32_t gatun_qmatmul_grouped_explain(const gatun_qmatmul_params* params, const int64_t* group_rows, int32_t count,
                                      const void* packed, int64_t packed_bytes, char* text, int64_t capacity) {
  return check_and_explain(params, {packed, packed_bytes, Weights::by_rows, count, group_rows}, text, capacity);
}
