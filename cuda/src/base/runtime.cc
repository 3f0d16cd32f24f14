#include "base/runtime.h"

#include <cuda_runtime_api.h>

#include <cstdio>
#include <map>
#include <mutex>
#include <utility>

#include "base/status.h"
#include "ptx/launch.h"

namespace gatun::cuda {
namespace {

using LongLong = long long;

constexpr int kMostDevices = 64;

// GATUN_OK, or what the runtime says about `what`.
int32_t check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return GATUN_OK;
  cudaGetLastError();  // so that it is not taken for that of the next call
  const bool resources = error == cudaErrorMemoryAllocation || error == cudaErrorLaunchOutOfResources;
  const bool absent = error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver;
  return fail(resources ? GATUN_OUT_OF_RESOURCES
              : absent  ? GATUN_UNSUPPORTED
                        : GATUN_INTERNAL,
              "%s: %s (%s)", what, cudaGetErrorString(error), cudaGetErrorName(error));
}

int32_t attribute(cudaDeviceAttr which, int32_t index, int32_t* value) {
  return check(cudaDeviceGetAttribute(value, which, index), "cudaDeviceGetAttribute");
}

int32_t ask(int32_t index, Device* device) {
  int32_t shared = 0, l2 = 0;
  GATUN_TRY(attribute(cudaDevAttrComputeCapabilityMajor, index, &device->major));
  GATUN_TRY(attribute(cudaDevAttrComputeCapabilityMinor, index, &device->minor));
  GATUN_TRY(attribute(cudaDevAttrMultiProcessorCount, index, &device->multiprocessors));
  GATUN_TRY(attribute(cudaDevAttrClockRate, index, &device->clock_khz));
  GATUN_TRY(attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, index, &shared));
  GATUN_TRY(attribute(cudaDevAttrL2CacheSize, index, &l2));
  cudaDeviceProp properties;
  GATUN_TRY(check(cudaGetDeviceProperties(&properties, index), "cudaGetDeviceProperties"));
  device->index = index;
  device->shared_bytes = shared;
  device->l2_bytes = l2;
  device->memory_bytes = static_cast<int64_t>(properties.totalGlobalMem);
  std::snprintf(device->name, sizeof(device->name), "%.63s", properties.name);
  return GATUN_OK;
}

}  // namespace

int32_t device_count(int32_t* count) { return check(cudaGetDeviceCount(count), "cudaGetDeviceCount"); }

int32_t describe_device(int32_t index, Device* device) {
  static std::mutex mutex;
  static Device known[kMostDevices];
  static bool is_known[kMostDevices];
  int32_t count = 0;
  GATUN_TRY(device_count(&count));
  GATUN_TRY(check_range(index, 0, (count < kMostDevices ? count : kMostDevices) - 1, "device"));
  const std::lock_guard<std::mutex> lock(mutex);
  if (!is_known[index]) {
    GATUN_TRY(ask(index, &known[index]));
    is_known[index] = true;
  }
  *device = known[index];
  return GATUN_OK;
}

void runtime_versions(int32_t* driver, int32_t* runtime) {
  *driver = 0;
  *runtime = 0;
  cudaDriverGetVersion(driver);
  cudaRuntimeGetVersion(runtime);
}

int32_t DeviceScope::enter(void* stream) {
  int32_t index = 0;
  GATUN_TRY(check(cudaGetDevice(&index), "cudaGetDevice"));
  const int32_t current = index;
  if (stream != nullptr) {
    GATUN_TRY(check(cudaStreamGetDevice(static_cast<cudaStream_t>(stream), &index), "cudaStreamGetDevice"));
  }
  GATUN_TRY(describe_device(index, &device_));
  GATUN_TRY(check_supported(device_));
  if (index != current) {
    GATUN_TRY(check(cudaSetDevice(index), "cudaSetDevice"));
    before_ = current;
  }
  return GATUN_OK;
}

DeviceScope::~DeviceScope() {
  if (before_ >= 0) cudaSetDevice(before_);
}

