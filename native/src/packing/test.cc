// Small planes of each packing, worked by hand from the definitions in gatun/packing.h, byte by byte, both ways.
#include <cstring>

#include "packing/test_planes.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

Bytes bytes_of(const std::vector<float>& floats) {
  Bytes bytes(floats.size() * 4);
  if (!bytes.empty()) std::memcpy(bytes.data(), floats.data(), bytes.size());
  return bytes;
}

void expect_both_ways(const gatun_packing_params& p, Packed packed, Plain plain) {
  Plain read_planes = plain_room(p);
  ASSERT_EQ(read_planes.codes.size(), plain.codes.size());
  ASSERT_EQ(read_planes.zero_points.size(), plain.zero_points.size());
  ASSERT_EQ(read(p, packed, read_planes), GATUN_OK) << gatun_last_error();
  EXPECT_TRUE(identical(read_planes.codes, plain.codes));
  EXPECT_TRUE(identical(read_planes.scales, plain.scales));
  EXPECT_TRUE(identical(read_planes.zero_points, plain.zero_points));

  Packed written = packed_room(p);
  ASSERT_EQ(written.codes.size(), packed.codes.size());
  ASSERT_EQ(written.zero_points.size(), packed.zero_points.size());
  ASSERT_EQ(write(p, plain, written), GATUN_OK) << gatun_last_error();
  EXPECT_TRUE(identical(written.codes, packed.codes));
  EXPECT_TRUE(identical(written.scales, packed.scales));
  EXPECT_TRUE(identical(written.zero_points, packed.zero_points));
}

// Column n has the codes n, n + 1, .. n + 7 and the zero point n. So word n, of column n, is n + 7 .. n from its
// highest nibble to its lowest, and in memory its lowest byte is first.
Plain eight_columns() {
  return {{0x10, 0x32, 0x54, 0x76, 0x21, 0x43, 0x65, 0x87, 0x32, 0x54, 0x76, 0x98, 0x43, 0x65, 0x87, 0xa9,
           0x54, 0x76, 0x98, 0xba, 0x65, 0x87, 0xa9, 0xcb, 0x76, 0x98, 0xba, 0xdc, 0x87, 0xa9, 0xcb, 0xed},
          {1, 2, 3, 4, 5, 6, 7, 8},
          {0, 1, 2, 3, 4, 5, 6, 7}};
}

TEST(Packing, GptqOf4Bits) {
  const Plain plain = eight_columns();
  // One row of words: here the same bytes, as a column's codes are one word.
  Packed packed = {plain.codes, plain.scales, {0x10, 0x32, 0x54, 0x76}};
  expect_both_ways(packing_params(GATUN_PACKING_GPTQ_V2, GATUN_U4, GATUN_ZERO_INTEGER, 8, 8, 8), packed, plain);
  // Less one, from column 7 down to 0: 6 5 4 3 2 1 0 -1.
  packed.zero_points = {0x0f, 0x21, 0x43, 0x65};
  expect_both_ways(packing_params(GATUN_PACKING_GPTQ, GATUN_U4, GATUN_ZERO_INTEGER, 8, 8, 8), packed, plain);
}

TEST(Packing, GptqHasRowsOfWordsAndOfScales) {
  // 16 k, 8 columns: word (0, n) is k 7..0 of column n, word (1, n) is k 15..8. Column n has only the code n, so each
  // byte of its words is n n. Scales of one group: [1, 8].
  Plain plain = plain_room(packing_params(GATUN_PACKING_GPTQ, GATUN_U4, GATUN_ZERO_NONE, 8, 16, 16));
  Packed packed = {Bytes(64), {1, 2, 3, 4, 5, 6, 7, 8}, {0x77, 0x77, 0x77, 0x77}};  // 8, less 1
  plain.scales = packed.scales;
  for (size_t n = 0; n < 8; ++n) {
    const uint8_t both = static_cast<uint8_t>(n << 4 | n);
    for (size_t byte = 0; byte < 8; ++byte) plain.codes[n * 8 + byte] = both;
    for (size_t byte = 0; byte < 4; ++byte) packed.codes[n * 4 + byte] = packed.codes[32 + n * 4 + byte] = both;
  }
  expect_both_ways(packing_params(GATUN_PACKING_GPTQ, GATUN_U4, GATUN_ZERO_NONE, 8, 16, 16), packed, plain);
}

