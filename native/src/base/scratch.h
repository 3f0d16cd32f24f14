// Memory that a thread keeps between calls.
#pragma once

#include <cstdint>
#include <cstdlib>

namespace gatun {

class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::free(data_); }

  // At least `bytes` bytes, 64-byte aligned, contents undefined; null if there is no memory. Invalidates what an
  // earlier call returned.
  uint8_t* get(int64_t bytes) {
    if (bytes > capacity_) {
      std::free(data_);
      capacity_ = (bytes + 4095) / 4096 * 4096;
      data_ = static_cast<uint8_t*>(std::aligned_alloc(64, static_cast<size_t>(capacity_)));
      if (data_ == nullptr) capacity_ = 0;
    }
    return data_;
  }

 private:
  uint8_t* data_ = nullptr;
  int64_t capacity_ = 0;
};

}  // namespace gatun
