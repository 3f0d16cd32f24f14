// The check of lists, and lists from maps, on random masks and against the definition.
#include <gtest/gtest.h>

#include <set>

#include "gatun/block_mask.h"
#include "gatun/gatun.h"
#include "guard_buffer.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::block_mask {
namespace {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

struct Lists {
  std::vector<int64_t> full_offsets{0}, partial_offsets{0};
  std::vector<int32_t> full, partial;

  int32_t check(int64_t key_blocks) const {
    return gatun_block_mask_check(static_cast<int64_t>(full_offsets.size()) - 1, key_blocks, full_offsets.data(),
                                  full.data(), static_cast<int64_t>(full.size()), partial_offsets.data(),
                                  partial.data(), static_cast<int64_t>(partial.size()));
  }
};

std::vector<uint8_t> random_map(Rng& rng, int64_t rows, int64_t key_blocks) {
  std::vector<uint8_t> map(static_cast<size_t>(rows * key_blocks));
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t percent = rng.integer(0, 4) * 25, partial = rng.integer(0, 4) * 25;
    for (int64_t block = 0; block < key_blocks; ++block) {
      if (rng.integer(0, 99) >= percent) continue;
      map[static_cast<size_t>(row * key_blocks + block)] = rng.integer(0, 99) < partial ? 2 : 1;
    }
  }
  return map;
}

Lists lists_of(const std::vector<uint8_t>& map, int64_t rows, int64_t key_blocks) {
  Lists lists;
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t block = 0; block < key_blocks; ++block) {
      const uint8_t seen = map[static_cast<size_t>(row * key_blocks + block)];
      if (seen != 0) (seen == 1 ? lists.full : lists.partial).push_back(static_cast<int32_t>(block));
    }
    lists.full_offsets.push_back(static_cast<int64_t>(lists.full.size()));
    lists.partial_offsets.push_back(static_cast<int64_t>(lists.partial.size()));
  }
  return lists;
}

TEST(BlockMask, ListsOfMaps) {
  Rng rng(1);
  for (const int64_t rows : {0, 1, 3, 40}) {
    for (const int64_t key_blocks : {0, 1, 7, 8, 9, 63, 127, 128, 129, 300}) {
      for (const Edge edge : test::kEdges) {
        const std::vector<uint8_t> map = random_map(rng, rows, key_blocks);
        const Lists expected = lists_of(map, rows, key_blocks);
        GuardBuffer<uint8_t> input(map, edge);
        input.make_read_only();
        GuardBuffer<int64_t> full_offsets(rows + 1, edge), partial_offsets(rows + 1, edge);
        ASSERT_EQ(gatun_block_mask_from_map(rows, key_blocks, input.data(), full_offsets.data(), nullptr, 0,
                                            partial_offsets.data(), nullptr, 0),
                  GATUN_OK)
            << gatun_last_error();
        EXPECT_EQ(full_offsets.copy(), expected.full_offsets);
        EXPECT_EQ(partial_offsets.copy(), expected.partial_offsets);
        GuardBuffer<int32_t> full(full_offsets[rows], edge), partial(partial_offsets[rows], edge);
        ASSERT_EQ(gatun_block_mask_from_map(rows, key_blocks, input.data(), full_offsets.data(), full.data(),
                                            full.size(), partial_offsets.data(), partial.data(), partial.size()),
                  GATUN_OK)
            << gatun_last_error();
        EXPECT_EQ(full_offsets.copy(), expected.full_offsets);
        EXPECT_EQ(partial_offsets.copy(), expected.partial_offsets);
        EXPECT_EQ(full.copy(), expected.full);
        EXPECT_EQ(partial.copy(), expected.partial);
        EXPECT_EQ(gatun_block_mask_check(rows, key_blocks, full_offsets.data(), full.data(), full.size(),
                                         partial_offsets.data(), partial.data(), partial.size()),
                  GATUN_OK)
            << gatun_last_error();
      }
    }
  }
}

// Good by the definition, with sets instead of lists.
bool good(const Lists& lists, int64_t key_blocks) {
  for (size_t row = 0; row + 1 < lists.full_offsets.size(); ++row) {
    std::set<int32_t> seen;
    for (const bool full : {true, false}) {
      const std::vector<int64_t>& offsets = full ? lists.full_offsets : lists.partial_offsets;
      const std::vector<int32_t>& blocks = full ? lists.full : lists.partial;
      for (int64_t i = offsets[row]; i < offsets[row + 1]; ++i) {
        const int32_t block = blocks[static_cast<size_t>(i)];
        if (block < 0 || block >= key_blocks || !seen.insert(block).second) return false;
        if (i > offsets[row] && block < blocks[static_cast<size_t>(i) - 1]) return false;
      }
    }
  }
  return true;
}

// Lists in which one block is another: refused exactly if they are not good any longer.
TEST(BlockMask, ChecksWhatOneBlockSpoils) {
  Rng rng(2);
  int refused = 0;
  for (int i = 0; i < 20000; ++i) {
    const int64_t rows = rng.integer(1, 4), key_blocks = rng.integer(1, 40);
    Lists lists = lists_of(random_map(rng, rows, key_blocks), rows, key_blocks);
    std::vector<int32_t>& blocks = rng.next() & 1 ? lists.full : lists.partial;
    if (blocks.empty()) continue;
    int32_t& block = blocks[static_cast<size_t>(rng.integer(0, static_cast<int64_t>(blocks.size()) - 1))];
    block = static_cast<int32_t>(rng.integer(0, 9) == 0 ? static_cast<int64_t>(static_cast<int32_t>(rng.next()))
                                                        : rng.integer(-1, key_blocks));
    const bool expected = good(lists, key_blocks);
    refused += !expected;
    ASSERT_EQ(lists.check(key_blocks), expected ? GATUN_OK : GATUN_INVALID_ARGUMENT) << gatun_last_error();
  }
  EXPECT_GT(refused, 5000);
}

// A long list beside a short one, as at the diagonal: their common block is found wherever it is.
TEST(BlockMask, CommonBlockOfALongAndAShortList) {
  for (const bool full_is_long : {true, false}) {
    for (int32_t common = 0; common < 100; ++common) {
      Lists lists;
      std::vector<int32_t>& many = full_is_long ? lists.full : lists.partial;
      std::vector<int32_t>& few = full_is_long ? lists.partial : lists.full;
      for (int32_t block = 0; block < 100; ++block) {
        if (block != 50) many.push_back(block);
      }
      few.push_back(common);
      lists.full_offsets.push_back(static_cast<int64_t>(lists.full.size()));
      lists.partial_offsets.push_back(static_cast<int64_t>(lists.partial.size()));
      EXPECT_EQ(lists.check(100), common == 50 ? GATUN_OK : GATUN_INVALID_ARGUMENT) << common;
    }
  }
}

}  // namespace
}  // namespace gatun::block_mask
