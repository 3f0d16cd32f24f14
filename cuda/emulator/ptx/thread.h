// The twin of src/ptx/thread.h on the CPU.
#pragma once

#include <cstdint>

#include "block.h"

#define GATUN_KERNEL(threads, blocks) void
#define GATUN_DEVICE inline
#define GATUN_GRID_CONSTANT const

namespace gatun::cuda {

inline int thread_index() { return emulator::block().thread(); }
inline int thread_count() { return emulator::block().threads(); }
inline int lane() { return thread_index() % 32; }
inline int warp() { return thread_index() / 32; }

inline int64_t block_x() { return emulator::block().index(0); }
inline int64_t block_y() { return emulator::block().index(1); }
inline int64_t block_z() { return emulator::block().index(2); }
inline int64_t blocks_x() { return emulator::block().count(0); }

inline uint8_t* shared_memory() { return emulator::block().shared(); }

namespace detail {
inline uint32_t shared_address(const void* shared) {
  return static_cast<uint32_t>(emulator::block().shared_offset("shared_address", shared, 0, 1));
}
}  // namespace detail

inline void block_barrier() { emulator::block().barrier(0, thread_count(), true); }
inline void barrier_wait(int barrier, int threads) { emulator::block().barrier(barrier, threads, true); }
inline void barrier_arrive(int barrier, int threads) { emulator::block().barrier(barrier, threads, false); }

}  // namespace gatun::cuda
