// The keys that a tile of queries goes through: panels of 16, a few of them a step, found by one warp for the block.
//
// Panels begin at multiples of 16, so each lies in one block of a mask. A tile may lie in up to kMaskRows rows of the
// mask; their lists are merged, so that keys ascend and each is loaded once: of row r, lane r holds where the list of
// full blocks goes on, lane kMaskRows + r the one of partial blocks.
//
//   lane             0        1            4        5
//   next block       3        7            4        3       block 3: full for mask row 0, partial for mask row 1
//
// Lists may hold anything; blocks that are not keys are passed over or end them.
#pragma once

#include <cstdint>

#include "attention/device_rows.h"
#include "ptx/warp.h"

namespace gatun::cuda::attention {

inline constexpr int kPanelKeys = 16, kMaskRows = 4;
inline constexpr int32_t kNoBlock = INT32_MAX;

// In shared memory.
template <int kPanels>
struct Step {
  int32_t count;                     // of panels; 0: nothing is left
  int32_t edge;                      // some row may not see all of it
  int32_t key[kPanels];              // the first ones; beyond `count` that after the last of all
  uint32_t listed[kPanels];          // bit r: the tile's mask row r lists it; bit kMaskRows + r: with bits
  int64_t bits[kPanels][kMaskRows];  // which partial block has these
};

// Of each lane of a warp; in shared memory, where it takes no registers.
class PanelSource {
 public:
  // By all lanes.
  GATUN_DEVICE PanelSource(const Job& job, const Tile& tile)
      : first_(seen_by(job, tile.item, tile.row)),
        last_(seen_by(job, tile.item, tile.row + tile.rows - 1)),
        keys_(tile.item.keys) {
    if (job.query_block == 0) {
      stop_ = last_.end;
      return;
    }
    const int32_t block = tile.row / job.query_block, last_block = (tile.row + tile.rows - 1) / job.query_block;
    const int r = lane() % kMaskRows;
    all_ = (2u << (last_block - block)) - 1;
    blocks_ = (keys_ + job.key_block - 1) / job.key_block;
    if (lane() >= 2 * kMaskRows || block + r > last_block || block + r >= job.query_blocks) return;
    const int64_t mask_item = job.mask_batch == 1 ? 0 : tile.item.index,
                  mask_head = job.mask_heads == 1 ? 0 : tile.head;
    const int64_t row = (mask_item * job.mask_heads + mask_head) * job.query_blocks + block + r;
    const bool full = lane() < kMaskRows;
    const int64_t* const offsets = full ? job.in.full_offsets : job.in.partial_offsets;
    const int64_t count = full ? job.full_count : job.partial_count;
    list_ = full ? job.in.full_blocks : job.in.partial_blocks;
    at_ = clamped(offsets[row], 0, count);
    end_ = clamped(offsets[row + 1], 0, count);
    next_ = load(at_);
    after_ = load(at_ + 1);
  }

  template <int kPanels>
  GATUN_DEVICE void fill(const Job& job, Step<kPanels>* step) {
    int count = 0;
    bool edge = false;
#pragma unroll 1
    for (; count < kPanels && find(job); ++count) {
      if (lane() == 0) {
        step->key[count] = key_;
        step->listed[count] = listed_;
      }
      if (lane() / kMaskRows == 1) step->bits[count][lane() % kMaskRows] = place_;
      edge = edge || key_ + kPanelKeys > first_.end || (listed_ & all_) != all_ ||
             (key_ < last_.begin && key_ + kPanelKeys > job.sink_keys);
      key_ += kPanelKeys;
    }
    if (lane() != 0) return;
    step->count = count;
    step->edge = edge || count < kPanels;
    for (; count < kPanels; ++count) step->key[count] = keys_;
  }

 private:
  GATUN_DEVICE int32_t load(int64_t at) const { return at < end_ ? list_[at] : kNoBlock; }

  // Whether there is a panel, key_, that some row sees.
  GATUN_DEVICE bool find(const Job& job) {
    while (true) {
      if (key_ < stop_) {
        if (key_ + kPanelKeys > first_.begin || key_ < job.sink_keys) return true;
        key_ = first_.begin & -kPanelKeys;
      } else if (job.query_block == 0 || !next_block(job)) {
        return false;
      }
    }
  }

  GATUN_DEVICE bool next_block(const Job& job) {
    int32_t block = next_;
#pragma unroll
    for (int i = 1; i < 2 * kMaskRows; i *= 2) block = smaller(block, shuffle_xor(block, i));
    block = shuffle(block, 0);
    if (block >= blocks_) return false;
    const bool own = next_ == block;
    const uint32_t lists = ballot(own) & ((1u << 2 * kMaskRows) - 1);
    if (own) {
      place_ = at_++;
      next_ = after_;
      after_ = load(at_ + 1);
    }
    listed_ = job.in.partial_bits == nullptr ? (lists | lists >> kMaskRows) & all_ : lists;
    if (block < 0) return true;  // no panels
    key_ = block * job.key_block;
    stop_ = smaller(key_ + job.key_block, last_.end);
    return key_ < last_.end;
  }

  Seen first_, last_;  // of the tile's rows
  int32_t keys_;
  int32_t key_ = 0, stop_ = 0;
  uint32_t listed_ = 1, all_ = 1;
  // Of a mask.
  int32_t blocks_ = 0;
  const int32_t* list_ = nullptr;
  int64_t at_ = 0, end_ = 0, place_ = 0;
  int32_t next_ = kNoBlock, after_ = kNoBlock;
};

GATUN_DEVICE uint32_t bits_below(int32_t n) { return n <= 0 ? 0 : n >= kPanelKeys ? 0xffffu : (1u << n) - 1; }

// A row of a tile: what it sees, and where it lies in the mask.
struct MaskedRow {
  Seen seen;
  int32_t mask_row, block_row;  // of the tile's mask rows; in its block

  GATUN_DEVICE MaskedRow(const Job& job, const Tile& tile, int32_t row)
      : seen(seen_by(job, tile.item, row)), mask_row(0), block_row(0) {
    if (job.query_block == 0) return;
    mask_row = row / job.query_block;
    block_row = row - mask_row * job.query_block;
    mask_row -= tile.row / job.query_block;
  }

  // Bit k is set where the row sees key k of panel i.
  template <int kPanels>
  GATUN_DEVICE uint32_t bits(const Job& job, const Step<kPanels>& step, int i) const {
    const int32_t key = step.key[i];
    const uint32_t bits =
        bits_below(seen.end - key) & (~bits_below(seen.begin - key) | bits_below(job.sink_keys - key));
    if (bits == 0 || (step.listed[i] >> mask_row & 1) != 0) return bits;
    if ((step.listed[i] >> (kMaskRows + mask_row) & 1) == 0) return 0;
    const int64_t row_bytes = job.key_block / 8;
    const uint8_t* const at = job.in.partial_bits + (step.bits[i][mask_row] * job.query_block + block_row) * row_bytes +
                              key % job.key_block / 8;
    return bits & (at[0] | static_cast<uint32_t>(at[1]) << 8);
  }
};

}  // namespace gatun::cuda::attention
