#include "device_memory.h"

#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>

namespace gatun::test {
namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::abort();
}

}  // namespace

void* device_allocate(int64_t bytes) {
  void* memory = nullptr;
  check(cudaMalloc(&memory, static_cast<size_t>(bytes > 0 ? bytes : 1)), "cudaMalloc");
  return memory;
}

void device_free(void* memory) { check(cudaFree(memory), "cudaFree"); }

void copy_to_device(void* to, const void* from, int64_t bytes) {
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  check(cudaMemcpy(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice), "cudaMemcpy");
  // Small copies of pageable memory may still be on their way.
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
}

void copy_from_device(void* to, const void* from, int64_t bytes) {
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  check(cudaMemcpy(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost), "cudaMemcpy");
}

}  // namespace gatun::test
