// gatun_gguf_block, _quantize, _dequantize and _explain: every documented refusal.
#include "gatun/gguf.h"

#include "boundary.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

constexpr int64_t kRows = 3, kDepth = 512, kBytes = kRows * 2 * 84;

// A good call; each test spoils one thing.
class GgufBoundary : public ::testing::Test {
 protected:
  GgufBoundary() {
    for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 13) - 6.0f;
  }

  int32_t quantize() { return gatun_gguf_quantize(type, x_dtype, rows, depth, stride, threads, x_at, blocks_at); }
  int32_t dequantize() { return gatun_gguf_dequantize(type, x_dtype, rows, depth, stride, threads, blocks_at, x_at); }

  // Both directions check the same things in the same words.
  void refused(std::initializer_list<const char*> words) {
    const std::vector<float> before = x;
    EXPECT_TRUE(invalid(quantize(), words));
    EXPECT_TRUE(invalid(dequantize(), words));
    EXPECT_TRUE(untouched(blocks)) << "the output was written";
    EXPECT_TRUE(identical(x, before)) << "the output was written";
    type = GATUN_GGUF_Q2_K;
    x_dtype = GATUN_F32;
    rows = kRows;
    depth = stride = kDepth;
    threads = 1;
    x_at = x.data();
    blocks_at = blocks.data();
  }

  int32_t type = GATUN_GGUF_Q2_K, x_dtype = GATUN_F32, threads = 1;
  int64_t rows = kRows, depth = kDepth, stride = kDepth;
  std::vector<float> x = std::vector<float>(kRows * kDepth);
  std::vector<uint8_t> blocks = std::vector<uint8_t>(kBytes, kUntouched);
  void* x_at = x.data();
  void* blocks_at = blocks.data();
};

