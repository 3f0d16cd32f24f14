// The C entry points: check, select, put on the stream.
#include "gatun/cuda_attention.h"

#include "attention/check.h"
#include "attention/device_select.h"
#include "base/check.h"
#include "base/runtime.h"
#include "base/status.h"
#include "base/text.h"

namespace gatun::cuda::attention {
namespace {

using Params = gatun_attention_params;
using gatun::attention::Inputs;

int32_t check_length(int64_t length, const char* name) {
  if (length <= kMostLength) return GATUN_OK;
  return fail(GATUN_UNSUPPORTED, "params.%s = %lld; allowed: up to 2^30", name, static_cast<long long>(length));
}

int32_t read_sizes(const Params* given, Params* params) {
  GATUN_TRY(gatun::attention::read_params(given, params));
  GATUN_TRY(check_length(params->query_length, "query_length"));
  GATUN_TRY(check_length(params->kv_length, "kv_length"));
  if (params->query_block == 0) return GATUN_OK;
  return gatun::attention::check_multiple(params->query_block, 16, 16, 128, "params.query_block");
}

int32_t read_question(const Params* given, int32_t ragged, int32_t device, Params* params, Device* known) {
  GATUN_TRY(read_sizes(given, params));
  GATUN_TRY(check_range(ragged, 0, 1, "ragged"));
  return describe_supported(device, known);
}

int32_t make_plan(const Params& p, bool ragged, const Device& device, Plan* plan) {
  *plan = plan_on(select(p, ragged, device), p, ragged);
  return check_plan(*plan, p, device);
}

}  // namespace
}  // namespace gatun::cuda::attention

using namespace gatun;
using namespace gatun::cuda;
using namespace gatun::cuda::attention;

int32_t gatun_cuda_attention_workspace_bytes(const gatun_attention_params* params, int32_t ragged, int32_t device,
                                             int64_t* bytes) {
  gatun_attention_params p;
  Device known;
  GATUN_TRY(read_question(params, ragged, device, &p, &known));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  Plan plan;
  GATUN_TRY(make_plan(p, ragged != 0, known, &plan));
  *bytes = plan.workspace_bytes;
  return GATUN_OK;
}

int32_t gatun_cuda_attention(const gatun_attention_params* params, const void* q, const void* k, const void* v,
                             const int64_t* q_offsets, const int64_t* kv_offsets, const float* slopes,
                             const float* sinks, const float* correction, const int64_t* full_offsets,
                             const int32_t* full_blocks, const int64_t* partial_offsets, const int32_t* partial_blocks,
                             const uint8_t* partial_bits, void* out, float* lse, void* workspace,
                             int64_t workspace_bytes, void* stream) {
  gatun_attention_params p;
  GATUN_TRY(read_sizes(params, &p));
  const gatun::attention::Inputs inputs = {q,
                                           k,
                                           v,
                                           q_offsets,
                                           kv_offsets,
                                           slopes,
                                           sinks,
                                           correction,
                                           full_offsets,
                                           full_blocks,
                                           partial_offsets,
                                           partial_blocks,
                                           partial_bits};
  DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  const Device& device = scope.device();
  Plan plan;
  GATUN_TRY(make_plan(p, q_offsets != nullptr, device, &plan));
  GATUN_TRY(check_workspace(device.index, workspace, workspace_bytes, plan.workspace_bytes));
  const Buffer room = {"workspace", workspace, 1, plan.workspace_bytes, plan.workspace_bytes, 1, true};
  gatun::attention::Arguments arguments;
  GATUN_TRY(gatun::attention::check_arguments(p, inputs, out, lse, &room, &arguments));
  if (gatun::attention::has_mask(inputs) && q_offsets == nullptr && p.batch > 0) {
    GATUN_TRY(gatun::attention::check_query_blocks(p, p.query_length, 0));
  }
  for (int i = 0; i < arguments.count; ++i) {
    const Buffer& buffer = arguments.buffers[i];
    GATUN_TRY(check_device_memory(device.index, buffer.address, buffer.bytes, buffer.name));
  }
  if (plan.blocks == 0 || p.query_length == 0) return GATUN_OK;
  return run_plan(plan, p, inputs, out, lse, static_cast<uint8_t*>(workspace), stream);
}

int32_t gatun_cuda_attention_explain(const gatun_attention_params* params, int32_t ragged, int32_t device, char* text,
                                     int64_t capacity) {
  gatun_attention_params p;
  Device known;
  GATUN_TRY(read_question(params, ragged, device, &p, &known));
  Text out;
  Plan plan;
  GATUN_TRY(make_plan(p, ragged != 0, known, &plan));
  explain(plan, p, known, out);
  return out.copy_to(text, capacity);
}
