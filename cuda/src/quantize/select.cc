#include "quantize/select.h"

#include <algorithm>

#include "base/check.h"
#include "base/dtype.h"

namespace gatun::cuda::quantize {
namespace {

constexpr int kThreads = 256;      // of blocks whose teams are lanes of a warp
constexpr int kBookThreads = 512;  // of those that share large tables
constexpr int kLeastBookThreads = 128;
constexpr int kResident = 2048;  // threads that a multiprocessor has at most
constexpr int kLanes = 32;
// Rounds of resident thread blocks for which there are blocks; more work is done by the same ones. One round where each
// block first fills tables.
constexpr int kRounds = 4;

const Kernel* const kKernels[] = {
#define GATUN_CUDA_QUANTIZE(family, name, x, codes, code_dtype, is_book) &name,
#include "quantize/simt_kernels.inc"
#undef GATUN_CUDA_QUANTIZE
};

const Kernel* kernel_of(const gatun_quantize_params& p) {
  for (const Kernel* kernel : kKernels) {
    if (kernel->x_dtype == p.x_dtype && kernel->code_dtype == p.code_dtype &&
        kernel->book == (p.book != GATUN_BOOK_NONE)) {
      return kernel;
    }
  }
  return nullptr;  // check_params knows no other codes
}

bool empty(const gatun_quantize_params& p) { return p.rows == 0 || p.depth == 0; }

int64_t row_chunks(const gatun_quantize_params& p) { return blocks_of(p.group, kChunk); }

// Chunks of a block that has all its rows; no more than fit.
int64_t block_chunks(const gatun_quantize_params& p) {
  int64_t chunks;
  return __builtin_mul_overflow(row_chunks(p), p.group_rows, &chunks) ? INT64_MAX : chunks;
}

// Whether a group may begin in the middle of a byte of codes.
bool shares_bytes(const gatun_quantize_params& p) {
  return p.group < p.depth && dtype_bytes(p.code_dtype, 8) * (p.group % 8) % 8 != 0;
}

// Whether the columns of x lie closer to each other than its rows.
bool down_rows(const gatun_quantize_params& p) { return p.x_column_stride > 1 && p.rows > 1; }

int round_up_to_power(int64_t count) {
  int power = 1;
  while (power < count) power *= 2;
  return power;
}

int64_t rows_of_blocks(const gatun_quantize_params& p) { return blocks_of(p.rows, p.group_rows); }

// Makes thread blocks of teams, and steps that take each team through its units. `exchanges`: whether warps do.
Grid distribute(const Device& device, const Kernel& kernel, bool exchanges, Walk* walk) {
  Grid grid = {0, 1, 1, kThreads, (exchanges || kernel.table_bytes > 0 ? kExchangeBytes : 0) + kernel.table_bytes};
  const bool large_tables = kernel.table_bytes > 4096;
  const int64_t units = walk->rows * walk->columns;
  if (walk->whole_block) {
    grid.threads = walk->team;
  } else {
    // Small work is spread over all multiprocessors.
    grid.threads = large_tables ? kBookThreads : kThreads;
    const int32_t least = large_tables ? kLeastBookThreads : kLanes;
    while (grid.threads > least && units * walk->team < int64_t{device.multiprocessors} * grid.threads) {
      grid.threads /= 2;
    }
  }
  const int64_t teams = walk->whole_block ? 1 : grid.threads / walk->team;
  const int64_t most = int64_t{device.multiprocessors} * (kResident / grid.threads) * (large_tables ? 1 : kRounds);
  grid.blocks_x = std::min(blocks_of(units, teams), most);
  const int64_t stride = grid.blocks_x * teams;
  walk->fast = walk->down_rows ? walk->rows : walk->columns;
  if (units == 0) return grid;
  walk->step_slow = stride / walk->fast;
  walk->step_fast = stride % walk->fast;
  walk->steps = static_cast<int32_t>(blocks_of(units, stride));
  return grid;
}

// Units that are blocks.
Walk walk_blocks(const gatun_quantize_params& p) {
  Walk walk = {};
  walk.rows = rows_of_blocks(p);
  walk.columns = blocks_of(p.depth, p.group);
  walk.piece = p.group;
  walk.pieces = 1;
  walk.row_chunks = row_chunks(p);
  walk.unit_rows = static_cast<int32_t>(p.group_rows);
  walk.chunks = static_cast<int32_t>(row_chunks(p));
  const int64_t chunks = block_chunks(p);
  walk.whole_block = chunks > kLanes;
  walk.team = walk.whole_block ? static_cast<int32_t>(blocks_of(chunks, kLanes)) * kLanes : round_up_to_power(chunks);
  walk.down_rows = down_rows(p);
  return walk;
}

// Units that are pieces of rows of blocks whose scales are known.
Walk walk_rows(const gatun_quantize_params& p) {
  Walk walk = {};
  walk.rows = p.rows;
  walk.unit_rows = 1;
  walk.down_rows = down_rows(p);
  walk.ragged = p.group < p.depth && p.group % kChunk != 0;
  if (walk.ragged) {
    walk.columns = blocks_of(p.depth, kChunk);
    walk.chunks = walk.team = 1;
    walk.piece = kChunk;
    walk.pieces = 1;
    return walk;
  }
  walk.chunks = static_cast<int32_t>(std::min<int64_t>(row_chunks(p), kLanes));
  walk.team = round_up_to_power(walk.chunks);
  walk.piece = walk.chunks * int64_t{kChunk};
  walk.pieces = blocks_of(p.group, walk.piece);
  walk.columns = blocks_of(p.depth, p.group) * walk.pieces;
  return walk;
}

}  // namespace

int64_t parts_of_block(const gatun_quantize_params& p) {
  if (empty(p) || p.scale_rule == GATUN_SCALE_GIVEN || block_chunks(p) <= kMostThreads) return 0;
  return blocks_of(block_chunks(p), kPartChunks);
}

int64_t workspace_bytes(const gatun_quantize_params& p) {
  const int64_t parts = parts_of_block(p);
  if (parts == 0) return 0;
  return rows_of_blocks(p) * blocks_of(p.depth, p.group) * parts * static_cast<int64_t>(sizeof(Part));
}

Plan plan_quantize(const gatun_quantize_params& p, const Device& device) {
  Plan plan = {};
  plan.kernel = kernel_of(p);
  if (empty(p)) return plan;
  plan.parts_of_block = parts_of_block(p);
  if (plan.parts_of_block > 0) {
    const int64_t blocks = rows_of_blocks(p) * blocks_of(p.depth, p.group);
    plan.scanned.row_chunks = row_chunks(p);
    plan.scanned.team = kScanThreads;
    plan.scanned.whole_block = true;
    plan.scan = {blocks * plan.parts_of_block, 1, 1, kScanThreads, kExchangeBytes};
    plan.merge = {blocks, 1, 1, kScanThreads, kExchangeBytes};
    plan.coded = walk_rows(p);
  } else if (p.scale_rule == GATUN_SCALE_GIVEN) {
    plan.coded = walk_rows(p);
  } else if (shares_bytes(p)) {
    plan.made = walk_blocks(p);
    plan.make = distribute(device, *plan.kernel, plan.made.whole_block, &plan.made);
    plan.coded = walk_rows(p);
  } else {
    plan.coded = walk_blocks(p);
    plan.make_in_code = true;
  }
  plan.code = distribute(device, *plan.kernel, plan.coded.whole_block, &plan.coded);
  return plan;
}

Plan plan_dequantize(const gatun_quantize_params& p, const Device& device) {
  Plan plan = {};
  plan.kernel = kernel_of(p);
  if (empty(p)) return plan;
  plan.coded = walk_rows(p);
  plan.code = distribute(device, *plan.kernel, false, &plan.coded);
  return plan;
}

}  // namespace gatun::cuda::quantize
