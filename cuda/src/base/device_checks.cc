// What is checked of devices and their memory, whichever runtime there is.
#include "base/runtime.h"
#include "base/status.h"

namespace gatun::cuda {

int32_t check_supported(const Device& device) {
  if (device.at_least(kLeastCapability)) return GATUN_OK;
  return fail(GATUN_UNSUPPORTED, "device %d (%s) has compute capability %d.%d; allowed: %d.%d or newer", device.index,
              device.name, device.major, device.minor, kLeastCapability / 10, kLeastCapability % 10);
}

int32_t describe_supported(int32_t index, Device* device) {
  GATUN_TRY(describe_device(index, device));
  return check_supported(*device);
}

int32_t check_whole_memory(int32_t device, const void* memory, int64_t bytes, const char* name) {
  GATUN_TRY(check_device_memory(device, memory, bytes, name));
  // An allocation may be of several pieces of memory side by side, of which the driver knows each.
  const char* const begin = static_cast<const char*>(memory);
  for (int64_t known = 0; known < bytes;) {
    const int64_t there = bytes_allocated_from(device, begin + known);
    if (there >= bytes - known) break;
    known += there;
    if (check_device_memory(device, begin + known, 1, name) != GATUN_OK) {
      return fail(GATUN_INVALID_ARGUMENT, "%s = %p has %lld bytes to the end of its allocation; needed: %lld", name,
                  memory, static_cast<long long>(known), static_cast<long long>(bytes));
    }
  }
  return GATUN_OK;
}

int32_t check_workspace(int32_t device, const void* workspace, int64_t workspace_bytes, int64_t needed) {
  if (needed == 0) return GATUN_OK;
  GATUN_TRY(check_range(workspace_bytes, needed, INT64_MAX, "workspace_bytes"));
  GATUN_TRY(check_not_null(workspace, "workspace"));
  GATUN_TRY(check_aligned(workspace, 256, "workspace"));
  return check_device_memory(device, workspace, needed, "workspace");
}

}  // namespace gatun::cuda
