// libcudart.so.13 of emulated GPUs, for tests of programs that call the CUDA runtime: JavaCPP's presets are loaded
// against it. It has what Gatun's Java classes and their tests call, with the signatures of CUDA 13, where a handle is
// a pointer and an enum an int; a function that is not here is an error of the loader when it is called.
#include <algorithm>
#include <cstring>
#include <utility>

#include "gatun/status.h"
#include "gpus.h"

using namespace gatun::emulator;

extern "C" void gatun_emulator_use(Machine* machine);  // of libgatun_cuda_emulated

namespace {

using Lock = std::lock_guard<std::recursive_mutex>;

const struct Connection {
  Connection() { gatun_emulator_use(&gpus()); }
} connection;

thread_local int last_error = kSuccess;

int given(int error) {
  if (error != kSuccess) last_error = error;
  return error;
}

int given_to(void* place, const void* value, size_t bytes) {
  if (place == nullptr) return given(kInvalidValue);
  std::memcpy(place, value, bytes);
  return kSuccess;
}

// Does something with a stream or an event, if it is one.
template <class Act>
int with_stream(void* handle, Act act) {
  const Lock guard(gpus().lock());
  Stream* stream = gpus().stream(handle);
  return given(stream == nullptr ? kInvalidHandle : act(*stream));
}

template <class Act>
int with_event(void* handle, Act act) {
  const Lock guard(gpus().lock());
  Event* event = gpus().event(handle);
  return given(event == nullptr ? kInvalidHandle : act(*event));
}

int allocate(void** place, Memory& memory, size_t bytes) {
  const Error fault = gpus().fault(Gpus::current());
  if (fault != kSuccess) return given(fault);
  if (gpus().unsafe() != kSuccess) return given(kCaptureUnsupported);
  if (place == nullptr) return given(kInvalidValue);
  *place = bytes == 0 ? nullptr : memory.allocate(static_cast<int64_t>(bytes));
  return given(bytes > 0 && *place == nullptr ? kOutOfMemory : kSuccess);
}

constexpr struct {
  int error;
  const char *name, *text;
} kTexts[] = {
    {kSuccess, "cudaSuccess", "no error"},
    {kInvalidValue, "cudaErrorInvalidValue", "invalid argument"},
    {kOutOfMemory, "cudaErrorMemoryAllocation", "out of memory"},
    {kInvalidDevice, "cudaErrorInvalidDevice", "invalid device ordinal"},
    {kInvalidHandle, "cudaErrorInvalidResourceHandle", "invalid resource handle"},
    {kNotReady, "cudaErrorNotReady", "device not ready"},
    {kIllegalAddress, "cudaErrorIllegalAddress", "an illegal memory access was encountered"},
    {kLaunchFailure, "cudaErrorLaunchFailure", "unspecified launch failure"},
    {kCaptureUnsupported, "cudaErrorStreamCaptureUnsupported", "operation not permitted when stream is capturing"},
    {kCaptureInvalidated, "cudaErrorStreamCaptureInvalidated",
     "operation failed due to a previous error during capture"},
    {kCaptureUnjoined, "cudaErrorStreamCaptureUnjoined", "capturing stream has unjoined work"},
    {kCaptureImplicit, "cudaErrorStreamCaptureImplicit",
     "operation would make the legacy stream depend on a capturing blocking stream"},
};

}  // namespace