TEST(Packing, GptqOf2And8Bits) {
  // 2 bits: a word is 16 k. Column 0: 0 1 2 3 again and again, 0b11100100 = e4; the other 15 columns: only 1, 0x55.
  // Zero points of 16 columns in a word: column 0 has 0, stored as 3, the others 3, stored as 2: 0xaaaaaaab.
  Packed packed = {Bytes(64, 0x55), std::vector<float>(16, 0.5f), {0xab, 0xaa, 0xaa, 0xaa}};
  Plain plain = {Bytes(64, 0x55), std::vector<float>(16, 0.5f), Bytes(16, 3)};
  for (size_t byte = 0; byte < 4; ++byte) packed.codes[byte] = plain.codes[byte] = 0xe4;
  plain.zero_points[0] = 0;
  expect_both_ways(packing_params(GATUN_PACKING_GPTQ, GATUN_U2, GATUN_ZERO_INTEGER, 16, 16, 16), packed, plain);

  // 8 bits: a word is 4 k. k 0..3 of column n: 0 127 128 255, as I8 -128 -1 0 127; zero points 128, less 1.
  packed = {{}, {1, 2, 3, 4}, {0x7f, 0x7f, 0x7f, 0x7f}};
  plain = {{}, {1, 2, 3, 4}, {}};
  for (int n = 0; n < 4; ++n) {
    packed.codes.insert(packed.codes.end(), {0, 127, 128, 255});
    plain.codes.insert(plain.codes.end(), {0x80, 0xff, 0, 127});
  }
  expect_both_ways(packing_params(GATUN_PACKING_GPTQ, GATUN_I8, GATUN_ZERO_NONE, 4, 4, 4), packed, plain);
}

