// Minima, maxima and loads of ptx/ as the PTX ISA manual defines them.
#include "ptx/number.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "gatun/status.h"
#include "ptx/launch.h"
#include "ptx/memory.h"
#include "settings.h"

namespace gatun::emulator {
namespace {

using namespace gatun::cuda;

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

TEST(Number, ExtremesOfNumbersIgnoreNan) {
  EXPECT_EQ(max_number(1, 2), 2);
  EXPECT_EQ(max_number(-1, -2), -1);
  EXPECT_EQ(max_number(kNaN, -kInfinity), -kInfinity);
  EXPECT_EQ(max_number(3, kNaN), 3);
  EXPECT_EQ(min_number(1, 2), 1);
  EXPECT_EQ(min_number(kNaN, kInfinity), kInfinity);
  EXPECT_EQ(min_number(3, kNaN), 3);
}

TEST(Number, ExtremesOrNan) {
  EXPECT_EQ(max_or_nan(1, 2), 2);
  EXPECT_EQ(min_or_nan(1, 2), 1);
  EXPECT_TRUE(std::isnan(max_or_nan(kNaN, kInfinity)));
  EXPECT_TRUE(std::isnan(max_or_nan(-kInfinity, kNaN)));
  EXPECT_TRUE(std::isnan(min_or_nan(kNaN, -kInfinity)));
  EXPECT_TRUE(std::isnan(min_or_nan(kInfinity, kNaN)));
}

TEST(Number, PackE4m3) {
  EXPECT_EQ(pack_e4m3(1, -1), 0xb838);
  EXPECT_EQ(pack_e4m3(448.01f, -1e9f), 0xfe7e);
  EXPECT_EQ(pack_e4m3(kInfinity, kNaN), 0x7f7e);
  EXPECT_EQ(pack_e4m3(0x1p-10f, 0x1.8p-9f), 0x0200);        // ties to even among subnormals
  EXPECT_EQ(pack_e4m3(1.0625f, -1.1875f), 0xba38);          // and normals
  EXPECT_EQ(pack_e4m3(0x1.000002p-10f, 0x1.1p0f), 0x3801);  // just above a tie
}

TEST(Number, LowestBit) {
  EXPECT_EQ(lowest_bit(1), 0);
  EXPECT_EQ(lowest_bit(0x50), 4);
  EXPECT_EQ(lowest_bit(0x80000000u), 31);
}

TEST(Number, RoundDownAndAbsolute) {
  EXPECT_EQ(round_down(-0.5f), -1);
  EXPECT_EQ(round_down(2.75f), 2);
  EXPECT_FALSE(std::signbit(absolute(-0.0f)));
}

TEST(Number, CountOnes) { EXPECT_EQ(count_ones(0x80000101u), 3); }

TEST(Number, PowersAndLogarithms) {
  EXPECT_EQ(exp2_fast(-3), 0.125f);
  EXPECT_EQ(exp2_fast(-126.5f), 0);
  EXPECT_EQ(exp2_fast(-kInfinity), 0);
  EXPECT_EQ(exp2_fast(128), kInfinity);
  EXPECT_TRUE(std::isnan(exp2_fast(kNaN)));
  EXPECT_EQ(log2_fast(0x1p-100f), -100);
  EXPECT_EQ(log2_fast(0x1p-140f), -kInfinity);
  EXPECT_EQ(log2_fast(0), -kInfinity);
  EXPECT_EQ(log2_fast(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(log2_fast(-1)));
}

TEST(Number, ShiftRight) { EXPECT_EQ(shift_right(0x80000300u, 8), 0x800003u); }

TEST(Number, RootsAreRoundedOnce) {
  EXPECT_EQ(root(2.0f), 0x1.6a09e6p+0f);
  EXPECT_EQ(root(2.0), 0x1.6a09e667f3bcdp+0);
  EXPECT_EQ(root(0x1p-149f), 0x1.6a09e6p-75f);
  EXPECT_TRUE(std::isnan(root(-1.0f)));
}

void copy_near(const uint8_t* from, uint8_t* to) { store_once(to, load_near(from)); }

void read_shared(const uint32_t* from, uint32_t* to, uint32_t offset) {
  std::memcpy(shared_memory(), from, 16);
  *to = load_shared(shared_address(shared_memory()) + offset);
}

TEST(Memory, LoadShared) {
  const uint32_t from[4] = {1, 2, 3, 4};
  uint32_t to = 0;
  ASSERT_EQ(launch("read_shared", read_shared, {1, 1, 1, 1, 16}, nullptr, from, &to, 12), GATUN_OK) << last_fault();
  EXPECT_EQ(to, 4u);
  for (const uint32_t bad : {2u, 16u}) {
    EXPECT_EQ(launch("read_shared", read_shared, {1, 1, 1, 1, 16}, nullptr, from, &to, bad), GATUN_INTERNAL);
    EXPECT_NE(std::string(last_fault()).find("ld.shared"), std::string::npos) << last_fault();
  }
}

TEST(Memory, LoadNear) {
  alignas(16) uint8_t from[32] = {1, 2, 3}, to[16] = {};
  ASSERT_EQ(launch("copy_near", copy_near, {1, 1, 1, 1, 0}, nullptr, from, to), GATUN_OK);
  EXPECT_EQ(std::string(from, from + 16), std::string(to, to + 16));
  EXPECT_EQ(launch("copy_near", copy_near, {1, 1, 1, 1, 0}, nullptr, from + 4, to), GATUN_INTERNAL);
  EXPECT_NE(std::string(last_fault()).find("misaligned"), std::string::npos) << last_fault();
}

}  // namespace
}  // namespace gatun::emulator
