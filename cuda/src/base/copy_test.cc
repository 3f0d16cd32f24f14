// gatun_cuda_copy, between each pair of host and device.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "device_buffer.h"
#include "gatun/cuda.h"

namespace gatun::test {
namespace {

TEST(Copy, ThereAcrossAndBack) {
  for (const int64_t bytes : {1, 255, 256, 257, 1 << 20}) {
    std::vector<uint8_t> from(static_cast<size_t>(bytes)), back(from.size());
    for (size_t i = 0; i < from.size(); ++i) from[i] = static_cast<uint8_t>(i * 7 + 1);
    DeviceBuffer<uint8_t> first(bytes), second(bytes);
    ASSERT_EQ(gatun_cuda_copy(first.data(), from.data(), bytes, nullptr), GATUN_OK) << gatun_cuda_last_error();
    ASSERT_EQ(gatun_cuda_copy(second.data(), first.data(), bytes, nullptr), GATUN_OK) << gatun_cuda_last_error();
    ASSERT_EQ(gatun_cuda_copy(back.data(), second.data(), bytes, nullptr), GATUN_OK) << gatun_cuda_last_error();
    EXPECT_EQ(back, from);  // done, as it is not pinned
  }
}

TEST(Copy, RefusesBadArguments) {
  DeviceBuffer<uint8_t> memory(64);
  const auto refused = [](void* to, const void* from, int64_t bytes, const char* name) {
    EXPECT_EQ(gatun_cuda_copy(to, from, bytes, nullptr), GATUN_INVALID_ARGUMENT) << name;
    EXPECT_EQ(std::string(gatun_cuda_last_error()).find(name), 0u) << gatun_cuda_last_error();
  };
  refused(nullptr, memory.data(), 1, "to");
  refused(memory.data(), nullptr, 1, "from");
  refused(memory.data(), memory.data() + 32, -1, "bytes");
  refused(memory.data(), memory.data() + 31, 32, "to");
  EXPECT_EQ(gatun_cuda_copy(memory.data(), memory.data() + 32, 32, nullptr), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_EQ(gatun_cuda_copy(nullptr, nullptr, 0, nullptr), GATUN_OK) << gatun_cuda_last_error();
}

}  // namespace
}  // namespace gatun::test
