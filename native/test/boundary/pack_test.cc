// Packing of weights: every documented refusal.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "boundary.h"
#include "gatun/qmatmul.h"
#include "gatun/quantize.h"

namespace gatun::test {
namespace {

constexpr int64_t kColumns = 3, kDepth = 40, kGroup = 16, kGroups = 3;

// A good call; each test spoils one thing.
class PackBoundary : public ::testing::Test {
 protected:
  PackBoundary() {
    EXPECT_EQ(gatun_qmatmul_packed_bytes(&good, &packed_bytes), GATUN_OK) << gatun_last_error();
    packed.assign(static_cast<size_t>(packed_bytes) + 16, kUntouched);
    packed_at = packed.data();
  }

  int32_t pack() {
    return gatun_qmatmul_pack(given, codes_at, code_book_at, scales_at, zero_points_at, packed_at, packed_bytes);
  }
  int32_t unpack() {
    return gatun_qmatmul_unpack(&weights, packed_at, packed_bytes, codes_at, code_book_at, scales_at, zero_points_at);
  }
  void refused(std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(pack(), words));
    EXPECT_TRUE(untouched(packed)) << "packed was written";
    if (given != &weights) return;
    weights = good;
  }
  // What is wrong with the description, packed_bytes refuses as well.
  void description_refused(std::initializer_list<const char*> words) {
    int64_t bytes = 77;
    EXPECT_TRUE(invalid(gatun_qmatmul_packed_bytes(given, &bytes), words));
    EXPECT_EQ(bytes, 77);
    refused(words);
  }

