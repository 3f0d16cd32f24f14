// What kernels for tiles get, how they share memory, and q as they read it: see tiles.h.
#pragma once

#include "decode/operands.h"
#include "decode/part.h"

namespace gatun::cuda::decode {
namespace tiles {

using kv_cache::kChannels;

inline constexpr int kRows = 16, kKeys = 32, kMostGroups = 8, kMostWarps = 4, kStages = 2;
inline constexpr float kLog2E = 1.44269504f;
inline constexpr float kUp = 16384;  // of exponentials in f16

// A side's rows in shared memory.
struct Side {
  int32_t row_bytes, stride;  // of the pool; in shared memory
  int32_t chunks;             // of a row, zeros to an even number included
  int32_t division;           // a / chunks = a * division >> 16
  int32_t groups, group;      // scales of a token
};

struct TilesJob {
  Job job;
  Side k, v;
  int32_t q_stride, q_bytes;      // of a row, of all rows in one half
  int32_t stages_at, warp_bytes;  // of the first warp, and to the next one
  int32_t scales_at;              // of a warp, behind its stages
};

inline constexpr int kRowScalesBytes = kRows * 4, kLaneSumsBytes = kRows * 32 * 4;
inline constexpr int kPlaneBytes = kMostGroups * kKeys * 4;  // of scales; zero points of values take half
inline constexpr int kScalesBytes = 3 * kPlaneBytes + kPlaneBytes / 2;

// What all warps know of their block's work, in shared memory. Keys count from the part's first one.
struct Block {
  Part part;
  int32_t keys;           // that some row may see, but for
  int32_t before, after;  // tiles from before to after - 1, which are hidden
  int32_t sink_keys;
};
inline constexpr int kBlockBytes = 256;
static_assert(sizeof(Block) <= kBlockBytes);

// Far beyond each part.
inline constexpr int32_t kFar = 1 << 30;
GATUN_DEVICE int32_t near(int64_t key) { return key < -kFar ? -kFar : key > kFar ? kFar : static_cast<int32_t>(key); }

GATUN_DEVICE void set_block(const Job& job, const Part& part, Block& block) {
  const Span span = span_of(job, part);
  block.part = part;
  block.keys = span.last > span.first ? static_cast<int32_t>(span.last - span.first) : 0;
  const int32_t tiles = (block.keys + kKeys - 1) / kKeys;
  block.before = (near(span.hidden_first - span.first) + kKeys - 1) / kKeys;
  block.after = near(span.hidden_last - span.first) / kKeys;
  if (block.before >= block.after || block.before >= tiles) block.before = block.after = 0;
  block.sink_keys = near(job.params.sink_keys - part.first);
}

// The block's rows of q as left operands; of codes, their scales and sums, too.
GATUN_DEVICE void prepare_q(const TilesJob& tiles, const Part& part) {
  const Job& job = tiles.job;
  const Positions positions = positions_of(form_of(job.k.layout.dtype));
  const bool codes = job.k.scales != nullptr;
  const int depth = tiles.k.chunks * positions.chunk_channels, first = lane() * kChannels;
  int32_t* const lane_sums = reinterpret_cast<int32_t*>(shared_memory() + tiles.q_bytes * 2 + kRowScalesBytes);
  for (int row = warp(); row < kRows; row += thread_count() / 32) {
    float x[kChannels];
    const bool there = row < part.rows;
    load_query(job, part, part.row + (there ? row : 0), x);
#pragma unroll
    for (int i = 0; i < kChannels; ++i) x[i] = there ? x[i] : 0;
    int32_t code[kChannels];
    const float scale = codes ? round_query(x, query_steps(job), code) : 0;
    int32_t sum = 0;
    uint8_t* const to = shared_memory() + row * tiles.q_stride;
#pragma unroll
    for (int i = 0; i < kChannels; ++i) {
      if (first + i >= depth) continue;
      const int at = positions.of(first + i);
      if (!codes) {
        reinterpret_cast<uint16_t*>(to)[at] = job.params.dtype == GATUN_BF16 ? f32_to_bf16(x[i]) : f32_to_f16(x[i]);
        continue;
      }
      // code = 128 high + low
      const int32_t high = job.params.mode == GATUN_DECODE_EXACT ? (code[i] + 64) >> 7 : code[i];
      to[at] = static_cast<uint8_t>(high);
      to[tiles.q_bytes + at] = static_cast<uint8_t>(code[i] - 128 * high);
      sum += code[i];
    }
    if (!codes) continue;
    if (lane() == 0) reinterpret_cast<float*>(shared_memory() + tiles.q_bytes * 2)[row] = scale;
    // Of each group, in its place in the order of groups.
    const int lanes = (tiles.k.group + kChannels - 1) / kChannels;
    lane_sums[row * 32 + lane()] = sum;
    warp_barrier();
    int32_t total = 0;
    for (int l = lane() * lanes; l < (lane() + 1) * lanes && l < 32; ++l) total += lane_sums[row * 32 + l];
    warp_barrier();
    lane_sums[row * 32 + lane()] = total;
  }
}

inline Side side_of(const DevicePool& pool) {
  Side side = {};
  if (pool.layout.size == 0) return side;
  side.row_bytes = pool.row_bytes;
  side.chunks = (pool.row_bytes + 31) / 32 * 2;
  side.stride = side.chunks * 16 + 16;
  side.division = 65536 / side.chunks + 1;
  side.groups = pool.scales_of_row;
  side.group = static_cast<int32_t>(pool.layout.group);
  return side;
}

}  // namespace tiles
}  // namespace gatun::cuda::decode
