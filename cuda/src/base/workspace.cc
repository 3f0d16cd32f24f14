#include "base/runtime.h"
#include "base/status.h"

namespace gatun::cuda {

int32_t check_workspace(int32_t device, const void* workspace, int64_t workspace_bytes, int64_t needed) {
  if (needed == 0) return GATUN_OK;
  GATUN_TRY(check_range(workspace_bytes, needed, INT64_MAX, "workspace_bytes"));
  GATUN_TRY(check_not_null(workspace, "workspace"));
  GATUN_TRY(check_aligned(workspace, 256, "workspace"));
  return check_device_memory(device, workspace, needed, "workspace");
}

}  // namespace gatun::cuda
