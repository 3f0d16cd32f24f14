// The C entry points of the product: check, select, call.
#include "gatun/nm_matmul.h"

#include "base/check.h"
#include "base/dtype.h"
#include "base/parallel.h"
#include "base/status.h"
#include "base/text.h"
#include "nm_matmul/table.h"

namespace gatun::nm_matmul {
namespace {

// Copies the caller's struct, then checks of the copy what does not depend on the weights.
int32_t read_params(const gatun_nm_matmul_params* given, gatun_nm_matmul_params* params) {
  GATUN_TRY(check_not_null(given, "params"));
  GATUN_TRY(check_struct_size(given->struct_size, sizeof(*params), "params"));
  *params = *given;
  GATUN_TRY(check_dtype(params->x_dtype, {GATUN_F32, GATUN_BF16}, "params.x_dtype"));
  GATUN_TRY(check_dtype(params->y_dtype, {GATUN_F32, GATUN_BF16}, "params.y_dtype"));
  GATUN_TRY(check_range(params->mode, GATUN_NM_F32, GATUN_NM_INT8, "params.mode"));
  GATUN_TRY(check_range(params->activation, GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_SILU, "params.activation"));
  GATUN_TRY(check_range(params->threads, 0, kMaxThreads, "params.threads"));
  return check_range(params->rows, 0, INT64_MAX, "params.rows");
}

int32_t check_shape(int64_t given, int64_t packed, const char* name) {
  if (given == packed) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "params.%s = %lld; the packed weights have %lld", name,
              static_cast<long long>(given), static_cast<long long>(packed));
}

int32_t check_against(const gatun_nm_matmul_params& params, const gatun_nm_weights& weights) {
  // The caller sized x and y for these: packed weights of another shape, perhaps written there since, must not be used.
  GATUN_TRY(check_shape(params.columns, weights.columns, "columns"));
  GATUN_TRY(check_shape(params.depth, weights.depth, "depth"));
  GATUN_TRY(check_range(params.column_begin, 0, weights.columns, "params.column_begin"));
  GATUN_TRY(check_range(params.column_end, params.column_begin, weights.columns, "params.column_end"));
  GATUN_TRY(check_row_stride(params.rows, weights.depth, params.x_row_stride, "params.x_row_stride"));
  GATUN_TRY(check_row_stride(params.rows, weights.columns, params.y_row_stride, "params.y_row_stride"));
  if (takes_mode(weights.value_dtype, params.mode)) return GATUN_OK;
  return fail(GATUN_UNSUPPORTED, "params.mode = %d with %s values; allowed: F32 (0)%s", params.mode,
              dtype_name(weights.value_dtype),
              takes_mode(weights.value_dtype, GATUN_NM_INT8)   ? ", INT8 (2)"
              : takes_mode(weights.value_dtype, GATUN_NM_BF16) ? ", BF16 (1)"
                                                               : "");
}

// Checks what does not depend on data buffers.
int32_t check_call(const gatun_nm_matmul_params* given, const void* packed, int64_t packed_bytes,
                   gatun_nm_matmul_params* params, PackedWeights* weights) {
  GATUN_TRY(read_params(given, params));
  GATUN_TRY(read_header(packed, packed_bytes, weights));
  return check_against(*params, weights->description);
}

int32_t check_data(const Product& product, const gatun_nm_matmul_params& p) {
  const int64_t x_bytes = dtype_bytes(p.x_dtype, 1), y_bytes = dtype_bytes(p.y_dtype, 1);
  const int64_t bytes = product.layout.bytes();
  const bool with_residual = product.residual != nullptr;
  if (with_residual) {
    GATUN_TRY(check_row_stride(p.rows, p.columns, p.residual_row_stride, "params.residual_row_stride"));
  }
  Buffer buffers[] = {
      {"x", product.x, p.rows, p.depth, p.x_row_stride, x_bytes, false},
      {"packed", product.packed, 1, bytes, bytes, 1, false},
      {"bias", product.bias, 1, product.bias == nullptr ? 0 : p.columns, p.columns, 4, false},
      {"residual", product.residual, with_residual ? p.rows : 0, p.columns, p.residual_row_stride, y_bytes, false},
      {"y", product.y, p.rows, p.columns, p.y_row_stride, y_bytes, true}};
  return check_buffers(buffers, &buffers[4], &buffers[3]);
}

void explain_other(const TableRow& row, const gatun_nm_matmul_params& params, const Layout& layout, Text& out) {
  if (!tier_usable(row.tier, active_tier())) {
    gatun::explain_passed_over(row.name, row.tier, out);
  } else if (!row.takes(multiplied_dtype(params.mode), layout)) {
    out.add("  passed over: %s (only where M is up to %d N)\n", row.name, row.sparsest);
  } else {
    out.add("  passed over: %s (only from %lld rows on)\n", row.name, static_cast<long long>(row.least_rows));
  }
}

void explain_split(const TableRow& row, const Product& product, Text& out) {
  const gatun_nm_matmul_params& params = product.params;
  if (params.rows == 0 || params.column_begin == params.column_end) {
    out.add("  nothing to do: %lld rows, columns %lld..%lld\n", static_cast<long long>(params.rows),
            static_cast<long long>(params.column_begin), static_cast<long long>(params.column_end));
    return;
  }
  const Split split = split_of(row, product);
  out.add("  %lld rows in blocks of %lld; %lld panels of %d columns", static_cast<long long>(params.rows),
          static_cast<long long>(split.block_rows), static_cast<long long>(split.panels), kPanelColumns);
  if (split.row_chunks > 1) out.add(" x %lld chunks of rows", static_cast<long long>(split.row_chunks));
  out.add(" on %d thread%s\n", split.threads, split.threads == 1 ? "" : "s");
}

}  // namespace

