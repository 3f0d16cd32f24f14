#include "base/text.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "base/status.h"

namespace gatun {

void Text::add(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int written = std::vsnprintf(buffer_ + length_, static_cast<size_t>(kCapacity - length_), format, arguments);
  va_end(arguments);
  length_ = std::min(length_ + std::max(written, 0), kCapacity - 1);
}

int32_t Text::copy_to(char* text, int64_t capacity) const {
  if (text == nullptr) return fail(GATUN_INVALID_ARGUMENT, "text is null");
  if (capacity <= length_) {
    return fail(GATUN_INVALID_ARGUMENT, "capacity = %lld bytes; this text needs %d", static_cast<long long>(capacity),
                length_ + 1);
  }
  std::memcpy(text, buffer_, static_cast<size_t>(length_) + 1);
  return GATUN_OK;
}

}  // namespace gatun
