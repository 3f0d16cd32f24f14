// What entry points ask of the emulated machine; and the machine of tests in C++: memory is the host's, of which it
// knows what was allocated as device memory, and work is done when it is launched.
#include "base/runtime.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "base/status.h"
#include "device_memory.h"
#include "machine.h"
#include "settings.h"

namespace gatun::emulator {
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

class OneDevice : public Machine {
 public:
  int32_t device_count() override { return 1; }
  cuda::Device device(int32_t) override { return settings().device; }
  int32_t device_of(void*) override { return 0; }
  int32_t make_current(int32_t) override { return 0; }
  int32_t put(void*, std::function<int32_t()> work) override { return work(); }
  int32_t wait(void*) override { return GATUN_OK; }
  int32_t copy(void* to, const void* from, int64_t bytes, void*) override {
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return GATUN_OK;
  }

  Place place(const void* memory) override {
    const uintptr_t at = reinterpret_cast<uintptr_t>(memory);
    const std::lock_guard<std::mutex> lock(allocations().mutex);
    auto after = allocations().sizes.upper_bound(at);
    if (after == allocations().sizes.begin()) return {kHost, 0};
    --after;
    const uintptr_t end = after->first + after->second;
    return at < end ? Place{0, static_cast<int64_t>(end - at)} : Place{kHost, 0};
  }
};

Machine* other_machine = nullptr;

}  // namespace

Machine& machine() {
  static OneDevice* const one_device = new OneDevice;
  return other_machine == nullptr ? *one_device : *other_machine;
}

void use_machine(Machine* machine) { other_machine = machine; }

}  // namespace gatun::emulator

namespace gatun::cuda {

using emulator::Machine;
using emulator::machine;

int64_t bytes_allocated_from(int32_t, const void* memory) { return machine().place(memory).bytes; }

int32_t device_count(int32_t* count) {
  *count = machine().device_count();
  return GATUN_OK;
}

int32_t describe_device(int32_t index, Device* device) {
  GATUN_TRY(check_range(index, 0, machine().device_count() - 1, "device"));
  *device = machine().device(index);
  return GATUN_OK;
}

void runtime_versions(int32_t* driver, int32_t* runtime) { *driver = *runtime = 0; }

int32_t DeviceScope::enter(void* stream) {
  const int32_t index = machine().device_of(stream);
  if (index < 0) return fail(GATUN_INTERNAL, "stream = %p, which is no stream", stream);
  device_ = machine().device(index);
  GATUN_TRY(check_supported(device_));
  before_ = machine().make_current(index);
  return GATUN_OK;
}

DeviceScope::~DeviceScope() {
  if (before_ >= 0) machine().make_current(before_);
}

int32_t check_device_memory(int32_t device, const void* memory, int64_t bytes, const char* name) {
  if (bytes == 0) return GATUN_OK;
  const Machine::Place place = machine().place(memory);
  if (place.device == device || place.device == Machine::kAnyDevice) return GATUN_OK;
  if (place.device != Machine::kHost) {
    return fail(GATUN_INVALID_ARGUMENT, "%s = %p, memory of device %d; allowed: memory of device %d", name, memory,
                place.device, device);
  }
  return fail(GATUN_INVALID_ARGUMENT, "%s = %p, host memory that device %d cannot use; allowed: memory of device %d",
              name, memory, device, device);
}

int32_t fill_async(void* memory, int value, int64_t bytes, void* stream) {
  if (bytes == 0) return GATUN_OK;
  return machine().put(stream, [=] {
    std::memset(memory, value, static_cast<size_t>(bytes));
    return GATUN_OK;
  });
}

int32_t copy_async(void* to, const void* from, int64_t bytes, void* stream) {
  GATUN_TRY(machine().copy(to, from, bytes, stream));
  const bool pinned = machine().place(to).device != Machine::kHost && machine().place(from).device != Machine::kHost;
  return pinned ? GATUN_OK : machine().wait(stream);
}

}  // namespace gatun::cuda

namespace gatun::test {

void* device_allocate(int64_t bytes) {
  // Of the exact size, so that ASan and valgrind see what reads or writes past it; aligned as the runtime's.
  void* memory = nullptr;
  if (posix_memalign(&memory, 256, static_cast<size_t>(bytes > 0 ? bytes : 1)) != 0) std::abort();
  const std::lock_guard<std::mutex> lock(emulator::allocations().mutex);
  emulator::allocations().sizes[reinterpret_cast<uintptr_t>(memory)] = static_cast<size_t>(bytes);
  return memory;
}

void device_free(void* memory) {
  // Forgotten first: once it is free, another thread may get the same address.
  {
    const std::lock_guard<std::mutex> lock(emulator::allocations().mutex);
    emulator::allocations().sizes.erase(reinterpret_cast<uintptr_t>(memory));
  }
  std::free(memory);
}

void copy_to_device(void* to, const void* from, int64_t bytes) {
  if (bytes > 0) std::memcpy(to, from, static_cast<size_t>(bytes));
}

void copy_from_device(void* to, const void* from, int64_t bytes) { copy_to_device(to, from, bytes); }

}  // namespace gatun::test
