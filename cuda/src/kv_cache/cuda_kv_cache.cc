// The C entry points: check, put on the stream.
#include "gatun/cuda_kv_cache.h"

#include "base/check.h"
#include "base/runtime.h"
#include "base/status.h"
#include "base/text.h"
#include "kv_cache/check.h"
#include "kv_cache/on_device.h"

namespace gatun::cuda::kv_cache {
namespace {

using gatun::kv_cache::Call;
using gatun::kv_cache::Pool;
constexpr int kBuffers = gatun::kv_cache::kBuffers;

const char* write_kernel(const gatun_kv_layout& layout) {
  static const char* const kNames[] = {"values", "token_codes", "channel_codes"};
  return kNames[layout.scaling];
}

int32_t rows_on_device(const Call& call, const void* x, const int64_t* slots, const Buffer (&buffers)[kBuffers],
                       gatun_cuda_faults* faults, void* stream) {
  DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  GATUN_TRY(check_device_memory(scope.device().index, buffers));
  const bool write = faults != nullptr;
  if (write) {
    GATUN_TRY(check_device_memory(scope.device().index, faults, sizeof(*faults), "faults"));
    GATUN_TRY(fill_async(faults, 0xff, sizeof(*faults), stream));
  }
  if (call.pool.layout.heads == 0 || call.pool.slots() == 0) return GATUN_OK;
  const RowsJob job = {pool_on_device(call.pool), call.p, const_cast<void*>(x), slots,
                       reinterpret_cast<uint64_t*>(faults)};
  return write ? run_write(job, stream) : run_read(job, stream);
}

}  // namespace
}  // namespace gatun::cuda::kv_cache

using namespace gatun;
using namespace gatun::cuda;
using namespace gatun::cuda::kv_cache;

int32_t gatun_cuda_kv_cache_write(const gatun_kv_rows_params* params, const gatun_kv_layout* layout, const void* x,
                                  const int64_t* slots, void* pages, void* scales, void* zeros,
                                  gatun_cuda_faults* faults, void* stream) {
  Call call;
  Buffer buffers[kBuffers];
  GATUN_TRY(gatun::kv_cache::check_rows_arrays(params, layout, x, slots, pages, scales, zeros, true, &call, buffers));
  GATUN_TRY(check_not_null(faults, "faults"));
  GATUN_TRY(check_aligned(faults, 8, "faults"));
  for (const Buffer& buffer : buffers) {
    GATUN_TRY(check_disjoint(faults, sizeof(*faults), "faults", buffer.address, buffer.bytes, buffer.name));
  }
  return rows_on_device(call, x, slots, buffers, faults, stream);
}

int32_t gatun_cuda_kv_cache_read(const gatun_kv_rows_params* params, const gatun_kv_layout* layout, const void* pages,
                                 const void* scales, const void* zeros, const int64_t* slots, void* x, void* stream) {
  Call call;
  Buffer buffers[kBuffers];
  GATUN_TRY(gatun::kv_cache::check_rows_arrays(params, layout, x, slots, pages, scales, zeros, false, &call, buffers));
  return rows_on_device(call, x, slots, buffers, nullptr, stream);
}

int32_t gatun_cuda_kv_cache_move_workspace_bytes(const gatun_kv_layout* layout, int64_t tokens, int64_t* bytes) {
  Pool pool = {};
  GATUN_TRY(gatun::kv_cache::check_layout(layout, "layout", &pool.layout));
  GATUN_TRY(gatun::kv_cache::check_tokens(pool, tokens, "tokens", pool.per_channel()));
  GATUN_TRY(check_not_null(bytes, "bytes"));
  const int64_t each = copy_bytes(pool.layout);
  return check_extent(pool.layout.heads * tokens, each, each, 1, 8, "workspace", bytes);
}

int32_t gatun_cuda_kv_cache_move(const gatun_kv_layout* layout, int64_t tokens, const int64_t* from, const int64_t* to,
                                 void* pages, void* scales, void* zeros, void* workspace, int64_t workspace_bytes,
                                 void* stream) {
  Pool pool;
  Buffer buffers[kBuffers];
  GATUN_TRY(gatun::kv_cache::check_move_arrays(layout, tokens, from, to, pages, scales, zeros, &pool, buffers));
  int64_t needed;
  GATUN_TRY(gatun_cuda_kv_cache_move_workspace_bytes(layout, tokens, &needed));
  DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  GATUN_TRY(check_workspace(scope.device().index, workspace, workspace_bytes, needed));
  GATUN_TRY(check_device_memory(scope.device().index, buffers));
  for (const Buffer& buffer : buffers) {
    GATUN_TRY(check_disjoint(workspace, needed, "workspace", buffer.address, buffer.bytes, buffer.name));
  }
  if (needed == 0 || pool.slots() == 0) return GATUN_OK;
  return run_move({pool_on_device(pool), tokens, from, to, static_cast<uint8_t*>(workspace), copy_bytes(pool.layout)},
                  stream);
}

int32_t gatun_cuda_kv_cache_explain(const gatun_kv_rows_params* params, const gatun_kv_layout* layout, int32_t device,
                                    char* text, int64_t capacity) {
  Pool pool = {};
  GATUN_TRY(check_not_null(params, "params"));
  GATUN_TRY(check_struct_size(params->struct_size, sizeof(*params), "params"));
  GATUN_TRY(check_dtype(params->dtype, {GATUN_F32, GATUN_BF16, GATUN_F16}, "params.dtype"));
  GATUN_TRY(gatun::kv_cache::check_layout(layout, "layout", &pool.layout));
  Device known;
  GATUN_TRY(describe_supported(device, &known));
  Text out;
  out.add("kv_cache_write_%s: the only kernel for %s with %s; x of %s\n", write_kernel(pool.layout),
          dtype_name(pool.layout.dtype),
          pool.per_channel() ? "scales of channels"
          : pool.scaled()    ? "scales of tokens"
                             : "no scales",
          dtype_name(params->dtype));
  out.add("kv_cache_read: the only kernel, a thread for eight channels of a row\n");
  out.add("kv_cache_move: to the workspace and back, a thread for eight channels of a row\n");
  out.add("  on device %d (%s)\n", known.index, known.name);
  return out.copy_to(text, capacity);
}
