// The C entry points: check, select, call.
#include "gatun/qmatmul.h"

#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/status.h"
#include "base/text.h"
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

// Checks what does not depend on data buffers, and reads the description of the packed weights.
int32_t check_params(const gatun_qmatmul_params* params, const void* packed, int64_t packed_bytes,
                     gatun_qmatmul_weights* description) {
  GATUN_TRY(check_not_null(params, "params"));
  GATUN_TRY(check_struct_size(params->struct_size, sizeof(*params), "params"));
  GATUN_TRY(read_header(packed, packed_bytes, description));
  const gatun_qmatmul_weights& weights = *description;
  GATUN_TRY(check_float(params->x_dtype, "params.x_dtype"));
  GATUN_TRY(check_float(params->y_dtype, "params.y_dtype"));
  GATUN_TRY(check_range(params->mode, GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_PRECISE, "params.mode"));
  GATUN_TRY(check_range(params->activation, GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_SILU, "params.activation"));
  GATUN_TRY(check_range(params->threads, 0, kMaxThreads, "params.threads"));
  GATUN_TRY(check_range(params->rows, 0, INT64_MAX, "params.rows"));
  // The caller sized x and y for these: packed weights of another shape, perhaps written there since, must not be used.
  GATUN_TRY(check_shape(params->columns, weights.columns, "columns"));
  GATUN_TRY(check_shape(params->depth, weights.depth, "depth"));
  GATUN_TRY(check_range(params->column_begin, 0, weights.columns, "params.column_begin"));
  GATUN_TRY(check_range(params->column_end, params->column_begin, weights.columns, "params.column_end"));
  GATUN_TRY(check_row_stride(params->rows, weights.depth, params->x_row_stride, "params.x_row_stride"));
  return check_row_stride(params->rows, weights.columns, params->y_row_stride, "params.y_row_stride");
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

int32_t check_buffers(const Call& call, int64_t packed_bytes) {
  const gatun_qmatmul_params& params = call.params;
  const int64_t depth = call.layout.depth(), columns = call.layout.columns();
  Buffer x, y, bias{}, residual{};
  GATUN_TRY(check_matrix(call.x, params.rows, depth, params.x_row_stride, params.x_dtype, "x", &x));
  GATUN_TRY(check_matrix(call.y, params.rows, columns, params.y_row_stride, params.y_dtype, "y", &y));
  if (call.bias != nullptr) GATUN_TRY(check_matrix(call.bias, 1, columns, columns, GATUN_F32, "bias", &bias));
  if (call.residual != nullptr) {
    GATUN_TRY(check_row_stride(params.rows, columns, params.residual_row_stride, "params.residual_row_stride"));
    GATUN_TRY(check_matrix(call.residual, params.rows, columns, params.residual_row_stride, params.y_dtype, "residual",
                           &residual));
  }
  const bool in_place =
      call.residual == call.y && (params.rows < 2 || params.residual_row_stride == params.y_row_stride);
  for (const Buffer& input : {x, Buffer{call.packed, packed_bytes, "packed"}, bias, in_place ? Buffer{} : residual}) {
    GATUN_TRY(check_disjoint(y.address, y.bytes, y.name, input.address, input.bytes, input.name));
  }
  return GATUN_OK;
}

}  // namespace
}  // namespace gatun::qmatmul

using namespace gatun;
using namespace gatun::qmatmul;

int32_t gatun_qmatmul(const gatun_qmatmul_params* params, const void* x, const void* packed, int64_t packed_bytes,
                      const float* bias, const void* residual, void* y) {
  gatun_qmatmul_weights weights;
  GATUN_TRY(check_params(params, packed, packed_bytes, &weights));
  const Layout layout(weights);
  const Call call{*params, layout, x, static_cast<const uint8_t*>(packed), bias, residual, y};
  GATUN_TRY(check_buffers(call, layout.bytes()));
  return run(table().select(multiplied_dtype(params->mode), stored_dtype(layout), active_tier()), call);
}

int32_t gatun_qmatmul_explain(const gatun_qmatmul_params* params, const void* packed, int64_t packed_bytes, char* text,
                              int64_t capacity) {
  gatun_qmatmul_weights weights;
  GATUN_TRY(check_params(params, packed, packed_bytes, &weights));
  const Layout layout(weights);
  Text out;
  table().explain("activations", multiplied_dtype(params->mode), "stored weights", stored_dtype(layout), out);
  const Split split = split_of(*params, layout);
  if (split.panels == 0 || params->rows == 0) {
    out.add("  nothing to do: %lld rows, columns %lld..%lld\n", static_cast<long long>(params->rows),
            static_cast<long long>(params->column_begin), static_cast<long long>(params->column_end));
  } else {
    out.add("  %lld rows in blocks of %lld; %lld panels of %d columns", static_cast<long long>(params->rows),
            static_cast<long long>(split.block_rows), static_cast<long long>(split.panels), kPanelRows);
    if (split.row_chunks > 1) out.add(" x %lld chunks of rows", static_cast<long long>(split.row_chunks));
    out.add(" on %d thread%s\n", split.threads, split.threads == 1 ? "" : "s");
  }
  return out.copy_to(text, capacity);
}
