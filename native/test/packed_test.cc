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

TEST(Packed, UnpackIsTheInverseOfPack) {
  Rng rng(9);
  for (const Scheme& scheme : kSchemes) {
    for (const int64_t depth : {0, 1, 8, 31, 257}) {
      for (const int64_t columns : {0, 1, 16, 65, 129}) {
        for (const int64_t group : test::group_sizes(depth)) {
          for (const int32_t scale_dtype : {GATUN_F16, GATUN_F32}) {
            const Weights weights(rng, scheme, scale_dtype, columns, depth, group, Edge::back);
            gatun_qmatmul_weights description{};
            ASSERT_EQ(gatun_qmatmul_describe(weights.packed->data(), weights.packed->size(), &description), GATUN_OK);
            EXPECT_EQ(std::memcmp(&description, &weights.description, sizeof(description)), 0);
            GuardBuffer<uint8_t> codes(weights.codes.size()), scales(weights.scales.size()),
                zeros(weights.zero_points.size());
            ASSERT_EQ(
                gatun_qmatmul_unpack(&weights.description, weights.packed->data(), weights.packed->size(), codes.data(),
                                     scales.data(), description.asymmetric ? zeros.data() : nullptr),
                GATUN_OK)
                << gatun_last_error();
            EXPECT_TRUE(test::identical(codes.copy(), weights.codes.copy()));
            EXPECT_TRUE(test::identical(scales.copy(), weights.scales.copy()));
            EXPECT_TRUE(test::identical(zeros.copy(), weights.zero_points.copy()));
          }
        }
      }
    }
  }
}

TEST(Packed, LiesOnHugePages) {
  if (!test::system_has_huge_pages()) GTEST_SKIP() << "this system knows no huge pages";
  const gatun_qmatmul_weights description{sizeof(description), GATUN_I8, 0, GATUN_F32, 1024, 4096, 4096};
  int64_t bytes = 0;
  ASSERT_EQ(gatun_qmatmul_packed_bytes(&description, &bytes), GATUN_OK);
  const test::HugeMap packed(3);
  ASSERT_LE(bytes, packed.bytes());
  ASSERT_FALSE(packed.advised());
  const std::vector<int8_t> codes(1024 * 4096);
  const std::vector<float> scales(1024);
  ASSERT_EQ(gatun_qmatmul_pack(&description, codes.data(), scales.data(), nullptr, packed.data(), bytes), GATUN_OK);
  EXPECT_TRUE(packed.advised());
}

// By hand from layout.h: 2 rows of depth 9 in groups of 9, so one panel of R = 16 rows with 16 padded depths.
TEST(Packed, BytesAreTheDocumentedOnes) {
  const gatun_qmatmul_weights description{sizeof(description), GATUN_U4, 1, GATUN_F16, 2, 9, 9};
  // Row 0 holds 1..9, row 1 holds 15, 14, .. 7.
  const uint8_t codes[] = {0x21, 0x43, 0x65, 0x87, 0x09, 0xef, 0xcd, 0xab, 0x89, 0x07};
  const uint16_t scales[] = {0x3c00, 0x4000};
  const uint8_t zero_points[] = {3, 12};
  int64_t bytes = 0;
  ASSERT_EQ(gatun_qmatmul_packed_bytes(&description, &bytes), GATUN_OK);
  ASSERT_EQ(bytes, 64 + 2 * 16 * 4 + 16 * 2 + 16);
  std::vector<uint8_t> packed(static_cast<size_t>(bytes));
  ASSERT_EQ(gatun_qmatmul_pack(&description, codes, scales, zero_points, packed.data(), bytes), GATUN_OK);
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
