// Device memory for tests: of a GPU (device_memory.cc) or of the emulator (emulator/runtime.cc).
#pragma once

#include <cstdint>

namespace gatun::test {

// Aligned to 256 bytes. A failure ends the program with a message.
void* device_allocate(int64_t bytes);
void device_free(void* memory);

// Both wait for all work of the device first.
void copy_to_device(void* to, const void* from, int64_t bytes);
void copy_from_device(void* to, const void* from, int64_t bytes);

}  // namespace gatun::test
