// The metadata of sm80: words by hand, the formulas of reference.cc, and back.
#include <cstring>

#include "nm_format/test_format.h"

namespace gatun::nm_format {
namespace {

constexpr uint32_t kPairs[] = {0x4, 0x8, 0x9, 0xc, 0xd, 0xe};

// Metadata words that tell the numbers 0..6^nibbles - 1 apart.
uint32_t word_of(int number, int nibbles) {
  uint32_t word = 0;
  for (int i = 0; i < nibbles; ++i, number /= 6) word |= kPairs[number % 6] << 4 * i;
  return word;
}

template <class Word>
std::vector<Word> to_sm80(const gatun_nm_format& f, const std::vector<Word>& rows) {
  int64_t bytes = -1;
  EXPECT_EQ(gatun_nm_sm80_bytes(&f, &bytes), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(bytes, static_cast<int64_t>(rows.size() * sizeof(Word)));
  std::vector<Word> metadata(rows.size());
  EXPECT_EQ(gatun_nm_to_sm80(&f, reinterpret_cast<const uint8_t*>(rows.data()), metadata.data()), GATUN_OK)
      << gatun_last_error();
  return metadata;
}

// 32 rows of two words of 16 bits. Row 8 i + j becomes row 4 j + i; of each 2 x 2 the words off the diagonal change
// places; then the two words of a row follow each other: so the order begins with words 0 of rows 0 and 8, words 1 of
// rows 0 and 8, and the same of rows 16 and 24.
TEST(NmFormatSm80, WordsOf16BitsByHand) {
  const gatun_nm_format f = make_format(2, 4, 32, 32, GATUN_BF16);
  std::vector<uint16_t> rows, expected;
  for (int row = 0; row < 32; ++row) {
    for (int word = 0; word < 2; ++word) rows.push_back(static_cast<uint16_t>(word_of(row * 2 + word, 4)));
  }
  for (int j = 0; j < 8; ++j) {
    for (const int source : {j, j + 16}) {
      for (int word = 0; word < 2; ++word) {
        expected.push_back(rows[static_cast<size_t>(source * 2 + word)]);
        expected.push_back(rows[static_cast<size_t>((source + 8) * 2 + word)]);
      }
    }
  }
  EXPECT_TRUE(test::identical(to_sm80(f, rows), expected));
  std::vector<uint16_t> plain(64, 0x4444), golden(64, 0x4444);
  plain[1] = 0xeeee;       // row 0, word 1
  plain[8 * 2] = 0x9c8d;   // row 8, word 0
  plain[31 * 2] = 0xd9e8;  // row 31, word 0: row 31 stays, its word 0 goes up and right
  golden[2] = 0xeeee;
  golden[1] = 0x9c8d;
  golden[61] = 0xd9e8;
  EXPECT_TRUE(test::identical(to_sm80(f, plain), golden));
}

// Four words: the pair of words 2 and 3 lies behind all rows of the pair before.
TEST(NmFormatSm80, PairsOfColumns) {
  const gatun_nm_format f = make_format(2, 4, 64, 64, GATUN_F16);
  std::vector<uint16_t> rows(256, 0x4444), golden(256, 0x4444);
  rows[33 * 4 + 2] = 0x8888;  // row 33 becomes row 36; word 2 is word 0 of the second pair
  rows[33 * 4 + 3] = 0xdddd;  // word 1 of an even row goes down and left
  golden[128 + 36 * 2] = 0x8888;
  golden[128 + 37 * 2] = 0xdddd;
  EXPECT_TRUE(test::identical(to_sm80(f, rows), golden));
}

// 16 rows of two words of 32 bits: words 0 of rows 0 and 8, words 1 of rows 0 and 8, and so on.
TEST(NmFormatSm80, WordsOf32BitsByHand) {
  const gatun_nm_format f = make_format(2, 4, 16, 64, GATUN_I8);
  std::vector<uint32_t> rows, expected;
  for (int row = 0; row < 16; ++row) {
    for (int word = 0; word < 2; ++word) rows.push_back(word_of(1234 * row + 77 * word, 8));
  }
  for (size_t j = 0; j < 8; ++j) {
    for (const size_t word : {0, 1}) {
      expected.push_back(rows[j * 2 + word]);
      expected.push_back(rows[(j + 8) * 2 + word]);
    }
  }
  EXPECT_TRUE(test::identical(to_sm80(f, rows), expected));
}

// 1:2 of f32: index 0 as 0x4, index 1 as 0xE, four to a word.
TEST(NmFormatSm80, FloatsByHand) {
  const gatun_nm_format f = make_format(1, 2, 32, 16, GATUN_F32);
  Bytes indices(64);          // two bytes a row, a word each
  indices[0] = 0x41;          // 1 0 0 1
  indices[8 * 2 + 1] = 0x14;  // 0 1 1 0
  std::vector<uint16_t> metadata(64), golden(64, 0x4444);
  golden[0] = 0xe44e;
  golden[3] = 0x4ee4;
  int64_t bytes;
  ASSERT_EQ(gatun_nm_sm80_bytes(&f, &bytes), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(bytes, 128);
  ASSERT_EQ(gatun_nm_to_sm80(&f, indices.data(), metadata.data()), GATUN_OK) << gatun_last_error();
  EXPECT_TRUE(test::identical(metadata, golden));
}

TEST(NmFormatSm80, EveryShapeAndBack) {
  Rng rng(1);
  for (const int32_t dtype : {GATUN_F32, GATUN_F16, GATUN_BF16, GATUN_I8}) {
    const int32_t m = dtype == GATUN_F32 ? 2 : 4;
    for (const int64_t columns : {0, 32, 64, 96, 160}) {
      for (const int64_t depth : {0, 64, 128, 192, 640}) {
        const gatun_nm_format f = make_format(m / 2, m, columns, depth, dtype);
        SCOPED_TRACE(describe(f));
        const Bytes weights = random_weights(rng, f), mask = random_mask(rng, f);
        const Bytes indices = reference_compress(f, weights.data(), mask.data(), nullptr).indices;
        int64_t bytes;
        ASSERT_EQ(gatun_nm_sm80_bytes(&f, &bytes), GATUN_OK) << gatun_last_error();
        GuardBuffer<uint8_t> metadata(bytes), back(static_cast<int64_t>(indices.size()));
        ASSERT_EQ(gatun_nm_to_sm80(&f, indices.data(), metadata.data()), GATUN_OK) << gatun_last_error();
        ASSERT_TRUE(test::identical(metadata.copy(), reference_sm80(f, indices.data())));
        metadata.make_read_only();
        ASSERT_EQ(gatun_nm_from_sm80(&f, metadata.data(), back.data()), GATUN_OK) << gatun_last_error();
        ASSERT_TRUE(test::identical(back.copy(), indices));
      }
    }
  }
}

// Every nibble that is no pair of ascending indices is refused, with its place.
TEST(NmFormatSm80, NibblesThatAreNone) {
  for (const int32_t dtype : {GATUN_F32, GATUN_F16, GATUN_I8}) {
    const int32_t m = dtype == GATUN_F32 ? 2 : 4;
    const gatun_nm_format f = make_format(m / 2, m, 32, 64, dtype);
    int64_t bytes;
    ASSERT_EQ(gatun_nm_sm80_bytes(&f, &bytes), GATUN_OK);
    Bytes metadata(static_cast<size_t>(bytes), 0x44), indices(static_cast<size_t>(Sizes(f).indices), 0xab);
    for (int nibble = 0; nibble < 16; ++nibble) {
      bool good = false;
      for (const uint32_t pair : kPairs) good = good || pair == static_cast<uint32_t>(nibble);
      if (dtype == GATUN_F32) good = nibble == 0x4 || nibble == 0xe;
      std::fill(indices.begin(), indices.end(), 0xab);
      metadata[0] = static_cast<uint8_t>(0x40 | nibble);  // row 0, group 0
      ASSERT_EQ(gatun_nm_from_sm80(&f, metadata.data(), indices.data()), good ? GATUN_OK : GATUN_INVALID_ARGUMENT)
          << nibble;
      if (good) continue;
      EXPECT_NE(std::string(gatun_last_error()).find("row 0, group 0"), std::string::npos) << gatun_last_error();
      EXPECT_EQ(indices, Bytes(indices.size(), 0xab));
    }
  }
}

}  // namespace
}  // namespace gatun::nm_format
