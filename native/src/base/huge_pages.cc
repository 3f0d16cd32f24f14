#include "base/huge_pages.h"

#include <sys/mman.h>

#include "base/check.h"
#include "gatun/gatun.h"

namespace gatun {
namespace {

constexpr uintptr_t kHugePage = uintptr_t{2} << 20;
// Since Linux 6.1: at once, where pages are in use already; <sys/mman.h> of GLIBC 2.36 lacks it.
constexpr int kCollapse = 25;

}  // namespace

void prefer_huge_pages(void* memory, int64_t bytes) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t begin = (address + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t end = (address + static_cast<uintptr_t>(bytes)) / kHugePage * kHugePage;
  if (begin >= end) return;
  void* first = reinterpret_cast<void*>(begin);
  // Refusals are fine: a kernel without huge pages, memory of a file, no free huge page.
  if (madvise(first, end - begin, MADV_HUGEPAGE) == 0) madvise(first, end - begin, kCollapse);
}

}  // namespace gatun

int32_t gatun_prefer_huge_pages(void* memory, int64_t bytes) {
  GATUN_TRY(gatun::check_range(bytes, 0, INT64_MAX, "bytes"));
  if (bytes == 0) return GATUN_OK;
  GATUN_TRY(gatun::check_not_null(memory, "memory"));
  gatun::prefer_huge_pages(memory, bytes);
  return GATUN_OK;
}
