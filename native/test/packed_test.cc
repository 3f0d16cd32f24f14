// The packed layout of qmatmul: bytes by hand, and back again.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "huge_map.h"
#include "qmatmul/test_weights.h"
#include "shapes.h"
#include "tolerance.h"

namespace gatun::qmatmul {
namespace {

void expect_unpacked(const Weights& weights) {
  gatun_qmatmul_weights description{};
  const uint8_t* packed = weights.packed->data();
  const int64_t bytes = weights.packed->size();
  ASSERT_EQ(gatun_qmatmul_describe(packed, bytes, &description), GATUN_OK);
  EXPECT_EQ(std::memcmp(&description, &weights.description, sizeof(description)), 0);
  GuardBuffer<uint8_t> codes(weights.codes.size()), scales(weights.scales.size()), zeros(weights.zero_points.size());
  if (description.gguf_type != 0) {
    ASSERT_EQ(gatun_qmatmul_unpack_gguf(&weights.description, packed, bytes, codes.data()), GATUN_OK)
        << gatun_last_error();
  } else {
    std::vector<float> book(weights.code_book.size());
    ASSERT_EQ(
        gatun_qmatmul_unpack(&weights.description, packed, bytes, codes.data(), book.empty() ? nullptr : book.data(),
                             scales.data(), weights.zero_point_bytes() > 0 ? zeros.data() : nullptr),
        GATUN_OK)
        << gatun_last_error();
    EXPECT_TRUE(test::identical(book, weights.code_book));
  }
  EXPECT_TRUE(test::identical(codes.copy(), weights.codes.copy()));
  EXPECT_TRUE(test::identical(scales.copy(), weights.scales.copy()));
  EXPECT_TRUE(test::identical(zeros.copy(), weights.zero_points.copy()));
}

TEST(Packed, UnpackIsTheInverseOfPack) {
  Rng rng(9);
  const std::vector<int32_t> scale_types = {GATUN_F32, GATUN_F16, GATUN_E8M0, GATUN_F8E4M3};
  const std::vector<int32_t> rows_of_groups = {1, 1, 3, 128};
  for (const Scheme& scheme : kSchemes) {
    for (const int64_t least : {0, 1, 8, 31, 257}) {
      for (const int64_t columns : {0, 1, 16, 65, 129}) {
        const int64_t depth = depth_for(scheme, least);
        for (const int64_t group : test::group_sizes(depth)) {
          const int32_t group_rows = rng.pick(rows_of_groups);
          const Weights weights(rng, scheme, rng.pick(scale_types), columns, depth, group, Edge::back,
                                Weights::Options{false, group_rows, 0.75f});
          SCOPED_TRACE(testing::Message() << scheme.name << " [" << columns << ", " << depth << "] in groups of "
                                          << group_rows << " x " << group);
          expect_unpacked(weights);
          if (testing::Test::HasFailure()) return;
        }
      }
    }
  }
}

// Values that are integers, but whose bits no integer keeps, are no integers.
TEST(Packed, BooksComeBackBitForBit) {
  for (const float value : {0.0f, -0.0f, 1.0f, 0.5f, 126.99999f}) {
    float book[16];
    for (int i = 0; i < 16; ++i) book[i] = static_cast<float>(8 * i - 127);
    book[3] = value;
    const gatun_qmatmul_weights w{sizeof(w), GATUN_U4, GATUN_BOOK_GIVEN, 0, GATUN_F32, 0, 1, 1.0f, 1, 16, 16};
    const uint8_t codes[8] = {0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe};
    const float scale = 1;
    int64_t bytes = 0;
    ASSERT_EQ(gatun_qmatmul_packed_bytes(&w, &bytes), GATUN_OK);
    std::vector<uint8_t> packed(static_cast<size_t>(bytes));
    ASSERT_EQ(gatun_qmatmul_pack(&w, codes, book, &scale, nullptr, packed.data(), bytes), GATUN_OK);
    float scale_back, book_back[16];
    uint8_t codes_back[8];
    ASSERT_EQ(gatun_qmatmul_unpack(&w, packed.data(), bytes, codes_back, book_back, &scale_back, nullptr), GATUN_OK);
    EXPECT_EQ(std::memcmp(book, book_back, sizeof(book)), 0) << value;
    ASSERT_EQ(gatun_qmatmul_unpack(&w, packed.data(), bytes, codes_back, nullptr, &scale_back, nullptr), GATUN_OK);
  }
}

TEST(Packed, LiesOnHugePages) {
  if (!test::system_has_huge_pages()) GTEST_SKIP() << "this system knows no huge pages";
  const gatun_qmatmul_weights description{
      sizeof(description), GATUN_I8, 0, GATUN_ZERO_NONE, GATUN_F32, 0, 1, 1.0f, 1024, 4096, 4096};
  int64_t bytes = 0;
  ASSERT_EQ(gatun_qmatmul_packed_bytes(&description, &bytes), GATUN_OK);
  const test::HugeMap packed(3);
  ASSERT_LE(bytes, packed.bytes());
  ASSERT_FALSE(packed.advised());
  const std::vector<int8_t> codes(1024 * 4096);
  const std::vector<float> scales(1024);
  ASSERT_EQ(gatun_qmatmul_pack(&description, codes.data(), nullptr, scales.data(), nullptr, packed.data(), bytes),
            GATUN_OK);
  EXPECT_TRUE(packed.advised());
}

// By hand from layout.h: 2 rows of depth 9 in groups of 9, so one panel of R = 16 rows with 16 padded depths.
TEST(Packed, BytesAreTheDocumentedOnes) {
  const gatun_qmatmul_weights description{
      sizeof(description), GATUN_U4, 0, GATUN_ZERO_INTEGER, GATUN_F16, 0, 1, 1.0f, 2, 9, 9};
  // Row 0 holds 1..9, row 1 holds 15, 14, .. 7.
  const uint8_t codes[] = {0x21, 0x43, 0x65, 0x87, 0x09, 0xef, 0xcd, 0xab, 0x89, 0x07};
  const uint16_t scales[] = {0x3c00, 0x4000};
  const uint8_t zero_points[] = {3, 12};
  int64_t bytes = 0;
  ASSERT_EQ(gatun_qmatmul_packed_bytes(&description, &bytes), GATUN_OK);
  ASSERT_EQ(bytes, 64 + 2 * 16 * 4 + 16 * 2 + 16);
  std::vector<uint8_t> packed(static_cast<size_t>(bytes));
  ASSERT_EQ(gatun_qmatmul_pack(&description, codes, nullptr, scales, zero_points, packed.data(), bytes), GATUN_OK);
  EXPECT_EQ(std::memcmp(packed.data(), "GATUNPK1", 8), 0);
  std::vector<uint8_t> body(static_cast<size_t>(bytes - 64));
  const uint8_t row0[] = {0x51, 0x62, 0x73, 0x84}, row1[] = {0xbf, 0xae, 0x9d, 0x8c};
  std::memcpy(body.data(), row0, 4);
  std::memcpy(body.data() + 4, row1, 4);
  body[64] = 9;
  body[68] = 7;
  std::memcpy(body.data() + 128, scales, 4);
  std::memcpy(body.data() + 160, zero_points, 2);
  EXPECT_TRUE(test::identical(std::vector<uint8_t>(packed.begin() + 64, packed.end()), body));
}

}  // namespace
}  // namespace gatun::qmatmul
