// What the library says of the devices that there are.
#include <string>

#include "gpu.h"

namespace gatun::test {
namespace {

TEST(Device, IsDescribedAsTheRuntimeDoes) {
  int32_t count = 0;
  ASSERT_EQ(gatun_cuda_device_count(&count), GATUN_OK) << gatun_cuda_last_error();
  ASSERT_GT(count, 0);
  for (int32_t i = 0; i < count; ++i) {
    gatun_cuda_device device = {};
    device.struct_size = sizeof(device);
    ASSERT_EQ(gatun_cuda_describe_device(i, &device), GATUN_OK) << gatun_cuda_last_error();
    cudaDeviceProp properties;
    ASSERT_EQ(cudaGetDeviceProperties(&properties, i), cudaSuccess);
    EXPECT_EQ(device.major, properties.major);
    EXPECT_EQ(device.minor, properties.minor);
    EXPECT_EQ(device.multiprocessors, properties.multiProcessorCount);
    EXPECT_EQ(device.shared_bytes, static_cast<int64_t>(properties.sharedMemPerBlockOptin));
    EXPECT_EQ(device.l2_bytes, properties.l2CacheSize);
    EXPECT_EQ(device.memory_bytes, static_cast<int64_t>(properties.totalGlobalMem));
    EXPECT_EQ(device.supported, properties.major >= 8 ? 1 : 0);
  }
}

TEST(Device, TheReportNamesIt) {
  char text[4096];
  ASSERT_EQ(gatun_cuda_report(text, sizeof(text)), GATUN_OK) << gatun_cuda_last_error();
  cudaDeviceProp properties;
  ASSERT_EQ(cudaGetDeviceProperties(&properties, 0), cudaSuccess);
  EXPECT_NE(std::string(text).find(properties.name), std::string::npos) << text;
  std::printf("%s", text);
}

TEST(Device, KnowsItsMemory) {
  DeviceBuffer<uint8_t> mine(100);
  EXPECT_EQ(gatun_cuda_check_memory(0, mine.data(), 100), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_EQ(gatun_cuda_check_memory(0, mine.data() + 24, 10), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_EQ(gatun_cuda_check_memory(0, nullptr, 0), GATUN_OK) << gatun_cuda_last_error();
  char on_the_stack[4];
  EXPECT_EQ(gatun_cuda_check_memory(0, on_the_stack, 4), GATUN_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace gatun::test
