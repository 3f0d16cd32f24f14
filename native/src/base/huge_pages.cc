#include "base/huge_pages.h"

#include <sys/mman.h>

#include "base/check.h"
#include "base/status.h"
#include "gatun/gatun.h"

namespace gatun {
namespace {

constexpr uintptr_t kHugePage = uintptr_t{2} << 20;
// Since Linux 6.1: at once, where pages are in use already; <sys/mman.h> of GLIBC 2.36 lacks it.
constexpr int kCollapse = 25;

}  // namespace

void prefer_huge_pages(void* memory, int64_t bytes) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(memory), size = static_cast<uintptr_t>(bytes);
  const uintptr_t before = -address % kHugePage;
  if (size < before + kHugePage) return;
  const size_t whole = (size - before) / kHugePage * kHugePage;
  void* first = reinterpret_cast<void*>(address + before);
  // Refusals are fine: a kernel without huge pages, memory of a file, no free huge page.
  if (madvise(first, whole, MADV_HUGEPAGE) == 0) madvise(first, whole, kCollapse);
}

}  // namespace gatun

int32_t gatun_prefer_huge_pages(void* memory, int64_t bytes) {
  GATUN_TRY(gatun::check_range(bytes, 0, INT64_MAX, "bytes"));
  if (bytes == 0) return GATUN_OK;
  GATUN_TRY(gatun::check_not_null(memory, "memory"));
  if (static_cast<uintptr_t>(bytes) > UINTPTR_MAX - reinterpret_cast<uintptr_t>(memory)) {
    return gatun::fail(GATUN_INVALID_ARGUMENT, "bytes = %lld; allowed: up to the end of the address space from memory",
                       static_cast<long long>(bytes));
  }
  gatun::prefer_huge_pages(memory, bytes);
  return GATUN_OK;
}
