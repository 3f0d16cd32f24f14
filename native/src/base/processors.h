// How many processors this process may use.
#pragma once

#include <cstdint>

namespace gatun {

// Processors of the calling thread's affinity mask.
int32_t affinity_processors();

// The processors that the control group's quota amounts to, rounded up; INT32_MAX without a quota. A group's quota
// binds its descendants, so the smallest one on the way up to the root counts. `membership` is the content of
// /proc/self/cgroup, `mount` the directory /sys/fs/cgroup; both versions of control groups are read.
int32_t cgroup_processors(const char* membership, const char* mount);

// The smaller of both, for this process.
int32_t allowed_processors();

}  // namespace gatun
