// Bad input: a status with a message, before anything is launched, and a device that works as before.
#include <string>

#include "gpu.h"

namespace gatun::test {
namespace {

bool message_has(const std::string& text) {
  return std::string(gatun_cuda_last_error()).find(text) != std::string::npos;
}

class Misuse : public ::testing::Test {
 protected:
  // After each test: right results, and no error left behind for whoever asks the runtime next.
  void TearDown() override {
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
    EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
    Quantization quantization(64, 256, 30);
    EXPECT_EQ(quantization.run(nullptr), GATUN_OK) << gatun_cuda_last_error();
    EXPECT_TRUE(quantization.right());
    Product product(5, 128, 256, GATUN_QMATMUL_BF16, 31);
    EXPECT_EQ(product.run(nullptr), GATUN_OK) << gatun_cuda_last_error();
    EXPECT_TRUE(product.right());
    EXPECT_EQ(cudaGetLastError(), cudaSuccess);
  }
};

TEST_F(Misuse, HostPointers) {
  std::vector<float> host(64 * 256);
  Quantization quantization(64, 256, 1);
  const auto quantize = [&](const void* x, void* codes, void* scales) {
    return gatun_cuda_quantize(&quantization.params(), x, nullptr, nullptr, codes, scales, nullptr,
                               reinterpret_cast<gatun_cuda_faults*>(quantization.faults().data()), nullptr, 0, nullptr);
  };
  EXPECT_EQ(quantize(host.data(), quantization.codes().data(), quantization.scales().data()), GATUN_INVALID_ARGUMENT);
  EXPECT_TRUE(message_has("x = ") && message_has("host memory")) << gatun_cuda_last_error();
  EXPECT_EQ(quantize(quantization.x().data(), host.data(), quantization.scales().data()), GATUN_INVALID_ARGUMENT);
  EXPECT_TRUE(message_has("codes = ") && message_has("host memory")) << gatun_cuda_last_error();
  EXPECT_EQ(quantize(quantization.x().data(), quantization.codes().data(), host.data()), GATUN_INVALID_ARGUMENT);
  EXPECT_TRUE(message_has("scales = ") && message_has("host memory")) << gatun_cuda_last_error();
  EXPECT_EQ(quantize(nullptr, quantization.codes().data(), quantization.scales().data()), GATUN_INVALID_ARGUMENT);
  EXPECT_TRUE(message_has("x")) << gatun_cuda_last_error();

  Product product(5, 128, 256, GATUN_QMATMUL_BF16, 2);
  EXPECT_EQ(
      product.run(host.data(), product.workspace().data(), product.workspace().count(), product.y().data(), nullptr),
      GATUN_INVALID_ARGUMENT);
  EXPECT_TRUE(message_has("x = ") && message_has("host memory")) << gatun_cuda_last_error();
  EXPECT_EQ(
      product.run(product.x().data(), product.workspace().data(), product.workspace().count(), host.data(), nullptr),
      GATUN_INVALID_ARGUMENT);
  EXPECT_TRUE(message_has("y = ") && message_has("host memory")) << gatun_cuda_last_error();
}

// Pinned host memory is what devices can use, and so is managed memory.
TEST_F(Misuse, MemoryThatOnlyLooksLikeTheHosts) {
  float* pinned = nullptr;
  float* managed = nullptr;
  GATUN_EXPECT_CUDA(cudaMallocHost(reinterpret_cast<void**>(&pinned), 64 * 256 * 4));
  GATUN_EXPECT_CUDA(cudaMallocManaged(reinterpret_cast<void**>(&managed), 64 * 256 * 4, cudaMemAttachGlobal));
  Quantization quantization(64, 256, 3);
  GATUN_EXPECT_CUDA(cudaMemcpy(pinned, quantization.x().data(), 64 * 256 * 4, cudaMemcpyDefault));
  GATUN_EXPECT_CUDA(cudaMemcpy(managed, quantization.x().data(), 64 * 256 * 4, cudaMemcpyDefault));
  for (const float* x : {pinned, managed}) {
    EXPECT_EQ(gatun_cuda_check_memory(0, x, 64 * 256 * 4), GATUN_OK) << gatun_cuda_last_error();
    quantization.forget();
    EXPECT_EQ(
        gatun_cuda_quantize(&quantization.params(), x, nullptr, nullptr, quantization.codes().data(),
                            quantization.scales().data(), nullptr,
                            reinterpret_cast<gatun_cuda_faults*>(quantization.faults().data()), nullptr, 0, nullptr),
        GATUN_OK)
        << gatun_cuda_last_error();
    EXPECT_TRUE(quantization.right());
  }
  GATUN_EXPECT_CUDA(cudaFreeHost(pinned));
  GATUN_EXPECT_CUDA(cudaFree(managed));
}

TEST_F(Misuse, SmallWorkspace) {
  int tried = 0;
  for (const int64_t rows : {1, 16, 64, 300}) {
    Product product(rows, 384, 1000, GATUN_QMATMUL_INT8_ROW, 4);
    const int64_t needed = product.workspace().count();
    if (needed == 0) continue;
    tried += 1;
    EXPECT_EQ(product.run(product.x().data(), product.workspace().data(), needed - 1, product.y().data(), nullptr),
              GATUN_INVALID_ARGUMENT);
    EXPECT_TRUE(message_has("workspace") && message_has(std::to_string(needed)) &&
                message_has(std::to_string(needed - 1)))
        << gatun_cuda_last_error();
    EXPECT_EQ(product.run(product.x().data(), nullptr, needed, product.y().data(), nullptr), GATUN_INVALID_ARGUMENT);
    EXPECT_TRUE(message_has("workspace")) << gatun_cuda_last_error();
    std::vector<uint8_t> host(static_cast<size_t>(needed) + 256);
    void* aligned = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(host.data()) + 255) / 256 * 256);
    EXPECT_EQ(product.run(product.x().data(), aligned, needed, product.y().data(), nullptr), GATUN_INVALID_ARGUMENT);
    EXPECT_TRUE(message_has("workspace") && message_has("host memory")) << gatun_cuda_last_error();
    // Nothing was launched.
    for (const float y : product.result()) ASSERT_TRUE(std::isnan(y));
  }
  EXPECT_GT(tried, 0) << "no shape needs a workspace";
}

