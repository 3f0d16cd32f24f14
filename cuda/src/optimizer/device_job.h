// What the entry points hand to kernels on devices, and the table of kernels. Plain data, for the host and for devices.
//
// Elements lie in rows of 128, of which each lane of a warp has 4 side by side: 16 bytes of f32, 4 of 8-bit codes. A
// block of quantized state is 1 to 16 rows, a tile those that a thread block has in registers at once:
//
//   warp 0  [ row 0 | row 1 ]   warp 1  [ row 2 | row 3 ]   ..      kWarpRows rows of a warp
//   tile    [ block 0: block_rows rows | block 1 | .. | block n - 1 | rows without work, fewer than block_rows ]
#pragma once

#include <cstdint>

#include "optimizer/kernel.h"
#include "optimizer/make_job.h"

namespace gatun::cuda {
struct Grid;  // ptx/launch.h
}

namespace gatun::cuda::optimizer {

using gatun::optimizer::Constants;
using gatun::optimizer::kMostBlock;
using gatun::optimizer::kMostParts;
using gatun::optimizer::kMostStates;
using gatun::optimizer::kRules;
using gatun::optimizer::NormLimit;
using gatun::optimizer::Plane;
using gatun::optimizer::Squares;

inline constexpr int kLaneElements = 4, kRow = 32 * kLaneElements, kWarpRows = 2;
inline constexpr int kLeastThreads = kMostBlock / kRow / kWarpRows * 32;  // of a thread block: a tile has a block
inline constexpr int kMeasureThreads = 256;
inline constexpr int kSquaresChunk = 1024;  // of native/src/optimizer/squares.h

// Threads of a block of threads, of which a multiprocessor has one: with 72 registers each, 96 or 128.
constexpr int most_threads(int states) { return states == 1 ? 896 : states == 2 ? 640 : 512; }
constexpr int rows_of(int threads) { return threads / 32 * kWarpRows; }

struct DeviceJob : gatun::optimizer::Job {
  const float* rate;  // that the limit of the update's norm has made; null: that of the constants
  int64_t tiles;
  int64_t part;        // of sums for the norm: blocks
  int32_t block_rows;  // 1..16; of f32 state 1
  int32_t tile_rows;   // of whole blocks
  int32_t tile_blocks;
  bool aligned;  // whether lanes' elements are aligned to their size in all arrays
};

struct DeviceKernel {
  const char* name;
  int32_t state;                     // gatun_optimizer_state
  int32_t value_bytes, table_bytes;  // of shared memory: tables to measure, to step
  // By gatun_optimizer_rule. A step; and the sums of parts for the norm, of which a thread block makes one.
  int32_t (*step[kRules])(const char* name, const DeviceJob& job, const Grid& grid, void* stream);
  int32_t (*measure[kRules])(const char* name, const DeviceJob& job, Squares* parts, const Grid& grid, void* stream);
};

#define GATUN_CUDA_OPTIMIZER(name, state, codes) extern const DeviceKernel name;
#include "optimizer/device_kernels.inc"
#undef GATUN_CUDA_OPTIMIZER

// Shared memory beside tables: a key of random bits, the largest magnitudes of rows, twice; sums of kMeasureBlocks
// blocks, twice.
inline constexpr int kMeasureBlocks = 32;
constexpr int64_t step_bytes(int states, int threads) { return 8 + int64_t{2} * states * rows_of(threads) * 4; }
inline constexpr int64_t kMeasureBytes = 2 * kMeasureBlocks * sizeof(Squares);

// Squares of gradients: parts [count] of `part` chunks each; p of a part is the sum.
int32_t sum_squares(int32_t dtype, const void* x, int64_t count, int64_t part, Squares* parts, int64_t part_count,
                    void* stream);
// Merges parts in ascending order: into *sum their p, or into *rate the rate that keeps to the limit.
int32_t merge_squares(const Squares* parts, int64_t part_count, double* sum, void* stream);
int32_t limit_rate(const Squares* parts, int64_t part_count, const NormLimit& limit, float* rate, void* stream);

}  // namespace gatun::cuda::optimizer