extern "C" {

// ---- errors ----

GATUN_API int cudaGetLastError() {
  const Lock guard(gpus().lock());
  const Error fault = gpus().fault(Gpus::current());
  const int last = std::exchange(last_error, kSuccess);
  return fault == kSuccess ? last : fault;
}

GATUN_API const char* cudaGetErrorName(int error) {
  for (const auto& known : kTexts) {
    if (known.error == error) return known.name;
  }
  return "unrecognized error code";
}

GATUN_API const char* cudaGetErrorString(int error) {
  for (const auto& known : kTexts) {
    if (known.error == error) return known.text;
  }
  return "unrecognized error code";
}

// ---- devices ----

GATUN_API int cudaGetDeviceCount(int* count) { return given_to(count, &Gpus::kCount, sizeof(*count)); }

GATUN_API int cudaGetDevice(int* device) { return given_to(device, &Gpus::current(), sizeof(*device)); }

GATUN_API int cudaSetDevice(int device) {
  if (device < 0 || device >= Gpus::kCount) return given(kInvalidDevice);
  Gpus::current() = device;
  return kSuccess;
}

// Of the struct only the name, with which it begins.
GATUN_API int cudaGetDeviceProperties(void* properties, int device) {
  if (device < 0 || device >= Gpus::kCount) return given(kInvalidDevice);
  const gatun::cuda::Device known = gpus().device(device);
  return given_to(properties, known.name, sizeof(known.name));
}

GATUN_API int cudaDeviceSynchronize() {
  const Lock guard(gpus().lock());
  const Error error = gpus().wait_during_capture(Gpus::current(), nullptr);
  return given(error == kSuccess ? gpus().synchronize_device(Gpus::current()) : error);
}

// ---- memory ----

GATUN_API int cudaMalloc(void** place, size_t bytes) {
  const Lock guard(gpus().lock());
  return allocate(place, gpus().memory(Gpus::current()), bytes);
}

GATUN_API int cudaHostAlloc(void** place, size_t bytes, unsigned) {
  const Lock guard(gpus().lock());
  return allocate(place, gpus().pinned(), bytes);
}

GATUN_API int cudaFree(void* memory) {
  const Lock guard(gpus().lock());
  const Error unsafe = gpus().unsafe();
  return given(unsafe == kSuccess ? gpus().free_memory(memory, false) : unsafe);
}

GATUN_API int cudaFreeHost(void* memory) {
  const Lock guard(gpus().lock());
  const Error unsafe = gpus().unsafe();
  return given(unsafe == kSuccess ? gpus().free_memory(memory, true) : unsafe);
}

GATUN_API int cudaMemGetInfo(size_t* free, size_t* total) {
  const Lock guard(gpus().lock());
  const Memory& memory = gpus().memory(Gpus::current());
  *free = static_cast<size_t>(memory.free_bytes());
  *total = static_cast<size_t>(memory.most_bytes());
  return given(gpus().fault(Gpus::current()));
}

GATUN_API int cudaMemcpyAsync(void* to, const void* from, size_t bytes, int, void* stream) {
  return with_stream(stream, [=](Stream& at) { return gpus().copy(to, from, static_cast<int64_t>(bytes), at); });
}

GATUN_API int cudaMemsetAsync(void* memory, int value, size_t bytes, void* stream) {
  return with_stream(stream, [=](Stream& at) { return gpus().set(memory, value, static_cast<int64_t>(bytes), at); });
}

GATUN_API int cudaMemset(void* memory, int value, size_t bytes) {
  return cudaMemsetAsync(memory, value, bytes, nullptr);
}

// ---- streams ----

GATUN_API int cudaStreamCreateWithFlags(void** stream, unsigned flags) {
  constexpr unsigned kNonBlocking = 1;
  const Lock guard(gpus().lock());
  if (stream == nullptr || flags > kNonBlocking) return given(kInvalidValue);
  *stream = gpus().open_stream(Gpus::current(), flags != kNonBlocking);
  return given(gpus().fault(Gpus::current()));
}

GATUN_API int cudaStreamDestroy(void* stream) {
  if (stream == nullptr) return given(kInvalidHandle);
  return with_stream(stream, [](Stream& at) { return gpus().destroy(at); });
}

GATUN_API int cudaStreamSynchronize(void* stream) {
  return with_stream(stream, [](Stream& at) { return gpus().synchronize(at); });
}

GATUN_API int cudaStreamQuery(void* stream) {
  return with_stream(stream, [](Stream& at) { return gpus().query(at); });
}

GATUN_API int cudaStreamGetDevice(void* stream, int* device) {
  return with_stream(stream, [=](Stream& at) {
    *device = at.device;
    return kSuccess;
  });
}

GATUN_API int cudaStreamWaitEvent(void* stream, void* event, unsigned) {
  return with_event(event, [=](Event& what) {
    Stream* at = gpus().stream(stream);
    return at == nullptr ? kInvalidHandle : gpus().wait(*at, what);
  });
}

// ---- captures ----

GATUN_API int cudaThreadExchangeStreamCaptureMode(int* mode) {
  if (mode == nullptr || *mode < kGlobal || *mode > kRelaxed) return given(kInvalidValue);
  *mode = std::exchange(Gpus::capture_mode(), static_cast<CaptureMode>(*mode));
  return kSuccess;
}

GATUN_API int cudaStreamBeginCapture(void* stream, int mode) {
  if (mode < kGlobal || mode > kRelaxed) return given(kInvalidValue);
  return with_stream(stream, [=](Stream& at) { return gpus().begin_capture(at, static_cast<CaptureMode>(mode)); });
}

GATUN_API int cudaStreamIsCapturing(void* stream, int* status) {
  return with_stream(stream, [=](Stream& at) {
    *status = gpus().is_capturing(at) ? 1 : 0;
    return kSuccess;
  });
}

// There are no graphs.
GATUN_API int cudaStreamEndCapture(void* stream, void** graph) {
  if (graph == nullptr) return given(kInvalidValue);
  *graph = nullptr;
  return with_stream(stream, [](Stream& at) { return gpus().end_capture(at); });
}

// ---- events ----

GATUN_API int cudaEventCreateWithFlags(void** event, unsigned flags) {
  constexpr unsigned kDisableTiming = 2;
  const Lock guard(gpus().lock());
  if (event == nullptr) return given(kInvalidValue);
  *event = gpus().open_event((flags & kDisableTiming) == 0);
  return given(gpus().fault(Gpus::current()));
}

GATUN_API int cudaEventDestroy(void* event) {
  return with_event(event, [](Event& what) {
    what.open = false;
    return kSuccess;
  });
}

GATUN_API int cudaEventRecord(void* event, void* stream) {
  return with_event(event, [=](Event& what) {
    Stream* at = gpus().stream(stream);
    return at == nullptr ? kInvalidHandle : gpus().record(what, *at);
  });
}

GATUN_API int cudaEventSynchronize(void* event) {
  return with_event(event, [](Event& what) { return gpus().synchronize(what); });
}

GATUN_API int cudaEventQuery(void* event) {
  return with_event(event, [](Event& what) { return gpus().query(what); });
}

GATUN_API int cudaEventElapsedTime(float* milliseconds, void* from, void* to) {
  return with_event(from, [=](Event& first) {
    Event* second = gpus().event(to);
    return second == nullptr ? kInvalidHandle : Gpus::elapsed(milliseconds, first, *second);
  });
}

// ---- for tests ----

// Puts work on a stream that fails as a kernel does that reads what is no memory.
GATUN_API int gatun_emulator_fail(void* stream) {
  return with_stream(stream, [](Stream& at) {
    gpus().add(at, [] { return kIllegalAddress; });
    return kSuccess;
  });
}

}  // extern "C"