int32_t run_matmul(Tier limit, const gatun_nm_matmul_params* given, const void* x, const void* packed,
                   int64_t packed_bytes, const float* bias, const void* residual, void* y) {
  gatun_nm_matmul_params params;
  PackedWeights weights;
  GATUN_TRY(check_call(given, packed, packed_bytes, &params, &weights));
  const Layout layout(weights.description, weights.dense);
  const Product product{params, layout, x, static_cast<const uint8_t*>(packed), bias, residual, y};
  GATUN_TRY(check_data(product, params));
  if (params.rows == 0 || params.column_begin == params.column_end) return GATUN_OK;
  return run(select(params, layout, limit), product);
}

}  // namespace gatun::nm_matmul

using namespace gatun;
using namespace gatun::nm_matmul;

int32_t gatun_nm_matmul(const gatun_nm_matmul_params* params, const void* x, const void* packed, int64_t packed_bytes,
                        const float* bias, const void* residual, void* y) {
  return run_matmul(active_tier(), params, x, packed, packed_bytes, bias, residual, y);
}

int32_t gatun_nm_matmul_explain(const gatun_nm_matmul_params* given, const void* packed, int64_t packed_bytes,
                                char* text, int64_t capacity) {
  gatun_nm_matmul_params params;
  PackedWeights weights;
  GATUN_TRY(check_call(given, packed, packed_bytes, &params, &weights));
  const gatun_nm_weights& w = weights.description;
  const Layout layout(w, weights.dense);
  const TableRow& chosen = select(params, layout, active_tier());
  Text out;
  out.add("%s: the best kernel for %lld rows of %s activations and %d:%d weights of %s values on tier %s\n",
          chosen.name, static_cast<long long>(params.rows), dtype_name(chosen.x), w.n, w.m, dtype_name(w.value_dtype),
          tier_name(active_tier()));
  for (const TableRow* row = table().begin(); row != &chosen; ++row) {
    if (row->x == chosen.x && row->values == chosen.values) explain_other(*row, params, layout, out);
  }
  out.add("  weights are stored %s: dense was %s when they were packed\n", weights.dense ? "dense" : "sparse",
          w.dense == GATUN_NM_DENSE_NEVER ? "not allowed"
          : weights.dense                 ? "allowed and faster"
                                          : "allowed, but not faster for the rows that were expected");
  const Product product{params, layout, nullptr, static_cast<const uint8_t*>(packed), nullptr, nullptr, nullptr};
  explain_split(chosen, product, out);
  return out.copy_to(text, capacity);
}
