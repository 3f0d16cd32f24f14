// The C entry points.
#include "gatun/block_mask.h"

#include <cstring>

#include "base/check.h"
#include "base/status.h"
#include "block_mask/lists.h"

namespace gatun::block_mask {
namespace {

using LongLong = long long;

enum Seen : uint8_t { kNotSeen = 0, kFull = 1, kPartial = 2 };

struct Counts {
  int64_t full = 0, partial = 0;
};

// The blocks of a row of the map; of other bytes, `wrong` is not 0.
Counts count_row(const uint8_t* map, int64_t key_blocks, int32_t* wrong) {
  Counts counts;
  constexpr int64_t kPart = 128;  // what a byte counts without overflow
  for (int64_t begin = 0; begin < key_blocks; begin += kPart) {
    const int64_t size = key_blocks - begin < kPart ? key_blocks - begin : kPart;
    uint8_t full = 0, partial = 0, other = 0;
    for (int64_t i = 0; i < size; ++i) {
      const uint8_t seen = map[begin + i];
      full = static_cast<uint8_t>(full + (seen == kFull));
      partial = static_cast<uint8_t>(partial + (seen == kPartial));
      other |= seen > kPartial;
    }
    counts.full += full;
    counts.partial += partial;
    *wrong |= other;
  }
  return counts;
}

__attribute__((cold)) int32_t refuse(const uint8_t* map, int64_t row, int64_t key_blocks) {
  for (int64_t block = 0; block < key_blocks; ++block) {
    if (const int seen = map[row * key_blocks + block]; seen > kPartial) {
      return fail(GATUN_INVALID_ARGUMENT, "map[%lld][%lld] = %d; allowed: 0 (not seen), 1 (full), 2 (partial)",
                  LongLong{row}, LongLong{block}, seen);
    }
  }
  return fail(GATUN_INVALID_ARGUMENT, "map changed during the call, in row %lld", LongLong{row});
}

// A list that is written.
struct Output {
  int64_t* offsets;
  int32_t* blocks;
  int64_t room, used;

  // No further than there is room, should the map change after it was counted.
  void add(int64_t block) {
    if (used < room) blocks[used++] = static_cast<int32_t>(block);
  }
};

int32_t check_room(const Output& list, int64_t needed, const char* name) {
  if (needed <= list.room) return GATUN_OK;
  if (list.blocks == nullptr) return fail(GATUN_INVALID_ARGUMENT, "%s_blocks is null", name);
  return fail(GATUN_INVALID_ARGUMENT, "%s_count = %lld; allowed: at least %lld, the blocks of the map", name,
              LongLong{list.room}, LongLong{needed});
}

void list_row(const uint8_t* map, int64_t key_blocks, Output& full, Output& partial) {
  int64_t block = 0;
  while (block < key_blocks) {
    // Sparse maps are mostly zeros.
    if (uint64_t eight; block + 8 <= key_blocks && (std::memcpy(&eight, map + block, 8), eight == 0)) {
      block += 8;
      continue;
    }
    const uint8_t seen = map[block];
    if (seen == kFull) full.add(block);
    if (seen == kPartial) partial.add(block);
    ++block;
  }
}

}  // namespace

int32_t from_map(int64_t rows, int64_t key_blocks, const uint8_t* map, Output full, Output partial) {
  GATUN_TRY(check_range(rows, 0, INT64_MAX - 1, "rows"));
  GATUN_TRY(check_range(key_blocks, 0, int64_t{1} << 31, "key_blocks"));
  GATUN_TRY(check_range(full.room, 0, INT64_MAX, "full_count"));
  GATUN_TRY(check_range(partial.room, 0, INT64_MAX, "partial_count"));
  const bool only_offsets = full.blocks == nullptr && partial.blocks == nullptr;
  if (full.blocks == nullptr) full.room = 0;
  if (partial.blocks == nullptr) partial.room = 0;
  Buffer buffers[] = {{"full_offsets", full.offsets, 1, rows + 1, 0, 8, true},
                      {"full_blocks", full.blocks, 1, full.room, 0, 4, true},
                      {"partial_offsets", partial.offsets, 1, rows + 1, 0, 8, true},
                      {"partial_blocks", partial.blocks, 1, partial.room, 0, 4, true},
                      {"map", map, rows, key_blocks, key_blocks, 1, false}};
  GATUN_TRY(check_buffers(buffers));
  Counts needed;
  for (int64_t row = 0; row < rows; ++row) {
    int32_t wrong = 0;
    const Counts counts = count_row(map + row * key_blocks, key_blocks, &wrong);
    if (wrong != 0) return refuse(map, row, key_blocks);
    needed.full += counts.full;
    needed.partial += counts.partial;
  }
  if (!only_offsets) {
    GATUN_TRY(check_room(full, needed.full, "full"));
    GATUN_TRY(check_room(partial, needed.partial, "partial"));
  }
  full.offsets[0] = partial.offsets[0] = 0;
  for (int64_t row = 0; row < rows; ++row) {
    if (only_offsets) {
      int32_t wrong = 0;
      const Counts counts = count_row(map + row * key_blocks, key_blocks, &wrong);
      full.used += counts.full;
      partial.used += counts.partial;
    } else {
      list_row(map + row * key_blocks, key_blocks, full, partial);
    }
    full.offsets[row + 1] = full.used;
    partial.offsets[row + 1] = partial.used;
  }
  return GATUN_OK;
}

}  // namespace gatun::block_mask

using namespace gatun;

int32_t gatun_block_mask_check(int64_t rows, int64_t key_blocks, const int64_t* full_offsets,
                               const int32_t* full_blocks, int64_t full_count, const int64_t* partial_offsets,
                               const int32_t* partial_blocks, int64_t partial_count) {
  const block_mask::Lists lists = {full_offsets,    full_blocks,    full_count,
                                   partial_offsets, partial_blocks, partial_count};
  GATUN_TRY(block_mask::check_lists(lists, rows, "rows"));
  GATUN_TRY(check_range(key_blocks, 0, INT64_MAX, "key_blocks"));
  return block_mask::check_rows(lists, 0, rows, key_blocks);
}

int32_t gatun_block_mask_from_map(int64_t rows, int64_t key_blocks, const uint8_t* map, int64_t* full_offsets,
                                  int32_t* full_blocks, int64_t full_count, int64_t* partial_offsets,
                                  int32_t* partial_blocks, int64_t partial_count) {
  return block_mask::from_map(rows, key_blocks, map, {full_offsets, full_blocks, full_count, 0},
                              {partial_offsets, partial_blocks, partial_count, 0});
}
