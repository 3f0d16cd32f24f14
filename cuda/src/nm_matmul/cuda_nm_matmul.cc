// The C entry points: check, select, put on the stream.
#include "gatun/cuda_nm_matmul.h"

#include "base/check.h"
#include "base/dtype.h"
#include "base/nm.h"
#include "base/packed.h"
#include "base/runtime.h"
#include "base/status.h"
#include "nm_matmul/packing.h"
#include "nm_matmul/select.h"

namespace gatun::cuda::nm_matmul {
namespace {

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
  return qmatmul::answer_packed_bytes<Form>(weights, bytes);
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
  return qmatmul::answer_workspace_bytes<Problem>(params, weights, device, bytes);
}

int32_t gatun_cuda_nm_matmul(const gatun_nm_matmul_params* params, const gatun_nm_weights* weights, const void* x,
                             const void* packed, int64_t packed_bytes, const float* bias, const void* residual, void* y,
                             void* workspace, int64_t workspace_bytes, void* stream) {
  const Memory memory = {x, static_cast<const uint8_t*>(packed), bias, residual, y, static_cast<uint8_t*>(workspace)};
  return qmatmul::run_product<Problem>(params, weights, memory, packed_bytes, workspace_bytes, stream);
}

int32_t gatun_cuda_nm_matmul_explain(const gatun_nm_matmul_params* params, const gatun_nm_weights* weights,
                                     int32_t device, char* text, int64_t capacity) {
  return qmatmul::answer_explain<Problem>(params, weights, device, text, capacity);
}
