#include "gpus.h"

#include <cstdio>
#include <cstring>
#include <utility>

#include "gatun/cuda.h"
#include "gatun/status.h"
#include "settings.h"

extern "C" {
int32_t gatun_emulator_error(const char* what, const char* text, const char* name);  // of libgatun_cuda_emulated
const char* cudaGetErrorString(int error);
const char* cudaGetErrorName(int error);
}

namespace gatun::emulator {
namespace {

using Lock = std::lock_guard<std::recursive_mutex>;

constexpr int64_t kMemoryBytes = int64_t{256} << 20;

// One for each kind of kernels, and one without kernels.
constexpr cuda::Device kDevices[Gpus::kCount] = {
    {0, 9, 0, 4, 1'000'000, 227 * 1024, int64_t{50} << 20, kMemoryBytes, "emulated 9.0"},
    {1, 8, 0, 4, 1'000'000, 163 * 1024, int64_t{40} << 20, kMemoryBytes, "emulated 8.0"},
    {2, 7, 5, 4, 1'000'000, 64 * 1024, int64_t{4} << 20, kMemoryBytes, "emulated 7.5"},
};

int32_t status(const char* what, Error error) {
  return gatun_emulator_error(what, cudaGetErrorString(error), cudaGetErrorName(error));
}

}  // namespace

Gpus& gpus() {
  static Gpus* the_gpus = new Gpus;  // threads of the program may outlive static objects
  return *the_gpus;
}

Gpus::Gpus()
    : memory_{Memory(kMemoryBytes), Memory(kMemoryBytes), Memory(kMemoryBytes), Memory(int64_t{4} * kMemoryBytes)} {
  for (int32_t i = 0; i < kCount; ++i) open_stream(i, true);
}

// ---- Machine ----

cuda::Device Gpus::device(int32_t index) { return kDevices[index]; }

int32_t Gpus::device_of(void* stream) {
  const Lock guard(lock_);
  const Stream* found = this->stream(stream);
  return found == nullptr ? -1 : found->device;
}

int32_t Gpus::make_current(int32_t device) { return std::exchange(current(), device); }

Machine::Place Gpus::place(const void* memory) {
  const Lock guard(lock_);
  for (int32_t i = 0; i <= kCount; ++i) {
    const int64_t bytes = memory_[i].bytes_from(memory);
    if (bytes > 0) return {i < kCount ? i : kAnyDevice, bytes};
  }
  return {kHost, 0};
}

int32_t Gpus::put(void* stream, std::function<int32_t()> work) {
  const Lock guard(lock_);
  Stream* found = this->stream(stream);
  const Error error = found == nullptr ? kInvalidHandle : accepts(*found);
  if (error != kSuccess) return status("launch", error);
  add(*found, [work = std::move(work)] {
    if (work() == GATUN_OK) return kSuccess;
    std::fprintf(stderr, "emulated GPU: %s\n", gatun_cuda_last_error());
    return kLaunchFailure;
  });
  return GATUN_OK;
}

int32_t Gpus::copy(void* to, const void* from, int64_t bytes, void* stream) {
  const Lock guard(lock_);
  Stream* found = this->stream(stream);
  const Error error = found == nullptr ? kInvalidHandle : copy(to, from, bytes, *found);
  return error == kSuccess ? GATUN_OK : status("cudaMemcpyAsync", error);
}

int32_t Gpus::wait(void* stream) {
  const Lock guard(lock_);
  Stream* found = this->stream(stream);
  const Error error = found == nullptr ? kInvalidHandle : synchronize(*found);
  return error == kSuccess ? GATUN_OK : status("cudaStreamSynchronize", error);
}

// ---- devices ----

int32_t& Gpus::current() {
  thread_local int32_t the_current = 0;
  return the_current;
}

Error Gpus::synchronize_device(int32_t device) {
  for (Stream& stream : streams_) {
    while (stream.device == device && !stream.work.empty()) run_first(stream);
  }
  return fault(device);
}

// ---- memory ----

bool Gpus::usable(const void* memory, int64_t bytes) {
  for (const Memory& known : memory_) {
    if (known.holds(memory)) return known.bytes_from(memory) >= bytes;
  }
  return memory != nullptr;
}

Error Gpus::free_memory(void* memory, bool pinned) {
  if (memory == nullptr) return kSuccess;
  const Place at = place(memory);
  if (at.device == kHost || (at.device == kAnyDevice) != pinned) return kInvalidValue;
  Error error = kSuccess;
  for (int32_t i = 0; i < kCount; ++i) {
    if ((pinned || i == at.device) && synchronize_device(i) != kSuccess) error = fault(i);
  }
  if (error != kSuccess) return error;
  return memory_[pinned ? kCount : at.device].free(memory) ? kSuccess : kInvalidValue;
}

Error Gpus::copy(void* to, const void* from, int64_t bytes, Stream& stream) {
  if (const Error error = accepts(stream); error != kSuccess) return error;
  if (bytes == 0) return kSuccess;
  if (!usable(to, bytes) || !usable(from, bytes)) return kInvalidValue;
  add(stream, [=, this] {
    if (!usable(to, bytes) || !usable(from, bytes)) return kIllegalAddress;  // freed meanwhile
    std::memmove(to, from, static_cast<size_t>(bytes));
    return kSuccess;
  });
  return kSuccess;
}

Error Gpus::set(void* memory, int value, int64_t bytes, Stream& stream) {
  if (const Error error = accepts(stream); error != kSuccess) return error;
  if (bytes == 0) return kSuccess;
  if (place(memory).bytes < bytes) return kInvalidValue;
  add(stream, [=, this] {
    if (place(memory).bytes < bytes) return kIllegalAddress;
    std::memset(memory, value, static_cast<size_t>(bytes));
    return kSuccess;
  });
  return kSuccess;
}

// ---- streams ----

Stream* Gpus::open_stream(int32_t device, bool ordered) {
  streams_.push_back({device, true, ordered, {}});
  return &streams_.back();
}

Stream* Gpus::stream(void* handle) {
  if (handle == nullptr) return &streams_[static_cast<size_t>(current())];
  for (Stream& stream : streams_) {
    if (&stream == handle) return stream.open ? &stream : nullptr;
  }
  return nullptr;
}

Error Gpus::destroy(Stream& stream) {
  if (&stream == captured_) captured_ = nullptr;
  stream.open = false;  // its work will be done
  return fault(stream.device);
}

Error Gpus::accepts(const Stream& stream) {
  if (fault(stream.device) != kSuccess) return fault(stream.device);
  const bool is_default = &stream == &streams_[static_cast<size_t>(stream.device)];
  if (captured_ == nullptr || !is_default || !captured_->ordered || captured_->device != stream.device) return kSuccess;
  capture_failed_ = true;
  return kCaptureImplicit;
}

void Gpus::add(Stream& stream, std::function<Error()> act) {
  if (&stream != captured_) stream.work.push_back({works_++, std::move(act)});
}

Stream* Gpus::pending(Stream& stream) {
  if (!stream.work.empty()) return &stream;
  if (&stream != &streams_[static_cast<size_t>(stream.device)]) return nullptr;
  for (Stream& other : streams_) {
    if (other.device == stream.device && other.ordered && !other.work.empty()) return &other;
  }
  return nullptr;
}

void Gpus::run_first(Stream& stream) {
  Work work = std::move(stream.work.front());
  stream.work.pop_front();
  // Work of the default stream comes after what others have from before, and theirs after that.
  const Stream* main = &streams_[static_cast<size_t>(stream.device)];
  for (Stream& other : streams_) {
    if (other.device != stream.device || !other.ordered || !stream.ordered || (&other == main) == (&stream == main)) {
      continue;
    }
    while (!other.work.empty() && other.work.front().number < work.number) run_first(other);
  }
  const Error error = work.act();
  if (faults_[stream.device] == kSuccess) faults_[stream.device] = error;
}

Error Gpus::synchronize(Stream& stream) {
  if (const Error error = wait_during_capture(stream.device, &stream); error != kSuccess) return error;
  while (Stream* first = pending(stream)) run_first(*first);
  return fault(stream.device);
}

Error Gpus::query(Stream& stream) {
  if (const Error error = wait_during_capture(stream.device, &stream); error != kSuccess) return error;
  Stream* first = pending(stream);
  if (first == nullptr || fault(stream.device) != kSuccess) return fault(stream.device);
  run_first(*first);
  return kNotReady;
}

// ---- captures ----

CaptureMode& Gpus::capture_mode() {
  thread_local CaptureMode the_mode = kGlobal;
  return the_mode;
}

Error Gpus::begin_capture(Stream& stream, CaptureMode mode) {
  if (captured_ != nullptr || &stream == &streams_[static_cast<size_t>(stream.device)]) return kCaptureUnsupported;
  captured_ = &stream;
  captured_mode_ = mode;
  captured_by_ = std::this_thread::get_id();
  capture_failed_ = false;
  capture_unjoined_ = false;
  return fault(stream.device);
}

Error Gpus::end_capture(Stream& stream) {
  if (captured_ != &stream) return kInvalidValue;
  captured_ = nullptr;
  if (capture_failed_) return kCaptureInvalidated;
  return capture_unjoined_ ? kCaptureUnjoined : kSuccess;
}

Error Gpus::wait_during_capture(int32_t device, const Stream* stream) {
  if (captured_ == nullptr || captured_->device != device || (stream != nullptr && stream != captured_))
    return kSuccess;
  capture_failed_ = true;
  return kCaptureUnsupported;
}

Error Gpus::unsafe() {
  if (captured_ == nullptr || capture_mode() == kRelaxed || captured_mode_ == kRelaxed) return kSuccess;
  if (captured_mode_ == kThreadLocal && captured_by_ != std::this_thread::get_id()) return kSuccess;
  capture_failed_ = true;
  return kCaptureUnsupported;
}

// ---- events ----

Event* Gpus::open_event(bool timed) {
  events_.push_back({current(), timed, true, nullptr});
  return &events_.back();
}

Event* Gpus::event(void* handle) {
  for (Event& event : events_) {
    if (&event == handle) return event.open ? &event : nullptr;
  }
  return nullptr;
}

Error Gpus::record(Event& event, Stream& stream) {
  if (event.device != stream.device) return kInvalidHandle;
  if (const Error error = accepts(stream); error != kSuccess) return error;
  event.mark = nullptr;
  event.captured = is_capturing(stream);
  if (event.captured) return kSuccess;
  auto mark = std::make_shared<Mark>(Mark{&stream, false, {}});
  event.mark = mark;
  add(stream, [mark] {
    mark->done = true;
    mark->time = std::chrono::steady_clock::now();
    return kSuccess;
  });
  return kSuccess;
}

void Gpus::finish(const Mark& mark) {
  while (!mark.done) run_first(*mark.stream);
}

Error Gpus::wait(Stream& stream, const Event& event) {
  if (const Error error = accepts(stream); error != kSuccess) return error;
  if (event.captured && captured_ != nullptr && !is_capturing(stream)) capture_unjoined_ = true;
  if (event.mark == nullptr) return kSuccess;
  add(stream, [this, mark = event.mark] {
    finish(*mark);
    return kSuccess;
  });
  return kSuccess;
}

Error Gpus::synchronize(const Event& event) {
  if (event.mark != nullptr) finish(*event.mark);
  return fault(event.device);
}

Error Gpus::query(const Event& event) {
  if (fault(event.device) != kSuccess) return fault(event.device);
  if (event.mark == nullptr || event.mark->done) return kSuccess;
  run_first(*event.mark->stream);
  return kNotReady;
}

Error Gpus::elapsed(float* milliseconds, const Event& from, const Event& to) {
  if (!from.timed || !to.timed || from.mark == nullptr || to.mark == nullptr || from.device != to.device) {
    return kInvalidHandle;
  }
  if (!from.mark->done || !to.mark->done) return kNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(to.mark->time - from.mark->time).count();
  return kSuccess;
}

}  // namespace gatun::emulator
