#include "memory.h"

#include <sys/mman.h>

#include <cstring>

namespace gatun::emulator {
namespace {

constexpr int64_t kPage = 4096;

int64_t round_up(int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

uint8_t* page_of(const uint8_t* address) {
  return const_cast<uint8_t*>(address) - reinterpret_cast<uintptr_t>(address) % kPage;
}

}  // namespace

void* Memory::allocate(int64_t bytes) {
  if (first_ == nullptr) {
    void* range = mmap(nullptr, kAddresses, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (range == MAP_FAILED) return nullptr;
    next_ = first_ = static_cast<uint8_t*>(range);
  }
  if (bytes > free_bytes()) return nullptr;
  // It ends where a page does, and a page follows that is nobody's.
  const int64_t space = round_up(bytes, kPage);
  if (next_ + space + kPage > first_ + kAddresses) return nullptr;
  if (mprotect(next_, static_cast<size_t>(space), PROT_READ | PROT_WRITE) != 0) return nullptr;
  uint8_t* memory = next_ + space - round_up(bytes, 256);
  std::memset(memory, 0xA5, static_cast<size_t>(bytes));
  next_ += space + kPage;
  used_bytes_ += bytes;
  allocations_[memory] = bytes;
  return memory;
}

bool Memory::free(void* memory) {
  const auto found = allocations_.find(static_cast<uint8_t*>(memory));
  if (found == allocations_.end()) return false;
  uint8_t* page = page_of(found->first);
  const size_t space = static_cast<size_t>(round_up(found->first + found->second - page, kPage));
  // New pages in the place of the old ones give those back.
  mmap(page, space, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  used_bytes_ -= found->second;
  allocations_.erase(found);
  return true;
}

int64_t Memory::bytes_from(const void* address) const {
  auto after = allocations_.upper_bound(static_cast<const uint8_t*>(address));
  if (after == allocations_.begin()) return 0;
  --after;
  const int64_t bytes = after->first + after->second - static_cast<const uint8_t*>(address);
  return bytes > 0 ? bytes : 0;
}

}  // namespace gatun::emulator
