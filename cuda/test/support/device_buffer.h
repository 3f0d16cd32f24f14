// An array in device memory for tests, with canaries around it.
//
// What a kernel forgets to write stays 0xff in all bytes, which is NaN in every float. A write beside the elements
// changes a canary, which the destructor reports; on the emulator there is nothing beside them but what ASan and
// valgrind guard.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <vector>

#include "device_memory.h"

namespace gatun::test {

template <class T>
class DeviceBuffer {
 public:
  // `offset` elements before the first one misalign it.
  explicit DeviceBuffer(int64_t count, int64_t offset = 0)
      : count_(count), before_(offset * size()), bytes_(before_ + count * size() + kAfter) {
    memory_ = static_cast<unsigned char*>(device_allocate(bytes_));
    const std::vector<unsigned char> canaries(static_cast<size_t>(bytes_), 0xff);
    copy_to_device(memory_, canaries.data(), bytes_);
  }

  explicit DeviceBuffer(const std::vector<T>& values, int64_t offset = 0)
      : DeviceBuffer(static_cast<int64_t>(values.size()), offset) {
    copy_to_device(data(), values.data(), count_ * size());
  }

  ~DeviceBuffer() {
    std::vector<unsigned char> all(static_cast<size_t>(bytes_));
    copy_from_device(all.data(), memory_, bytes_);
    int64_t written = 0;
    for (int64_t i = 0; i < bytes_; ++i) {
      if (i < before_ || i >= before_ + count_ * size()) written += all[static_cast<size_t>(i)] != 0xff;
    }
    EXPECT_EQ(written, 0) << "bytes beside a device buffer of " << count_ << " elements were written";
    device_free(memory_);
  }

  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;

  T* data() { return reinterpret_cast<T*>(memory_ + before_); }
  const T* data() const { return reinterpret_cast<const T*>(memory_ + before_); }
  int64_t count() const { return count_; }

  std::vector<T> copy() const {
    std::vector<T> values(static_cast<size_t>(count_));
    copy_from_device(values.data(), data(), count_ * size());
    return values;
  }

 private:
  static constexpr int64_t size() { return static_cast<int64_t>(sizeof(T)); }
#if defined(GATUN_EMULATED)
  static constexpr int64_t kAfter = 0;
#else
  static constexpr int64_t kAfter = 256;
#endif

  int64_t count_, before_, bytes_;
  unsigned char* memory_;
};

}  // namespace gatun::test
