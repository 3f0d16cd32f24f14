// What entry points need of the CUDA runtime. runtime.cc asks the runtime; the emulator has its own answers.
#pragma once

#include <cstdint>

#include "base/check.h"

namespace gatun::cuda {

struct Device {
  int32_t index;
  int32_t major, minor;
  int32_t multiprocessors;
  int32_t clock_khz;
  int64_t shared_bytes;  // that a block may have
  int64_t l2_bytes;
  int64_t memory_bytes;
  char name[64];

  bool at_least(int32_t capability) const { return major * 10 + minor >= capability; }
};

// The least compute capability that there are kernels for.
inline constexpr int32_t kLeastCapability = 80;

int32_t device_count(int32_t* count);
int32_t describe_device(int32_t index, Device* device);
// UNSUPPORTED, with a message, if the library has no kernels for the device.
int32_t check_supported(const Device& device);
// The device, if it is supported.
int32_t describe_supported(int32_t index, Device* device);
void runtime_versions(int32_t* driver, int32_t* runtime);  // as 13000 for 13.0; 0 if there is none

// The device of a stream is current as long as the scope lives, then what was current before.
class DeviceScope {
 public:
  DeviceScope() = default;
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;

  // UNSUPPORTED if the library has no kernels for the device.
  int32_t enter(void* stream);

  const Device& device() const { return device_; }

 private:
  Device device_ = {};
  int32_t before_ = -1;
};

// INVALID_ARGUMENT unless kernels on the device can use the memory; null is refused only if bytes > 0.
// Only the first byte is looked at: that is what can be asked for in each call.
int32_t check_device_memory(int32_t device, const void* memory, int64_t bytes, const char* name);
// The same of every byte.
int32_t check_whole_memory(int32_t device, const void* memory, int64_t bytes, const char* name);
// How many bytes there are from an address of a device to the end of its allocation; INT64_MAX if that is unknown.
int64_t bytes_allocated_from(int32_t device, const void* memory);
// The same of all buffers, whose bytes check_buffers has set.
template <int count>
int32_t check_device_memory(int32_t device, const Buffer (&buffers)[count]) {
  for (const Buffer& buffer : buffers) {
    GATUN_TRY(check_device_memory(device, buffer.address, buffer.bytes, buffer.name));
  }
  return GATUN_OK;
}

// Size, alignment and place of an argument `workspace`.
int32_t check_workspace(int32_t device, const void* workspace, int64_t workspace_bytes, int64_t needed);

// Sets bytes on the stream.
int32_t fill_async(void* memory, int value, int64_t bytes, void* stream);
// Copies bytes on the stream; waits for it if a side is host memory that is not pinned.
int32_t copy_async(void* to, const void* from, int64_t bytes, void* stream);

}  // namespace gatun::cuda
