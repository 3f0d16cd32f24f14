// Packing of GGUF blocks: every documented refusal.
#include <algorithm>
#include <cstring>

#include "boundary.h"
#include "gatun/gguf.h"
#include "gatun/qmatmul.h"
#include "gatun/quantize.h"

namespace gatun::test {
namespace {

constexpr int64_t kColumns = 3, kDepth = 64, kBlockBytes = 20;

// A good call with Q4_1; each test spoils one thing.
class PackGgufBoundary : public ::testing::Test {
 protected:
  PackGgufBoundary() {
    for (int64_t b = 0; b < 2 * kColumns; ++b) set_scales(b, 0x3c00, 0x3c00);
    EXPECT_EQ(gatun_qmatmul_packed_bytes(&good, &packed_bytes), GATUN_OK) << gatun_last_error();
    packed.assign(static_cast<size_t>(packed_bytes), kUntouched);
    packed_at = packed.data();
  }
  void set_scales(int64_t block, uint16_t d, uint16_t m) {
    std::memcpy(&blocks[static_cast<size_t>(block * kBlockBytes)], &d, 2);
    std::memcpy(&blocks[static_cast<size_t>(block * kBlockBytes) + 2], &m, 2);
  }
  int32_t pack() { return gatun_qmatmul_pack_gguf(given, blocks_at, packed_at, packed_bytes); }
  int32_t unpack() { return gatun_qmatmul_unpack_gguf(given, packed_at, packed_bytes, blocks_at); }
  void refused(std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(pack(), words));
    EXPECT_TRUE(untouched(packed)) << "packed was written";
    weights = good;
  }
  void description_refused(std::initializer_list<const char*> words) {
    int64_t bytes = 77;
    EXPECT_TRUE(invalid(gatun_qmatmul_packed_bytes(given, &bytes), words));
    EXPECT_EQ(bytes, 77);
    refused(words);
  }

