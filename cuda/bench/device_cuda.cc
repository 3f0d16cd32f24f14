#include <cuda_runtime_api.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "device.h"

namespace gatun::bench {
namespace {

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "gatun_cuda_bench: %s: %s\n", what, cudaGetErrorString(error));
  std::exit(1);
}

cudaStream_t the_stream = nullptr;

std::string version(int number) { return std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10); }

}  // namespace

DeviceFacts open_device() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess || count == 0) {
    std::fprintf(stderr, "gatun_cuda_bench: no device: %s\n", cudaGetErrorString(error));
    std::exit(2);
  }
  check(cudaSetDevice(0), "cudaSetDevice");
  check(cudaStreamCreateWithFlags(&the_stream, cudaStreamNonBlocking), "cudaStreamCreate");
  cudaDeviceProp properties;
  check(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
  int driver = 0, runtime = 0;
  check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  return {properties.name,
          std::to_string(properties.major) + "." + std::to_string(properties.minor),
          version(driver),
          version(runtime),
          properties.multiProcessorCount,
          properties.l2CacheSize,
          static_cast<int64_t>(properties.totalGlobalMem)};
}

void* stream() { return the_stream; }

Memory::Memory(int64_t bytes) : bytes_(bytes) {
  if (bytes > 0) check(cudaMalloc(&address_, static_cast<size_t>(bytes)), "cudaMalloc");
}

Memory::~Memory() {
  if (address_ != nullptr) check(cudaFree(address_), "cudaFree");
}

Memory::Memory(Memory&& other) noexcept
    : address_(std::exchange(other.address_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(address_, other.address_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void wait() { check(cudaStreamSynchronize(the_stream), "cudaStreamSynchronize"); }

void copy_on_device(void* to, const void* from, int64_t bytes) {
  check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToDevice, the_stream), "cudaMemcpyAsync");
}

void copy_to_host(void* to, const void* from, int64_t bytes) {
  wait();
  check(cudaMemcpy(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost), "cudaMemcpy");
}

void copy_to_device(void* to, const void* from, int64_t bytes) {
  wait();
  check(cudaMemcpy(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice), "cudaMemcpy");
  // Small copies of pageable memory may still be on their way.
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
}

struct Batches::Graphs {
  std::vector<cudaGraphExec_t> all;  // empty if the calls can't be captured
  std::vector<cudaEvent_t> events;

  ~Graphs() {
    for (cudaGraphExec_t graph : all) check(cudaGraphExecDestroy(graph), "cudaGraphExecDestroy");
    for (cudaEvent_t event : events) check(cudaEventDestroy(event), "cudaEventDestroy");
  }
};

namespace {

// The calls as a graph, or null.
cudaGraphExec_t capture(const Call& call, int64_t first, int64_t calls, int64_t turns) {
  if (cudaStreamBeginCapture(the_stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess) return nullptr;
  for (int64_t i = 0; i < calls; ++i) call((first + i) % turns);
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t executable = nullptr;
  if (cudaStreamEndCapture(the_stream, &graph) == cudaSuccess && graph != nullptr) {
    if (cudaGraphInstantiate(&executable, graph, 0) != cudaSuccess) executable = nullptr;
    cudaGraphDestroy(graph);
  }
  cudaGetLastError();  // so that it is not taken for that of the next call
  return executable;
}

}  // namespace

Batches::Batches(const Call& call, int64_t calls, int64_t turns)
    : graphs_(std::make_unique<Graphs>()), call_(call), calls_(calls), turns_(turns) {
  for (int64_t first = 0; first < turns; first += calls) {
    cudaGraphExec_t graph = capture(call, first, calls, turns);
    if (graph == nullptr) return;
    check(cudaGraphUpload(graph, the_stream), "cudaGraphUpload");
    graphs_->all.push_back(graph);
  }
}

Batches::~Batches() = default;

bool Batches::is_graph() const { return static_cast<int64_t>(graphs_->all.size()) * calls_ >= turns_; }

std::vector<double> Batches::seconds(int64_t samples) {
  while (static_cast<int64_t>(graphs_->events.size()) <= samples) {
    cudaEvent_t event = nullptr;
    check(cudaEventCreate(&event), "cudaEventCreate");
    graphs_->events.push_back(event);
  }
  for (int64_t i = -1; i < samples; ++i) {
    if (is_graph()) {
      check(cudaGraphLaunch(graphs_->all[static_cast<size_t>(next_++) % graphs_->all.size()], the_stream),
            "cudaGraphLaunch");
    } else {
      for (int64_t c = 0; c < calls_; ++c) call_(next_++ % turns_);
    }
    check(cudaEventRecord(graphs_->events[static_cast<size_t>(i + 1)], the_stream), "cudaEventRecord");
  }
  wait();
  std::vector<double> result;
  for (int64_t i = 0; i < samples; ++i) {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, graphs_->events[static_cast<size_t>(i)],
                               graphs_->events[static_cast<size_t>(i + 1)]),
          "cudaEventElapsedTime");
    result.push_back(1e-3 * double{milliseconds} / static_cast<double>(calls_));
  }
  return result;
}

}  // namespace gatun::bench
