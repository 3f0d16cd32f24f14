// Memory that is read once from end to end, as fast as memory gives it.
#pragma once

#include <cstdint>

namespace gatun {

// Asks the system for huge pages under the whole huge pages within a buffer; what it holds stays as it is. A processor
// fetches ahead within a page only, so weights on pages of 4 KiB come at two thirds of the speed of memory. Only
// advice: where the system gives none, nothing changes.
void prefer_huge_pages(void* memory, int64_t bytes);

}  // namespace gatun
