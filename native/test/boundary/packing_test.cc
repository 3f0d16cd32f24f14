// gatun_packing_*: every documented refusal.
#include "gatun/packing.h"

#include <cmath>
#include <cstring>

#include "boundary.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

constexpr int64_t kColumns = 8, kDepth = 32, kGroup = 16, kGroups = 2;

// A good call of GPTQ with zero points and an order of the depth; each test spoils one thing.
class PackingBoundary : public ::testing::Test {
 protected:
  PackingBoundary() {
    for (int32_t k = 0; k < kDepth; ++k) group_index[static_cast<size_t>(k)] = k % 2;
    for (int32_t j = 0; j < kDepth; ++j) permutation[static_cast<size_t>(j)] = j % 16 * 2 + j / 16;
    floats(packed_scales, 0.5f);
    floats(scales, 0.5f);
  }

  static void floats(std::vector<uint8_t>& plane, float value) {
    for (size_t at = 0; at + 4 <= plane.size(); at += 4) std::memcpy(plane.data() + at, &value, 4);
  }
  static void set(std::vector<uint8_t>& plane, size_t index, float value) {
    std::memcpy(plane.data() + 4 * index, &value, 4);
  }

  int32_t read() {
    return gatun_packing_read(given, packed_codes_at, packed_scales_at, packed_zeros_at, group_index_at, codes_at,
                              scales_at, zeros_at, permutation_at);
  }
  int32_t write() {
    return gatun_packing_write(given, codes_at, scales_at, zeros_at, permutation_at, packed_codes_at, packed_scales_at,
                               packed_zeros_at, group_index_at);
  }

  // Nothing changes in any plane, be it input or output.
  template <class Call>
  void refused(Call call, std::initializer_list<const char*> words) {
    const auto planes = [&] {
      return std::vector<std::vector<uint8_t>>{packed_codes, packed_scales, packed_zeros, codes, scales, zeros};
    };
    const auto before = planes();
    const std::vector<int32_t> index_before = group_index, permutation_before = permutation;
    EXPECT_TRUE(invalid(call(), words));
    EXPECT_EQ(planes(), before) << "a plane was written";
    EXPECT_EQ(group_index, index_before);
    EXPECT_EQ(permutation, permutation_before);
  }
  void read_refuses(std::initializer_list<const char*> words) {
    refused([&] { return read(); }, words);
  }
  void write_refuses(std::initializer_list<const char*> words) {
    refused([&] { return write(); }, words);
  }
  // Both directions and the sizes check params alike.
  void params_refused(std::initializer_list<const char*> words) {
    read_refuses(words);
    write_refuses(words);
    int64_t sizes[3] = {-5, -5, -5};
    EXPECT_TRUE(invalid(gatun_packing_bytes(given, sizes, sizes + 1, sizes + 2), words));
    EXPECT_EQ(sizes[0], -5);
    params = good;
  }
  void both_refuse(std::initializer_list<const char*> words) {
    read_refuses(words);
    write_refuses(words);
  }

  const gatun_packing_params good = {sizeof(gatun_packing_params),
                                     GATUN_PACKING_GPTQ,
                                     GATUN_U4,
                                     GATUN_ZERO_INTEGER,
                                     GATUN_F32,
                                     GATUN_F32,
                                     0,
                                     1,
                                     kColumns,
                                     kDepth,
                                     kGroup};
  gatun_packing_params params = good;
  const gatun_packing_params* given = &params;
  std::vector<uint8_t> packed_codes = std::vector<uint8_t>(kColumns * kDepth, 0x21);  // of 8 bits even
  std::vector<uint8_t> packed_scales = std::vector<uint8_t>(kColumns * kGroups * 4);
  std::vector<uint8_t> packed_zeros = std::vector<uint8_t>(kColumns * kGroups * 4, 0x21);
  std::vector<uint8_t> codes = std::vector<uint8_t>(kColumns * kDepth, 0x21);
  std::vector<uint8_t> scales = std::vector<uint8_t>(kColumns * kGroups * 4);
  std::vector<uint8_t> zeros = std::vector<uint8_t>(kColumns * kGroups * 4, 3);
  std::vector<int32_t> group_index = std::vector<int32_t>(kDepth), permutation = std::vector<int32_t>(kDepth);
  void *packed_codes_at = packed_codes.data(), *packed_scales_at = packed_scales.data(),
       *packed_zeros_at = packed_zeros.data(), *codes_at = codes.data(), *scales_at = scales.data(),
       *zeros_at = zeros.data();
  int32_t *group_index_at = group_index.data(), *permutation_at = permutation.data();
};

