// The C entry points: check, select, call.
#include "gatun/qmatmul.h"

#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/status.h"
#include "base/text.h"
#include "qmatmul/stack.h"
#include "qmatmul/table.h"

namespace gatun::qmatmul {
namespace {

int32_t check_float(int32_t dtype, const char* name) {
  if (dtype == GATUN_F32 || dtype == GATUN_BF16) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "%s = %d (%s); allowed: F32, BF16", name, dtype, dtype_name(dtype));
}

int32_t check_shape(int64_t given, int64_t packed, const char* name) {
  if (given == packed) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "params.%s = %lld; the packed weights have %lld", name,
              static_cast<long long>(given), static_cast<long long>(packed));
}

// Copies the caller's struct, then checks of the copy what does not depend on the weights.
int32_t read_params(const gatun_qmatmul_params* given, gatun_qmatmul_params* params) {
  GATUN_TRY(check_not_null(given, "params"));
  GATUN_TRY(check_struct_size(given->struct_size, sizeof(*params), "params"));
  *params = *given;
  GATUN_TRY(check_float(params->x_dtype, "params.x_dtype"));
  GATUN_TRY(check_float(params->y_dtype, "params.y_dtype"));
  GATUN_TRY(check_range(params->mode, GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_PRECISE, "params.mode"));
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
};

// Checks what does not depend on data buffers, and reads the headers.
int32_t check_call(const gatun_qmatmul_params* given, const Weights& weights, gatun_qmatmul_params* params,
                   Parts* parts) {
  GATUN_TRY(read_params(given, params));
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
  return check_shapes(*params, *parts);
}

int32_t check_buffers(const Call& call, const Parts& parts, const Weights& weights) {
  const gatun_qmatmul_params& params = call.params;
  const bool by_rows = weights.form == Weights::by_rows;
  Buffer x, y, bias{}, residual{}, group_rows{};
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
  if (by_rows) {
    group_rows = {weights.group_rows, parts.count * static_cast<int64_t>(sizeof(*weights.group_rows)), "group_rows"};
  }
  const bool in_place =
      call.residual == call.y && (params.rows < 2 || params.residual_row_stride == params.y_row_stride);
  const Buffer packed{weights.packed, parts.packed_bytes, "packed"};
  for (const Buffer& input : {x, packed, bias, in_place ? Buffer{} : residual, group_rows}) {
    GATUN_TRY(check_disjoint(y.address, y.bytes, y.name, input.address, input.bytes, input.name));
  }
  return GATUN_OK;
}

Call call_on(const gatun_qmatmul_params& params, const Parts& parts) {
  Call call{params, parts.at, parts.count, {nullptr, nullptr}, nullptr, nullptr, nullptr, nullptr};
  for (const Part* part = parts.at; part != parts.at + parts.count; ++part) {
    const TableRow*& row = call.rows[part->layout.four_bits()];
    if (row != nullptr) continue;
    row = &table().select(multiplied_dtype(params.mode), stored_dtype(part->layout), active_tier());
  }
  return call;
}

int32_t check_and_run(const gatun_qmatmul_params* given, const Weights& weights, const void* x, const float* bias,
                      const void* residual, void* y) {
  gatun_qmatmul_params params;
  Parts parts;
  GATUN_TRY(check_call(given, weights, &params, &parts));
  Call call = call_on(params, parts);
  call.x = x;
  call.bias = bias;
  call.residual = residual;
  call.y = y;
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
    if (row != nullptr) table().explain("activations", row->from, "stored weights", row->to, out);
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
  return check_and_run(params, {packed, packed_bytes, Weights::alone, 1, nullptr}, x, bias, residual, y);
}

int32_t gatun_qmatmul_explain(const gatun_qmatmul_params* params, const void* packed, int64_t packed_bytes, char* text,
                              int64_t capacity) {
  return check_and_explain(params, {packed, packed_bytes, Weights::alone, 1, nullptr}, text, capacity);
}

int32_t gatun_qmatmul_concat(const gatun_qmatmul_params* params, int32_t count, const void* x, const void* packed,
                             int64_t packed_bytes, const float* bias, const void* residual, void* y) {
  return check_and_run(params, {packed, packed_bytes, Weights::side_by_side, count, nullptr}, x, bias, residual, y);
}

int32_t gatun_qmatmul_concat_explain(const gatun_qmatmul_params* params, int32_t count, const void* packed,
                                     int64_t packed_bytes, char* text, int64_t capacity) {
  return check_and_explain(params, {packed, packed_bytes, Weights::side_by_side, count, nullptr}, text, capacity);
}

int32_t gatun_qmatmul_grouped(const gatun_qmatmul_params* params, const int64_t* group_rows, int32_t count,
                              const void* x, const void* packed, int64_t packed_bytes, const float* bias,
                              const void* residual, void* y) {
  return check_and_run(params, {packed, packed_bytes, Weights::by_rows, count, group_rows}, x, bias, residual, y);
}

int32_t gatun_qmatmul_grouped_explain(const gatun_qmatmul_params* params, const int64_t* group_rows, int32_t count,
                                      const void* packed, int64_t packed_bytes, char* text, int64_t capacity) {
  return check_and_explain(params, {packed, packed_bytes, Weights::by_rows, count, group_rows}, text, capacity);
}