  const gatun_qmatmul_weights good = {
      sizeof(gatun_qmatmul_weights), 0, 0, 0, 0, GATUN_GGUF_Q4_1, 1, 1.0f, kColumns, kDepth, 32};
  gatun_qmatmul_weights weights = good;
  const gatun_qmatmul_weights* given = &weights;
  std::vector<uint8_t> blocks = std::vector<uint8_t>(2 * kColumns * kBlockBytes, 0x35);
  std::vector<uint8_t> packed;
  void* blocks_at = blocks.data();
  void* packed_at;
  int64_t packed_bytes;
};

TEST_F(PackGgufBoundary, TheGoodCallIsAccepted) {
  const std::vector<uint8_t> before = blocks;
  ASSERT_EQ(pack(), GATUN_OK) << gatun_last_error();
  blocks.assign(blocks.size(), 0);
  EXPECT_EQ(unpack(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(blocks, before);
}

TEST_F(PackGgufBoundary, Descriptions) {
  given = nullptr;
  description_refused({"weights is null"});
  given = &weights;
  weights.struct_size = 8;
  description_refused({"struct_size"});
  const auto spoiled = [&](auto gatun_qmatmul_weights::* field, auto value, const char* name) {
    weights.*field = value;
    description_refused({name, "GGUF", "allowed"});
  };
  spoiled(&gatun_qmatmul_weights::code_dtype, GATUN_U4, "code_dtype");
  spoiled(&gatun_qmatmul_weights::book, GATUN_BOOK_NF4, "book");
  spoiled(&gatun_qmatmul_weights::zero_point, GATUN_ZERO_FLOAT, "zero_point");
  spoiled(&gatun_qmatmul_weights::scale_dtype, GATUN_F16, "scale_dtype");
  spoiled(&gatun_qmatmul_weights::group_rows, 2, "group_rows");
  spoiled(&gatun_qmatmul_weights::tensor_scale, 0.5f, "tensor_scale");
  for (const int64_t group : {kMin, int64_t{0}, int64_t{16}, int64_t{33}, kDepth}) {
    weights.group = group;
    description_refused({"group", std::to_string(group).c_str(), "Q4_1", "32"});
  }
  for (const int64_t depth : {int64_t{1}, int64_t{31}, int64_t{65}, kMax}) {
    weights.depth = depth;
    description_refused({"depth", std::to_string(depth).c_str()});
  }
  weights.depth = -32;
  description_refused({"depth", "-32"});
  weights.columns = -1;
  description_refused({"columns", "-1"});
  weights.columns = int64_t{1} << 51;
  description_refused({"columns", "2^52"});
  for (const int32_t type : {GATUN_GGUF_Q2_K, GATUN_GGUF_Q4_K}) {
    weights.gguf_type = type;
    weights.group = type == GATUN_GGUF_Q2_K ? 16 : 32;
    weights.depth = 128;
    description_refused({"depth", "256"});
  }
}

TEST_F(PackGgufBoundary, EachHasItsOwnFunction) {
  std::vector<float> scales(16, 1.0f);
  EXPECT_TRUE(invalid(gatun_qmatmul_pack(given, blocks_at, nullptr, scales.data(), nullptr, packed_at, packed_bytes),
                      {"gguf_type", "gatun_qmatmul_pack_gguf"}));
  EXPECT_TRUE(untouched(packed));
  ASSERT_EQ(pack(), GATUN_OK) << gatun_last_error();
  EXPECT_TRUE(invalid(gatun_qmatmul_unpack(given, packed_at, packed_bytes, blocks_at, nullptr, scales.data(), nullptr),
                      {"gguf_type", "gatun_qmatmul_unpack_gguf"}));
  packed.assign(packed.size(), kUntouched);
  weights = {sizeof(weights), GATUN_U4, 0, 0, GATUN_F32, 0, 1, 1.0f, kColumns, kDepth, 32};
  refused({"gguf_type", "gatun_qmatmul_pack"});
}

TEST_F(PackGgufBoundary, Buffers) {
  blocks_at = nullptr;
  refused({"blocks is null"});
  blocks_at = packed.data() + packed_bytes - 1;
  refused({"packed", "blocks", "overlap"});
  blocks_at = blocks.data();
  packed_at = nullptr;
  refused({"packed is null"});
  packed_at = packed.data();
  const int64_t needed = packed_bytes;
  for (const int64_t bytes : {kMin, int64_t{-1}, int64_t{0}, int64_t{64}, needed - 1}) {
    packed_bytes = bytes;
    refused({"packed_bytes", std::to_string(bytes).c_str(), std::to_string(needed).c_str()});
  }
  packed_bytes = needed;
  ASSERT_EQ(pack(), GATUN_OK) << gatun_last_error();
  const std::vector<uint8_t> before = blocks;
  blocks_at = nullptr;
  EXPECT_TRUE(invalid(unpack(), {"blocks is null"}));
  blocks_at = packed.data();
  EXPECT_TRUE(invalid(unpack(), {"packed", "blocks", "overlap"}));
  blocks_at = blocks.data();
  weights.columns = 2;
  EXPECT_TRUE(invalid(unpack(), {"packed holds [3, 64] Q4_1", "[2, 64]"}));
  packed_bytes = needed - 1;
  EXPECT_TRUE(invalid(unpack(), {"packed"}));
  EXPECT_EQ(blocks, before);
}

TEST_F(PackGgufBoundary, ScalesThatAreNoNumbers) {
  for (const uint16_t bad : {uint16_t{0x7c00}, uint16_t{0xfc00}, uint16_t{0x7e00}, uint16_t{0xffff}}) {
    set_scales(3, bad, 0x3c00);
    refused({"blocks[1][1]", "Q4_1", "scale"});
    set_scales(3, 0x3c00, bad);
    refused({"blocks[1][1]", "Q4_1", "offset"});
    set_scales(3, 0x3c00, 0x3c00);
  }
  // Powers of two up to 2^64.
  weights = good;
  weights.gguf_type = GATUN_GGUF_MXFP4;
  std::vector<uint8_t> powers(2 * kColumns * 17, 0x35);
  blocks_at = powers.data();
  const gatun_qmatmul_weights mxfp4 = weights;
  for (const uint8_t bad : {uint8_t{192}, uint8_t{254}, uint8_t{255}}) {
    powers[5 * 17] = bad;
    weights = mxfp4;
    refused({"blocks[2][1]", "MXFP4", bad == 255 ? "NaN" : "2^64"});
  }
  powers[5 * 17] = 191;
  weights = mxfp4;
  EXPECT_EQ(pack(), GATUN_OK) << gatun_last_error();
}

// Whatever a damaged buffer holds behind its header, unpacking gives blocks.
TEST_F(PackGgufBoundary, DamagedBuffersUnpackToBlocks) {
  for (const int32_t type : {GATUN_GGUF_Q2_K, GATUN_GGUF_Q3_K, GATUN_GGUF_Q4_K, GATUN_GGUF_Q5_K, GATUN_GGUF_Q6_K,
                             GATUN_GGUF_IQ4_XS, GATUN_GGUF_Q5_0, GATUN_GGUF_MXFP4}) {
    int32_t elements = 0, bytes = 0;
    ASSERT_EQ(gatun_gguf_block(type, &elements, &bytes), GATUN_OK);
    weights = good;
    weights.gguf_type = type;
    weights.depth = elements;
    weights.group = type == GATUN_GGUF_Q2_K || type == GATUN_GGUF_Q3_K || type == GATUN_GGUF_Q6_K ? 16 : 32;
    blocks.assign(static_cast<size_t>(kColumns * bytes), 0);
    blocks_at = blocks.data();
    ASSERT_EQ(gatun_qmatmul_packed_bytes(&weights, &packed_bytes), GATUN_OK);
    packed.assign(static_cast<size_t>(packed_bytes), 0);
    packed_at = packed.data();
    ASSERT_EQ(pack(), GATUN_OK) << gatun_last_error();
    for (const uint8_t byte : {uint8_t{0xff}, uint8_t{0x80}, uint8_t{0x7b}}) {
      std::fill(packed.begin() + 64, packed.end(), byte);
      ASSERT_EQ(unpack(), GATUN_OK) << gatun_last_error();
      // They are packed and unpacked as any others, if their scales are numbers.
      const std::vector<uint8_t> once = blocks;
      if (pack() != GATUN_OK) continue;
      ASSERT_EQ(unpack(), GATUN_OK) << gatun_last_error();
      EXPECT_EQ(blocks, once);
    }
  }
}

TEST_F(PackGgufBoundary, EmptyWeightsNeedNoBlocks) {
  blocks_at = nullptr;
  weights.columns = 0;
  EXPECT_EQ(pack(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(unpack(), GATUN_OK) << gatun_last_error();
  weights = good;
  weights.depth = 0;
  EXPECT_EQ(pack(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(unpack(), GATUN_OK) << gatun_last_error();
}

}  // namespace
}  // namespace gatun::test
