// The lists of a map, in three kernels: each row's counts, to offsets[row + 1]; their sums, by one block; the blocks of
// each row, to where its offset says.
//
// A warp has a row, a lane every 32nd block: ballots count, and say how many blocks of the same kind come before. The
// map is read twice: 2 rows * key_blocks bytes, which is what it takes.
#include "attention/device_mask.h"
#include "base/check.h"
#include "ptx/launch.h"
#include "ptx/number.h"
#include "ptx/warp.h"

namespace gatun::cuda::attention {
namespace {

constexpr int kThreads = 128, kSumThreads = 1024;

GATUN_KERNEL(kThreads, 8)
block_mask_count(GATUN_GRID_CONSTANT MapJob job) {
  const int64_t row = block_x() * (kThreads / 32) + warp();
  if (row >= job.rows) return;
  int32_t counts[2] = {};
  for (int32_t block = lane(); block < job.key_blocks; block += 32) {
    const uint8_t seen = job.map[row * job.key_blocks + block];
#pragma unroll
    for (int i = 0; i < 2; ++i) counts[i] += seen == i + 1;
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    for (int mask = 1; mask < 32; mask *= 2) counts[i] += shuffle_xor(counts[i], mask);
    if (lane() == 0) job.offsets[i][row + 1] = counts[i];
  }
}

// Block i sums list i: a thread has a stretch of rows, the threads' sums are summed in shared memory.
GATUN_KERNEL(kSumThreads, 1)
block_mask_sum(GATUN_GRID_CONSTANT MapJob job) {
  int64_t* const offsets = block_x() == 0 ? job.offsets[0] : job.offsets[1];
  int64_t* const sums = reinterpret_cast<int64_t*>(shared_memory());
  const int thread = thread_index();
  const int64_t share = (job.rows + kSumThreads - 1) / kSumThreads, begin = share * thread;
  const int64_t end = begin + share < job.rows ? begin + share : job.rows;
  int64_t sum = 0;
  for (int64_t row = begin; row < end; ++row) sum += offsets[row + 1];
  sums[thread] = sum;
  for (int step = 1; step < kSumThreads; step *= 2) {
    block_barrier();
    const int64_t before = thread >= step ? sums[thread - step] : 0;
    block_barrier();
    sums[thread] += before;
  }
  int64_t offset = sums[thread] - sum;
  if (thread == 0) offsets[0] = 0;
  for (int64_t row = begin; row < end; ++row) offsets[row + 1] = offset += offsets[row + 1];
}

GATUN_KERNEL(kThreads, 8)
block_mask_list(GATUN_GRID_CONSTANT MapJob job) {
  const int64_t row = block_x() * (kThreads / 32) + warp();
  if (row >= job.rows) return;
  int64_t at[2] = {job.offsets[0][row], job.offsets[1][row]};
  const uint32_t lower = (1u << lane()) - 1;
  for (int32_t first = 0; first < job.key_blocks; first += 32) {
    const int32_t block = first + lane();
    const uint8_t seen = block < job.key_blocks ? job.map[row * job.key_blocks + block] : uint8_t{0};
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const uint32_t same = ballot(seen == i + 1);
      const int64_t own = at[i] + count_ones(same & lower);
      if (seen == i + 1 && own < job.counts[i]) job.blocks[i][own] = block;
      at[i] += count_ones(same);
    }
  }
}

}  // namespace

int32_t run_from_map(const MapJob& job, void* stream) {
  const int64_t blocks = blocks_of(job.rows, kThreads / 32);
  GATUN_TRY(launch("block_mask_count_sm80", block_mask_count, {blocks, 1, 1, kThreads, 0}, stream, job));
  GATUN_TRY(launch("block_mask_sum_sm80", block_mask_sum, {2, 1, 1, kSumThreads, kSumThreads * 8}, stream, job));
  if (job.counts[0] == 0 && job.counts[1] == 0) return GATUN_OK;
  return launch("block_mask_list_sm80", block_mask_list, {blocks, 1, 1, kThreads, 0}, stream, job);
}

}  // namespace gatun::cuda::attention
