// gatun_cuda_store and gatun_cuda_clear.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "device_buffer.h"
#include "gatun/cuda.h"

namespace gatun::test {
namespace {

constexpr int64_t kGuard = -7;

// The numbers, and what is after them.
std::vector<int64_t> stored(int64_t count) {
  std::vector<int64_t> values(static_cast<size_t>(count)), back(values.size() + 1, kGuard);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<int64_t>(i) * 0x123456789abc - 5;
  const int64_t bytes = static_cast<int64_t>(back.size() * sizeof(int64_t));
  DeviceBuffer<int64_t> memory(count + 1);
  EXPECT_EQ(gatun_cuda_copy(memory.data(), back.data(), bytes, nullptr), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_EQ(gatun_cuda_store(memory.data(), values.data(), count, nullptr), GATUN_OK) << gatun_cuda_last_error();
  std::fill(values.begin(), values.end(), 0);  // they were read
  EXPECT_EQ(gatun_cuda_copy(back.data(), memory.data(), bytes, nullptr), GATUN_OK) << gatun_cuda_last_error();
  return back;
}

void check_stored(int64_t count) {
  const std::vector<int64_t> back = stored(count);
  for (int64_t i = 0; i < count; ++i) ASSERT_EQ(back[static_cast<size_t>(i)], i * 0x123456789abc - 5) << i;
  EXPECT_EQ(back.back(), kGuard);
}

TEST(SmallestOfEachKernel, Store) { check_stored(3); }

TEST(Store, AnyNumberOfNumbers) {
  for (const int64_t count : {0, 1, 447, 448, 449, 1000}) check_stored(count);
}

TEST(Store, RefusesBadArguments) {
  DeviceBuffer<int64_t> memory(8);
  const int64_t values[8] = {};
  const auto refused = [&](int64_t* to, const int64_t* from, int64_t count, const char* name) {
    EXPECT_EQ(gatun_cuda_store(to, from, count, nullptr), GATUN_INVALID_ARGUMENT) << name;
    EXPECT_EQ(std::string(gatun_cuda_last_error()).find(name), 0u) << gatun_cuda_last_error();
  };
  refused(nullptr, values, 1, "to");
  refused(memory.data(), nullptr, 1, "values");
  refused(memory.data(), values, -1, "count");
  refused(memory.data(), values, INT64_MAX, "count");
  refused(const_cast<int64_t*>(values), values, 1, "to");
  EXPECT_EQ(gatun_cuda_store(nullptr, nullptr, 0, nullptr), GATUN_OK) << gatun_cuda_last_error();
}

TEST(Clear, NothingElse) {
  const std::vector<uint8_t> ones(300, 0xff);
  std::vector<uint8_t> back(300);
  for (const int64_t bytes : {0, 1, 255, 299}) {
    DeviceBuffer<uint8_t> memory(300);
    ASSERT_EQ(gatun_cuda_copy(memory.data(), ones.data(), 300, nullptr), GATUN_OK);
    ASSERT_EQ(gatun_cuda_clear(memory.data(), bytes, nullptr), GATUN_OK) << gatun_cuda_last_error();
    ASSERT_EQ(gatun_cuda_copy(back.data(), memory.data(), 300, nullptr), GATUN_OK);
    for (int64_t i = 0; i < 300; ++i) ASSERT_EQ(back[static_cast<size_t>(i)], i < bytes ? 0 : 0xff) << i;
  }
}

TEST(Clear, RefusesBadArguments) {
  DeviceBuffer<uint8_t> memory(64);
  uint8_t host[1];
  const auto refused = [](void* to, int64_t bytes, const char* name) {
    EXPECT_EQ(gatun_cuda_clear(to, bytes, nullptr), GATUN_INVALID_ARGUMENT) << name;
    EXPECT_EQ(std::string(gatun_cuda_last_error()).find(name), 0u) << gatun_cuda_last_error();
  };
  refused(nullptr, 1, "memory");
  refused(memory.data(), -1, "bytes");
  refused(host, 1, "memory");
}

}  // namespace
}  // namespace gatun::test
