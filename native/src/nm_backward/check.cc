#include "nm_backward/check.h"

#include "base/check.h"
#include "base/dtype.h"
#include "base/nm.h"
#include "base/parallel.h"
#include "base/status.h"
#include "nm_backward/positions.h"

namespace gatun::nm_backward {
namespace {

int32_t check_params(Gradient gradient, const gatun_nm_backward_params* params) {
  GATUN_TRY(check_not_null(params, "params"));
  GATUN_TRY(check_struct_size(params->struct_size, sizeof(*params), "params"));
  const gatun_nm_backward_params& p = *params;
  GATUN_TRY(check_nm(p.n, p.m, "params"));
  GATUN_TRY(check_range(p.vector, 1, INT32_MAX, "params.vector"));
  GATUN_TRY(check_dtype(p.value_dtype, {GATUN_F32, GATUN_F16, GATUN_BF16}, "params.value_dtype"));
  GATUN_TRY(check_range(p.threads, 0, kMaxThreads, "params.threads"));
  if (gradient == Gradient::dense && !(p.decay >= 0 && p.decay <= 1)) {
    return fail(GATUN_INVALID_ARGUMENT, "params.decay = %g; allowed: 0..1", static_cast<double>(p.decay));
  }
  GATUN_TRY(check_range(p.accumulate, 0, 1, "params.accumulate"));
  GATUN_TRY(check_range(p.rows, 0, INT64_MAX, "params.rows"));
  GATUN_TRY(check_range(p.columns, 0, INT64_MAX, "params.columns"));
  // Positions of the last group may lie up to 31 beyond the depth.
  GATUN_TRY(check_range(p.depth, 0, INT64_MAX - 31, "params.depth"));
  GATUN_TRY(check_row_stride(p.rows, p.depth, p.x_row_stride, "params.x_row_stride"));
  return check_row_stride(p.rows, p.columns, p.dy_row_stride, "params.dy_row_stride");
}

}  // namespace

int32_t check_call(Gradient gradient, const gatun_nm_backward_params* params, const float* dy, const float* x,
                   const void* weights, const uint8_t* indices) {
  GATUN_TRY(check_params(gradient, params));
  const gatun_nm_backward_params& p = *params;
  const Positions positions(p.n, p.m, p.vector, p.depth, indices);
  const bool to_x = gradient == Gradient::x, to_dense = gradient == Gradient::dense;
  const int64_t row = to_dense ? p.depth : positions.kept();
  Buffer buffers[] = {
      {"dy", dy, p.rows, p.columns, p.dy_row_stride, 4, false},
      {to_x ? "dx" : "x", x, p.rows, p.depth, p.x_row_stride, 4, to_x},
      {to_x       ? "values"
       : to_dense ? "dw"
                  : "dvalues",
       weights, p.columns, row, row, to_x ? dtype_bytes(p.value_dtype, 1) : 4, !to_x},
      {"indices", indices, blocks_of(p.columns, p.vector), positions.row_bytes(), positions.row_bytes(), 1, false}};
  return check_buffers(buffers);
}

int32_t check_indices(const gatun_nm_backward_params& p, const uint8_t* indices) {
  if (p.columns == 0 || p.depth == 0) return GATUN_OK;  // the other one may be any number
  const gatun_nm_format format = {
      sizeof(gatun_nm_format), p.n, p.m, p.vector, GATUN_F32, p.threads, p.columns, p.depth, 0};
  return gatun_nm_check(&format, indices);
}

}  // namespace gatun::nm_backward
