// Qualifiers of kernels, where a thread is, shared memory, barriers of a block.
//
// Every header of ptx/ has a twin of the same name in cuda/emulator/ptx/, which does the same on the CPU. What includes
// "ptx/..." gets the one or the other by the compiler's search path, and so compiles for both.
#pragma once

#include <cstdint>

// A kernel of at most `threads` threads a block, of which `blocks` shall fit into a multiprocessor.
#define GATUN_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define GATUN_DEVICE __device__ __forceinline__
// A parameter of a kernel that stays where the launch put it, so that its address is that of all threads.
#define GATUN_GRID_CONSTANT const __grid_constant__

namespace gatun::cuda {

GATUN_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
GATUN_DEVICE int thread_count() { return static_cast<int>(blockDim.x); }
GATUN_DEVICE int lane() { return static_cast<int>(threadIdx.x) & 31; }
// The same in all threads of the warp, which the compiler does not know of thread_index() / 32.
GATUN_DEVICE int warp() { return __shfl_sync(0xffffffffu, static_cast<int>(threadIdx.x) / 32, 0); }

GATUN_DEVICE int64_t block_x() { return blockIdx.x; }
GATUN_DEVICE int64_t block_y() { return blockIdx.y; }
GATUN_DEVICE int64_t block_z() { return blockIdx.z; }
GATUN_DEVICE int64_t blocks_x() { return gridDim.x; }

// The block's dynamic shared memory, which is all it has; aligned to 1024 bytes.
GATUN_DEVICE uint8_t* shared_memory() {
  extern __shared__ __align__(1024) uint8_t gatun_shared_memory[];
  return gatun_shared_memory;
}

namespace detail {
// As instructions that name the state space take it.
GATUN_DEVICE uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}
}  // namespace detail

// Of all threads of the block.
GATUN_DEVICE void block_barrier() { __syncthreads(); }

// Barrier 1..15 of `threads` threads, a multiple of 32: of those that wait at it and those that only arrive.
GATUN_DEVICE void barrier_wait(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
GATUN_DEVICE void barrier_arrive(int barrier, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

}  // namespace gatun::cuda