  const gatun_qmatmul_weights good = {
      sizeof(gatun_qmatmul_weights), GATUN_U4, 0, GATUN_ZERO_INTEGER, GATUN_F32, 0, 1, 1.0f, kColumns, kDepth, kGroup};
  gatun_qmatmul_weights weights = good;
  const gatun_qmatmul_weights* given = &weights;
  std::vector<uint8_t> codes = std::vector<uint8_t>(kColumns * kDepth, 0x35);
  std::vector<float> scales = std::vector<float>(kColumns * kGroups, 0.5f);
  std::vector<uint8_t> zero_points = std::vector<uint8_t>(kColumns * kGroups, 7);
  std::vector<uint8_t> packed;
  void* codes_at = codes.data();
  void* scales_at = scales.data();
  void* zero_points_at = zero_points.data();
  float* code_book_at = nullptr;
  void* packed_at;
  int64_t packed_bytes;
};

TEST_F(PackBoundary, TheGoodCallIsAccepted) {
  ASSERT_EQ(pack(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(std::vector<uint8_t>(packed.end() - 16, packed.end()), std::vector<uint8_t>(16, kUntouched));
  EXPECT_EQ(unpack(), GATUN_OK) << gatun_last_error();
}

TEST_F(PackBoundary, Struct) {
  check_struct(weights, given, "weights", [&](auto words) { description_refused(words); });
  EXPECT_TRUE(invalid(gatun_qmatmul_packed_bytes(&good, nullptr), {"bytes is null"}));
}

TEST_F(PackBoundary, Enums) {
  for (const int32_t dtype : {0, -1, 15, int{GATUN_F32}, int{GATUN_BF16}, int{GATUN_I32}, int{GATUN_E8M0}}) {
    weights.code_dtype = dtype;
    description_refused({"code_dtype", std::to_string(dtype).c_str(), "I8", "U8", "U4", "U2", "F4E2M1"});
  }
  for (const int32_t dtype : {0, -1, 15, int{GATUN_BF16}, int{GATUN_U4}, int{GATUN_F8E5M2}}) {
    weights.scale_dtype = dtype;
    description_refused({"scale_dtype", std::to_string(dtype).c_str(), "F32", "F16", "E8M0", "F8E4M3"});
  }
  for (const int32_t zero_point : {-1, 3}) {
    weights.zero_point = zero_point;
    description_refused({"zero_point", std::to_string(zero_point).c_str()});
  }
  for (const int32_t book : {-1, 8}) {
    weights.book = book;
    description_refused({"book", std::to_string(book).c_str()});
  }
  for (const int32_t type : {-1, 1, 4, 5, 9, 15, 40, 1 << 20}) {
    weights.gguf_type = type;
    description_refused({"gguf_type", std::to_string(type).c_str()});
  }
}

// Which zero points and code books go with which codes.
TEST_F(PackBoundary, ZeroPointsAndCodeBooks) {
  for (const int32_t codes_of : {GATUN_I8, GATUN_F8E4M3, GATUN_F8E5M2, GATUN_F6E3M2, GATUN_F6E2M3, GATUN_F4E2M1}) {
    for (const int32_t zero_point : {GATUN_ZERO_INTEGER, GATUN_ZERO_FLOAT}) {
      weights.code_dtype = codes_of;
      weights.zero_point = zero_point;
      description_refused({"zero_point", std::to_string(zero_point).c_str()});
    }
    for (int32_t book = GATUN_BOOK_GIVEN; book <= GATUN_BOOK_LINEAR_UNSIGNED; ++book) {
      weights.code_dtype = codes_of;
      weights.zero_point = GATUN_ZERO_NONE;
      weights.book = book;
      description_refused({"book", std::to_string(book).c_str()});
    }
  }
  weights.code_dtype = GATUN_U8;
  weights.zero_point = GATUN_ZERO_NONE;
  description_refused({"zero_point", "U8"});
  for (int32_t book = GATUN_BOOK_GIVEN; book <= GATUN_BOOK_LINEAR_UNSIGNED; ++book) {
    const bool of_16 = book == GATUN_BOOK_NF4 || book == GATUN_BOOK_FP4, given_book = book == GATUN_BOOK_GIVEN;
    int64_t bytes;
    for (const int32_t codes_of : {GATUN_U4, GATUN_U8, GATUN_U2}) {
      weights.code_dtype = codes_of;
      weights.book = book;
      weights.zero_point = GATUN_ZERO_NONE;
      const bool good_pair = codes_of == GATUN_U4 ? of_16 || given_book : codes_of == GATUN_U8 && !of_16;
      if (good_pair) {
        EXPECT_EQ(gatun_qmatmul_packed_bytes(&weights, &bytes), GATUN_OK) << gatun_last_error();
        weights.zero_point = GATUN_ZERO_INTEGER;
        description_refused({"zero_point"});
      } else {
        description_refused({"book", std::to_string(book).c_str()});
      }
    }
  }
}

TEST_F(PackBoundary, SharedScales) {
  for (const int32_t rows : {0, -1, std::numeric_limits<int32_t>::min()}) {
    weights.group_rows = rows;
    description_refused({"group_rows", std::to_string(rows).c_str()});
  }
  for (const float scale : {0.0f, -0.0f, -1.0f, 0x1.fffffep-121f, std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()}) {
    weights.tensor_scale = scale;
    description_refused({"tensor_scale", "2^-120"});
  }
  // Three rows of one block: only its scales are read.
  weights.group_rows = std::numeric_limits<int32_t>::max();
  std::vector<float> shared(kGroups, 0.5f);
  std::vector<uint8_t> shared_zeros(kGroups, 7);
  scales_at = shared.data();
  zero_points_at = shared_zeros.data();
  EXPECT_EQ(pack(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(unpack(), GATUN_OK) << gatun_last_error();
}

TEST_F(PackBoundary, GivenCodeBooks) {
  std::vector<float> book(17, 0.25f);
  code_book_at = book.data();
  refused({"code_book", "null"});
  weights = good;
  weights.book = GATUN_BOOK_GIVEN;
  weights.zero_point = GATUN_ZERO_NONE;
  const gatun_qmatmul_weights with_book = weights;
  zero_points_at = nullptr;
  ASSERT_EQ(gatun_qmatmul_packed_bytes(&weights, &packed_bytes), GATUN_OK);
  packed.assign(static_cast<size_t>(packed_bytes), kUntouched);
  packed_at = packed.data();
  code_book_at = nullptr;
  refused({"code_book is null"});
  weights = with_book;
  code_book_at = reinterpret_cast<float*>(reinterpret_cast<char*>(book.data()) + 2);
  refused({"code_book", "4"});
  code_book_at = book.data();
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity(), 0x1p65f}) {
    weights = with_book;
    book[15] = value;
    refused({"code_book[15]"});
  }
  book[15] = 0.25f;
  weights = with_book;
  code_book_at = reinterpret_cast<float*>(packed.data() + 64);
  EXPECT_TRUE(invalid(pack(), {"packed", "code_book"}));
  code_book_at = book.data();
  ASSERT_EQ(pack(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(unpack(), GATUN_OK) << gatun_last_error();
  code_book_at = reinterpret_cast<float*>(codes.data());
  EXPECT_TRUE(invalid(unpack(), {"codes", "code_book", "overlap"}));
}

TEST_F(PackBoundary, Sizes) {
  for (const int64_t size : {int64_t{-1}, kMin}) {
    weights.columns = size;
    description_refused({"columns", std::to_string(size).c_str()});
    weights.depth = weights.group = size;
    description_refused({"depth", std::to_string(size).c_str()});
  }
  for (const int64_t group : {kMin, int64_t{-1}, int64_t{0}, int64_t{1}, int64_t{15}, kDepth + 1, kMax}) {
    weights.group = group;
    description_refused({"group", std::to_string(group).c_str(), "16"});
  }
  for (const int64_t huge : {kMax, kMax / 2, int64_t{1} << 61}) {
    weights.columns = huge;
    description_refused({"columns", std::to_string(huge).c_str()});
    weights.depth = weights.group = huge;
    description_refused({"depth", std::to_string(huge).c_str()});
    weights.depth = weights.group = huge;
    weights.columns = huge;
    description_refused({"columns", "depth"});
    weights.depth = huge;
    description_refused({"depth"});
  }
}

TEST_F(PackBoundary, Buffers) {
  codes_at = nullptr;
  refused({"codes is null"});
  codes_at = codes.data();
  scales_at = nullptr;
  refused({"scales is null"});
  scales_at = reinterpret_cast<char*>(scales.data()) + 2;
  weights.columns = kColumns - 1;
  refused({"scales", "4"});
  scales_at = scales.data();
  zero_points_at = nullptr;
  refused({"zero_points is null"});
  zero_points_at = zero_points.data();
  weights.zero_point = GATUN_ZERO_NONE;
  refused({"zero_points", "null"});
  weights.zero_point = GATUN_ZERO_FLOAT;
  zero_points_at = reinterpret_cast<char*>(scales.data()) + 1;
  const int64_t of_good = packed_bytes;
  ASSERT_EQ(gatun_qmatmul_packed_bytes(given, &packed_bytes), GATUN_OK);
  packed.assign(static_cast<size_t>(packed_bytes), kUntouched);
  packed_at = packed.data();
  refused({"zero_points", "4"});
  packed_bytes = of_good;
  zero_points_at = zero_points.data();
  packed_at = nullptr;
  refused({"packed is null"});
  packed_at = packed.data();
  const int64_t needed = packed_bytes;
  for (const int64_t bytes : {kMin, int64_t{-1}, int64_t{0}, int64_t{63}, int64_t{64}, needed - 1}) {
    packed_bytes = bytes;
    refused({"packed_bytes", std::to_string(bytes).c_str(), std::to_string(needed).c_str()});
  }
}

TEST_F(PackBoundary, Overlaps) {
  const auto refused_name = [&](const char* other) {
    const std::vector<uint8_t> before = packed;
    EXPECT_TRUE(invalid(pack(), {"packed", other, "overlap"}));
    EXPECT_EQ(packed, before);
  };
  codes_at = packed.data() + packed_bytes - 1;
  refused_name("codes");
  codes_at = codes.data();
  scales_at = packed.data();
  refused_name("scales");
  scales_at = scales.data();
  zero_points_at = packed.data() + 70;
  refused_name("zero_points");
}

TEST_F(PackBoundary, Values) {
  const float good_scale = scales[4];
  for (const float value : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity(), std::nextafter(0x1p64f, 0x1p65f), -0x1p65f}) {
    scales[4] = value;
    refused({"scales[1][1]"});
  }
  scales[4] = good_scale;
  zero_points[8] = 16;
  refused({"zero_points[2][2]", "15"});
  weights.code_dtype = GATUN_U8;
  EXPECT_EQ(gatun_qmatmul_packed_bytes(given, &packed_bytes), GATUN_OK);
  packed.assign(static_cast<size_t>(packed_bytes), kUntouched);
  packed_at = packed.data();
  EXPECT_EQ(pack(), GATUN_OK) << gatun_last_error();

  // Float zero points.
  std::vector<float> zeros(kColumns * kGroups, -3.5f);
  zero_points_at = zeros.data();
  const auto expect_refused = [&](std::initializer_list<const char*> words) {
    ASSERT_EQ(gatun_qmatmul_packed_bytes(given, &packed_bytes), GATUN_OK) << gatun_last_error();
    packed.assign(static_cast<size_t>(packed_bytes), kUntouched);
    packed_at = packed.data();
    EXPECT_TRUE(invalid(pack(), words));
    EXPECT_TRUE(untouched(packed)) << "packed was written";
  };
  weights.zero_point = GATUN_ZERO_FLOAT;
  for (const float value :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), -0x1p65f}) {
    zeros[8] = value;
    expect_refused({"zero_points[2][2]"});
  }
  zero_points_at = zero_points.data();
  std::fill(zero_points.begin(), zero_points.end(), uint8_t{3});
  zero_points[8] = 4;
  weights.zero_point = GATUN_ZERO_INTEGER;
  weights.code_dtype = GATUN_U2;
  expect_refused({"zero_points[2][2]", "U2", "3"});

  // Codes that are no numbers; every code of 8 bits is an integer.
  weights.zero_point = GATUN_ZERO_NONE;
  zero_points_at = nullptr;
  const struct {
    int32_t dtype;
    uint8_t code;
    const char* word;
  } bad[] = {{GATUN_F8E4M3, 0x7f, "NaN"},      {GATUN_F8E4M3, 0xff, "NaN"}, {GATUN_F8E5M2, 0x7c, "infinity"},
             {GATUN_F8E5M2, 0xfc, "infinity"}, {GATUN_F8E5M2, 0x7d, "NaN"}, {GATUN_F8E5M2, 0xff, "NaN"}};
  for (const auto& b : bad) {
    weights.code_dtype = b.dtype;
    codes[1 * kDepth + 39] = b.code;
    expect_refused({"codes[1][39]", b.word});
  }
  weights.code_dtype = GATUN_I8;
  codes[1 * kDepth + 39] = 0x80;
  EXPECT_EQ(gatun_qmatmul_packed_bytes(given, &packed_bytes), GATUN_OK);
  EXPECT_EQ(pack(), GATUN_OK) << gatun_last_error();
}

TEST_F(PackBoundary, ScalesOfAByte) {
  std::vector<uint8_t> bytes(kColumns * kGroups, 0x38);
  scales_at = bytes.data();
  const struct {
    int32_t dtype;
    uint8_t scale;
    bool good;
  } cases[] = {{GATUN_E8M0, 0xff, false}, {GATUN_E8M0, 0xc0, false},   {GATUN_E8M0, 0xbf, true},
               {GATUN_E8M0, 0, true},     {GATUN_F8E4M3, 0x7f, false}, {GATUN_F8E4M3, 0xff, false},
               {GATUN_F8E4M3, 0xfe, true}};
  for (const auto& c : cases) {
    weights = good;
    weights.scale_dtype = c.dtype;
    bytes[5] = c.scale;
    if (c.good) {
      EXPECT_EQ(pack(), GATUN_OK) << gatun_last_error();
      packed.assign(packed.size(), kUntouched);
    } else {
      refused({"scales[1][2]", "finite"});
    }
  }
}

TEST_F(PackBoundary, F16Scales) {
  weights.scale_dtype = GATUN_F16;
  std::vector<uint16_t> half(kColumns * kGroups, 0x3c00);
  scales_at = half.data();
  for (const uint16_t bits : {uint16_t{0x7c00}, uint16_t{0xfc00}, uint16_t{0x7e00}}) {
    half[5] = bits;
    EXPECT_TRUE(invalid(pack(), {"scales[1][2]"}));
    EXPECT_TRUE(untouched(packed));
  }
  half[5] = 0x7bff;
  EXPECT_EQ(pack(), GATUN_OK) << gatun_last_error();
}

TEST_F(PackBoundary, EmptyWeightsNeedNoPlanes) {
  codes_at = scales_at = zero_points_at = nullptr;
  for (const bool no_columns : {true, false}) {
    weights = good;
    (no_columns ? weights.columns : weights.depth) = 0;
    if (!no_columns) weights.group = 0;
    ASSERT_EQ(gatun_qmatmul_packed_bytes(given, &packed_bytes), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(pack(), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(unpack(), GATUN_OK) << gatun_last_error();
  }
}

TEST_F(PackBoundary, BuffersThatAreNotPackedWeights) {
  ASSERT_EQ(pack(), GATUN_OK) << gatun_last_error();
  const std::vector<uint8_t> whole = packed;
  gatun_qmatmul_weights read;
  const auto describe_refused = [&](std::initializer_list<const char*> words) {
    std::memset(&read, kUntouched, sizeof(read));
    gatun_qmatmul_weights before;
    std::memset(&before, kUntouched, sizeof(before));
    EXPECT_TRUE(invalid(gatun_qmatmul_describe(packed_at, packed_bytes, &read), words));
    EXPECT_EQ(std::memcmp(&read, &before, sizeof(read)), 0) << "the description was written";
    const std::vector<uint8_t> codes_before = codes;
    EXPECT_TRUE(invalid(unpack(), words));
    EXPECT_EQ(codes, codes_before);
  };
  ASSERT_EQ(gatun_qmatmul_describe(packed_at, packed_bytes, &read), GATUN_OK);
  EXPECT_EQ(std::memcmp(&read, &good, sizeof(read)), 0);
  EXPECT_TRUE(invalid(gatun_qmatmul_describe(packed_at, packed_bytes, nullptr), {"weights is null"}));

  const int64_t needed = packed_bytes;
  packed_at = nullptr;
  describe_refused({"packed is null"});
  packed_at = packed.data();
  for (const int64_t bytes : {kMin, int64_t{-1}, int64_t{0}, int64_t{1}, int64_t{63}, int64_t{64}, needed - 1}) {
    packed_bytes = bytes;
    describe_refused({"packed", std::to_string(bytes).c_str()});
  }
  packed_bytes = needed;
  // No single bit of the header may change unnoticed, unless it describes other weights of the same size: 30 bits of
  // the tensor's scale, 30 of the rows that share scales.
  int accepted = 0;
  for (size_t bit = 0; bit < 64 * 8; ++bit) {
    packed[bit / 8] = static_cast<uint8_t>(packed[bit / 8] ^ 1 << bit % 8);
    if (gatun_qmatmul_describe(packed_at, packed_bytes, &read) == GATUN_OK) {
      ++accepted;
      int64_t bytes = 0;
      EXPECT_EQ(gatun_qmatmul_packed_bytes(&read, &bytes), GATUN_OK) << "bit " << bit;
      EXPECT_EQ(bytes, needed) << "bit " << bit;
    } else {
      describe_refused({"packed"});
    }
    packed = whole;
    packed_at = packed.data();
  }
  EXPECT_LT(accepted, 30 + 30 + 8);
  packed.assign(packed.size(), 0);
  describe_refused({"packed"});
}

TEST_F(PackBoundary, UnpackOfOtherWeights) {
  ASSERT_EQ(pack(), GATUN_OK) << gatun_last_error();
  const std::vector<uint8_t> codes_before = codes;
  weights.columns = kColumns - 1;
  EXPECT_TRUE(invalid(unpack(), {"packed holds [3, 40]", "[2, 40]"}));
  weights = good;
  weights.scale_dtype = GATUN_F16;
  EXPECT_TRUE(invalid(unpack(), {"packed holds", "scales F32", "scales F16"}));
  // All but one bit is said alike.
  weights = good;
  weights.tensor_scale = std::nextafter(good.tensor_scale, 2.0f);
  EXPECT_TRUE(invalid(unpack(), {"packed holds", "tensor scale 1;", "tensor scale 1.00000012"}));
  EXPECT_EQ(codes, codes_before);
}

TEST_F(PackBoundary, UnpackBuffers) {
  ASSERT_EQ(pack(), GATUN_OK) << gatun_last_error();
  const auto unpack_refused = [&](std::initializer_list<const char*> words) {
    const std::vector<uint8_t> codes_before = codes, zero_points_before = zero_points;
    const std::vector<float> scales_before = scales;
    EXPECT_TRUE(invalid(unpack(), words));
    EXPECT_TRUE(codes == codes_before && zero_points == zero_points_before && scales == scales_before);
    codes_at = codes.data();
    scales_at = scales.data();
    zero_points_at = zero_points.data();
  };
  codes_at = nullptr;
  unpack_refused({"codes is null"});
  scales_at = nullptr;
  unpack_refused({"scales is null"});
  zero_points_at = nullptr;
  unpack_refused({"zero_points is null"});
  codes_at = packed.data();
  unpack_refused({"packed", "codes", "overlap"});
  scales_at = packed.data();
  unpack_refused({"packed", "scales", "overlap"});
  zero_points_at = packed.data();
  unpack_refused({"packed", "zero_points", "overlap"});
  // Outputs must not overlap each other, either.
  scales_at = codes.data();
  unpack_refused({"codes", "scales", "overlap"});
  zero_points_at = codes.data();
  unpack_refused({"codes", "zero_points", "overlap"});
  zero_points_at = scales.data();
  unpack_refused({"scales", "zero_points", "overlap"});
}

}  // namespace
}  // namespace gatun::test
