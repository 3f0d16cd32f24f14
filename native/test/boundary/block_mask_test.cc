// gatun_block_mask_check and gatun_block_mask_from_map: every documented refusal.
#include "gatun/block_mask.h"

#include "boundary.h"

namespace gatun::test {
namespace {

class BlockMaskBoundary : public ::testing::Test {
 protected:
  void refused(std::initializer_list<const char *> words) {
    EXPECT_TRUE(invalid(gatun_block_mask_check(rows, key_blocks, full_offsets_at, full_at, full_count,
                                               partial_offsets_at, partial_at, partial_count),
                        words));
  }
  int64_t rows = 3, key_blocks = 6, full_count = 5, partial_count = 3;
  std::vector<int64_t> full_offsets = {0, 3, 3, 5}, partial_offsets = {0, 1, 3, 3};
  std::vector<int32_t> full = {0, 2, 3, 1, 5}, partial = {4, 0, 5};
  const int64_t *full_offsets_at = full_offsets.data(), *partial_offsets_at = partial_offsets.data();
  const int32_t *full_at = full.data(), *partial_at = partial.data();
};

TEST_F(BlockMaskBoundary, TheGoodListsAreAccepted) {
  EXPECT_EQ(gatun_block_mask_check(rows, key_blocks, full_offsets_at, full_at, full_count, partial_offsets_at,
                                   partial_at, partial_count),
            GATUN_OK)
      << gatun_last_error();
  const int64_t none[] = {0, 0};
  EXPECT_EQ(gatun_block_mask_check(1, 0, none, nullptr, 0, none, nullptr, 0), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(gatun_block_mask_check(0, 0, none, nullptr, 0, none, nullptr, 0), GATUN_OK) << gatun_last_error();
}

TEST_F(BlockMaskBoundary, Numbers) {
  for (const int64_t number : {int64_t{-1}, kMin}) {
    const std::string words = std::to_string(number);
    rows = number;
    refused({"rows", words.c_str()});
    rows = 3;
    key_blocks = number;
    refused({"key_blocks", words.c_str()});
    key_blocks = 6;
    full_count = number;
    refused({"full_count", words.c_str()});
    full_count = 5;
    partial_count = number;
    refused({"partial_count", words.c_str()});
    partial_count = 3;
  }
  rows = kMax;
  refused({"rows"});
  rows = kMax - 1;
  refused({"full_offsets", "exceed"});
}

TEST_F(BlockMaskBoundary, NullsAndAlignment) {
  full_offsets_at = nullptr;
  refused({"full_offsets is null"});
  full_offsets_at = reinterpret_cast<const int64_t *>(reinterpret_cast<const char *>(full_offsets.data()) + 4);
  refused({"full_offsets is at address", "8"});
  full_offsets_at = full_offsets.data();
  partial_offsets_at = nullptr;
  refused({"partial_offsets is null"});
  partial_offsets_at = partial_offsets.data();
  full_at = nullptr;
  refused({"full_blocks is null"});
  full_at = reinterpret_cast<const int32_t *>(reinterpret_cast<const char *>(full.data()) + 2);
  refused({"full_blocks is at address", "4"});
  full_at = full.data();
  partial_at = nullptr;
  refused({"partial_blocks is null"});
}

TEST_F(BlockMaskBoundary, Offsets) {
  for (const int64_t first : {int64_t{1}, int64_t{-1}, kMin, kMax}) {
    full_offsets[0] = first;
    refused({"full_offsets[0]", std::to_string(first).c_str()});
    full_offsets[0] = 0;
    partial_offsets[0] = first;
    refused({"partial_offsets[0]", std::to_string(first).c_str()});
    partial_offsets[0] = 0;
  }
  for (const int64_t wrong : {int64_t{2}, int64_t{-1}, kMin, int64_t{6}, kMax}) {
    full_offsets[2] = wrong;
    refused({"full_offsets[2]", std::to_string(wrong).c_str(), "full_count = 5"});
  }
  full_offsets[2] = 3;
  partial_offsets[3] = 4;
  refused({"partial_offsets[3] = 4", "partial_count = 3"});
}

TEST_F(BlockMaskBoundary, Blocks) {
  for (const int32_t wrong : {-1, 6, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()}) {
    full[4] = wrong;
    refused({"full_blocks[4]", std::to_string(wrong).c_str(), "row 2", "0..5"});
    full[4] = 5;
    partial[0] = wrong;
    refused({"partial_blocks[0]", std::to_string(wrong).c_str(), "row 0", "0..5"});
    partial[0] = 4;
  }
  for (const int32_t wrong : {2, 1, 0}) {
    full[2] = wrong;
    refused({"full_blocks[2]", "after 2", "row 0", "ascending"});
  }
  full[2] = 4;
  refused({"[2] = 4", "row 0", "in one list"});
}

class BlockMaskFromMapBoundary : public ::testing::Test {
 protected:
  int32_t call() {
    return gatun_block_mask_from_map(rows, key_blocks, map_at, full_offsets_at, full_at, full_count, partial_offsets_at,
                                     partial_at, partial_count);
  }
  void refused(std::initializer_list<const char *> words) {
    const auto before = full_offsets;
    EXPECT_TRUE(invalid(call(), words));
    EXPECT_EQ(full_offsets, before);
    EXPECT_EQ(partial_offsets, before);
    EXPECT_EQ(full, std::vector<int32_t>(3, -7));
    EXPECT_EQ(partial, std::vector<int32_t>(2, -7));
  }
  int64_t rows = 2, key_blocks = 4, full_count = 3, partial_count = 2;
  std::vector<uint8_t> map = {1, 0, 2, 1, 0, 0, 2, 1};
  std::vector<int64_t> full_offsets = {-7, -7, -7}, partial_offsets = {-7, -7, -7};
  std::vector<int32_t> full = std::vector<int32_t>(3, -7), partial = std::vector<int32_t>(2, -7);
  const uint8_t *map_at = map.data();
  int64_t *full_offsets_at = full_offsets.data(), *partial_offsets_at = partial_offsets.data();
  int32_t *full_at = full.data(), *partial_at = partial.data();
};

TEST_F(BlockMaskFromMapBoundary, TheGoodMapIsAccepted) {
  ASSERT_EQ(call(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(full, (std::vector<int32_t>{0, 3, 3}));
  EXPECT_EQ(partial, (std::vector<int32_t>{2, 2}));
}

TEST_F(BlockMaskFromMapBoundary, Numbers) {
  for (const int64_t number : {int64_t{-1}, kMin, kMax}) {
    const std::string words = std::to_string(number);
    rows = number;
    refused({"rows", words.c_str()});
    rows = 2;
    key_blocks = number;
    refused({"key_blocks", words.c_str()});
    key_blocks = 4;
    if (number == kMax) continue;
    full_count = number;
    refused({"full_count", words.c_str()});
    full_count = 3;
    partial_count = number;
    refused({"partial_count", words.c_str()});
    partial_count = 2;
  }
  rows = int64_t{1} << 58;
  refused({"exceed"});
}

TEST_F(BlockMaskFromMapBoundary, NullsAndOverlaps) {
  map_at = nullptr;
  refused({"map is null"});
  map_at = map.data();
  full_offsets_at = nullptr;
  refused({"full_offsets is null"});
  full_offsets_at = full_offsets.data();
  partial_offsets_at = nullptr;
  refused({"partial_offsets is null"});
  partial_offsets_at = full_offsets.data();
  refused({"overlaps", "full_offsets"});
  partial_offsets_at = partial_offsets.data();
  partial_at = nullptr;
  refused({"partial_blocks is null"});
  partial_at = full.data();
  refused({"overlaps", "full_blocks"});
  partial_at = partial.data();
  map_at = reinterpret_cast<const uint8_t *>(full.data());
  refused({"overlaps", "map"});
}

TEST_F(BlockMaskFromMapBoundary, BytesAndRoom) {
  for (const uint8_t byte : {uint8_t{3}, uint8_t{255}}) {
    map[6] = byte;
    refused({"map[1][2]", std::to_string(byte).c_str(), "0 (not seen)"});
  }
  map[6] = 2;
  full_count = 2;
  refused({"full_count = 2", "at least 3"});
  full_count = 3;
  partial_count = 0;
  refused({"partial_count = 0", "at least 2"});
}

}  // namespace
}  // namespace gatun::test
