// The runtime of the emulated device: memory is the host's, of which it knows what was allocated as device memory, and
// work is done when it is launched.
#include "base/runtime.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "base/status.h"
#include "device_memory.h"
#include "settings.h"

namespace gatun::cuda {
namespace {

// Java frees memory on a thread of its own. Never destroyed: that thread may outlive what is static.
struct Allocations {
  std::mutex mutex;
  std::map<uintptr_t, size_t> sizes;
};
Allocations& allocations() {
  static Allocations* const the_allocations = new Allocations;
  return *the_allocations;
}

}  // namespace

int64_t bytes_allocated_from(const void* memory) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(memory);
  const std::lock_guard<std::mutex> lock(allocations().mutex);
  auto after = allocations().sizes.upper_bound(at);
  if (after == allocations().sizes.begin()) return 0;
  --after;
  const uintptr_t end = after->first + after->second;
  return at < end ? static_cast<int64_t>(end - at) : 0;
}

int32_t device_count(int32_t* count) {
  *count = 1;
  return GATUN_OK;
}

int32_t describe_device(int32_t index, Device* device) {
  GATUN_TRY(check_range(index, 0, 0, "device"));
  *device = emulator::settings().device;
  return GATUN_OK;
}

void runtime_versions(int32_t* driver, int32_t* runtime) { *driver = *runtime = 0; }

int32_t DeviceScope::enter(void*) {
  device_ = emulator::settings().device;
  return check_supported(device_);
}

DeviceScope::~DeviceScope() = default;

int32_t check_device_memory(int32_t device, const void* memory, int64_t bytes, const char* name) {
  if (bytes == 0 || bytes_allocated_from(memory) > 0) return GATUN_OK;
  return fail(GATUN_INVALID_ARGUMENT, "%s = %p, host memory that device %d cannot use; allowed: memory of device %d",
              name, memory, device, device);
}

int32_t fill_async(void* memory, int value, int64_t bytes, void*) {
  if (bytes > 0) std::memset(memory, value, static_cast<size_t>(bytes));
  return GATUN_OK;
}

}  // namespace gatun::cuda

namespace gatun::test {

void* device_allocate(int64_t bytes) {
  // Of the exact size, so that ASan and valgrind see what reads or writes past it; aligned as the runtime's.
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, static_cast<size_t>(bytes > 0 ? bytes : 1)) != 0) std::abort();
  const std::lock_guard<std::mutex> lock(cuda::allocations().mutex);
  cuda::allocations().sizes[reinterpret_cast<uintptr_t>(memory)] = static_cast<size_t>(bytes);
  return memory;
}

void device_free(void* memory) {
  // Forgotten first: once it is free, another thread may get the same address.
  {
    const std::lock_guard<std::mutex> lock(cuda::allocations().mutex);
    cuda::allocations().sizes.erase(reinterpret_cast<uintptr_t>(memory));
  }
  std::free(memory);
}

void copy_to_device(void* to, const void* from, int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

void copy_from_device(void* to, const void* from, int64_t bytes) { copy_to_device(to, from, bytes); }

}  // namespace gatun::test
