// The C entry points: check, select, put on the stream.
#include "base/check.h"
#include "base/dtype.h"
#include "base/runtime.h"
#include "base/status.h"
#include "gatun/cuda_qmatmul.h"
#include "qmatmul/packing.h"
#include "qmatmul/select.h"
#include "quantize/books.h"

namespace gatun::cuda::qmatmul {
namespace {

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
  return answer_packed_bytes<Form>(weights, bytes);
}

int32_t gatun_cuda_qmatmul_pack(const gatun_qmatmul_weights* weights, const void* codes, const float* code_book,
                                const void* scales, const void* zero_points, void* packed, int64_t packed_bytes,
                                gatun_cuda_faults* faults, void* stream) {
  Form form;
  GATUN_TRY(form_of(weights, &form));
  Book book = {};
  GATUN_TRY(read_book(*weights, form, code_book, &book));
  GATUN_TRY(check_absent(form.zero_point != GATUN_ZERO_NONE, zero_points, "zero_points", "the weights have none"));
  GATUN_TRY(check_not_null(faults, "faults"));
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
      {"faults", faults, 1, sizeof(*faults) / 8, sizeof(*faults) / 8, 8, true}};
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
  return answer_workspace_bytes<Problem>(params, weights, device, bytes);
}

int32_t gatun_cuda_qmatmul(const gatun_qmatmul_params* params, const gatun_qmatmul_weights* weights, const void* x,
                           const void* packed, int64_t packed_bytes, const float* bias, const void* residual, void* y,
                           void* workspace, int64_t workspace_bytes, void* stream) {
  const Memory memory = {x, static_cast<const uint8_t*>(packed), bias, residual, y, static_cast<uint8_t*>(workspace)};
  return run_product<Problem>(params, weights, memory, packed_bytes, workspace_bytes, stream);
}

int32_t gatun_cuda_qmatmul_explain(const gatun_qmatmul_params* params, const gatun_qmatmul_weights* weights,
                                   int32_t device, char* text, int64_t capacity) {
  return answer_explain<Problem>(params, weights, device, text, capacity);
}
