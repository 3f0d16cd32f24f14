#include "base/processors.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <new>
#include <sstream>
#include <string>

namespace gatun {
namespace {

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

int32_t processors_of(double quota, double period) {
  if (!(quota > 0) || !(period > 0)) return INT32_MAX;
  const double processors = quota / period;
  return processors >= INT32_MAX ? INT32_MAX : static_cast<int32_t>(std::max(1.0, std::ceil(processors)));
}

// Version 2: "max 100000" or "150000 100000".
int32_t quota_v2(const std::string& folder) {
  double quota = 0, period = 0;
  const std::string text = read_file(folder + "/cpu.max");
  return std::sscanf(text.c_str(), "%lf %lf", &quota, &period) == 2 ? processors_of(quota, period) : INT32_MAX;
}

// Version 1: two files; a quota of -1 is none.
int32_t quota_v1(const std::string& folder) {
  const double quota = std::atof(read_file(folder + "/cpu.cfs_quota_us").c_str());
  return processors_of(quota, std::atof(read_file(folder + "/cpu.cfs_period_us").c_str()));
}

// The smallest quota from the group up to the root. In a container the path may be the host's and not exist below the
// mount; folders that are missing have no quota.
template <class Quota>
int32_t smallest_quota(const std::string& root, std::string path, Quota quota) {
  int32_t smallest = quota(root);
  while (path.size() > 1) {
    smallest = std::min(smallest, quota(root + path));
    path.resize(path.rfind('/'));
  }
  return smallest;
}

}  // namespace

int32_t affinity_processors() {
  for (int bits = 1024; bits <= 1 << 20; bits *= 2) {  // the kernel refuses a mask that is shorter than its own
    cpu_set_t* set = CPU_ALLOC(bits);
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(bits);
    const int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
  return static_cast<int32_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
}

int32_t cgroup_processors(const char* membership, const char* mount) {
  const std::string base = mount;
  int32_t smallest = INT32_MAX;
  std::istringstream lines(membership);
  for (std::string line; std::getline(lines, line);) {  // hierarchy:controllers:/path
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (path.empty() || path[0] != '/') continue;
    if (controllers.empty()) {
      smallest =
          std::min({smallest, smallest_quota(base, path, quota_v2), smallest_quota(base + "/unified", path, quota_v2)});
    } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
      smallest = std::min({smallest, smallest_quota(base + "/cpu", path, quota_v1),
                           smallest_quota(base + "/" + controllers, path, quota_v1)});
    }
  }
  return smallest;
}

int32_t allowed_processors() {
  const int32_t allowed = affinity_processors();
  try {
    return std::min(allowed, cgroup_processors(read_file("/proc/self/cgroup").c_str(), "/sys/fs/cgroup"));
  } catch (const std::bad_alloc&) {  // no exception may reach a C caller
    return allowed;
  }
}

}  // namespace gatun
