// The self-test passes on this machine's tiers and fails on a kernel that is wrong.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "armor/table.h"
#include "attention/table.h"
#include "attention_merge/table.h"
#include "calibrate/table.h"
#include "decode_choose/table.h"
#include "gemm/gemm.h"
#include "kv_cache/table.h"
#include "nm_backward/table.h"
#include "nm_format/table.h"
#include "nm_matmul/table.h"
#include "norm/table.h"
#include "optimizer/table.h"
#include "prune/table.h"
#include "qmatmul/table.h"
#include "quantize/table.h"
#include "self_test/self_test.h"

namespace gatun {
namespace {

TEST(SelfTest, EveryTier) {
  char text[16384];
  for (int32_t tier = 0; tier < kTiers; ++tier) {
    const int32_t status = gatun_self_test(tier, text, sizeof(text));
    if (!tier_supported(static_cast<Tier>(tier))) {
      EXPECT_EQ(status, GATUN_UNSUPPORTED);
      EXPECT_NE(std::strstr(gatun_last_error(), gatun_tier_name(tier)), nullptr) << gatun_last_error();
      continue;
    }
    EXPECT_EQ(status, GATUN_OK) << gatun_last_error() << "\n" << text;
    // Every kernel that the tier selects has a line.
    const auto names_row = [&](const auto& row) { EXPECT_NE(std::strstr(text, row.name), nullptr) << row.name; };
    for_each_selected(quantize::table(), static_cast<Tier>(tier), names_row);
    for_each_selected(norm::table(), static_cast<Tier>(tier), names_row);
    for_each_selected(optimizer::table(), static_cast<Tier>(tier), names_row);
    for_each_selected(optimizer::squares_table(), static_cast<Tier>(tier), names_row);
    for_each_selected(calibrate::table(), static_cast<Tier>(tier), names_row);
    for_each_selected(calibrate::code_table(), static_cast<Tier>(tier), names_row);
    for_each_selected(prune::table(), static_cast<Tier>(tier), names_row);
    for_each_selected(prune::mask_table(), static_cast<Tier>(tier), names_row);
    for_each_selected(nm_format::table(), static_cast<Tier>(tier), names_row);
    for_each_selected(qmatmul::table(), static_cast<Tier>(tier), names_row);
    nm_matmul::for_each_selected(static_cast<Tier>(tier), names_row);
    for_each_selected(gemm::table(), static_cast<Tier>(tier), names_row);
    for_each_selected(nm_backward::table(), static_cast<Tier>(tier), names_row);
    for_each_selected(armor::table(), static_cast<Tier>(tier), names_row);
    for_each_selected(attention::table(), static_cast<Tier>(tier), names_row);
    for_each_selected(attention_merge::table(), static_cast<Tier>(tier), names_row);
    for_each_selected(kv_cache::table(), static_cast<Tier>(tier), names_row);
    for_each_selected(decode_choose::table(), static_cast<Tier>(tier), names_row);
    EXPECT_EQ(std::strstr(text, "WRONG"), nullptr) << text;
  }
}

TEST(SelfTest, RefusesBadArguments) {
  char text[16384] = "";
  EXPECT_EQ(gatun_self_test(-1, text, sizeof(text)), GATUN_INVALID_ARGUMENT);
  EXPECT_EQ(gatun_self_test(kTiers, text, sizeof(text)), GATUN_INVALID_ARGUMENT);
  EXPECT_EQ(gatun_self_test(0, nullptr, sizeof(text)), GATUN_INVALID_ARGUMENT);
  EXPECT_EQ(gatun_self_test(0, text, 10), GATUN_INVALID_ARGUMENT);
  EXPECT_STREQ(text, "");
}

TEST(SelfTest, ReportCountsWrongKernels) {
  Report report;
  report.add("good", 3, 0);
  report.add("bad", 3, 2);
  EXPECT_EQ(report.wrong_kernels(), 1);
  char text[200];
  ASSERT_EQ(report.text().copy_to(text, sizeof(text)), GATUN_OK);
  EXPECT_STREQ(text, "good: ok, 3 cases\nbad: WRONG in 2 of 3 cases\n");
}

}  // namespace
}  // namespace gatun
