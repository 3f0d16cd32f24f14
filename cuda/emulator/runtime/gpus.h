// GPUs as a program sees them through the CUDA runtime, made of the CPU: memory known by its address, and streams whose
// work runs late, namely when something waits for it. So a program that forgets to wait sees what it should not.
//
// A query that finds work does one piece of it, so that who polls comes to an end. Work is done by the thread that
// waits, and by one at a time. Copies of memory of the host are as late as others, whether it is pinned or not. Kernels
// are queued with their arguments. A launch that asks for more than the device has is an error when it runs, not when
// queued.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

#include "machine.h"
#include "memory.h"

namespace gatun::emulator {

// Numbers of the CUDA runtime.
enum Error : int {
  kSuccess = 0,
  kInvalidValue = 1,
  kOutOfMemory = 2,
  kInvalidDevice = 101,
  kInvalidHandle = 400,
  kNotReady = 600,
  kIllegalAddress = 700,
  kLaunchFailure = 719,
  kCaptureUnsupported = 900,
  kCaptureInvalidated = 901,
  kCaptureUnjoined = 904,
  kCaptureImplicit = 906,
};

// How a capture forbids what would be unsafe in it, such as allocating memory: to every thread, to the thread that
// captures, or to none; a thread that is relaxed itself may do it during any capture.
enum CaptureMode : int { kGlobal = 0, kThreadLocal = 1, kRelaxed = 2 };

struct Stream;

// A recording of an event.
struct Mark {
  Stream* stream;
  bool done;
  std::chrono::steady_clock::time_point time;
};

struct Event {
  int32_t device;
  bool timed, open;
  std::shared_ptr<Mark> mark;  // the last one
  bool captured = false;       // the last one was
};

struct Work {
  int64_t number;  // in the order of all calls of the program
  std::function<Error()> act;
};

struct Stream {
  int32_t device;
  bool open;
  bool ordered;  // with the default stream of its device
  std::deque<Work> work;
};

// Every function is called by a thread that holds the lock; work that failed is the error of all later calls for its
// device, as on a GPU.
class Gpus : public Machine {
 public:
  static constexpr int32_t kCount = 3;

  Gpus();

  std::recursive_mutex& lock() { return lock_; }

  // ---- Machine; these take the lock ----
  int32_t device_count() override { return kCount; }
  cuda::Device device(int32_t index) override;
  int32_t device_of(void* stream) override;
  int32_t make_current(int32_t device) override;
  Place place(const void* memory) override;
  int32_t put(void* stream, std::function<int32_t()> work) override;
  int32_t copy(void* to, const void* from, int64_t bytes, void* stream) override;
  int32_t wait(void* stream) override;

  // ---- devices ----
  static int32_t& current();  // in this thread
  Error fault(int32_t device) const { return faults_[device]; }
  Error synchronize_device(int32_t device);

  // ---- memory ----
  Memory& memory(int32_t device) { return memory_[device]; }
  Memory& pinned() { return memory_[kCount]; }
  Error free_memory(void* memory, bool pinned);  // waits for its device; pinned memory for all of them
  Error copy(void* to, const void* from, int64_t bytes, Stream& stream);
  Error set(void* memory, int value, int64_t bytes, Stream& stream);

  // ---- streams ----
  Stream* open_stream(int32_t device, bool ordered);
  Stream* stream(void* handle);  // of null, the current device's default stream; null if there is no such stream
  Error destroy(Stream& stream);
  Error synchronize(Stream& stream);
  Error query(Stream& stream);
  void add(Stream& stream, std::function<Error()> act);

  // ---- captures: one at a time, whose work is forgotten ----
  static CaptureMode& capture_mode();  // of this thread
  Error begin_capture(Stream& stream, CaptureMode mode);
  Error end_capture(Stream& stream);
  bool is_capturing(const Stream& stream) const { return &stream == captured_; }
  Error unsafe();  // kSuccess unless a capture forbids it, which this spoils
  // Spoils a capture that a wait for the device, or for this stream of it, would be part of.
  Error wait_during_capture(int32_t device, const Stream* stream);

  // ---- events ----
  Event* open_event(bool timed);
  Event* event(void* handle);  // null if there is no such event
  Error record(Event& event, Stream& stream);
  Error wait(Stream& stream, const Event& event);
  Error synchronize(const Event& event);
  Error query(const Event& event);
  static Error elapsed(float* milliseconds, const Event& from, const Event& to);

 private:
  Error accepts(const Stream& stream);             // work, or why it does not
  bool usable(const void* memory, int64_t bytes);  // no device memory, or allocated as a whole
  Stream* pending(Stream& stream);                 // one with work that a wait for this stream waits for, or null
  void run_first(Stream& stream);
  void finish(const Mark& mark);

  std::recursive_mutex lock_;
  Memory memory_[kCount + 1];
  Error faults_[kCount] = {};
  std::deque<Stream> streams_;  // none is ever removed, so that handles are known to be closed; first the default ones
  std::deque<Event> events_;
  int64_t works_ = 0;
  const Stream* captured_ = nullptr;
  CaptureMode captured_mode_ = kGlobal;
  std::thread::id captured_by_;
  bool capture_failed_ = false;
  bool capture_unjoined_ = false;  // a stream waits for it, which makes its work a part that never ends
};

Gpus& gpus();

}  // namespace gatun::emulator