TEST(Packing, Awq) {
  // One k: columns 0..7 have the codes 0..7. From the lowest nibble on: columns 0 2 4 6 1 3 5 7, so 0x75316420. Zero
  // points 8 + n: 0xfdb9eca8.
  Packed packed = {{0x20, 0x64, 0x31, 0x75}, {1, 2, 3, 4, 5, 6, 7, 8}, {0xa8, 0xec, 0xb9, 0xfd}};
  Plain plain = {{0, 1, 2, 3, 4, 5, 6, 7}, packed.scales, {8, 9, 10, 11, 12, 13, 14, 15}};
  expect_both_ways(packing_params(GATUN_PACKING_AWQ, GATUN_U4, GATUN_ZERO_INTEGER, 8, 1, 1), packed, plain);

  // Two k: the words of the second one come after all of the first one. Two words a row: columns 8..15 have 15.
  packed.codes = {0x20, 0x64, 0x31, 0x75, 0xff, 0xff, 0xff, 0xff,   // k 0
                  0x31, 0x75, 0x42, 0x86, 0xff, 0xff, 0xff, 0xff};  // k 1: 1..8
  packed.scales.resize(16, 0.25f);
  packed.zero_points = {0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88, 0x88};
  plain.codes = {0x10, 0x21, 0x32, 0x43, 0x54, 0x65, 0x76, 0x87, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  plain.scales = packed.scales;
  plain.zero_points = {};
  expect_both_ways(packing_params(GATUN_PACKING_AWQ, GATUN_U4, GATUN_ZERO_NONE, 16, 2, 2), packed, plain);
}

TEST(Packing, MatMulNBitsPadsRows) {
  // 18 codes 0..15 0 1 in blocks of 16: two blocks of 8 bytes; the last 14 codes are padding.
  const Bytes block = {0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe};
  Plain plain = {block, {2, 3}, {}};
  plain.codes.push_back(0x10);
  Packed packed = {plain.codes, {2, 3}, {}};
  packed.codes.resize(16, 0x88);
  expect_both_ways(packing_params(GATUN_PACKING_MATMUL_NBITS, GATUN_U4, GATUN_ZERO_NONE, 1, 18, 16), packed, plain);

  // Zero points 3 and 5, the first in the low nibble; padding is 5.
  plain.zero_points = {3, 5};
  packed.zero_points = {0x53};
  std::fill(packed.codes.begin() + 9, packed.codes.end(), uint8_t{0x55});
  expect_both_ways(packing_params(GATUN_PACKING_MATMUL_NBITS, GATUN_U4, GATUN_ZERO_INTEGER, 1, 18, 16), packed, plain);

  // Floats 7.5 and 0: code 0 stands for -15 and for -0. Padding is 0.
  plain.zero_points = bytes_of({-15.0f, -0.0f});
  packed.zero_points = bytes_of({7.5f, 0.0f});
  std::fill(packed.codes.begin() + 9, packed.codes.end(), uint8_t{0});
  expect_both_ways(packing_params(GATUN_PACKING_MATMUL_NBITS, GATUN_U4, GATUN_ZERO_FLOAT, 1, 18, 16), packed, plain);
}

TEST(Packing, MatMulNBitsOf2And8Bits) {
  // 0 1 2 3 1, then the padding 2: 0b11100100, 0b10101001, 0b10101010 twice.
  expect_both_ways(packing_params(GATUN_PACKING_MATMUL_NBITS, GATUN_U2, GATUN_ZERO_NONE, 1, 5, 16),
                   {{0xe4, 0xa9, 0xaa, 0xaa}, {1}, {}}, {{0xe4, 0x01}, {1}, {}});
  // Of two rows, 3 + 3 + 2 zero points in a byte each: 1 2 3 is 0b111001.
  Packed packed = {Bytes(2 * 12, 0), {1, 2, 3, 4, 5, 6}, {0x39, 0x1b}};
  Plain plain = {Bytes(2 * 12, 0), packed.scales, {1, 2, 3, 3, 2, 1}};
  expect_both_ways(packing_params(GATUN_PACKING_MATMUL_NBITS, GATUN_U2, GATUN_ZERO_INTEGER, 2, 48, 16), packed, plain);
  // 8 bits: 0 and 255 are -128 and 127 without zero points.
  packed = {Bytes(16, 128), {1}, {}};
  packed.codes[0] = 0;
  packed.codes[1] = 255;
  expect_both_ways(packing_params(GATUN_PACKING_MATMUL_NBITS, GATUN_I8, GATUN_ZERO_NONE, 1, 3, 16), packed,
                   {{0x80, 0x7f, 0}, {1}, {}});
}

TEST(Packing, BitsAndBytes) {
  // 1 2 3 4 5, the first in the high nibble; the low one of the last byte is unused.
  Packed packed = {{0x12, 0x34, 0x50}, {0.5f}, {}};
  expect_both_ways(packing_params(GATUN_PACKING_BITSANDBYTES, GATUN_U4, GATUN_ZERO_NONE, 1, 5, 5), packed,
                   {{0x21, 0x43, 0x05}, {0.5f}, {}});
}

TEST(Packing, TorchAo) {
  // -8 -1 0 7 as two's complement nibbles 8 f 0 7, the first in the low one; Gatun's codes are 8 more: 0 7 8 15. With
  // scale 2 and zero point 10 they stand for -6 8 10 24, so code 0 for -6.
  Packed packed = {{0xf8, 0x70}, {2}, bytes_of({10})};
  const Plain plain = {{0x70, 0xf8}, {2}, bytes_of({-6})};
  expect_both_ways(packing_params(GATUN_PACKING_TORCHAO, GATUN_U4, GATUN_ZERO_FLOAT, 1, 4, 4), packed, plain);
}

TEST(Packing, Jlama) {
  // A block of 32: element i < 16 has code i, element 16 + i has 15 - i, so byte i is (15 - i) i.
  Packed packed = {{}, {4}, {}};
  Plain plain = {{}, {4}, {}};
  for (int i = 0; i < 16; ++i) packed.codes.push_back(static_cast<uint8_t>((15 - i) << 4 | i));
  for (int i = 0; i < 16; i += 2) plain.codes.push_back(static_cast<uint8_t>((i + 1) << 4 | i));
  for (int i = 0; i < 16; i += 2) plain.codes.push_back(static_cast<uint8_t>((14 - i) << 4 | (15 - i)));
  expect_both_ways(packing_params(GATUN_PACKING_JLAMA, GATUN_U4, GATUN_ZERO_NONE, 1, 32, 32), packed, plain);
  // 8 bits are as Gatun has them.
  packed.codes.assign(32, 0);
  for (size_t i = 0; i < 32; ++i) packed.codes[i] = static_cast<uint8_t>(250 + i);
  plain.codes = packed.codes;
  expect_both_ways(packing_params(GATUN_PACKING_JLAMA, GATUN_I8, GATUN_ZERO_NONE, 1, 32, 32), packed, plain);
}

TEST(Packing, ActOrder) {
  // 32 k, those of even number in group 1, the others in group 0; k has the code k / 2 in all 8 columns. Sorted: 1 3 ..
  // 31 with the codes 0..15, then 0 2 .. 30 with the codes 0..15.
  const gatun_packing_params p = packing_params(GATUN_PACKING_GPTQ_V2, GATUN_U4, GATUN_ZERO_INTEGER, 8, 32, 16);
  Packed packed = packed_room(p);
  Plain expected = plain_room(p);
  std::vector<int32_t> group_index(32), sorted(32);
  for (size_t k = 0; k < 32; ++k) {
    group_index[k] = k % 2 == 0 ? 1 : 0;
    sorted[k % 2 == 0 ? 16 + k / 2 : k / 2] = static_cast<int32_t>(k);
  }
  for (size_t i = 0; i < packed.codes.size(); ++i) {  // of word row i / 32: codes 4 r, 4 r, 4 r + 1, 4 r + 1, ..
    const size_t code = i / 32 * 4 + i % 4;
    packed.codes[i] = static_cast<uint8_t>(code << 4 | code);
  }
  for (size_t i = 0; i < expected.codes.size(); ++i) {
    const size_t code = i % 8 * 2;
    expected.codes[i] = static_cast<uint8_t>((code + 1) << 4 | code);
  }
  for (size_t n = 0; n < 8; ++n) {
    for (size_t g = 0; g < 2; ++g)
      expected.scales[n * 2 + g] = packed.scales[g * 8 + n] = static_cast<float>(10 * n + g);
    expected.zero_points[n * 2] = 3;
    expected.zero_points[n * 2 + 1] = 12;
  }
  packed.zero_points = {0x33, 0x33, 0x33, 0x33, 0xcc, 0xcc, 0xcc, 0xcc};
  Plain plain = plain_room(p);
  std::vector<int32_t> permutation(32, -7);
  ASSERT_EQ(read(p, packed, plain, group_index.data(), permutation.data()), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(permutation, sorted);
  EXPECT_TRUE(identical(plain.codes, expected.codes));
  EXPECT_TRUE(identical(plain.scales, expected.scales));
  EXPECT_TRUE(identical(plain.zero_points, expected.zero_points));

  Packed written = packed_room(p);
  std::vector<int32_t> index(32, -7);
  ASSERT_EQ(write(p, plain, written, permutation.data(), index.data()), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(index, group_index);
  EXPECT_TRUE(identical(written.codes, packed.codes));
  EXPECT_TRUE(identical(written.scales, packed.scales));
  EXPECT_TRUE(identical(written.zero_points, packed.zero_points));
}

}  // namespace
}  // namespace gatun::test
