// Block masks of tests.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "rng.h"

namespace gatun::attention {

enum class MaskKind {
  none,
  all,     // every block is full
  full,    // random full blocks
  bits,    // random partial blocks, with bits
  edges,   // random full and partial blocks, without bits
  mixed,   // random full and partial blocks, with bits
  nothing  // no block is listed
};
inline constexpr MaskKind kMaskKinds[] = {MaskKind::none,  MaskKind::all,   MaskKind::full,   MaskKind::bits,
                                          MaskKind::edges, MaskKind::mixed, MaskKind::nothing};

inline std::string mask_name(MaskKind kind) {
  constexpr const char* kNames[] = {"no mask", "all blocks", "full", "bits", "edges", "mixed", "no block"};
  return kNames[static_cast<int>(kind)];
}

struct TestMask {
  std::vector<int64_t> full_offsets, partial_offsets;
  std::vector<int32_t> full_blocks, partial_blocks;
  std::vector<uint8_t> bits;

  int64_t full_count() const { return static_cast<int64_t>(full_blocks.size()); }
  int64_t partial_count() const { return static_cast<int64_t>(partial_blocks.size()); }

  // Appends a row with these blocks of keys, 0 not seen, 1 full, 2 partial.
  void add_row(const std::vector<uint8_t>& map) {
    if (full_offsets.empty()) full_offsets = partial_offsets = {0};
    for (size_t block = 0; block < map.size(); ++block) {
      if (map[block] == 1) full_blocks.push_back(static_cast<int32_t>(block));
      if (map[block] == 2) partial_blocks.push_back(static_cast<int32_t>(block));
    }
    full_offsets.push_back(full_count());
    partial_offsets.push_back(partial_count());
  }
};

// A row of a map: among its blocks of keys are runs, holes, and now and then none at all.
inline std::vector<uint8_t> random_map_row(test::Rng& rng, MaskKind kind, int64_t key_blocks) {
  std::vector<uint8_t> map(static_cast<size_t>(key_blocks));
  const int64_t dense = rng.integer(0, 4);  // 0: an empty row
  for (uint8_t& seen : map) {
    const bool listed = rng.integer(1, 4) <= dense;
    switch (kind) {
      case MaskKind::all:
        seen = 1;
        break;
      case MaskKind::full:
        seen = listed;
        break;
      case MaskKind::bits:
        seen = listed ? 2 : 0;
        break;
      case MaskKind::edges:
      case MaskKind::mixed:
        seen = listed ? static_cast<uint8_t>(rng.integer(1, 2)) : 0;
        break;
      default:
        seen = 0;
    }
  }
  return map;
}

// Bits of partial blocks: most are random, some blocks and rows are of all ones or all zeros.
inline std::vector<uint8_t> random_bits(test::Rng& rng, int64_t blocks, int64_t query_block, int64_t key_block) {
  std::vector<uint8_t> bits(static_cast<size_t>(blocks * query_block * key_block / 8));
  const size_t row_bytes = static_cast<size_t>(key_block / 8);
  for (size_t at = 0; at < bits.size(); at += row_bytes) {
    const int64_t kind = rng.integer(0, 7);
    for (size_t i = at; i < at + row_bytes; ++i) {
      bits[i] = kind == 0 ? 0 : kind == 1 ? 0xff : static_cast<uint8_t>(rng.next());
    }
  }
  return bits;
}

}  // namespace gatun::attention
