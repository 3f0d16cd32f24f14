// The C entry points: check, select, put on the stream.
#include "base/check.h"
#include "base/dtype.h"
#include "base/runtime.h"
#include "base/status.h"
#include "base/text.h"
#include "gatun/cuda_qmatmul.h"
#include "qmatmul/packing.h"
#include "qmatmul/select.h"
#include "quantize/books.h"

namespace gatun::cuda::qmatmul {
namespace {

using LongLong = long long;

int32_t check_shape(int64_t given, int64_t of_weights, const char* name) {
  if (given == of_weights) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "params.%s = %lld; the weights have %lld", name, LongLong{given},
              LongLong{of_weights});
}

// Copies the caller's structs and checks what does not depend on memory or on the device.
int32_t read_problem(const gatun_qmatmul_params* given, const gatun_qmatmul_weights* weights, Problem* problem) {
  GATUN_TRY(check_not_null(given, "params"));
  GATUN_TRY(check_struct_size(given->struct_size, sizeof(*given), "params"));
  const gatun_qmatmul_params params = *given;
  GATUN_TRY(check_dtype(params.x_dtype, {GATUN_F32, GATUN_F16, GATUN_BF16}, "params.x_dtype"));
  GATUN_TRY(check_dtype(params.y_dtype, {GATUN_F32, GATUN_F16, GATUN_BF16}, "params.y_dtype"));
  GATUN_TRY(check_range(params.mode, GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_F16, "params.mode"));
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

bool is_empty(const gatun_qmatmul_params& params) {
  return params.rows == 0 || params.column_begin == params.column_end;
}

int32_t check_memory(const Device& device, const Problem& problem, const Memory& memory, int64_t packed_bytes,
                     const void* workspace, int64_t workspace_bytes) {
  const gatun_qmatmul_params& params = problem.params;
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

// The values of the code book of weights, if they have one.
int32_t read_book(const gatun_qmatmul_weights& weights, const Form& form, const float* given, Book* book) {
  GATUN_TRY(
      check_absent(form.book == GATUN_BOOK_GIVEN, given, "code_book", "the weights' book is not GATUN_BOOK_GIVEN"));
  if (form.book == GATUN_BOOK_NONE) return GATUN_OK;
  if (form.book != GATUN_BOOK_GIVEN) {
    quantize::book_values(weights.book, book->values);
    return GATUN_OK;
  }
  GATUN_TRY(check_not_null(given, "code_book"));
  GATUN_TRY(check_aligned(given, 4, "code_book"));
  for (int i = 0; i < book_values(form.codes); ++i) {
    if (!(given[i] >= -0x1p64f && given[i] <= 0x1p64f)) {
      return fail(GATUN_INVALID_ARGUMENT, "code_book[%d] = %g; allowed: finite, -2^64..2^64", i,
                  static_cast<double>(given[i]));
    }
    book->values[i] = given[i];
  }
  return GATUN_OK;
}

PackedHeader header_of(const gatun_qmatmul_weights& weights, const Form& form) {
  PackedHeader header = {};
  header.magic = kPackedMagic;
  header.version = kPackedVersion;
  header.format = PackedFormat::cuda_qmatmul;
  header.code_dtype = static_cast<int16_t>(weights.code_dtype);
  header.book = static_cast<int16_t>(weights.book);
  header.zero_point = static_cast<int16_t>(weights.zero_point);
  header.scale_dtype = static_cast<int16_t>(weights.scale_dtype);
  header.panel_rows = kStripColumns;
  header.group_rows = weights.group_rows;
  header.tensor_scale = weights.tensor_scale;
  header.columns = weights.columns;
  header.depth = weights.depth;
  header.group = weights.group;
  header.bytes = form.bytes;
  return header;
}

}  // namespace
}  // namespace gatun::cuda::qmatmul

using namespace gatun;
using namespace gatun::cuda;
using namespace gatun::cuda::qmatmul;

int32_t gatun_cuda_qmatmul_packed_bytes(const gatun_qmatmul_weights* weights, int64_t* bytes) {
  Form form;
  GATUN_TRY(form_of(weights, &form));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  *bytes = form.bytes;
  return GATUN_OK;
}

int32_t gatun_cuda_qmatmul_pack(const gatun_qmatmul_weights* weights, const void* codes, const float* code_book,
                                const void* scales, const void* zero_points, void* packed, int64_t packed_bytes,
                                gatun_cuda_faults* faults, void* stream) {
  Form form;
  GATUN_TRY(form_of(weights, &form));
  Book book = {};
  GATUN_TRY(read_book(*weights, form, code_book, &book));
  GATUN_TRY(check_absent(form.zero_point != GATUN_ZERO_NONE, zero_points, "zero_points", "the weights have none"));
  GATUN_TRY(check_packed_room(packed, packed_bytes, form.bytes));
  GATUN_TRY(check_aligned(packed, kPartAlignment, "packed"));
  const int64_t row_bytes = dtype_bytes(weights->code_dtype, form.depth);
  const int64_t blocks = blocks_of(form.columns, form.group_rows);
  const int64_t scale = scale_bytes(form.scale_dtype), offset = offset_bytes(form.zero_point);
  Buffer buffers[] = {
      {"codes", codes, form.columns, row_bytes, row_bytes, 1, false},
      {"scales", scales, blocks, form.groups, form.groups, scale, false},
      {"zero_points", zero_points, offset > 0 ? blocks : 0, form.groups, form.groups, offset > 0 ? offset : 1, false},
      {"packed", packed, 1, form.bytes, form.bytes, 1, true},
      {"faults", faults, 1, 1, 1, sizeof(*faults), true}};
  GATUN_TRY(check_not_null(faults, "faults"));
  GATUN_TRY(check_aligned(faults, 8, "faults"));
  buffers[4].element_bytes = 8;
  buffers[4].columns = buffers[4].row_stride = sizeof(*faults) / 8;
  GATUN_TRY(check_buffers(buffers));
  DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  GATUN_TRY(check_device_memory(scope.device().index, buffers));
  GATUN_TRY(fill_async(faults, 0xff, sizeof(*faults), stream));
  const PackJob job = {
      form,        header_of(*weights, form),          static_cast<int32_t>(dtype_bytes(weights->code_dtype, 8)),
      row_bytes,   static_cast<const uint8_t*>(codes), scales,
      zero_points, static_cast<uint8_t*>(packed),      faults};
  return run_pack(job, book, stream);
}

int32_t gatun_cuda_qmatmul_workspace_bytes(const gatun_qmatmul_params* params, const gatun_qmatmul_weights* weights,
                                           int32_t device, int64_t* bytes) {
  Problem problem;
  GATUN_TRY(read_problem(params, weights, &problem));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  Device known;
  GATUN_TRY(describe_supported(device, &known));
  *bytes = is_empty(problem.params) ? 0 : plan_on(select(problem, known), problem).workspace_bytes;
  return GATUN_OK;
}

int32_t gatun_cuda_qmatmul(const gatun_qmatmul_params* params, const gatun_qmatmul_weights* weights, const void* x,
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

int32_t gatun_cuda_qmatmul_explain(const gatun_qmatmul_params* params, const gatun_qmatmul_weights* weights,
                                   int32_t device, char* text, int64_t capacity) {
  Problem problem;
  GATUN_TRY(read_problem(params, weights, &problem));
  Device known;
  GATUN_TRY(describe_supported(device, &known));
  Text out;
  explain(plan_on(select(problem, known), problem), problem, known, out);
  return out.copy_to(text, capacity);
}
