/*
 * Kernels on NVIDIA GPUs: the library libgatun_cuda, its devices and its errors.
 *
 * The library needs nothing of CUDA but the driver, which it looks for when it is first used. Kernels are compiled for
 * sm_80 and sm_90a, and as PTX for newer processors.
 *
 * What holds for every op (gatun/cuda_<op>.h):
 *
 * - Work is put on the caller's stream, a cudaStream_t or null for the default stream; the function returns before it
 *   is done, allocates no memory, synchronizes nothing, and may be captured into a CUDA graph. The device is that of
 *   the stream, and of the default stream the one that is current in the calling thread; what is current does not
 *   change.
 * - Pointers to data are device pointers, of that device, or of managed or mapped host memory; an argument that is host
 *   memory says so. They need the alignment of their element. Where they begin is checked: other memory is
 *   INVALID_ARGUMENT. gatun_cuda_check_memory checks where an allocation ends.
 * - `workspace` is device memory of at least what gatun_cuda_<op>_workspace_bytes says, aligned to 256 bytes; it may be
 *   null if that is 0. Its contents are the library's until the work is done.
 * - A params struct is read before the function returns; its field `threads` is ignored.
 * - Results depend on the device's architecture (which kernels it has), but neither on its number of multiprocessors
 *   nor on what else runs.
 * - UNSUPPORTED if there are no kernels for the device, also of functions that only say what they would do there.
 * - OUT_OF_RESOURCES if a launch needs more than the device has, INTERNAL if the runtime reports an error, also one of
 *   earlier work: the message has the runtime's own text.
 */
#ifndef GATUN_CUDA_H
#define GATUN_CUDA_H

#include <stdint.h>

#include "gatun/status.h"
#include "gatun/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Raised whenever a prototype, a struct or an enum value changes in a way that older callers would notice. */
enum gatun_cuda_abi { GATUN_CUDA_ABI_VERSION = 1 };

/* GATUN_CUDA_ABI_VERSION of the library that is loaded. */
GATUN_API int32_t gatun_cuda_abi_version(void);

/* "major.minor.patch" of the library that is loaded. */
GATUN_API const char* gatun_cuda_version(void);

/* As gatun_last_error, of calls of this library. */
GATUN_API const char* gatun_cuda_last_error(void);

typedef struct gatun_cuda_device {
  uint32_t struct_size; /* sizeof(gatun_cuda_device) */
  int32_t major;        /* compute capability */
  int32_t minor;
  int32_t multiprocessors;
  int64_t shared_bytes; /* shared memory that a block may have */
  int64_t l2_bytes;
  int64_t memory_bytes;
  int32_t supported; /* 1 if the library has kernels for it: compute capability 8.0 and newer */
  int32_t clock_khz; /* of the multiprocessors, at most; 0 if unknown */
} gatun_cuda_device;

/*
 * The number of devices. UNSUPPORTED, with the reason, if there is no driver, it is older than the library needs, or
 * it knows no device.
 */
GATUN_API int32_t gatun_cuda_device_count(int32_t* count);

/* Properties of device 0 .. count - 1. */
GATUN_API int32_t gatun_cuda_describe_device(int32_t device, gatun_cuda_device* properties);

/*
 * A few lines for a person: driver, runtime, each device and whether there are kernels for it. Writes a NUL-terminated
 * string. INVALID_ARGUMENT if `capacity` bytes do not hold it; 4096 always do for up to 16 devices.
 */
GATUN_API int32_t gatun_cuda_report(char* text, int64_t capacity);

/*
 * INVALID_ARGUMENT, with what it is instead, unless [memory, memory + bytes) lies in memory that kernels on `device`
 * can use: of that device, managed, or mapped host memory. It may span allocations that lie side by side. Where the
 * driver does not know an allocation's end, that is not checked.
 */
GATUN_API int32_t gatun_cuda_check_memory(int32_t device, const void* memory, int64_t bytes);

/*
 * Copies bytes between memory of devices and the host, which do not overlap, on the stream. It returns before that is
 * done, unless a side is host memory that is not pinned: then it waits for the stream.
 */
GATUN_API int32_t gatun_cuda_copy(void* to, const void* from, int64_t bytes, void* stream);

/* Writes zeros to memory of the device on the stream. */
GATUN_API int32_t gatun_cuda_clear(void* memory, int64_t bytes, void* stream);

/*
 * Writes numbers of the host, which are read before this returns, to memory of the device on the stream: lengths, slots
 * and what else of a call is small. Launches carry them, 448 each, so that nothing waits and a captured graph has them.
 */
GATUN_API int32_t gatun_cuda_store(int64_t* to, const int64_t* values, int64_t count, void* stream);

#ifdef __cplusplus
}
#endif

#endif
