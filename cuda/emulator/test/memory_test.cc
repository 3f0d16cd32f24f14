// What ASan or valgrind must notice in kernels. Without them these tests are skipped: the writes would do harm.
//
// Under valgrind the tests pass, and ctest expects that valgrind does not (CMakeLists.txt).
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "base/runtime.h"
#include "device_buffer.h"
#include "gatun/cuda.h"
#include "ptx/cp_async.h"
#include "ptx/launch.h"
#include "settings.h"
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif

namespace gatun::emulator {
namespace {

using namespace gatun::cuda;

bool on_valgrind() {
#if defined(RUNNING_ON_VALGRIND)
  return RUNNING_ON_VALGRIND != 0;
#else
  return false;
#endif
}

// Launches what is in `statement`; ASan must end it.
#if defined(__SANITIZE_ADDRESS__)
#define GATUN_EXPECT_FOUND(statement) EXPECT_DEATH(statement, "heap-buffer-overflow")
#else
#define GATUN_EXPECT_FOUND(statement)                                    \
  if (!on_valgrind()) GTEST_SKIP() << "neither ASan nor valgrind watch"; \
  statement
#endif

void write_shared(int at) { shared_memory()[at] = static_cast<uint8_t>(at); }
void read_global(const uint8_t* from, int at, uint8_t* out) { out[0] = from[at]; }
void copy_global(const uint8_t* from) {
  copy_async_16(shared_memory(), from);
  copy_async_commit();
  copy_async_wait<0>();
}
void sum_shared(int written, int* out) {
  uint8_t* const shared = shared_memory();
  for (int i = thread_index(); i < written; i += thread_count()) shared[i] = 1;
  block_barrier();
  int sum = 0;
  for (int i = 0; i < 128; ++i) sum += shared[i];
  if (thread_index() == 0) out[0] = sum;
}

void launch_write_shared(int at) { launch("write_shared", write_shared, {1, 1, 1, 1, 128}, nullptr, at); }
void launch_read_global(int at) {
  const test::DeviceBuffer<uint8_t> from(16);
  test::DeviceBuffer<uint8_t> out(1);
  launch("read_global", read_global, {1, 1, 1, 1, 0}, nullptr, from.data(), at, out.data());
}
void launch_copy_global(int64_t offset) {
  const test::DeviceBuffer<uint8_t> from(16);
  launch("copy_global", copy_global, {1, 1, 1, 1, 16}, nullptr, from.data() + offset);
}

TEST(Memory, InBounds) {
  launch_write_shared(127);
  launch_read_global(15);
  launch_copy_global(0);
  int sum = 0;
  EXPECT_EQ(launch("sum_shared", sum_shared, {1, 1, 1, 32, 128}, nullptr, 128, &sum), GATUN_OK);
  EXPECT_EQ(sum, 128);
}

TEST(Memory, IsCheckedToItsEnd) {
  test::DeviceBuffer<uint8_t> memory(64);
  uint8_t* const inside = memory.data() + 16;
  EXPECT_EQ(gatun_cuda_check_memory(0, inside, 48), GATUN_OK) << gatun_cuda_last_error();
  EXPECT_EQ(gatun_cuda_check_memory(0, inside, INT64_MAX), GATUN_INVALID_ARGUMENT);
  EXPECT_EQ(gatun_cuda_check_memory(0, inside, 49), GATUN_INVALID_ARGUMENT);
  EXPECT_NE(std::string(gatun_cuda_last_error()).find("has 48 bytes to the end of its allocation; needed: 49"),
            std::string::npos)
      << gatun_cuda_last_error();
}

TEST(Memory, IsAllocatedAndFreedByThreads) {
  std::atomic<int> missing{4};  // so that they run together
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&missing] {
      int refused = 0;
      void* kept[100] = {};
      for (--missing; missing > 0;) {
      }
      for (int i = 0; i < 100000; ++i) {
        void*& memory = kept[i % 100];
        if (memory != nullptr) test::device_free(memory);
        memory = test::device_allocate(64);
        refused += check_device_memory(0, memory, 64, "memory") != GATUN_OK;
      }
      for (void* const memory : kept) test::device_free(memory);
      EXPECT_EQ(refused, 0);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(PlantedMemory, WritePastSharedMemory) { GATUN_EXPECT_FOUND(launch_write_shared(128)); }
TEST(PlantedMemory, ReadPastGlobalMemory) { GATUN_EXPECT_FOUND(launch_read_global(16)); }
TEST(PlantedMemory, CopyPastGlobalMemory) { GATUN_EXPECT_FOUND(launch_copy_global(16)); }

TEST(PlantedMemory, ReadOfSharedMemoryThatWasNotWritten) {
  if (!on_valgrind()) GTEST_SKIP() << "valgrind does not watch";
  int sum = 0;
  EXPECT_EQ(launch("sum_shared", sum_shared, {1, 1, 1, 32, 128}, nullptr, 127, &sum), GATUN_OK);
  EXPECT_NE(sum, -1);  // depends on it
}

}  // namespace
}  // namespace gatun::emulator
