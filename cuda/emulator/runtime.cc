// The runtime of the emulated device: memory is the host's, of which it knows what was allocated as device memory, and
// work is done when it is launched.
#include "base/runtime.h"

#include <cstdlib>
#include <cstring>
#include <map>

#include "base/status.h"
#include "device_memory.h"
#include "settings.h"

namespace gatun::cuda {
namespace {

std::map<uintptr_t, size_t>& allocations() {
  static std::map<uintptr_t, size_t> the_allocations;
  return the_allocations;
}

bool is_device_memory(const void* memory) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(memory);
  auto after = allocations().upper_bound(at);
  if (after == allocations().begin()) return false;
  --after;
  return at < after->first + after->second;
}

}  // namespace

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
  if (device_.at_least(kLeastCapability)) return GATUN_OK;
  return fail(GATUN_UNSUPPORTED, "device %d (%s) has compute capability %d.%d; allowed: %d.%d or newer", device_.index,
              device_.name, device_.major, device_.minor, kLeastCapability / 10, kLeastCapability % 10);
}

DeviceScope::~DeviceScope() = default;

int32_t check_device_memory(int32_t device, const void* memory, int64_t bytes, const char* name) {
  if (bytes == 0 || is_device_memory(memory)) return GATUN_OK;
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
  cuda::allocations()[reinterpret_cast<uintptr_t>(memory)] = static_cast<size_t>(bytes);
  return memory;
}

void device_free(void* memory) {
  cuda::allocations().erase(reinterpret_cast<uintptr_t>(memory));
  std::free(memory);
}

void copy_to_device(void* to, const void* from, int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

void copy_from_device(void* to, const void* from, int64_t bytes) { copy_to_device(to, from, bytes); }

}  // namespace gatun::test
