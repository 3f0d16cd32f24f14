#include "quantize/select.h"

#include <algorithm>

#include "base/check.h"
#include "base/dtype.h"

namespace gatun::cuda::quantize {
namespace {

constexpr int kThreads = 256;      // of blocks whose teams are lanes of a warp
constexpr int kBookThreads = 512;  // of those that share large tables
constexpr int kLeastBookThreads = 128;
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

int round_up_to_power(int64_t count) {
  int power = 1;
  while (power < count) power *= 2;
  return power;
}

int64_t rows_of_blocks(const gatun_quantize_params& p) { return blocks_of(p.rows, p.group_rows); }

Stride stride_of(const Walk& walk, int64_t of_row, int64_t of_column) {
  const int64_t slow = walk.down_rows ? of_column : of_row, fast = walk.down_rows ? of_row : of_column;
  return {slow, fast, walk.step_slow * slow + walk.step_fast * fast, slow - walk.fast * fast};
}

// Makes thread blocks of teams, and steps that take each team through its units. `exchanges`: whether warps do.
Grid distribute(const gatun_quantize_params& p, const Device& device, const Kernel& kernel, bool exchanges,
                Walk* walk) {
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
  const int64_t most =
      int64_t{device.multiprocessors} * (kResidentThreads / grid.threads) * (large_tables ? 1 : kRounds);
  grid.blocks_x = std::min(blocks_of(units, teams), most);
  const int64_t stride = grid.blocks_x * teams;
  walk->down_rows = p.x_column_stride > 1 && p.rows > 1;  // a column's values are closer to each other then
  walk->fast = walk->down_rows ? walk->rows : walk->columns;
  walk->step_slow = stride / walk->fast;
  walk->step_fast = stride % walk->fast;
  walk->steps = static_cast<int32_t>(blocks_of(units, stride));
  const int64_t columns_apart = walk->columns == 1 ? 0 : walk->width;
  const int64_t rows_apart = p.rows == 1 ? 0 : walk->unit_rows;
  walk->x = stride_of(*walk, rows_apart * p.x_row_stride, columns_apart * p.x_column_stride);
  walk->codes =
      stride_of(*walk, rows_apart * dtype_bytes(p.code_dtype, p.depth),
                columns_apart / 4 * dtype_bytes(p.code_dtype, 4) + dtype_bytes(p.code_dtype, columns_apart % 4));
  walk->blocks = stride_of(*walk, blocks_of(p.depth, p.group), 1);
  return grid;
}

// Units that are blocks.
Walk walk_blocks(const gatun_quantize_params& p) {
  Walk walk = {};
  walk.rows = rows_of_blocks(p);
  walk.columns = blocks_of(p.depth, p.group);
  walk.row_chunks = row_chunks(p);
  walk.unit_rows = static_cast<int32_t>(p.group_rows);
  walk.last_rows = static_cast<int32_t>(p.rows - (walk.rows - 1) * p.group_rows);
  walk.unit_chunks = static_cast<int32_t>(row_chunks(p));
  walk.width = static_cast<int32_t>(p.group);
  walk.last_width = static_cast<int32_t>(p.depth - (walk.columns - 1) * p.group);
  const int64_t chunks = block_chunks(p);
  walk.whole_block = chunks > kLanes;
  walk.team = walk.whole_block ? static_cast<int32_t>(blocks_of(chunks, kLanes)) * kLanes : round_up_to_power(chunks);
  return walk;
}

// Units that are chunks.
Walk walk_chunks(const gatun_quantize_params& p) {
  Walk walk = {};
  walk.rows = p.rows;
  walk.columns = blocks_of(p.depth, kChunk);
  walk.unit_rows = walk.last_rows = walk.unit_chunks = walk.team = 1;
  walk.width = kChunk;
  walk.last_width = static_cast<int32_t>(p.depth - (walk.columns - 1) * kChunk);
  walk.chunks = true;
  return walk;
}

// Where scales are known.
Walk walk_known(const gatun_quantize_params& p) {
  const bool aligned = p.group == p.depth || p.group % kChunk == 0;
  return block_chunks(p) > kMostThreads || !aligned ? walk_chunks(p) : walk_blocks(p);
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
    plan.coded = walk_known(p);
  } else if (p.scale_rule == GATUN_SCALE_GIVEN) {
    plan.coded = walk_known(p);
  } else if (shares_bytes(p)) {
    plan.made = walk_blocks(p);
    plan.make = distribute(p, device, *plan.kernel, plan.made.whole_block, &plan.made);
    plan.coded = walk_known(p);
  } else {
    plan.coded = walk_blocks(p);
    plan.make_in_code = true;
  }
  plan.code = distribute(p, device, *plan.kernel, plan.coded.whole_block, &plan.coded);
  return plan;
}

Plan plan_dequantize(const gatun_quantize_params& p, const Device& device) {
  Plan plan = {};
  plan.kernel = kernel_of(p);
  if (empty(p)) return plan;
  plan.coded = walk_known(p);
  plan.code = distribute(p, device, *plan.kernel, false, &plan.coded);
  return plan;
}

}  // namespace gatun::cuda::quantize
