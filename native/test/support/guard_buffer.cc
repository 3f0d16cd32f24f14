#include "guard_buffer.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace gatun::test {
namespace {

// More than the widest store of any kernel.
constexpr size_t kPadding = 512;

size_t page_bytes() {
  static const size_t bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

void require(bool done, const char* call) {
  if (!done) {
    std::perror(call);
    std::abort();
  }
}

}  // namespace

GuardPages::GuardPages(size_t bytes, Edge edge, size_t offset_bytes) : bytes_(bytes) {
  const size_t page = page_bytes();
  const size_t accessible = (bytes + offset_bytes + kPadding + page - 1) / page * page;
  void* mapping = mmap(nullptr, accessible + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  require(mapping != MAP_FAILED, "mmap");
  mapping_ = static_cast<unsigned char*>(mapping);
  begin_ = mapping_ + page;
  end_ = begin_ + accessible;
  require(mprotect(begin_, accessible, PROT_READ | PROT_WRITE) == 0, "mprotect");
  data_ = edge == Edge::front ? begin_ + offset_bytes : end_ - offset_bytes - bytes;
  for (unsigned char* at = begin_; at != end_; ++at) *at = canary(at);
}

GuardPages::~GuardPages() {
  const size_t accessible = static_cast<size_t>(end_ - begin_);
  munmap(mapping_, accessible + 2 * page_bytes());
}

// Pairs of bytes, counted from the elements' base, are 0xff81..0xffff: NaN as bf16 and f16 and, two of them, as f32.
unsigned char GuardPages::canary(const unsigned char* at) const {
  const ptrdiff_t index = at - data_;
  if (index & 1) return 0xff;
  return static_cast<unsigned char>(0x81 | static_cast<unsigned char>(index * 37 >> 1));
}

bool GuardPages::intact() const {
  for (const unsigned char* at = begin_; at != data_; ++at) {
    if (*at != canary(at)) return false;
  }
  for (const unsigned char* at = data_ + bytes_; at != end_; ++at) {
    if (*at != canary(at)) return false;
  }
  return true;
}

void GuardPages::make_read_only() {
  require(mprotect(begin_, static_cast<size_t>(end_ - begin_), PROT_READ) == 0, "mprotect");
}

}  // namespace gatun::test
