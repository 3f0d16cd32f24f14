// Text for a person, built in a fixed buffer and copied to a caller's.
#pragma once

#include <cstdint>

namespace gatun {

class Text {
 public:
  // Appends, printf-like; what does not fit is cut.
  __attribute__((format(printf, 2, 3))) void add(const char* format, ...);

  // Copies the NUL-terminated text. INVALID_ARGUMENT if `text` is null or `capacity` is too small.
  int32_t copy_to(char* text, int64_t capacity) const;

  const char* c_str() const { return buffer_; }

 private:
  static constexpr int kCapacity = 16384;
  char buffer_[kCapacity] = "";
  int length_ = 0;
};

}  // namespace gatun
