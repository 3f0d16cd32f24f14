// The C entry points: check, select, put on the stream.
#include "gatun/cuda_nm_matmul.h"

#include "base/check.h"
#include "base/dtype.h"
#include "base/nm.h"
#include "base/packed.h"
#include "base/runtime.h"
#include "base/status.h"
#include "base/text.h"
#include "nm_matmul/packing.h"
#include "nm_matmul/select.h"

namespace gatun::cuda::nm_matmul {
namespace {

using LongLong = long long;

int32_t check_shape(int64_t given, int64_t of_weights, const char* name) {
  if (given == of_weights) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "params.%s = %lld; the weights have %lld", name, LongLong{given},
              LongLong{of_weights});
}

// Copies the caller's structs and checks what does not depend on memory or on the device.
int32_t read_problem(const gatun_nm_matmul_params* given, const gatun_nm_weights* weights, Problem* problem) {
  GATUN_TRY(check_not_null(given, "params"));
  GATUN_TRY(check_struct_size(given->struct_size, sizeof(*given), "params"));
  const gatun_nm_matmul_params params = *given;
  GATUN_TRY(check_dtype(params.x_dtype, {GATUN_F32, GATUN_F16, GATUN_BF16}, "params.x_dtype"));
  GATUN_TRY(check_dtype(params.y_dtype, {GATUN_F32, GATUN_F16, GATUN_BF16}, "params.y_dtype"));
  GATUN_TRY(check_range(params.mode, GATUN_NM_F32, GATUN_NM_F16, "params.mode"));
  GATUN_TRY(check_range(params.activation, GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_SILU, "params.activation"));
  GATUN_TRY(check_range(params.rows, 0, INT64_MAX, "params.rows"));
  GATUN_TRY(form_of(weights, &problem->form));
  const Form& form = problem->form;
  GATUN_TRY(check_shape(params.columns, form.columns, "columns"));
  GATUN_TRY(check_shape(params.depth, form.depth, "depth"));
  GATUN_TRY(check_range(params.column_begin, 0, form.columns, "params.column_begin"));
  GATUN_TRY(check_range(params.column_end, params.column_begin, form.columns, "params.column_end"));
  GATUN_TRY(check_row_stride(params.rows, form.depth, params.x_row_stride, "params.x_row_stride"));
  GATUN_TRY(check_row_stride(params.rows, form.columns, params.y_row_stride, "params.y_row_stride"));
  // What is made of x and y by rows has an extent that bounds the workspace, too.
  int64_t bytes;
  GATUN_TRY(check_extent(params.rows, form.padded_depth, form.padded_depth, 1, 64, "x", &bytes));
  GATUN_TRY(check_extent(params.rows, form.padded_columns(), form.padded_columns(), 1, 64 * 64, "y", &bytes));
  problem->params = params;
  return check_mode(form, params.mode);
}

bool is_empty(const gatun_nm_matmul_params& params) {
  return params.rows == 0 || params.column_begin == params.column_end;
}

int32_t check_memory(const Device& device, const Problem& problem, const Memory& memory, int64_t packed_bytes,
                     const void* workspace, int64_t workspace_bytes) {
  const gatun_nm_matmul_params& params = problem.params;
  const Form& form = problem.form;
  const int64_t x_bytes = dtype_bytes(params.x_dtype, 1), y_bytes = dtype_bytes(params.y_dtype, 1);
  if (memory.residual != nullptr) {
    GATUN_TRY(check_row_stride(params.rows, form.columns, params.residual_row_stride, "params.residual_row_stride"));
  }
  const bool biased = memory.bias != nullptr, added = memory.residual != nullptr;
  Buffer buffers[] = {
      {"x", memory.x, params.rows, form.depth, params.x_row_stride, x_bytes, false},
      {"packed", memory.packed, 1, form.bytes, form.bytes, 1, false},
      {"bias", memory.bias, biased ? 1 : 0, form.columns, form.columns, 4, false},
      {"residual", memory.residual, added ? params.rows : 0, form.columns, params.residual_row_stride, y_bytes, false},
      {"y", memory.y, params.rows, form.columns, params.y_row_stride, y_bytes, true},
      {"workspace", workspace, 1, workspace_bytes, workspace_bytes, 1, true}};
  GATUN_TRY(check_packed_room(memory.packed, packed_bytes, form.bytes));
  GATUN_TRY(check_aligned(memory.packed, kPartAlignment, "packed"));
  GATUN_TRY(check_buffers(buffers, &buffers[4], &buffers[3]));
  return check_device_memory(device.index, buffers);
}

Header header_of(const gatun_nm_weights& w, const Form& form) {
  return {kPackedMagic,
          kPackedVersion,
          static_cast<uint16_t>(PackedFormat::cuda_nm_matmul),
          static_cast<int16_t>(w.value_dtype),
          static_cast<int16_t>(w.zero_point),
          static_cast<int16_t>(w.scale_dtype),
          static_cast<uint8_t>(w.n),
          static_cast<uint8_t>(w.m),
          w.vector,
          0,
          w.columns,
          w.depth,
          w.group,
          form.bytes};
}

}  // namespace
}  // namespace gatun::cuda::nm_matmul

