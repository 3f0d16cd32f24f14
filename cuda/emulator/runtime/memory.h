// Memory that is known by its address.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

namespace gatun::emulator {

// A range of addresses of which each is given once: what was freed can't be read again, by anybody.
class Memory {
 public:
  explicit Memory(int64_t most_bytes) : most_bytes_(most_bytes) {}

  // Aligned to 256 bytes, not zero; reading 256 bytes past its end faults. Null if there is none left.
  void* allocate(int64_t bytes);
  bool free(void* memory);  // false unless it was allocated and is not yet freed

  bool holds(const void* address) const {
    return first_ != nullptr && address >= first_ && address < first_ + kAddresses;
  }
  // From the address to the end of its allocation; 0 if it is in none.
  int64_t bytes_from(const void* address) const;

  int64_t most_bytes() const { return most_bytes_; }
  int64_t free_bytes() const { return most_bytes_ - used_bytes_; }

 private:
  static constexpr int64_t kAddresses = int64_t{64} << 30;

  const int64_t most_bytes_;
  int64_t used_bytes_ = 0;
  uint8_t* first_ = nullptr;
  uint8_t* next_ = nullptr;
  std::map<const uint8_t*, int64_t> allocations_;
};

}  // namespace gatun::emulator