TEST_F(GgufBoundary, TheGoodCallIsAccepted) {
  EXPECT_EQ(quantize(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(dequantize(), GATUN_OK) << gatun_last_error();
  EXPECT_FALSE(untouched(blocks));
}

TEST_F(GgufBoundary, Types) {
  for (const int32_t wrong : {-1, 0, 1, 4, 5, 9, 15, 16, 24, 38, 40, 1 << 30}) {
    type = wrong;
    refused({"type", std::to_string(wrong).c_str(), "2 (Q4_0)", "14 (Q6_K)", "39 (MXFP4)"});
  }
  for (const int32_t wrong : {0, -1, 77, 1 << 30, int{GATUN_I8}, int{GATUN_U8}, int{GATUN_F8E4M3}, int{GATUN_U4}}) {
    x_dtype = wrong;
    refused({"x_dtype", std::to_string(wrong).c_str(), "F32", "F16", "BF16"});
  }
}

TEST_F(GgufBoundary, Sizes) {
  for (const int32_t wrong : {-1, 1025, std::numeric_limits<int32_t>::min()}) {
    threads = wrong;
    refused({"threads", std::to_string(wrong).c_str(), "1024"});
  }
  for (const int64_t wrong : {int64_t{-1}, kMin}) {
    rows = wrong;
    refused({"rows", std::to_string(wrong).c_str()});
    depth = wrong;
    refused({"depth", std::to_string(wrong).c_str()});
  }
  for (const int64_t wrong : {int64_t{1}, int64_t{32}, int64_t{255}, int64_t{257}, kDepth - 32, kMax}) {
    depth = stride = wrong;
    refused({"depth", std::to_string(wrong).c_str(), "256", "Q2_K"});
  }
  depth = stride = 33;
  type = GATUN_GGUF_Q8_0;
  refused({"depth", "33", "32", "Q8_0"});
  for (const int64_t wrong : {kDepth - 1, int64_t{0}, int64_t{-1}, kMin}) {
    stride = wrong;
    refused({"x_row_stride", std::to_string(wrong).c_str(), "512"});
  }
}

TEST_F(GgufBoundary, ExtentsThatOverflow) {
  for (const int64_t wrong : {kMax, kMax / 2, int64_t{1} << 60}) {
    rows = wrong;
    refused({"x", std::to_string(wrong).c_str()});
    stride = wrong;
    refused({"x", std::to_string(wrong).c_str()});
  }
  depth = stride = kMax / 256 * 256;
  refused({"x"});
  // Of one row only the blocks are too many.
  x_dtype = GATUN_F16;
  rows = 1;
  type = GATUN_GGUF_Q8_0;
  depth = stride = int64_t{1} << 61;
  refused({"2^62"});
}

TEST_F(GgufBoundary, Addresses) {
  x_at = nullptr;
  refused({"x is null"});
  blocks_at = nullptr;
  refused({"blocks is null"});
  x_at = reinterpret_cast<char*>(x.data()) + 2;
  rows = kRows - 1;
  refused({"x", "4"});
  blocks_at = x.data();
  refused({"blocks", "x", "overlap"});
  blocks_at = reinterpret_cast<char*>(x.data() + kRows * kDepth) - 1;
  refused({"blocks", "x", "overlap"});
  blocks_at = reinterpret_cast<char*>(x.data()) - kBytes + 1;
  refused({"blocks", "x", "overlap"});
}

// Blocks may begin anywhere, and right beside x.
TEST_F(GgufBoundary, BlocksOfAnyAlignment) {
  std::vector<uint8_t> memory(kBytes + 64 + sizeof(float) * kDepth * kRows);
  for (size_t offset = 0; offset < 8; ++offset) {
    blocks_at = memory.data() + offset;
    EXPECT_EQ(quantize(), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(dequantize(), GATUN_OK) << gatun_last_error();
  }
  uint8_t* const end = memory.data() + kBytes + (4 - reinterpret_cast<uintptr_t>(memory.data() + kBytes) % 4) % 4;
  x_at = end;
  blocks_at = end - kBytes;
  EXPECT_EQ(dequantize(), GATUN_OK) << gatun_last_error();
}

TEST_F(GgufBoundary, Values) {
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
    x[2 * kDepth + 511] = value;
    EXPECT_TRUE(invalid(quantize(), {"x[2][511]", "finite"}));
  }
  x[2 * kDepth + 511] = 1e9f;  // 1e9 / 45 is more than 65504
  EXPECT_TRUE(invalid(quantize(), {"scale", "block 1 in row 2", "256 to 511", "F16"}));
}

TEST_F(GgufBoundary, EmptyWorkNeedsNoMemory) {
  x_at = blocks_at = nullptr;
  rows = 0;
  EXPECT_EQ(quantize(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(dequantize(), GATUN_OK) << gatun_last_error();
  depth = stride = 0;
  for (const int64_t many : {int64_t{1}, kRows, kMax}) {
    rows = many;
    EXPECT_EQ(quantize(), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(dequantize(), GATUN_OK) << gatun_last_error();
  }
}

TEST_F(GgufBoundary, Block) {
  int32_t elements = 7, bytes = 7;
  EXPECT_TRUE(invalid(gatun_gguf_block(5, &elements, &bytes), {"type", "5", "39 (MXFP4)"}));
  EXPECT_TRUE(invalid(gatun_gguf_block(2, nullptr, &bytes), {"elements is null"}));
  EXPECT_TRUE(invalid(gatun_gguf_block(2, &elements, nullptr), {"bytes is null"}));
  EXPECT_TRUE(elements == 7 && bytes == 7);
}

TEST_F(GgufBoundary, Explain) {
  check_text([&](char* text, int64_t capacity) { return gatun_gguf_explain(type, x_dtype, text, capacity); }, 1024);
  std::vector<char> text(1024, '\x7f');
  EXPECT_TRUE(invalid(gatun_gguf_explain(99, x_dtype, text.data(), 1024), {"type", "99"}));
  EXPECT_TRUE(invalid(gatun_gguf_explain(type, GATUN_I8, text.data(), 1024), {"x_dtype", "I8"}));
  EXPECT_EQ(text, std::vector<char>(1024, '\x7f'));
}

}  // namespace
}  // namespace gatun::test