using namespace gatun;
using namespace gatun::cuda;
using namespace gatun::cuda::nm_matmul;

int32_t gatun_cuda_nm_packed_bytes(const gatun_nm_weights* weights, int64_t* bytes) {
  Form form;
  GATUN_TRY(form_of(weights, &form));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  *bytes = form.bytes;
  return GATUN_OK;
}

int32_t gatun_cuda_nm_pack(const gatun_nm_weights* weights, const void* values, const uint8_t* indices,
                           const void* scales, const uint8_t* zero_points, void* packed, int64_t packed_bytes,
                           gatun_cuda_nm_faults* faults, void* stream) {
  Form form;
  GATUN_TRY(form_of(weights, &form));
  GATUN_TRY(check_absent(form.scaled, scales, "scales", "values are floats"));
  GATUN_TRY(check_absent(form.zero_points, zero_points, "zero_points", "the weights have none"));
  GATUN_TRY(check_not_null(faults, "faults"));
  GATUN_TRY(check_packed_room(packed, packed_bytes, form.bytes));
  GATUN_TRY(check_aligned(packed, kPartAlignment, "packed"));
  const int64_t element = dtype_bytes(form.value_dtype, 1), value_row = dtype_bytes(form.value_dtype, form.slots);
  const int64_t index_row = index_row_bytes(form.slots, form.m), index_rows = blocks_of(form.columns, form.vector);
  Buffer buffers[] = {
      {"values", values, form.columns, value_row / element, value_row / element, element, false},
      {"indices", indices, index_rows, index_row, index_row, 1, false},
      {"scales", scales, form.scaled ? form.columns : 0, form.groups, form.groups,
       qmatmul::scale_bytes(form.scale_dtype), false},
      {"zero_points", zero_points, form.zero_points ? form.columns : 0, form.groups, form.groups, 1, false},
      {"packed", packed, 1, form.bytes, form.bytes, 1, true},
      {"faults", faults, 1, sizeof(*faults) / 8, sizeof(*faults) / 8, 8, true}};
  GATUN_TRY(check_buffers(buffers));
  DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  GATUN_TRY(check_device_memory(scope.device().index, buffers));
  GATUN_TRY(fill_async(faults, 0xff, sizeof(*faults), stream));
  const PackJob job = {form,
                       header_of(*weights, form),
                       index_bits(form.m),
                       value_row,
                       index_row,
                       static_cast<const uint8_t*>(values),
                       indices,
                       scales,
                       zero_points,
                       static_cast<uint8_t*>(packed),
                       faults};
  return run_pack(job, stream);
}

int32_t gatun_cuda_nm_matmul_workspace_bytes(const gatun_nm_matmul_params* params, const gatun_nm_weights* weights,
                                             int32_t device, int64_t* bytes) {
  Problem problem;
  GATUN_TRY(read_problem(params, weights, &problem));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  Device known;
  GATUN_TRY(describe_supported(device, &known));
  *bytes = is_empty(problem.params) ? 0 : plan_on(select(problem, known), problem).workspace_bytes;
  return GATUN_OK;
}

int32_t gatun_cuda_nm_matmul(const gatun_nm_matmul_params* params, const gatun_nm_weights* weights, const void* x,
                             const void* packed, int64_t packed_bytes, const float* bias, const void* residual, void* y,
                             void* workspace, int64_t workspace_bytes, void* stream) {
  Problem problem;
  GATUN_TRY(read_problem(params, weights, &problem));
  DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  const Device& device = scope.device();
  const Plan plan = is_empty(problem.params) ? Plan{} : plan_on(select(problem, device), problem);
  GATUN_TRY(check_workspace(device.index, workspace, workspace_bytes, plan.workspace_bytes));
  const Memory memory = {x, static_cast<const uint8_t*>(packed), bias, residual, y, static_cast<uint8_t*>(workspace)};
  GATUN_TRY(check_memory(device, problem, memory, packed_bytes, workspace, plan.workspace_bytes));
  return is_empty(problem.params) ? GATUN_OK : run_plan(plan, problem, memory, stream);
}

int32_t gatun_cuda_nm_matmul_explain(const gatun_nm_matmul_params* params, const gatun_nm_weights* weights,
                                     int32_t device, char* text, int64_t capacity) {
  Problem problem;
  GATUN_TRY(read_problem(params, weights, &problem));
  Device known;
  GATUN_TRY(describe_supported(device, &known));
  Text out;
  explain(plan_on(select(problem, known), problem), problem, known, out);
  return out.copy_to(text, capacity);
}
