// Memory of the emulated device for who calls libgatun_cuda_emulated: what a program with a GPU asks the CUDA runtime.
#include <cstdint>

#include "base/status.h"
#include "device_memory.h"
#include "gatun/status.h"
#include "machine.h"

extern "C" {

GATUN_API void* gatun_emulator_allocate(int64_t bytes) { return gatun::test::device_allocate(bytes); }

GATUN_API void gatun_emulator_free(void* memory) { gatun::test::device_free(memory); }

// For libcudart.so.13 of runtime/: the machine from now on, and what its functions return after a failure.
GATUN_API void gatun_emulator_use(gatun::emulator::Machine* machine) { gatun::emulator::use_machine(machine); }
GATUN_API int32_t gatun_emulator_error(const char* what, const char* text, const char* name) {
  return gatun::fail(GATUN_INTERNAL, "%s: %s (%s)", what, text, name);
}

}  // extern "C"
