// What the bench needs of a device: memory, and calls timed on a stream. device_cuda.cc asks the CUDA runtime; in the
// test of the bench, device_emulated.cc does the same with the emulator.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace gatun::bench {

struct DeviceFacts {
  std::string name;
  std::string capability;  // "9.0"
  std::string driver, runtime;
  int32_t multiprocessors;
  int64_t l2_bytes, memory_bytes;
};

// Of device 0, which is used from now on. Ends the program with a message and exit code 2 if there is none.
DeviceFacts open_device();

// The stream that everything is put on.
void* stream();

// Device memory, aligned to 256 bytes. A failure ends the program with a message.
class Memory {
 public:
  explicit Memory(int64_t bytes = 0);
  ~Memory();
  Memory(Memory&& other) noexcept;
  Memory& operator=(Memory&& other) noexcept;

  template <class T>
  T* as() const {
    return static_cast<T*>(address_);
  }
  uint8_t* at(int64_t byte) const { return as<uint8_t>() + byte; }
  void* get() const { return address_; }
  int64_t bytes() const { return bytes_; }

 private:
  void* address_ = nullptr;
  int64_t bytes_ = 0;
};

// Until all work of the stream is done.
void wait();
// On the stream.
void copy_on_device(void* to, const void* from, int64_t bytes);
// After all work of the stream.
void copy_to_host(void* to, const void* from, int64_t bytes);
void copy_to_device(void* to, const void* from, int64_t bytes);

template <class T>
std::vector<T> to_host(const void* from, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  copy_to_host(values.data(), from, count * static_cast<int64_t>(sizeof(T)));
  return values;
}

// Puts call number `turn` on the stream.
using Call = std::function<void(int64_t turn)>;

// Calls in batches of several, each batch one CUDA graph where the calls can be captured.
class Batches {
 public:
  // Batches of `calls` calls, so many that `turns` numbers, 0 .. turns - 1, come up one after the other.
  Batches(const Call& call, int64_t calls, int64_t turns);
  ~Batches();
  Batches(const Batches&) = delete;
  Batches& operator=(const Batches&) = delete;

  // Seconds of a call, each the mean of a batch. The batches follow each other on the device without a gap; one before
  // them is not counted.
  std::vector<double> seconds(int64_t samples);

  bool is_graph() const;

 private:
  struct Graphs;
  std::unique_ptr<Graphs> graphs_;
  Call call_;
  int64_t calls_, turns_, next_ = 0;
};

}  // namespace gatun::bench
