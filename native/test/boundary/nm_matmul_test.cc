// Packing of N:M weights and what reads packed ones: every documented refusal.
#include "gatun/nm_matmul.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "boundary.h"
#include "gatun/quantize.h"

namespace gatun::test {
namespace {

constexpr int64_t kColumns = 3, kDepth = 40, kGroup = 16, kGroups = 3, kKept = 20;

// A good call; each test spoils one thing. 2:4 U4: rows of 10 bytes of values and 5 of indices.
class NmPackBoundary : public ::testing::Test {
 protected:
  NmPackBoundary() {
    EXPECT_EQ(gatun_nm_packed_bytes(&good, &packed_bytes), GATUN_OK) << gatun_last_error();
    packed.assign(static_cast<size_t>(packed_bytes) + 16, kUntouched);
    packed_at = packed.data();
  }

  int32_t pack() {
    return gatun_nm_pack(given, values_at, indices_at, scales_at, zero_points_at, packed_at, packed_bytes);
  }
  int32_t unpack() {
    return gatun_nm_unpack(&weights, packed_at, packed_bytes, values_at, indices_at, scales_at, zero_points_at);
  }
  void refused(std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(pack(), words));
    EXPECT_TRUE(untouched(packed)) << "packed was written";
    if (given == &weights) weights = good;
  }
  // What is wrong with the description, all refuse that take one.
  void description_refused(std::initializer_list<const char*> words) {
    int64_t bytes = 77;
    EXPECT_TRUE(invalid(gatun_nm_packed_bytes(given, &bytes), words));
    EXPECT_EQ(bytes, 77);
    int32_t slower = 77;
    char text[1024] = "\x7f";
    EXPECT_TRUE(invalid(gatun_nm_report(given, &slower, text, sizeof(text)), words));
    EXPECT_TRUE(slower == 77 && text[0] == '\x7f');
    refused(words);
  }