TEST_F(PackingBoundary, TheGoodCallsAreAccepted) {
  int64_t sizes[3];
  EXPECT_EQ(gatun_packing_bytes(given, sizes, sizes + 1, sizes + 2), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(sizes[0], kColumns * kDepth / 2);
  EXPECT_EQ(sizes[1], kColumns * kGroups * 4);
  EXPECT_EQ(sizes[2], kColumns * kGroups / 2);
  EXPECT_EQ(write(), GATUN_OK) << gatun_last_error();
  const std::vector<int32_t> expected = permutation;
  EXPECT_EQ(read(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(permutation, expected);
  permutation_at = nullptr;
  EXPECT_EQ(write(), GATUN_OK) << gatun_last_error();  // in the order as it is
  EXPECT_EQ(group_index[15], 0);
  EXPECT_EQ(group_index[16], 1);
  EXPECT_EQ(read(), GATUN_OK) << gatun_last_error();
  group_index_at = nullptr;
  EXPECT_EQ(write(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(read(), GATUN_OK) << gatun_last_error();
}

TEST_F(PackingBoundary, Struct) {
  check_struct(params, given, "params", [&](auto words) { params_refused(words); });
}

TEST_F(PackingBoundary, SizesNeedMemory) {
  int64_t size;
  EXPECT_TRUE(invalid(gatun_packing_bytes(given, nullptr, &size, &size), {"codes is null"}));
  EXPECT_TRUE(invalid(gatun_packing_bytes(given, &size, nullptr, &size), {"scales is null"}));
  EXPECT_TRUE(invalid(gatun_packing_bytes(given, &size, &size, nullptr), {"zero_points is null"}));
}

TEST_F(PackingBoundary, Enums) {
  for (const int32_t packing : {-1, 0, 8, 1 << 30}) {
    params.packing = packing;
    params_refused({"packing", std::to_string(packing).c_str(), "1..7"});
  }
  for (const int32_t dtype : {0, -1, int{GATUN_F32}, int{GATUN_I32}, int{GATUN_F8E4M3}, int{GATUN_F4E2M1}, 99}) {
    params.code_dtype = dtype;
    params_refused({"code_dtype", std::to_string(dtype).c_str(), "GPTQ", "U2, U4, U8, I8"});
  }
  params.packing = GATUN_PACKING_AWQ;
  params.code_dtype = GATUN_U8;
  params_refused({"code_dtype", "U8", "AWQ", "allowed: U4"});
  params.packing = GATUN_PACKING_JLAMA;
  params.code_dtype = GATUN_U2;
  params_refused({"code_dtype", "U2", "JLAMA", "U4, I8"});
  for (const int32_t zero : {-1, 3, 1 << 30}) {
    params.zero_point = zero;
    params_refused({"zero_point", std::to_string(zero).c_str()});
  }
  params.zero_point = GATUN_ZERO_FLOAT;
  params_refused({"zero_point", "GPTQ", "GATUN_ZERO_NONE, GATUN_ZERO_INTEGER"});
  params.packing = GATUN_PACKING_BITSANDBYTES;
  params_refused({"zero_point", "BITSANDBYTES", "allowed: GATUN_ZERO_NONE"});
  params.packing = GATUN_PACKING_TORCHAO;
  params_refused({"zero_point", "TORCHAO", "allowed: GATUN_ZERO_FLOAT"});
  params.code_dtype = GATUN_U8;
  params.zero_point = GATUN_ZERO_NONE;
  params_refused({"code_dtype", "U8", "I8 without"});
  params.code_dtype = GATUN_I8;
  params_refused({"code_dtype", "I8", "U8 with"});
}

TEST_F(PackingBoundary, TypesOfFloats) {
  for (const int32_t dtype : {0, -1, int{GATUN_BF16}, int{GATUN_E8M0}, int{GATUN_I8}}) {
    params.scale_dtype = dtype;
    params_refused({"params.scale_dtype", std::to_string(dtype).c_str(), "F32, F16"});
  }
  for (const int32_t dtype : {0, -1, int{GATUN_E8M0}, int{GATUN_I32}}) {
    params.packed_scale_dtype = dtype;
    params_refused({"packed_scale_dtype", std::to_string(dtype).c_str(), "F32, F16, BF16"});
  }
  params.scale_dtype = GATUN_F16;
  params_refused({"packed_scale_dtype", "F32", "allowed: F16"});
  params.packing = GATUN_PACKING_JLAMA;
  params.zero_point = GATUN_ZERO_NONE;
  params.scale_dtype = GATUN_F16;
  params_refused({"params.scale_dtype", "JLAMA", "F32"});
  params.packing = GATUN_PACKING_JLAMA;
  params.zero_point = GATUN_ZERO_NONE;
  params.packed_scale_dtype = GATUN_F16;
  params_refused({"packed_scale_dtype", "JLAMA", "allowed: F32"});
  params.packed_zero_dtype = GATUN_F32;
  params_refused({"packed_zero_dtype", "allowed: 0"});
  params.packing = GATUN_PACKING_MATMUL_NBITS;
  params.zero_point = GATUN_ZERO_FLOAT;
  params_refused({"packed_zero_dtype", "0", "F32, F16, BF16"});
}

TEST_F(PackingBoundary, Sizes) {
  for (const int32_t threads : {-1, 1025}) {
    params.threads = threads;
    params_refused({"threads", std::to_string(threads).c_str(), "1024"});
  }
  for (const int64_t size : {int64_t{-1}, kMin, (int64_t{1} << 52) + 1, kMax}) {
    params.columns = size;
    params_refused({"params.columns", std::to_string(size).c_str()});
    params.depth = size;
    params_refused({"params.depth", std::to_string(size).c_str()});
  }
  for (const int64_t columns : {1, 7, 12}) {
    params.columns = columns;
    params_refused({"params.columns", std::to_string(columns).c_str(), "multiples of 8"});
    params.packing = GATUN_PACKING_AWQ;
    params.columns = columns;
    params_refused({"params.columns", std::to_string(columns).c_str(), "AWQ", "multiples of 8"});
  }
  params.columns = kColumns;
  params.code_dtype = GATUN_U2;
  params_refused({"params.columns", "8", "2 bits", "multiples of 16"});
  params.depth = 31;
  params_refused({"params.depth", "31", "multiples of 8"});
  for (const int64_t group : {kMin, int64_t{-1}, int64_t{0}, int64_t{15}, kDepth + 1, kMax}) {
    params.group = group;
    params_refused({"params.group", std::to_string(group).c_str(), "16..depth"});
  }
  params.packing = GATUN_PACKING_MATMUL_NBITS;
  for (const int64_t group : {int64_t{-16}, int64_t{0}, int64_t{8}, int64_t{24}, int64_t{1} << 53, kMin}) {
    params.packing = GATUN_PACKING_MATMUL_NBITS;
    params.group = group;
    params_refused({"params.group", std::to_string(group).c_str(), "powers of two"});
  }
  params.packing = GATUN_PACKING_BITSANDBYTES;
  params.zero_point = GATUN_ZERO_NONE;
  params_refused({"params.columns", "8", "1..1"});
  params.packing = GATUN_PACKING_TORCHAO;
  params.zero_point = GATUN_ZERO_FLOAT;
  params.packed_zero_dtype = GATUN_F32;
  params.depth = 33;
  params_refused({"params.depth", "33", "multiples of 2"});
  params.packing = GATUN_PACKING_JLAMA;
  params.zero_point = GATUN_ZERO_NONE;
  params_refused({"params.group", "16", "32"});
  params.packing = GATUN_PACKING_JLAMA;
  params.zero_point = GATUN_ZERO_NONE;
  params.group = 32;
  params.depth = 48;
  params_refused({"params.depth", "48", "JLAMA", "multiples of 32"});
}

TEST_F(PackingBoundary, ExtentsThatOverflow) {
  params.columns = params.depth = int64_t{1} << 40;
  params_refused({"packed_codes"});
  params.packing = GATUN_PACKING_MATMUL_NBITS;
  params.columns = params.depth = int64_t{1} << 40;
  params_refused({"packed_codes"});
  group_index_at = permutation_at = nullptr;
  params.depth = int64_t{1} << 31;
  params.columns = 0;
  EXPECT_EQ(read(), GATUN_OK) << gatun_last_error();  // nothing to do
  group_index_at = group_index.data();
  params.depth = int64_t{1} << 31;
  params.columns = 0;
  both_refuse({"params.depth", "2147483648", "2147483647"});
}

TEST_F(PackingBoundary, NullsAndAlignment) {
  const struct {
    const char* name;
    void** at;
    int64_t alignment;
  } planes[] = {{"packed_codes", &packed_codes_at, 1},
                {"packed_scales", &packed_scales_at, 4},
                {"packed_zero_points", &packed_zeros_at, 1},
                {"codes", &codes_at, 1},
                {"scales", &scales_at, 4},
                {"zero_points", &zeros_at, 1}};
  params.columns = 0;  // no plane has a byte
  for (const auto& plane : planes) {
    void* const right = *plane.at;
    *plane.at = nullptr;
    EXPECT_EQ(read(), GATUN_OK) << gatun_last_error();
    *plane.at = right;
  }
  params = good;
  for (const auto& plane : planes) {
    void* const right = *plane.at;
    *plane.at = nullptr;
    both_refuse({plane.name, "null"});
    if (plane.alignment > 1) {
      *plane.at = static_cast<char*>(right) + 2;
      both_refuse({plane.name, "multiples of 4"});
    }
    *plane.at = right;
  }
  group_index_at = reinterpret_cast<int32_t*>(reinterpret_cast<char*>(group_index.data()) + 1);
  both_refuse({"group_index", "multiples of 4"});
  group_index_at = group_index.data();
  permutation_at = reinterpret_cast<int32_t*>(reinterpret_cast<char*>(permutation.data()) + 1);
  both_refuse({"permutation", "multiples of 4"});
}

TEST_F(PackingBoundary, WhatIsNotThereMustBeNull) {
  group_index_at = nullptr;
  both_refuse({"group_index is null with permutation"});
  permutation_at = nullptr;
  params.zero_point = GATUN_ZERO_NONE;
  both_refuse({"zero_points is not null", "allowed: null"});
  zeros_at = nullptr;
  params.packing = GATUN_PACKING_MATMUL_NBITS;
  both_refuse({"packed_zero_points is not null", "allowed: null"});
  packed_zeros_at = nullptr;
  EXPECT_EQ(read(), GATUN_OK) << gatun_last_error();
  group_index_at = group_index.data();
  both_refuse({"group_index is not null", "allowed: null"});
}

TEST_F(PackingBoundary, Overlaps) {
  codes_at = packed_codes.data() + packed_codes.size() / 2 - 1;  // the last byte of what is read
  both_refuse({"codes", "packed_codes", "overlap"});
  codes_at = codes.data();
  scales_at = packed_scales.data() + 4;
  both_refuse({"scales", "packed_scales", "overlap"});
  scales_at = codes.data();
  read_refuses({"codes", "scales", "overlap"});
  scales_at = scales.data();
  zeros_at = packed_zeros.data();
  both_refuse({"zero_points", "packed_zero_points", "overlap"});
  zeros_at = zeros.data();
  permutation_at = group_index.data();
  both_refuse({"permutation", "group_index", "overlap"});
}

TEST_F(PackingBoundary, Scales) {
  for (const float wrong : {std::nanf(""), INFINITY, -INFINITY}) {
    set(packed_scales, 1 * kColumns + 3, wrong);
    read_refuses({"packed_scales", "column 3, group 1", "finite"});
    set(packed_scales, 1 * kColumns + 3, 1);
    set(scales, 3 * kGroups + 1, wrong);
    write_refuses({"scales", "column 3, group 1", "finite"});
    set(scales, 3 * kGroups + 1, 1);
  }
  params.packed_scale_dtype = GATUN_F16;
  set(scales, 5, 1.0f / 3);
  write_refuses({"scales", "column 2, group 1", "0.3333", "exact in F16"});
  params.packed_scale_dtype = GATUN_BF16;
  write_refuses({"scales", "column 2, group 1", "exact in BF16"});
  set(scales, 5, 70000);
  params.packed_scale_dtype = GATUN_F16;
  write_refuses({"scales", "70000", "exact in F16"});
}

TEST_F(PackingBoundary, IntegerZeroPoints) {
  zeros[5] = 16;
  write_refuses({"zero_points", "column 2, group 1", "16", "0..15"});
  zeros[5] = 3;
  // Without zero points all have to be 8, stored as 7.
  params.zero_point = GATUN_ZERO_NONE;
  zeros_at = nullptr;
  group_index_at = permutation_at = nullptr;
  std::fill(packed_zeros.begin(), packed_zeros.end(), uint8_t{0x77});
  packed_zeros[4 + 1] = 0x67;  // group 1, columns 2 and 3
  read_refuses({"packed_zero_points", "column 3, group 1", "7", "8 with"});
  packed_zeros[5] = 0x77;
  EXPECT_EQ(read(), GATUN_OK) << gatun_last_error();
}

TEST_F(PackingBoundary, FloatZeroPoints) {
  group_index_at = permutation_at = nullptr;
  params.packing = GATUN_PACKING_MATMUL_NBITS;
  params.zero_point = GATUN_ZERO_FLOAT;
  params.packed_zero_dtype = GATUN_F32;
  floats(packed_zeros, 8);
  floats(zeros, -4);
  EXPECT_EQ(read(), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(write(), GATUN_OK) << gatun_last_error();
  for (const float wrong : {std::nanf(""), INFINITY}) {
    set(packed_zeros, 5, wrong);
    read_refuses({"packed_zero_points", "column 2, group 1", "finite"});
    set(zeros, 5, wrong);
    set(packed_zeros, 5, 8);
    write_refuses({"zero_points", "column 2, group 1", "finite"});
    set(zeros, 5, -4);
  }
  set(packed_zeros, 5, 3e38f);
  set(packed_scales, 5, 100);
  read_refuses({"packed_zero_points", "column 2, group 1", "infinite"});
  set(scales, 5, 0);
  write_refuses({"zero_points", "column 2, group 1", "-4", "0 where the scale is 0"});
  set(scales, 5, 1e-6f);
  params.packed_zero_dtype = GATUN_F16;
  set(zeros, 5, -1);
  write_refuses({"zero_points", "column 2, group 1", "infinite"});
}

TEST_F(PackingBoundary, GroupIndex) {
  group_index[4] = 2;
  read_refuses({"group_index[4]", "2", "0..1"});
  group_index[4] = -1;
  read_refuses({"group_index[4]", "-1", "0..1"});
  group_index[4] = 1;  // instead of 0: one too many of group 1, seen at its last
  read_refuses({"group_index[31]", "16 before", "groups of 16"});
  group_index[4] = 0;
  permutation_at = nullptr;
  read_refuses({"group_index[1]", "1", "without permutation", "allowed: 0"});
}

TEST_F(PackingBoundary, Permutation) {
  permutation[7] = kDepth;
  write_refuses({"permutation[7]", "32", "0..31"});
  permutation[7] = -1;
  write_refuses({"permutation[7]", "-1", "0..31"});
  permutation[7] = permutation[2];
  write_refuses({"permutation[7]", "permutation[2]", "once"});
}

TEST_F(PackingBoundary, Permute) {
  std::vector<float> x(3 * kDepth), y(3 * kDepth, 7);
  const auto permute = [&](int32_t dtype, int64_t rows, int64_t depth, int64_t x_stride, int64_t y_stride,
                           int32_t threads, const void* from, void* to) {
    return gatun_packing_permute(dtype, rows, depth, x_stride, y_stride, threads, permutation_at, from, to);
  };
  const auto refuses = [&](int32_t status, std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(status, words));
    EXPECT_EQ(y, std::vector<float>(3 * kDepth, 7));
  };
  for (const int32_t dtype : {0, -1, int{GATUN_I8}, int{GATUN_U4}, int{GATUN_F4E2M1}, int{GATUN_E8M0}}) {
    refuses(permute(dtype, 3, kDepth, kDepth, kDepth, 1, x.data(), y.data()),
            {"dtype", std::to_string(dtype).c_str(), "F8E4M3"});
  }
  refuses(permute(GATUN_F32, -1, kDepth, kDepth, kDepth, 1, x.data(), y.data()), {"rows", "-1"});
  refuses(permute(GATUN_F32, 3, -1, kDepth, kDepth, 1, x.data(), y.data()), {"depth", "-1"});
  refuses(permute(GATUN_F32, 3, int64_t{1} << 31, kMax, kMax, 1, x.data(), y.data()), {"depth", "2147483648"});
  refuses(permute(GATUN_F32, 3, kDepth, kDepth - 1, kDepth, 1, x.data(), y.data()), {"x_row_stride", "31"});
  refuses(permute(GATUN_F32, 3, kDepth, kDepth, kDepth - 1, 1, x.data(), y.data()), {"y_row_stride", "31"});
  refuses(permute(GATUN_F32, 3, kDepth, kDepth, kDepth, 1025, x.data(), y.data()), {"threads", "1025"});
  refuses(permute(GATUN_F32, 3, kDepth, kMax / 2, kDepth, 1, x.data(), y.data()), {"x", "2^62"});
  refuses(permute(GATUN_F32, 3, kDepth, kDepth, kMax / 2, 1, x.data(), y.data()), {"y", "2^62"});
  refuses(permute(GATUN_F32, 3, kDepth, kDepth, kDepth, 1, nullptr, y.data()), {"x is null"});
  refuses(permute(GATUN_F32, 3, kDepth, kDepth, kDepth, 1, x.data(), nullptr), {"y is null"});
  refuses(permute(GATUN_F32, 2, kDepth, kDepth, kDepth, 1, reinterpret_cast<char*>(x.data()) + 2, y.data()),
          {"x", "multiples of 4"});
  refuses(permute(GATUN_F32, 2, kDepth, kDepth, kDepth, 1, x.data(), reinterpret_cast<char*>(y.data()) + 2),
          {"y", "multiples of 4"});
  refuses(permute(GATUN_F32, 3, kDepth, kDepth, kDepth, 1, y.data(), y.data()), {"y", "x", "overlap"});
  refuses(permute(GATUN_F32, 1, kDepth, kDepth, kDepth, 1, x.data(), permutation.data()),
          {"y", "permutation", "overlap"});
  permutation[9] = kDepth;
  refuses(permute(GATUN_F32, 3, kDepth, kDepth, kDepth, 1, x.data(), y.data()), {"permutation[9]", "32", "0..31"});
  permutation[9] = -1;
  refuses(permute(GATUN_F32, 3, kDepth, kDepth, kDepth, 1, x.data(), y.data()), {"permutation[9]", "-1"});
  permutation_at = nullptr;
  refuses(permute(GATUN_F32, 3, kDepth, kDepth, kDepth, 1, x.data(), y.data()), {"permutation is null"});
  EXPECT_EQ(permute(GATUN_F32, 3, 0, 0, 0, 1, nullptr, nullptr), GATUN_OK) << gatun_last_error();
  permutation_at = permutation.data();
  permutation[9] = 9;
  EXPECT_EQ(permute(GATUN_F32, 0, kDepth, 0, 0, 1, nullptr, nullptr), GATUN_OK) << gatun_last_error();
}

}  // namespace
}  // namespace gatun::test
