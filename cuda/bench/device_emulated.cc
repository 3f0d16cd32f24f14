// The emulated device, whose times mean nothing: what is tested is the bench.
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "device.h"
#include "device_memory.h"
#include "settings.h"

namespace gatun::bench {

DeviceFacts open_device() {
  const cuda::Device& device = emulator::settings().device;
  return {device.name, "9.0", "none", "none", device.multiprocessors, device.l2_bytes, device.memory_bytes};
}

void* stream() { return nullptr; }

Memory::Memory(int64_t bytes) : address_(bytes > 0 ? test::device_allocate(bytes) : nullptr), bytes_(bytes) {}

Memory::~Memory() {
  if (address_ != nullptr) test::device_free(address_);
}

Memory::Memory(Memory&& other) noexcept
    : address_(std::exchange(other.address_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

Memory& Memory::operator=(Memory&& other) noexcept {
  std::swap(address_, other.address_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

void wait() {}
void copy_on_device(void* to, const void* from, int64_t bytes) { test::copy_to_device(to, from, bytes); }
void copy_to_host(void* to, const void* from, int64_t bytes) {
  test::copy_from_device(to, from, bytes);
  // The test that wrong results are noticed: a bit of each copy is another one than on the device.
  if (bytes > 0 && std::getenv("GATUN_BENCH_DAMAGE") != nullptr) static_cast<uint8_t*>(to)[bytes / 2] ^= 0x40;
}
void copy_to_device(void* to, const void* from, int64_t bytes) { test::copy_to_device(to, from, bytes); }

struct Batches::Graphs {};

Batches::Batches(const Call& call, int64_t calls, int64_t turns) : call_(call), calls_(calls), turns_(turns) {}
Batches::~Batches() = default;

bool Batches::is_graph() const { return false; }

std::vector<double> Batches::seconds(int64_t samples) {
  std::vector<double> result;
  for (int64_t i = 0; i < samples; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    for (int64_t c = 0; c < calls_; ++c) call_(next_++ % turns_);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    result.push_back(seconds.count() / static_cast<double>(calls_));
  }
  return result;
}

}  // namespace gatun::bench
