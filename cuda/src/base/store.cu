// Writes numbers that the launch carries: a thread for each.
#include "base/check.h"
#include "base/store.h"
#include "ptx/launch.h"
#include "ptx/thread.h"

namespace gatun::cuda {
namespace {

constexpr int kMost = 448;  // with the others, of the 4096 bytes that arguments may have everywhere

struct Values {
  int64_t value[kMost];
};

GATUN_KERNEL(kMost, 1) store(GATUN_GRID_CONSTANT Values values, int64_t* to, const int count) {
  if (thread_index() < count) to[thread_index()] = values.value[thread_index()];
}

}  // namespace

int32_t store_async(int64_t* to, const int64_t* values, int64_t count, void* stream) {
  for (int64_t done = 0; done < count; done += kMost) {
    const int now = static_cast<int>(count - done < kMost ? count - done : kMost);
    Values some = {};
    for (int i = 0; i < now; ++i) some.value[i] = values[done + i];
    GATUN_TRY(launch("store", store, {1, 1, 1, kMost, 0}, stream, some, to + done, now));
  }
  return GATUN_OK;
}

}  // namespace gatun::cuda
