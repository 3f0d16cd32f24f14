// What a kernel's fault becomes: INTERNAL of the next call, with what the runtime says. A program of its own, since the
// device is of no use to the process afterwards.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "gpu/gpu.h"

namespace gatun::test {
namespace {

constexpr int kPassed = 0, kFailed = 1, kSkipped = 77;

// A graph of kernels that read x runs when that has been freed.
int run() {
  constexpr int64_t kRows = 1 << 14, kDepth = 1 << 10;  // 64 MiB, which the driver does not keep
  Quantization quantization(kRows, kDepth, 1);
  void* x = nullptr;
  cudaStream_t stream = nullptr;
  cudaGraph_t captured = nullptr;
  cudaGraphExec_t graph = nullptr;
  GATUN_EXPECT_CUDA(cudaMalloc(&x, kRows * kDepth * 4));
  GATUN_EXPECT_CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  GATUN_EXPECT_CUDA(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  const int32_t put = gatun_cuda_quantize(
      &quantization.params(), x, nullptr, nullptr, quantization.codes().data(), quantization.scales().data(), nullptr,
      reinterpret_cast<gatun_cuda_faults*>(quantization.faults().data()), nullptr, 0, stream);
  GATUN_EXPECT_CUDA(cudaStreamEndCapture(stream, &captured));
  if (put != GATUN_OK || cudaGraphInstantiate(&graph, captured, 0) != cudaSuccess) {
    std::printf("FAILED: no graph: %s\n", gatun_cuda_last_error());
    return kFailed;
  }
  GATUN_EXPECT_CUDA(cudaFree(x));
  GATUN_EXPECT_CUDA(cudaGraphLaunch(graph, stream));
  const cudaError_t fault = cudaStreamSynchronize(stream);
  if (fault == cudaSuccess) {
    std::printf("skipped: memory that was freed can still be read\n");
    return kSkipped;
  }
  const int32_t status = quantization.run(nullptr);
  const std::string message = gatun_cuda_last_error();
  std::printf("status %d: %s\n", status, message.c_str());
  return status == GATUN_INTERNAL && message.find(cudaGetErrorName(fault)) != std::string::npos ? kPassed : kFailed;
}

}  // namespace
}  // namespace gatun::test

int main() {
  const int result = gatun::test::run();
  std::fflush(stdout);
  std::_Exit(result);  // nothing can be freed any more
}
