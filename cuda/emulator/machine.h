// The devices, memory and streams that the emulated library works with, as the CUDA runtime is for the library on a
// GPU.
#pragma once

#include <cstdint>
#include <functional>

#include "base/runtime.h"

namespace gatun::emulator {

class Machine {
 public:
  virtual ~Machine() = default;

  virtual int32_t device_count() = 0;
  virtual cuda::Device device(int32_t index) = 0;

  // The device of a stream, and of null the one that is current in this thread; -1 if it is no stream.
  virtual int32_t device_of(void* stream) = 0;
  // Returns the device that was current in this thread.
  virtual int32_t make_current(int32_t device) = 0;

  static constexpr int32_t kHost = -1, kAnyDevice = -2;
  struct Place {
    int32_t device;  // that can use the memory, or one of the constants
    int64_t bytes;   // from the address to the end of its allocation; of host memory nobody knows
  };
  virtual Place place(const void* memory) = 0;

  // Does the work, or puts it on the stream; a failure is a status of now, with its message, or of what waits for the
  // stream.
  virtual int32_t put(void* stream, std::function<int32_t()> work) = 0;
  // The same of a copy, whose memory is checked, too.
  virtual int32_t copy(void* to, const void* from, int64_t bytes, void* stream) = 0;
  // Waits until all work of the stream is done.
  virtual int32_t wait(void* stream) = 0;
};

// At first one device, that of settings(), without streams: work is done when it is put.
Machine& machine();
void use_machine(Machine* machine);  // kept until the program ends

}  // namespace gatun::emulator