int32_t check_device_memory(int32_t device, const void* memory, int64_t bytes, const char* name) {
  if (bytes == 0) return GATUN_OK;
  cudaPointerAttributes attributes;
  GATUN_TRY(check(cudaPointerGetAttributes(&attributes, memory), "cudaPointerGetAttributes"));
  const bool usable = attributes.type == cudaMemoryTypeManaged ||
                      (attributes.type == cudaMemoryTypeHost && attributes.devicePointer == memory) ||
                      (attributes.type == cudaMemoryTypeDevice && attributes.device == device);
  if (usable) return GATUN_OK;
  if (attributes.type == cudaMemoryTypeDevice) {
    return fail(GATUN_INVALID_ARGUMENT, "%s = %p, memory of device %d; allowed: memory of device %d", name, memory,
                attributes.device, device);
  }
  return fail(GATUN_INVALID_ARGUMENT, "%s = %p, host memory that device %d cannot use; allowed: memory of device %d",
              name, memory, device, device);
}

int32_t fill_async(void* memory, int value, int64_t bytes, void* stream) {
  if (bytes == 0) return GATUN_OK;
  return check(cudaMemsetAsync(memory, value, static_cast<size_t>(bytes), static_cast<cudaStream_t>(stream)),
               "cudaMemsetAsync");
}

int32_t copy_async(void* to, const void* from, int64_t bytes, void* stream) {
  bool pinned = true;
  for (const void* side : {static_cast<const void*>(to), from}) {
    cudaPointerAttributes attributes;
    GATUN_TRY(check(cudaPointerGetAttributes(&attributes, side), "cudaPointerGetAttributes"));
    pinned = pinned && attributes.type != cudaMemoryTypeUnregistered;
  }
  const cudaStream_t queue = static_cast<cudaStream_t>(stream);
  GATUN_TRY(check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, queue), "cudaMemcpyAsync"));
  // The runtime says only that it may wait itself.
  return pinned ? GATUN_OK : check(cudaStreamSynchronize(queue), "cudaStreamSynchronize");
}

namespace {

// Lets launches of the function on the current device have so much shared memory. The runtime keeps one number for
// both, so it only ever grows: a launch of another thread may need what is there.
int32_t allow_shared(const char* name, const void* function, int64_t bytes) {
  static std::mutex mutex;
  static std::map<std::pair<const void*, int>, int64_t> allowed;
  int device = 0;
  GATUN_TRY(check(cudaGetDevice(&device), "cudaGetDevice"));
  const std::lock_guard<std::mutex> lock(mutex);
  int64_t& most = allowed[{function, device}];
  if (bytes <= most) return GATUN_OK;
  GATUN_TRY(check(cudaFuncSetAttribute(function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)),
                  name));
  most = bytes;
  return GATUN_OK;
}

}  // namespace

int32_t launch_function(const char* name, const void* function, const Grid& grid, void* stream, void** arguments) {
  if (grid.blocks_x == 0 || grid.blocks_y == 0 || grid.blocks_z == 0) return GATUN_OK;
  if (grid.blocks_x > INT32_MAX || grid.blocks_y > 65535 || grid.blocks_z > 65535) {
    return fail(GATUN_OUT_OF_RESOURCES, "%s: %lld x %lld x %lld blocks; allowed: 2^31 - 1 x 65535 x 65535", name,
                LongLong{grid.blocks_x}, LongLong{grid.blocks_y}, LongLong{grid.blocks_z});
  }
  constexpr int64_t kAlways = 48 * 1024;  // what a kernel may have without asking
  if (grid.shared_bytes > kAlways) GATUN_TRY(allow_shared(name, function, grid.shared_bytes));
  const dim3 blocks(static_cast<unsigned>(grid.blocks_x), static_cast<unsigned>(grid.blocks_y),
                    static_cast<unsigned>(grid.blocks_z));
  return check(cudaLaunchKernel(function, blocks, dim3(static_cast<unsigned>(grid.threads)), arguments,
                                static_cast<size_t>(grid.shared_bytes), static_cast<cudaStream_t>(stream)),
               name);
}

}  // namespace gatun::cuda