  const gatun_nm_weights good = {
      sizeof(gatun_nm_weights), 2, 4, 1, GATUN_U4, GATUN_ZERO_INTEGER, GATUN_F32, 0, 0, kColumns, kDepth, kGroup};
  gatun_nm_weights weights = good;
  const gatun_nm_weights* given = &weights;
  std::vector<uint8_t> values = std::vector<uint8_t>(kColumns * kKept / 2, 0x35),
                       indices = std::vector<uint8_t>(kColumns * kKept / 4, 0x8d);  // 1 3, 0 2
  std::vector<float> scales = std::vector<float>(kColumns * kGroups, 0.5f);
  std::vector<uint8_t> zero_points = std::vector<uint8_t>(kColumns * kGroups, 7);
  std::vector<uint8_t> packed;
  void* values_at = values.data();
  uint8_t* indices_at = indices.data();
  void* scales_at = scales.data();
  uint8_t* zero_points_at = zero_points.data();
  void* packed_at;
  int64_t packed_bytes;
};

TEST_F(NmPackBoundary, TheGoodCallIsAccepted) {
  ASSERT_EQ(pack(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(std::vector<uint8_t>(packed.end() - 16, packed.end()), std::vector<uint8_t>(16, kUntouched));
  EXPECT_EQ(unpack(), GATUN_OK) << gatun_last_error();
}

TEST_F(NmPackBoundary, Struct) {
  check_struct(weights, given, "weights", [&](auto words) { description_refused(words); });
  EXPECT_TRUE(invalid(gatun_nm_packed_bytes(&good, nullptr), {"bytes is null"}));
  char text[1024];
  EXPECT_TRUE(invalid(gatun_nm_report(&good, nullptr, text, sizeof(text)), {"slower is null"}));
}

TEST_F(NmPackBoundary, Patterns) {
  for (const int32_t m : {-4, 0, 1, 3, 5, 6, 12, 24, 33, 64, 1 << 30}) {
    weights.m = m;
    description_refused({"weights.m", std::to_string(m).c_str(), "2, 4, 8, 16, 32"});
  }
  for (const int32_t n : {-1, 0, 5, 1 << 30}) {
    weights.n = n;
    description_refused({"weights.n", std::to_string(n).c_str(), "1..4"});
  }
  for (const int32_t vector : {-1, 0, std::numeric_limits<int32_t>::min()}) {
    weights.vector = vector;
    description_refused({"weights.vector", std::to_string(vector).c_str()});
  }
}

TEST_F(NmPackBoundary, Enums) {
  for (const int32_t dtype : {0, -1, 15, int{GATUN_U8}, int{GATUN_U2}, int{GATUN_F8E4M3}, int{GATUN_F4E2M1}}) {
    weights.value_dtype = dtype;
    description_refused({"value_dtype", std::to_string(dtype).c_str(), "F32", "F16", "BF16", "I8", "U4"});
  }
  for (const int32_t dtype : {0, -1, int{GATUN_BF16}, int{GATUN_E8M0}, int{GATUN_F8E4M3}}) {
    weights.scale_dtype = dtype;
    description_refused({"scale_dtype", std::to_string(dtype).c_str(), "F32", "F16"});
  }
  for (const int32_t zero_point : {-1, int{GATUN_ZERO_FLOAT}, 3}) {
    weights.zero_point = zero_point;
    description_refused({"zero_point", std::to_string(zero_point).c_str()});
  }
  for (const int32_t dtype : {int{GATUN_F32}, int{GATUN_I8}}) {
    weights.value_dtype = dtype;
    description_refused({"zero_point", "U4"});
  }
  for (const int32_t dense : {-1, 2}) {
    weights.dense = dense;
    description_refused({"weights.dense", std::to_string(dense).c_str()});
  }
  for (const int32_t dtype : {int{GATUN_F32}, int{GATUN_F16}, int{GATUN_BF16}}) {
    weights.value_dtype = dtype;
    weights.zero_point = 0;
    description_refused({"scale_dtype", "0"});
    weights.value_dtype = dtype;
    weights.zero_point = weights.scale_dtype = 0;
    description_refused({"group", "16", "0"});
  }
}

TEST_F(NmPackBoundary, Sizes) {
  for (const int64_t size : {kMin, int64_t{-1}}) {
    weights.rows = size;
    description_refused({"weights.rows", std::to_string(size).c_str()});
  }
  for (const int64_t size : {kMin, int64_t{-1}, (int64_t{1} << 52) + 1, kMax}) {
    weights.columns = size;
    description_refused({"columns", std::to_string(size).c_str()});
    weights.depth = size;
    description_refused({"depth", std::to_string(size).c_str()});
  }
  for (const int64_t group :
       {kMin, int64_t{-16}, int64_t{0}, int64_t{12}, int64_t{15}, int64_t{18}, kDepth + 4, kMax}) {
    weights.group = group;
    description_refused({"group", std::to_string(group).c_str(), "16", "m = 4"});
  }
  for (const int64_t columns : {int64_t{1} << 27, int64_t{1} << 52}) {
    weights.columns = columns;
    weights.depth = int64_t{1} << 26;
    description_refused({"columns", "depth", "2^52"});
  }
  // The largest that is allowed has a size.
  weights = good;
  weights.columns = 1;
  weights.depth = weights.group = int64_t{1} << 52;
  int64_t bytes = 0;
  EXPECT_EQ(gatun_nm_packed_bytes(&weights, &bytes), GATUN_OK) << gatun_last_error();
  EXPECT_GT(bytes, weights.depth / 4);
  weights.depth = weights.group = 1;
  weights.columns = int64_t{1} << 52;
  EXPECT_EQ(gatun_nm_packed_bytes(&weights, &bytes), GATUN_OK) << gatun_last_error();
  EXPECT_GT(bytes, weights.columns);
}

TEST_F(NmPackBoundary, Buffers) {
  values_at = nullptr;
  refused({"values is null"});
  values_at = values.data();
  indices_at = nullptr;
  refused({"indices is null"});
  indices_at = indices.data();
  scales_at = nullptr;
  refused({"scales is null"});
  scales_at = reinterpret_cast<char*>(scales.data()) + 2;
  refused({"scales", "4"});
  scales_at = scales.data();
  zero_points_at = nullptr;
  refused({"zero_points is null"});
  zero_points_at = zero_points.data();
  weights.zero_point = GATUN_ZERO_NONE;
  refused({"zero_points", "null"});
  const int64_t needed = packed_bytes;
  packed_at = nullptr;
  refused({"packed is null"});
  packed_at = packed.data();
  for (const int64_t bytes : {kMin, int64_t{-1}, int64_t{0}, int64_t{63}, needed - 1}) {
    packed_bytes = bytes;
    refused({"packed_bytes", std::to_string(bytes).c_str(), std::to_string(needed).c_str()});
  }
}

TEST_F(NmPackBoundary, FloatsHaveNeitherScalesNorZeroPoints) {
  weights.value_dtype = GATUN_F16;
  weights.zero_point = weights.scale_dtype = 0;
  weights.group = 0;
  const gatun_nm_weights floats = weights;
  const std::vector<uint16_t> halves(kColumns * kKept + 1, 0x3c00);
  ASSERT_EQ(gatun_nm_packed_bytes(&floats, &packed_bytes), GATUN_OK);
  packed.assign(static_cast<size_t>(packed_bytes), kUntouched);
  packed_at = packed.data();
  values_at = const_cast<uint16_t*>(halves.data());
  refused({"scales", "null"});
  weights = floats;
  scales_at = nullptr;
  refused({"zero_points", "null"});
  weights = floats;
  zero_points_at = nullptr;
  values_at = reinterpret_cast<char*>(const_cast<uint16_t*>(halves.data())) + 1;
  refused({"values", "2"});
  weights = floats;
  values_at = const_cast<uint16_t*>(halves.data());
  EXPECT_EQ(pack(), GATUN_OK) << gatun_last_error();
}

TEST_F(NmPackBoundary, Overlaps) {
  const auto refused_name = [&](const char* other) {
    const std::vector<uint8_t> before = values, indices_before = indices, zeros_before = zero_points;
    EXPECT_TRUE(invalid(pack(), {"packed", other, "overlap"}));
    EXPECT_TRUE(values == before && indices == indices_before && zero_points == zeros_before);
  };
  packed.resize(packed.size() + 1000);
  packed_at = packed.data();
  values_at = packed.data() + 3;
  refused_name("values");
  values_at = values.data();
  indices_at = packed.data() + packed_bytes - 1;
  refused_name("indices");
  indices_at = indices.data();
  zero_points_at = packed.data() + 60;
  refused_name("zero_points");
  zero_points_at = zero_points.data();
  scales_at = packed.data() + 64;
  refused_name("scales");
}

TEST_F(NmPackBoundary, Indices) {
  // Row 1, group 3 is the high nibble of byte 6.
  for (const int nibble : {0x0, 0x5, 0xa, 0xf, 0x1, 0x2, 0x3, 0x6, 0x7, 0xb}) {
    indices[6] = static_cast<uint8_t>(nibble << 4 | 0xd);
    refused({"indices", "row 1", "group 3"});
  }
  indices[6] = 0x8d;
  // 1:2 of depth 6: 6 bits, and indices of 2 bits that M = 2 does not have.
  weights = {sizeof(weights), 1, 2, 2, GATUN_I8, 0, GATUN_F32, 0, 0, 3, 6, 6};
  const gatun_nm_weights pairs = weights;
  zero_points_at = nullptr;
  for (const auto& [byte, word] :
       {std::pair<uint8_t, const char*>{0x08, "group 1"}, {0x30, "group 2"}, {0x40, "beyond"}}) {
    indices = {0x15, byte};
    indices_at = indices.data();
    weights = pairs;
    refused({"indices", "row 1", word});
  }
  // Shared by rows 0 and 1, and of row 2.
  indices = {0x15, 0x00};
  indices_at = indices.data();
  weights = pairs;
  EXPECT_EQ(pack(), GATUN_OK) << gatun_last_error();
}

TEST_F(NmPackBoundary, ScalesAndZeroPoints) {
  for (const float wrong : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
    scales[4] = wrong;
    refused({"scales[1][1]", "finite"});
  }
  scales[4] = 1;
  zero_points[8] = 16;
  refused({"zero_points[2][2]", "16", "0..15"});
}

TEST_F(NmPackBoundary, FloatValues) {
  for (const int32_t dtype : {int{GATUN_F32}, int{GATUN_F16}, int{GATUN_BF16}}) {
    const gatun_nm_weights floats = {sizeof(floats), 2, 4, 1, dtype, 0, 0, 0, 0, kColumns, kDepth, 0};
    ASSERT_EQ(gatun_nm_packed_bytes(&floats, &packed_bytes), GATUN_OK);
    packed.assign(static_cast<size_t>(packed_bytes), kUntouched);
    packed_at = packed.data();
    scales_at = nullptr;
    zero_points_at = nullptr;
    const uint32_t exponent = dtype == GATUN_F32 ? 0x7f800000u : dtype == GATUN_F16 ? 0x7c00u : 0x7f80u;
    const uint32_t sign = dtype == GATUN_F32 ? 0x80000000u : 0x8000u;
    const size_t element = dtype == GATUN_F32 ? 4 : 2;
    for (const uint32_t bits : {exponent, exponent | sign, exponent + 1, exponent | sign | 1}) {
      values.assign(kColumns * kKept * element, 0);
      std::memcpy(&values[(2 * kKept + 7) * element], &bits, element);
      values_at = values.data();
      weights = floats;
      refused({"values[2][7]", "finite"});
    }
    // The largest finite numbers.
    const uint32_t largest = exponent - 1, least = largest | sign;
    std::memcpy(&values[0], &largest, element);
    std::memcpy(&values[(2 * kKept + 7) * element], &least, element);
    weights = floats;
    EXPECT_EQ(pack(), GATUN_OK) << gatun_last_error();
  }
}

TEST_F(NmPackBoundary, EmptyWeightsNeedNoPlanes) {
  for (const bool no_columns : {false, true}) {
    weights = good;
    weights.columns = no_columns ? 0 : int64_t{1} << 40;
    weights.depth = no_columns ? kDepth : 0;
    weights.group = weights.depth;
    ASSERT_EQ(gatun_nm_packed_bytes(&weights, &packed_bytes), GATUN_OK);
    EXPECT_EQ(packed_bytes, 64);
    values_at = scales_at = nullptr;
    indices_at = zero_points_at = nullptr;
    EXPECT_EQ(pack(), GATUN_OK) << gatun_last_error();
    EXPECT_EQ(unpack(), GATUN_OK) << gatun_last_error();
  }
}

// Loops over columns or groups of no bytes would not end, and lists of them would not fit in memory.
TEST_F(NmPackBoundary, ManyColumnsWithoutDepthAndTheOtherWayRound) {
  values_at = scales_at = nullptr;
  indices_at = zero_points_at = nullptr;
  for (const int32_t dtype : {int{GATUN_F32}, int{GATUN_BF16}, int{GATUN_I8}, int{GATUN_U4}}) {
    for (const int32_t dense : {GATUN_NM_DENSE_NEVER, GATUN_NM_DENSE_IF_FASTER}) {
      for (const bool no_depth : {false, true}) {
        const bool codes = dtype == GATUN_I8 || dtype == GATUN_U4;
        const int64_t huge = int64_t{1} << 52;
        weights = {sizeof(weights),
                   dense == 0 ? 2 : 4,
                   4,
                   1,
                   dtype,
                   0,
                   codes ? int{GATUN_F16} : 0,
                   dense,
                   1,
                   no_depth ? huge : 0,
                   no_depth ? 0 : huge,
                   codes && !no_depth ? 16 : 0};
        ASSERT_EQ(gatun_nm_packed_bytes(&weights, &packed_bytes), GATUN_OK) << gatun_last_error();
        EXPECT_EQ(packed_bytes, 64);
        EXPECT_EQ(pack(), GATUN_OK) << gatun_last_error();
        EXPECT_EQ(unpack(), GATUN_OK) << gatun_last_error();
        gatun_nm_weights read;
        EXPECT_EQ(gatun_nm_describe(packed_at, packed_bytes, &read), GATUN_OK) << gatun_last_error();
        EXPECT_EQ(std::memcmp(&read, &weights, sizeof(read)), 0);
        int32_t slower;
        char text[2048];
        EXPECT_EQ(gatun_nm_report(&weights, &slower, text, sizeof(text)), GATUN_OK) << gatun_last_error();
        gatun_nm_matmul_params params{};
        params.struct_size = sizeof(params);
        params.x_dtype = params.y_dtype = GATUN_F32;
        params.threads = 1;
        params.columns = params.column_end = params.y_row_stride = weights.columns;
        params.depth = params.x_row_stride = weights.depth;
        for (const int64_t rows : {int64_t{0}, int64_t{3}}) {
          params.rows = rows;
          EXPECT_EQ(gatun_nm_matmul_explain(&params, packed_at, packed_bytes, text, sizeof(text)), GATUN_OK)
              << gatun_last_error();
        }
        params.rows = 0;
        EXPECT_EQ(gatun_nm_matmul(&params, nullptr, packed_at, packed_bytes, nullptr, nullptr, nullptr), GATUN_OK)
            << gatun_last_error();
      }
    }
  }
  // Neither columns nor depth, and any number of rows.
  weights = {sizeof(weights), 2, 4, 1, GATUN_F32, 0, 0, 0, 0, 0, 0, 0};
  ASSERT_EQ(gatun_nm_packed_bytes(&weights, &packed_bytes), GATUN_OK);
  ASSERT_EQ(pack(), GATUN_OK) << gatun_last_error();
  const gatun_nm_matmul_params params = {
      sizeof(params), GATUN_F32, GATUN_F32, GATUN_NM_F32, 0, 1, kMax, 0, 0, 0, 0, 0, 0, 0};
  EXPECT_EQ(gatun_nm_matmul(&params, nullptr, packed_at, packed_bytes, nullptr, nullptr, nullptr), GATUN_OK)
      << gatun_last_error();
}

TEST_F(NmPackBoundary, HeadersThatLie) {
  ASSERT_EQ(pack(), GATUN_OK);
  const std::vector<uint8_t> whole = packed;
  gatun_nm_weights read;
  const auto describe_refused = [&](std::initializer_list<const char*> words) {
    gatun_nm_weights untouched_weights;
    std::memset(&untouched_weights, kUntouched, sizeof(untouched_weights));
    std::memcpy(&read, &untouched_weights, sizeof(read));
    EXPECT_TRUE(invalid(gatun_nm_describe(packed.data(), packed_bytes, &read), words));
    EXPECT_EQ(std::memcmp(&read, &untouched_weights, sizeof(read)), 0);
    EXPECT_TRUE(invalid(unpack(), words));
    packed = whole;
    packed_at = packed.data();
  };
  EXPECT_TRUE(invalid(gatun_nm_describe(packed.data(), packed_bytes, nullptr), {"weights is null"}));
  EXPECT_TRUE(invalid(gatun_nm_describe(nullptr, packed_bytes, &read), {"packed is null"}));
  // Every byte of the header counts.
  for (size_t byte = 0; byte < 64; ++byte) {
    for (const int change : {0x01, 0x80, 0xff}) {
      packed[byte] = static_cast<uint8_t>(packed[byte] ^ change);
      EXPECT_NE(unpack(), GATUN_OK) << "byte " << byte << " changed by " << change;
      packed = whole;
    }
  }
  packed_at = packed.data();
  packed[0] = 'X';
  describe_refused({"packed", "gatun_nm_pack"});
  packed[8] = 99;
  describe_refused({"version 99"});
  packed[10] = 1;
  describe_refused({"format 1", "gatun_qmatmul_pack", "gatun_nm_pack"});
  packed[12] = 5;  // n
  describe_refused({"packed header.n", "5"});
  packed[18] = 1;  // stored dense, which is not allowed
  describe_refused({"packed header.stored_dense"});
  packed[32] = 20;  // more columns
  describe_refused({"packed holds"});
  const int64_t needed = packed_bytes;
  for (const int64_t bytes : {kMin, int64_t{-1}, int64_t{0}, int64_t{63}, int64_t{64}, needed - 1}) {
    packed_bytes = bytes;
    describe_refused({"packed", std::to_string(bytes).c_str()});
  }
}

TEST_F(NmPackBoundary, UnpackTakesWhatItWasSizedFor) {
  ASSERT_EQ(pack(), GATUN_OK);
  const std::vector<uint8_t> before = values;
  weights.columns = kColumns - 1;
  EXPECT_TRUE(invalid(unpack(), {"packed holds [3, 40] 2:4", "[2, 40] 2:4"}));
  weights = good;
  weights.rows = 5;
  EXPECT_TRUE(invalid(unpack(), {"packed holds", "for 5 rows"}));
  weights = good;
  weights.n = 9;
  EXPECT_TRUE(invalid(unpack(), {"weights.n"}));
  weights = good;
  values_at = nullptr;
  EXPECT_TRUE(invalid(unpack(), {"values is null"}));
  values_at = packed.data() + 8;
  EXPECT_TRUE(invalid(unpack(), {"values", "packed", "overlap"}));
  values_at = indices.data();
  EXPECT_TRUE(invalid(unpack(), {"values", "indices", "overlap"}));
  EXPECT_EQ(values, before);
}

// A packed form of the other op is refused by name, on both sides.
TEST_F(NmPackBoundary, FormsOfTheOtherOp) {
  ASSERT_EQ(pack(), GATUN_OK);
  gatun_qmatmul_weights described;
  EXPECT_TRUE(invalid(gatun_qmatmul_describe(packed.data(), packed_bytes, &described),
                      {"format 2", "gatun_nm_pack", "gatun_qmatmul_pack"}));
  const gatun_qmatmul_weights dense = {sizeof(dense), GATUN_I8, 0, 0, GATUN_F32, 0, 1, 1.0f, kColumns, kDepth, kDepth};
  int64_t bytes = 0;
  ASSERT_EQ(gatun_qmatmul_packed_bytes(&dense, &bytes), GATUN_OK);
  std::vector<uint8_t> other(static_cast<size_t>(bytes));
  const std::vector<int8_t> codes(kColumns * kDepth);
  ASSERT_EQ(gatun_qmatmul_pack(&dense, codes.data(), nullptr, scales.data(), nullptr, other.data(), bytes), GATUN_OK);
  const gatun_nm_matmul_params params = {sizeof(params), GATUN_F32, GATUN_F32, GATUN_NM_INT8, 0, 1, 1,
                                         kColumns,       kDepth,    kDepth,    kColumns,      0, 0, kColumns};
  const std::vector<float> x(kDepth);
  std::vector<float> y(kColumns);
  EXPECT_TRUE(invalid(gatun_nm_matmul(&params, x.data(), other.data(), bytes, nullptr, nullptr, y.data()),
                      {"format 1", "gatun_qmatmul_pack", "gatun_nm_pack"}));
}

TEST_F(NmPackBoundary, Report) {
  check_text(
      [&](char* text, int64_t capacity) {
        int32_t slower;
        return gatun_nm_report(&good, &slower, text, capacity);
      },
      1024);
  int32_t slower = 77;
  char text[1024];
  EXPECT_TRUE(invalid(gatun_nm_report(&good, &slower, text, 10), {"capacity"}));
  EXPECT_EQ(slower, 77);
}

}  // namespace
}  // namespace gatun::test
