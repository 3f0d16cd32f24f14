// The library itself: versions, devices, memory.
#include "gatun/cuda.h"

#include "base/check.h"
#include "base/runtime.h"
#include "base/status.h"
#include "base/store.h"
#include "base/text.h"

using namespace gatun;

namespace {
using LongLong = long long;
}

int32_t gatun_cuda_abi_version() { return GATUN_CUDA_ABI_VERSION; }

const char* gatun_cuda_version() { return GATUN_VERSION; }

const char* gatun_cuda_last_error() { return gatun_last_error(); }

int32_t gatun_cuda_device_count(int32_t* count) {
  GATUN_TRY(check_not_null(count, "count"));
  return cuda::device_count(count);
}

int32_t gatun_cuda_describe_device(int32_t device, gatun_cuda_device* properties) {
  GATUN_TRY(check_not_null(properties, "properties"));
  GATUN_TRY(check_struct_size(properties->struct_size, sizeof(*properties), "properties"));
  cuda::Device known;
  GATUN_TRY(cuda::describe_device(device, &known));
  *properties = {sizeof(*properties), known.major,    known.minor,        known.multiprocessors,
                 known.shared_bytes,  known.l2_bytes, known.memory_bytes, known.at_least(cuda::kLeastCapability),
                 known.clock_khz};
  return GATUN_OK;
}

int32_t gatun_cuda_report(char* text, int64_t capacity) {
  Text out;
  int32_t driver = 0, runtime = 0, count = 0;
  cuda::runtime_versions(&driver, &runtime);
  out.add("CUDA driver: %d.%d, runtime of this library: %d.%d\n", driver / 1000, driver % 1000 / 10, runtime / 1000,
          runtime % 1000 / 10);
  if (cuda::device_count(&count) != GATUN_OK) {
    out.add("no device: %s\n", gatun_last_error());
    count = 0;
  }
  for (int32_t i = 0; i < count; ++i) {
    cuda::Device device;
    GATUN_TRY(cuda::describe_device(i, &device));
    out.add("device %d: %s, compute capability %d.%d, %d multiprocessors, %lld MiB of memory, %lld MiB of L2; %s\n", i,
            device.name, device.major, device.minor, device.multiprocessors, LongLong{device.memory_bytes >> 20},
            LongLong{device.l2_bytes >> 20},
            device.at_least(cuda::kLeastCapability) ? "supported" : "not supported: 8.0 or newer is");
  }
  return out.copy_to(text, capacity);
}

int32_t gatun_cuda_check_memory(int32_t device, const void* memory, int64_t bytes) {
  GATUN_TRY(check_range(bytes, 0, INT64_MAX, "bytes"));
  if (bytes > 0) GATUN_TRY(check_not_null(memory, "memory"));
  return cuda::check_whole_memory(device, memory, bytes, "memory");
}

int32_t gatun_cuda_copy(void* to, const void* from, int64_t bytes, void* stream) {
  GATUN_TRY(check_range(bytes, 0, INT64_MAX, "bytes"));
  if (bytes == 0) return GATUN_OK;
  GATUN_TRY(check_not_null(to, "to"));
  GATUN_TRY(check_not_null(from, "from"));
  GATUN_TRY(check_disjoint(to, bytes, "to", from, bytes, "from"));
  return cuda::copy_async(to, from, bytes, stream);
}

int32_t gatun_cuda_clear(void* memory, int64_t bytes, void* stream) {
  GATUN_TRY(check_range(bytes, 0, INT64_MAX, "bytes"));
  if (bytes == 0) return GATUN_OK;
  GATUN_TRY(check_not_null(memory, "memory"));
  cuda::DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  GATUN_TRY(cuda::check_device_memory(scope.device().index, memory, bytes, "memory"));
  return cuda::fill_async(memory, 0, bytes, stream);
}

int32_t gatun_cuda_store(int64_t* to, const int64_t* values, int64_t count, void* stream) {
  constexpr int64_t kBytes = sizeof(int64_t);
  GATUN_TRY(check_range(count, 0, INT64_MAX / kBytes, "count"));
  if (count == 0) return GATUN_OK;
  GATUN_TRY(check_not_null(to, "to"));
  GATUN_TRY(check_not_null(values, "values"));
  GATUN_TRY(check_aligned(to, kBytes, "to"));
  cuda::DeviceScope scope;
  GATUN_TRY(scope.enter(stream));
  GATUN_TRY(cuda::check_device_memory(scope.device().index, to, count * kBytes, "to"));
  return cuda::store_async(to, values, count, stream);
}