TEST_F(Misuse, MemoryThatEndsTooEarly) {
  DeviceBuffer<uint8_t> memory(1 << 20);
  EXPECT_EQ(gatun_cuda_check_memory(0, memory.data(), 1 << 20), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_EQ(gatun_cuda_check_memory(0, memory.data(), int64_t{1} << 50), GATUN_INVALID_ARGUMENT);
  EXPECT_TRUE(message_has("to the end of its allocation")) << gatun_cuda_last_error();
}

TEST_F(Misuse, AnotherDevicesStreamAndMemory) {
  int count = 0;
  GATUN_EXPECT_CUDA(cudaGetDeviceCount(&count));
  if (count < 2) GTEST_SKIP() << "there is one device";
  Quantization quantization(64, 256, 5);
  GATUN_EXPECT_CUDA(cudaSetDevice(1));
  {
    Stream other;
    GATUN_EXPECT_CUDA(cudaSetDevice(0));
    EXPECT_EQ(quantization.run(other.get()), GATUN_INVALID_ARGUMENT);
    EXPECT_TRUE(message_has("memory of device 0") && message_has("memory of device 1")) << gatun_cuda_last_error();
    int current = -1;
    GATUN_EXPECT_CUDA(cudaGetDevice(&current));
    EXPECT_EQ(current, 0);
    GATUN_EXPECT_CUDA(cudaSetDevice(1));
  }
  GATUN_EXPECT_CUDA(cudaSetDevice(0));
}

TEST_F(Misuse, NoSuchDevice) {
  gatun_cuda_device properties = {};
  properties.struct_size = sizeof(properties);
  int count = 0;
  GATUN_EXPECT_CUDA(cudaGetDeviceCount(&count));
  EXPECT_EQ(gatun_cuda_describe_device(count, &properties), GATUN_INVALID_ARGUMENT);
  EXPECT_TRUE(message_has("device = " + std::to_string(count))) << gatun_cuda_last_error();
  EXPECT_EQ(gatun_cuda_describe_device(-1, &properties), GATUN_INVALID_ARGUMENT);
}

// The caller's own failure is not reported by the library's next call as if it were its own.
TEST_F(Misuse, OutOfMemory) {
  size_t free_bytes = 0, all_bytes = 0;
  GATUN_EXPECT_CUDA(cudaMemGetInfo(&free_bytes, &all_bytes));
  void* memory = nullptr;
  EXPECT_EQ(cudaMalloc(&memory, 2 * all_bytes), cudaErrorMemoryAllocation);
  Quantization quantization(64, 256, 6);
  EXPECT_EQ(quantization.run(nullptr), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_TRUE(quantization.right());
  cudaGetLastError();
}

TEST_F(Misuse, BadParams) {
  Quantization quantization(64, 256, 8);
  quantization.params().group = 7;
  EXPECT_EQ(quantization.run(nullptr), GATUN_INVALID_ARGUMENT);
  EXPECT_TRUE(message_has("group = 7")) << gatun_cuda_last_error();
  Product product(5, 128, 256, GATUN_QMATMUL_BF16, 9);
  product.params().column_end = 129;
  EXPECT_EQ(product.run(nullptr), GATUN_INVALID_ARGUMENT);
  EXPECT_TRUE(message_has("column_end")) << gatun_cuda_last_error();
}

// Not an error of the call: the values are looked at on the device.
TEST_F(Misuse, ValuesThatAreNotFinite) {
  Quantization quantization(64, 256, 10);
  const float nan = NAN;
  copy_to_device(const_cast<float*>(quantization.x().data()) + 5 * 256 + 3, &nan, 4);
  EXPECT_EQ(quantization.run(nullptr), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_EQ(quantization.faults().copy()[0], 5 * 256 + 3);
}

}  // namespace
}  // namespace gatun::test
