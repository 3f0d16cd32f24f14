// One block and more of every type, byte by byte, worked out by hand from the layouts: what reads as what, and what is
// made of what. Values are exact, so == is meant.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "gatun/gatun.h"
#include "gatun/gguf.h"
#include "gguf/block.h"
#include "tolerance.h"

namespace gatun::gguf {
namespace {

using Bytes = std::vector<uint8_t>;

// Pieces one after the other.
Bytes join(std::initializer_list<Bytes> pieces) {
  Bytes all;
  for (const Bytes& piece : pieces) all.insert(all.end(), piece.begin(), piece.end());
  return all;
}
Bytes times(int count, uint8_t byte) { return Bytes(static_cast<size_t>(count), byte); }
// Zeros but for some bytes.
Bytes sparse(int count, const std::map<int, uint8_t>& bytes) {
  Bytes all = times(count, 0);
  for (const auto& [at, byte] : bytes) all.at(static_cast<size_t>(at)) = byte;
  return all;
}

// Values of [first, last] that are `rest` but for some.
struct Span {
  int first, last;
  float rest;
  std::map<int, float> others;
};
std::vector<float> values(const std::vector<Span>& spans) {
  std::vector<float> all;
  for (const Span& span : spans) {
    EXPECT_EQ(static_cast<size_t>(span.first), all.size());
    all.resize(static_cast<size_t>(span.last + 1), span.rest);
    for (const auto& [at, value] : span.others) all.at(static_cast<size_t>(at)) = value;
  }
  return all;
}
template <class Of>
std::vector<float> each(int count, Of of) {
  std::vector<float> all;
  for (int i = 0; i < count; ++i) all.push_back(static_cast<float>(of(i)));
  return all;
}

void reads(int32_t type, const Bytes& block, const std::vector<float>& expected) {
  const int64_t count = static_cast<int64_t>(expected.size());
  ASSERT_EQ(find_type(type)->bytes, static_cast<int>(block.size()));
  ASSERT_EQ(find_type(type)->elements, count);
  std::vector<float> x(expected.size(), -77);
  ASSERT_EQ(gatun_gguf_dequantize(type, GATUN_F32, 1, count, count, 1, block.data(), x.data()), GATUN_OK);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(x[i], expected[i]) << find_type(type)->name << ", element " << i;
}

void makes(int32_t type, const std::vector<float>& x, const Bytes& expected) {
  const int64_t count = static_cast<int64_t>(x.size());
  Bytes block(expected.size(), 0xab);
  ASSERT_EQ(gatun_gguf_quantize(type, GATUN_F32, 1, count, count, 1, x.data(), block.data()), GATUN_OK);
  EXPECT_TRUE(test::identical(block, expected)) << find_type(type)->name;
}

TEST(GgufGolden, Q40) {
  // extreme -8, d = -8 / -8 = 1 (0x3c00), q = trunc(x + 8.5) up to 15: 0 15 8 9 8 15, then 8; 9 7 10 0, then 8
  const std::vector<float> x = values({{0, 15, 0, {{0, -8}, {1, 7}, {3, 0.5f}, {4, -0.5f}, {5, 8}}},
                                       {16, 31, 0, {{16, 1}, {17, -1}, {18, 2.25f}, {19, -7.75f}}}});
  const Bytes block = join({{0x00, 0x3c, 0x90, 0x7f, 0xa8, 0x09, 0x88, 0x8f}, times(10, 0x88)});
  makes(GATUN_GGUF_Q4_0, x, block);
  reads(GATUN_GGUF_Q4_0, block,
        values({{0, 15, 0, {{0, -8}, {1, 7}, {3, 1}, {5, 7}}}, {16, 31, 0, {{16, 1}, {17, -1}, {18, 2}, {19, -8}}}}));
  // Of 4 and -4 the first counts: d = 4 / -8 = -0.5 (0xb800), q = trunc(x * -2 + 8.5): 0 15, then 8
  makes(GATUN_GGUF_Q4_0, values({{0, 31, 0, {{0, 4}, {1, -4}}}}), join({{0x00, 0xb8, 0x80, 0x8f}, times(14, 0x88)}));
  // Nothing: d = 0 / -8 = -0 (0x8000)
  makes(GATUN_GGUF_Q4_0, values({{0, 31, 0, {{3, -0.0f}}}}), join({{0x00, 0x80}, times(16, 0x88)}));
  makes(GATUN_GGUF_Q4_0, values({{0, 31, 0, {{0, -0.0f}}}}), join({{0x00, 0x80}, times(16, 0x88)}));
}

TEST(GgufGolden, Q41) {
  // -1..6.5: d = 7.5 / 15 = 0.5 (0x3800), m = -1 (0xbc00), q = trunc((x + 1) * 2 + 0.5): 0 15 2 3, then 4; 6 14 0, then
  // 4
  const std::vector<float> x =
      values({{0, 15, 1, {{0, -1}, {1, 6.5f}, {2, 0}, {3, 0.25f}}}, {16, 31, 1, {{16, 2}, {17, 6}, {18, -0.8f}}}});
  const Bytes block = join({{0x00, 0x38, 0x00, 0xbc, 0x60, 0xef, 0x02, 0x43}, times(12, 0x44)});
  makes(GATUN_GGUF_Q4_1, x, block);
  reads(GATUN_GGUF_Q4_1, block,
        values({{0, 15, 1, {{0, -1}, {1, 6.5f}, {2, 0}, {3, 0.5f}}}, {16, 31, 1, {{16, 2}, {17, 6}, {18, -1}}}}));
  // A constant: d = 0, m = 3 (0x4200). Zeros: the sign of m is the first one's.
  makes(GATUN_GGUF_Q4_1, values({{0, 31, 3, {}}}), join({{0x00, 0x00, 0x00, 0x42}, times(16, 0)}));
  makes(GATUN_GGUF_Q4_1, values({{0, 31, 0, {{0, -0.0f}}}}), join({{0x00, 0x00, 0x00, 0x80}, times(16, 0)}));
  makes(GATUN_GGUF_Q4_1, values({{0, 31, -0.0f, {{0, 0.0f}}}}), times(20, 0));
  makes(GATUN_GGUF_Q4_1, values({{0, 31, 15, {{7, -0.0f}, {8, 0.0f}}}}),
        join({{0x00, 0x3c, 0x00, 0x80}, times(7, 0xff), {0xf0, 0xf0}, times(7, 0xff)}));
}

TEST(GgufGolden, Q50) {
  // extreme 16, d = 16 / -16 = -1 (0xbc00), q = trunc(16.5 - x) up to 31: 0 31 16 15 31, then 16; 20 8, then 16.
  // Fifth bits 0 1 1 0 1 1 1 1 | 1 .. | 1 0 1 .. | 1 ..
  const std::vector<float> x =
      values({{0, 15, 0, {{0, 16}, {1, -15}, {3, 1}, {4, -16}}}, {16, 31, 0, {{16, -4}, {17, 8}}}});
  const Bytes block = join({{0x00, 0xbc, 0xf6, 0xff, 0xfd, 0xff, 0x40, 0x8f, 0x00, 0x0f, 0x0f}, times(11, 0)});
  makes(GATUN_GGUF_Q5_0, x, block);
  reads(GATUN_GGUF_Q5_0, block,
        values({{0, 15, 0, {{0, 16}, {1, -15}, {3, 1}, {4, -15}}}, {16, 31, 0, {{16, -4}, {17, 8}}}}));
  makes(GATUN_GGUF_Q5_0, values({{0, 31, 0, {}}}), join({{0x00, 0x80}, times(4, 0xff), times(16, 0)}));
}

TEST(GgufGolden, Q51) {
  // 0..31: d = 1, m = 0, q = trunc(x + 0.5): 0 31 17 15, then 1; 20 10, then 2. Fifth bits of elements 1, 2 and 16.
  const std::vector<float> x =
      values({{0, 15, 1, {{0, 0}, {1, 31}, {2, 16.5f}, {3, 15.25f}}}, {16, 31, 2, {{16, 20}, {17, 9.5f}}}});
  const Bytes block = join({{0x00, 0x3c, 0x00, 0x00, 0x06, 0x00, 0x01, 0x00, 0x40, 0xaf, 0x21, 0x2f}, times(12, 0x21)});
  makes(GATUN_GGUF_Q5_1, x, block);
  reads(GATUN_GGUF_Q5_1, block,
        values({{0, 15, 1, {{0, 0}, {1, 31}, {2, 17}, {3, 15}}}, {16, 31, 2, {{16, 20}, {17, 10}}}}));
}

TEST(GgufGolden, Q80) {
  // 63.5: d = 63.5 / 127 = 0.5, q = 2 x to nearest, halves away from zero
  const std::vector<float> x =
      values({{0, 31, 0, {{0, 63.5f}, {1, -63.5f}, {2, 0.25f}, {3, -0.25f}, {4, 0.75f}, {5, 1.25f}, {31, -1.25f}}}});
  const Bytes block = join({{0x00, 0x38, 0x7f, 0x81, 0x01, 0xff, 0x02, 0x03}, times(25, 0), {0xfd}});
  makes(GATUN_GGUF_Q8_0, x, block);
  reads(GATUN_GGUF_Q8_0, block,
        values({{0, 31, 0, {{0, 63.5f}, {1, -63.5f}, {2, 0.5f}, {3, -0.5f}, {4, 1}, {5, 1.5f}, {31, -1.5f}}}}));
  // The f32 below 1/2 is no half: d = 127 / 127 = 1.
  makes(GATUN_GGUF_Q8_0, values({{0, 31, 0x1.fffffep-2f, {{0, 127}, {1, 0.5f}}}}),
        join({{0x00, 0x3c, 0x7f, 0x01}, times(30, 0)}));
  makes(GATUN_GGUF_Q8_0, values({{0, 31, -0.0f, {}}}), times(34, 0));
}

TEST(GgufGolden, Mxfp4) {
  // 6: e = 2 - 2 + 127, values 0 .5 1 1.5 2 3 4 6 and negative ones; halfway the first of them: towards 0, and as 0
  const std::vector<float> x = values({{0,
                                        15,
                                        0,
                                        {{0, 6},
                                         {1, -6},
                                         {2, 0.25f},
                                         {3, -0.25f},
                                         {4, 0.26f},
                                         {5, -0.26f},
                                         {6, 5},
                                         {7, 5.1f},
                                         {8, -5},
                                         {9, 2.5f},
                                         {10, -3.5f}}},
                                       {16, 31, 0, {{16, 1}, {17, 1.5f}, {18, -2}}}});
  const Bytes block = join({{0x7f, 0x27, 0x3f, 0xc0, 0x00, 0x01, 0x09, 0x06, 0x07, 0x0e, 0x04, 0x0d}, times(5, 0)});
  makes(GATUN_GGUF_MXFP4, x, block);
  reads(GATUN_GGUF_MXFP4, block,
        values({{0, 15, 0, {{0, 6}, {1, -6}, {4, 0.5f}, {5, -0.5f}, {6, 4}, {7, 6}, {8, -4}, {9, 2}, {10, -3}}},
                {16, 31, 0, {{16, 1}, {17, 1.5f}, {18, -2}}}}));
  // The logarithm is exact: below 8 it is 2, from 8 on 3, where code 6 is 8.
  makes(GATUN_GGUF_MXFP4, values({{0, 31, 0, {{0, 0x1.fffffep2f}}}}), join({{0x7f, 0x07}, times(15, 0)}));
  makes(GATUN_GGUF_MXFP4, values({{0, 31, 0, {{0, 8}}}}), join({{0x80, 0x06}, times(15, 0)}));
  // Nothing, and next to nothing: 2^-126 is 4 times 2^-128.
  makes(GATUN_GGUF_MXFP4, values({{0, 31, 0, {}}}), times(17, 0));
  makes(GATUN_GGUF_MXFP4, values({{0, 31, 0, {{0, 0x1p-126f}}}}), join({{0x00, 0x04}, times(15, 0)}));
  // e = 0 is 2^-128, a subnormal: codes 1, 15 of the first byte are 2^-128 and -12 * 2^-128. e = 254 is 2^126.
  reads(GATUN_GGUF_MXFP4, join({{0x00, 0xf1}, times(15, 0)}),
        values({{0, 31, 0, {{0, 0x1p-128f}, {16, -0x1.8p-125f}}}}));
  reads(GATUN_GGUF_MXFP4, join({{0x01, 0xf1}, times(15, 0)}),
        values({{0, 31, 0, {{0, 0x1p-127f}, {16, -0x1.8p-124f}}}}));
  reads(GATUN_GGUF_MXFP4, join({{0xfe, 0x21}, times(15, 0)}), values({{0, 31, 0, {{0, 0x1p126f}, {16, 0x1p127f}}}}));
  // Code 8 is -0, and e = 255 NaN whatever the code.
  std::vector<float> out(32);
  Bytes special = join({{0x7f}, times(16, 0x88)});
  ASSERT_EQ(gatun_gguf_dequantize(GATUN_GGUF_MXFP4, GATUN_F32, 1, 32, 32, 1, special.data(), out.data()), GATUN_OK);
  for (const float value : out) EXPECT_TRUE(value == 0 && std::signbit(value));
  special[0] = 0xff;
  ASSERT_EQ(gatun_gguf_dequantize(GATUN_GGUF_MXFP4, GATUN_F32, 1, 32, 32, 1, special.data(), out.data()), GATUN_OK);
  for (const float value : out) EXPECT_TRUE(std::isnan(value));
}

constexpr int kTable[] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

Bytes doubled_nibbles(int count, int repeat) {  // 0x00 0x11 .. 0xff, from 0 on again after `repeat`
  Bytes all;
  for (int i = 0; i < count; ++i) all.push_back(static_cast<uint8_t>(0x11 * (i % repeat)));
  return all;
}

TEST(GgufGolden, Iq4Nl) {
  // d = 2; byte 0 is 15 and 0, byte 1 is 0 and 8, the others are 7 and 7
  reads(GATUN_GGUF_IQ4_NL, join({{0x00, 0x40, 0x0f, 0x80}, times(14, 0x77)}),
        values({{0, 15, -20, {{0, 226}, {1, -254}}}, {16, 31, -20, {{16, -254}, {17, 2}}}}));
  // The table itself, twice: d = 1.
  const std::vector<float> x = each(32, [](int i) { return kTable[i % 16]; });
  const Bytes block = join({{0x00, 0x3c}, doubled_nibbles(16, 16)});
  makes(GATUN_GGUF_IQ4_NL, x, block);
  reads(GATUN_GGUF_IQ4_NL, block, x);
  // Nothing: d = 0, and 0 is nearest to 1.
  makes(GATUN_GGUF_IQ4_NL, values({{0, 31, 0, {}}}), join({{0, 0}, times(16, 0x88)}));
}

TEST(GgufGolden, Iq4Xs) {
  // Scales less 32: 33 31 32 32 32 32 32 63. Upper bits 2 1 2 2 2 2 2 3 = 0xeaa6; low nibbles 1 15 | 0 0 | 0 0 | 0 15.
  const Bytes block = join({{0x00, 0x3c, 0xa6, 0xea, 0xf1, 0x00, 0x00, 0xf0},
                            {0xf0},
                            times(15, 0x88),  // 0 and 15, then ones: times 1
                            times(15, 0x88),
                            {0x18},  // ones, the last one is 8 and 1: times -1
                            times(80, 0x88),
                            times(16, 0x88)});
  reads(GATUN_GGUF_IQ4_XS, block,
        values({{0, 31, 1, {{0, -127}, {16, 113}}}, {32, 63, -1, {{63, 104}}}, {64, 223, 0, {}}, {224, 255, 31, {}}}));
  // The table in every half group: scales 1, d = 1 / -32 (0xa800), sub-scales -32 (0).
  const std::vector<float> x = each(256, [](int i) { return kTable[i % 16]; });
  const Bytes made = join({{0x00, 0xa8}, times(6, 0), doubled_nibbles(128, 16)});
  makes(GATUN_GGUF_IQ4_XS, x, made);
  reads(GATUN_GGUF_IQ4_XS, made, x);
}

TEST(GgufGolden, Q2K) {
  // d = 0.5, dmin = 0.25. Group 0: scale 1, min 2: q / 2 - 0.5; group 1: 15, 0: 7.5 q; group 2: 0, 15: -3.75; the
  // others: 2, 1: q - 0.25. Byte 0 of the codes is 3 2 1 0: elements 0 32 64 96 are 0 1 2 3. Byte 16 is 0 1 2 3:
  // elements 16 48 80 112 are 3 2 1 0. Byte 37 is 1 0 0 0: elements 133 165 197 are 0, 229 is 1.
  const Bytes block = join(
      {{0x21, 0x0f, 0xf0}, times(13, 0x12), sparse(64, {{0, 0xe4}, {16, 0x1b}, {37, 0x40}}), {0x00, 0x38, 0x00, 0x34}});
  reads(GATUN_GGUF_Q2_K, block,
        values({{0, 15, -0.5f, {}},
                {16, 31, 0, {{16, 22.5f}}},
                {32, 47, -3.75f, {}},
                {48, 255, -0.25f, {{48, 1.75f}, {64, 1.75f}, {80, 0.75f}, {96, 2.75f}, {229, 0.75f}}}}));
  // 0 1 2 3 over and over: scales 1, mins 0; d = 1 / 15 = 1.0664 * 2^-4 (0x2c44), sub-scales 15. Elements l, l + 32, ..
  // have the same code: 0x55 times it.
  Bytes codes;
  for (int l = 0; l < 64; ++l) codes.push_back(static_cast<uint8_t>(0x55 * (l % 4)));
  makes(GATUN_GGUF_Q2_K, each(256, [](int i) { return i % 4; }), join({times(16, 0x0f), codes, {0x44, 0x2c, 0, 0}}));
}

TEST(GgufGolden, Q3K) {
  // d = 1. Scales less 32: group 0: 1 + 16 * 2 = 33; group 8: 2 + 16 * 1 = 18; group 13: 3 + 16 * 2 = 35; the
  // others 32. Low nibbles: byte 0 = 2, 1; byte 5 = 3, 0. Upper bits of groups 0 4 8 12: 2 2 1 2 = 0x9a; the others 2:
  // 0xaa. Codes less 4 where the mask's bit is 0: elements 1 (byte 1, bit 0) and 130 (byte 2, bit 4).
  const Bytes block = join({{0xff, 0xfe, 0xef},
                            times(29, 0xff),
                            sparse(64, {{0, 0x03}, {1, 0x02}, {32 + 2, 0x01}, {32 + 3, 0x03}, {32 + 16, 0x20}}),
                            {0x21, 0, 0, 0, 0, 0x30, 0, 0, 0x9a, 0xaa, 0xaa, 0xaa},
                            {0x00, 0x3c}});
  reads(GATUN_GGUF_Q3_K, block, values({{0, 255, 0, {{0, 3}, {1, -2}, {130, 42}, {131, -42}, {208, 6}}}}));
  // -4 .. 3 over and over: scales 1, d = 1 / -32 (0xa800), sub-scales -32 (0); codes 0..7, the upper bit in the mask.
  Bytes mask, codes;
  for (int l = 0; l < 32; ++l) mask.push_back(l % 8 < 4 ? 0 : 0xff);
  for (int l = 0; l < 64; ++l) codes.push_back(static_cast<uint8_t>(0x55 * (l % 4)));
  const std::vector<float> x = each(256, [](int i) { return i % 8 - 4; });
  const Bytes made = join({mask, codes, times(12, 0), {0x00, 0xa8}});
  makes(GATUN_GGUF_Q3_K, x, made);
  reads(GATUN_GGUF_Q3_K, made, x);
}

// Scales 5 0 0 63 49 0 0 15, mins 3 0 0 1 39 0 0 0: 49 = 3 * 16 + 1 and 39 = 2 * 16 + 7 have their upper bits on top of
// bytes 0 and 4, their lower ones in byte 8; 15 = 15 in the low half of byte 11.
const Bytes kScales = {0xc5, 0x00, 0x00, 0x3f, 0x83, 0x00, 0x00, 0x01, 0x71, 0x00, 0x00, 0x0f};
// Elements 0 and 32 are 1 and 2 (byte 0), 65 and 97 are 0 and 15 (byte 33), 128 is 2 (byte 64), 255 is 9 (byte 127).
const Bytes kNibbles = sparse(128, {{0, 0x21}, {33, 0xf0}, {64, 0x02}, {127, 0x90}});
// Scales of 63 and no mins.
const Bytes kLargest = join({times(4, 0xff), times(4, 0x00), times(4, 0x0f)});

TEST(GgufGolden, Q4K) {
  // d = 1, dmin = 2: 5 q - 6, 0, 0, 63 q - 2, 49 q - 78, 0, 0, 15 q
  reads(GATUN_GGUF_Q4_K, join({{0x00, 0x3c, 0x00, 0x40}, kScales, kNibbles}),
        values({{0, 31, -6, {{0, -1}}},
                {32, 95, 0, {}},
                {96, 127, -2, {{97, 943}}},
                {128, 159, -78, {{128, 20}}},
                {160, 255, 0, {{255, 135}}}}));
  // 0 .. 15 over and over: scales 1, mins 0; d = 1 / 63 = 1.0156 * 2^-6 (0x2410), sub-scales 63.
  makes(GATUN_GGUF_Q4_K, each(256, [](int i) { return i % 16; }),
        join({{0x10, 0x24, 0x00, 0x00}, kLargest, doubled_nibbles(128, 16)}));
  // A constant is all min: dmin = 63 / 63 = 1, and its largest 63. Codes 0 of a scale 0.
  makes(GATUN_GGUF_Q4_K, each(256, [](int) { return -63; }),
        join({{0x00, 0x00, 0x00, 0x3c}, times(4, 0x00), times(4, 0xff), times(4, 0xf0), times(128, 0)}));
  makes(GATUN_GGUF_Q4_K, each(256, [](int) { return 0; }), times(144, 0));
}

TEST(GgufGolden, Q5K) {
  // As Q4_K, and 16 more for elements 0 and 128 (byte 0, bits 0 and 4), 97 (byte 1, bit 3), 255 (byte 31, bit 7).
  reads(GATUN_GGUF_Q5_K,
        join({{0x00, 0x3c, 0x00, 0x40}, kScales, sparse(32, {{0, 0x11}, {1, 0x08}, {31, 0x80}}), kNibbles}),
        values({{0, 31, -6, {{0, 79}}},
                {32, 95, 0, {}},
                {96, 127, -2, {{97, 1951}}},
                {128, 159, -78, {{128, 804}}},
                {160, 255, 0, {{255, 375}}}}));
  // 0 .. 31 over and over: as Q4_K; the fifth bits of elements l, l + 32, .. are those of l.
  makes(GATUN_GGUF_Q5_K, each(256, [](int i) { return i % 32; }),
        join({{0x10, 0x24, 0x00, 0x00}, kLargest, times(16, 0x00), times(16, 0xff), doubled_nibbles(128, 16)}));
}

TEST(GgufGolden, Q6K) {
  // d = 0.5, scales 1, 0, -2, 0, 3, 0, 127, then 0 but for the last one, -128. Codes are -32 but for:
  //   byte 5 of the nibbles 15 and 4, byte 5 of the upper bits 0 1 2 3: elements 5 37 69 101 are -17 -16 4 16
  //   byte 127 of the nibbles 0 and 10, byte 63 of the upper bits 0 0 0 1: elements 191 and 255 are -32 and -6
  const Bytes block = join({sparse(128, {{5, 0x4f}, {127, 0xa0}}),
                            sparse(64, {{5, 0xe4}, {63, 0x40}}),
                            sparse(16, {{0, 1}, {2, 0xfe}, {4, 3}, {6, 127}, {15, 0x80}}),
                            {0x00, 0x38}});
  reads(GATUN_GGUF_Q6_K, block,
        values({{0, 15, -16, {{5, -8.5f}}},
                {16, 31, 0, {}},
                {32, 47, 32, {{37, 16}}},
                {48, 63, 0, {}},
                {64, 79, -48, {{69, 6}}},
                {80, 95, 0, {}},
                {96, 111, -2032, {{101, 1016}}},
                {112, 239, 0, {}},
                {240, 255, 2048, {{255, 384}}}}));
  // -32 -28 .. 28 in every group: scales 1, d = 1 / -128 (0xa000), sub-scales -128. Element k of a group is 4 k:
  // nibbles 4 (k % 4) twice, upper bits k / 4 four times.
  Bytes nibbles, upper;
  for (int l = 0; l < 128; ++l) nibbles.push_back(static_cast<uint8_t>(0x44 * (l % 4)));
  for (int l = 0; l < 64; ++l) upper.push_back(static_cast<uint8_t>(0x55 * (l % 16 / 4)));
  const std::vector<float> x = each(256, [](int i) { return i % 16 * 4 - 32; });
  const Bytes made = join({nibbles, upper, times(16, 0x80), {0x00, 0xa0}});
  makes(GATUN_GGUF_Q6_K, x, made);
  reads(GATUN_GGUF_Q6_K, made, x);
}

TEST(GgufGolden, BlocksAreAsTheHeaderSays) {
  const std::map<int32_t, std::pair<int32_t, int32_t>> blocks = {
      {2, {32, 18}},   {3, {32, 20}},    {6, {32, 22}},    {7, {32, 24}},    {8, {32, 34}},
      {10, {256, 84}}, {11, {256, 110}}, {12, {256, 144}}, {13, {256, 176}}, {14, {256, 210}},
      {20, {32, 18}},  {23, {256, 136}}, {39, {32, 17}}};
  for (int32_t type = -2; type < 60; ++type) {
    int32_t elements = -1, bytes = -1;
    const int32_t status = gatun_gguf_block(type, &elements, &bytes);
    if (const auto found = blocks.find(type); found != blocks.end()) {
      EXPECT_EQ(status, GATUN_OK);
      EXPECT_EQ(std::make_pair(elements, bytes), found->second) << type;
    } else {
      EXPECT_EQ(status, GATUN_INVALID_ARGUMENT) << type;
      EXPECT_EQ(std::make_pair(elements, bytes), std::make_pair(-1, -1)) << type;
    }
  }
}

}  // namespace
}  // namespace gatun::gguf
