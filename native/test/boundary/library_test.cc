// gatun.h and status.h: every documented refusal.
#include <thread>

#include "boundary.h"
#include "gatun/gatun.h"

namespace gatun::test {
namespace {

TEST(Library, VersionAndAbi) {
  EXPECT_EQ(gatun_abi_version(), GATUN_ABI_VERSION);
  int major, minor, patch;
  char rest;
  EXPECT_EQ(std::sscanf(gatun_version(), "%d.%d.%d%c", &major, &minor, &patch, &rest), 3) << gatun_version();
}

TEST(Library, TiersThatDoNotExist) {
  for (const int32_t tier :
       {-1, GATUN_TIER_I8MM + 1, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()}) {
    EXPECT_EQ(gatun_tier_supported(tier), 0);
    EXPECT_EQ(gatun_tier_name(tier), nullptr);
    std::vector<char> text(16384, '\x7f');
    EXPECT_TRUE(invalid(gatun_self_test(tier, text.data(), 16384), {"tier", std::to_string(tier).c_str()}));
    EXPECT_EQ(text, std::vector<char>(16384, '\x7f'));
  }
}

TEST(Library, TheTierInUseIsSupportedAndNamed) {
  EXPECT_EQ(gatun_tier_supported(GATUN_TIER_SCALAR), 1);
  EXPECT_EQ(gatun_tier_supported(gatun_tier()), 1);
  EXPECT_STREQ(gatun_tier_name(GATUN_TIER_SCALAR), "scalar");
  EXPECT_STREQ(gatun_tier_name(GATUN_TIER_AVX2), "avx2");
  EXPECT_STREQ(gatun_tier_name(GATUN_TIER_AVXVNNI), "avxvnni");
  EXPECT_STREQ(gatun_tier_name(GATUN_TIER_AVX512), "avx512");
  EXPECT_STREQ(gatun_tier_name(GATUN_TIER_AVX512VNNI), "avx512vnni");
  EXPECT_STREQ(gatun_tier_name(GATUN_TIER_NEON), "neon");
  EXPECT_STREQ(gatun_tier_name(GATUN_TIER_DOTPROD), "dotprod");
  EXPECT_STREQ(gatun_tier_name(GATUN_TIER_I8MM), "i8mm");
  // A processor has tiers of one architecture.
  EXPECT_FALSE(gatun_tier_supported(GATUN_TIER_AVX2) && gatun_tier_supported(GATUN_TIER_NEON));
}

TEST(Library, HugePagesKeepTheContents) {
  std::vector<char> memory((5 << 20) + 123, 'x');
  const std::vector<char> before = memory;
  EXPECT_EQ(gatun_prefer_huge_pages(memory.data() + 1, static_cast<int64_t>(memory.size()) - 1), GATUN_OK);
  EXPECT_EQ(memory, before);
  EXPECT_EQ(gatun_prefer_huge_pages(memory.data(), 1), GATUN_OK);
  EXPECT_EQ(gatun_prefer_huge_pages(nullptr, 0), GATUN_OK);
  EXPECT_TRUE(invalid(gatun_prefer_huge_pages(nullptr, 1), {"memory", "null"}));
  EXPECT_TRUE(invalid(gatun_prefer_huge_pages(memory.data(), -1), {"bytes = -1"}));
  void* const last_page = reinterpret_cast<void*>(UINTPTR_MAX - 4095);
  EXPECT_EQ(gatun_prefer_huge_pages(last_page, 4095), GATUN_OK);
  EXPECT_TRUE(invalid(gatun_prefer_huge_pages(last_page, 4096), {"bytes = 4096"}));
  EXPECT_TRUE(invalid(gatun_prefer_huge_pages(last_page, std::numeric_limits<int64_t>::max()),
                      {std::to_string(std::numeric_limits<int64_t>::max()).c_str()}));
}

TEST(Library, CpuReport) { check_text(gatun_cpu_report, 4096); }

TEST(Library, SelfTest) {
  for (int32_t tier = GATUN_TIER_SCALAR; tier <= GATUN_TIER_I8MM; ++tier) {
    SCOPED_TRACE(gatun_tier_name(tier));
    if (gatun_tier_supported(tier)) {
      check_text([=](char* text, int64_t capacity) { return gatun_self_test(tier, text, capacity); }, 16384);
    } else {
      std::vector<char> text(16384);
      EXPECT_EQ(gatun_self_test(tier, text.data(), 16384), GATUN_UNSUPPORTED);
      EXPECT_NE(std::string(gatun_last_error()).find(gatun_tier_name(tier)), std::string::npos) << gatun_last_error();
    }
  }
}

TEST(Library, Threads) {
  const int32_t before = gatun_threads();
  for (const int32_t threads :
       {0, -1, 1025, std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max()}) {
    EXPECT_TRUE(invalid(gatun_set_threads(threads), {"threads", std::to_string(threads).c_str(), "1..1024"}));
    EXPECT_EQ(gatun_threads(), before);
  }
  for (const int32_t threads : {1, 1024, before}) {
    EXPECT_EQ(gatun_set_threads(threads), GATUN_OK);
    EXPECT_EQ(gatun_threads(), threads);
  }
}

TEST(Library, MessagesBelongToTheirThread) {
  EXPECT_TRUE(invalid(gatun_set_threads(-7), {"-7"}));
  std::thread other([] {
    EXPECT_STREQ(gatun_last_error(), "");
    EXPECT_TRUE(invalid(gatun_set_threads(-8), {"-8"}));
  });
  other.join();
  EXPECT_NE(std::string(gatun_last_error()).find("-7"), std::string::npos);
  // A call that succeeds leaves the message.
  EXPECT_EQ(gatun_set_threads(gatun_threads()), GATUN_OK);
  EXPECT_NE(std::string(gatun_last_error()).find("-7"), std::string::npos);
}

}  // namespace
}  // namespace gatun::test
