// Which kernel a product gets on which device, where its depth is split, what the workspace holds. No device is asked.
#include "qmatmul/select.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/check.h"

namespace gatun::cuda::qmatmul {
namespace {

Device device(int32_t major, int32_t minor, int32_t multiprocessors = 100) {
  return {0, major, minor, multiprocessors, 1'000'000, 100 * 1024, 1 << 20, int64_t{1} << 34, "invented"};
}

Problem problem(int32_t code_dtype, int32_t mode, int64_t rows, int64_t columns, int64_t depth, int64_t group,
                int32_t zero_point = GATUN_ZERO_NONE) {
  const gatun_qmatmul_weights weights = {sizeof(weights), code_dtype, 0,    zero_point, GATUN_F32, 0, 1, 1.0f,
                                         columns,         depth,      group};
  Problem p = {};
  EXPECT_EQ(form_of(&weights, &p.form), GATUN_OK) << gatun_last_error();
  p.params.struct_size = sizeof(p.params);
  p.params.x_dtype = mode == GATUN_QMATMUL_BF16 ? GATUN_BF16 : mode == GATUN_QMATMUL_PRECISE ? GATUN_F32 : GATUN_F16;
  p.params.y_dtype = GATUN_F32;
  p.params.mode = mode;
  p.params.rows = rows;
  p.params.columns = p.params.column_end = columns;
  p.params.depth = p.params.x_row_stride = depth;
  p.params.y_row_stride = columns;
  return p;
}

constexpr int32_t kEveryMode[] = {GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP, GATUN_QMATMUL_PRECISE,
                                  GATUN_QMATMUL_BF16, GATUN_QMATMUL_F16};

TEST(Select, KernelsOfOneArchitectureStayThere) {
  for (const int32_t mode : kEveryMode) {
    for (const int64_t rows : {1, 8, 16, 17, 64, 128, 4096}) {
      for (const int64_t group : {16, 17, 32, 100, 128, 4096}) {
        const Problem p = problem(GATUN_U4, mode, rows, 4096, 4096, group);
        for (const Device& d : {device(8, 0), device(8, 6), device(8, 9), device(9, 0), device(10, 0), device(12, 0)}) {
          const std::string name = select(p, d).name;
          EXPECT_EQ(why_not(select(p, d), p, d), nullptr) << name;
          // sm_90a's code runs on 9.0 alone.
          EXPECT_TRUE(d.major == 9 || name.find("sm90") == std::string::npos) << name << " on " << d.major;
        }
        EXPECT_STREQ(select(p, device(8, 0)).name, select(p, device(12, 0)).name);
      }
    }
  }
}

TEST(Select, EveryProblemHasAKernel) {
  for (const KernelRow& row : kernel_rows()) {
    EXPECT_EQ(kernel_rows().find(row.name), &row);
    EXPECT_LE(row.rows.least, row.rows.most) << row.name;
    EXPECT_GE(row.group_multiple, 1) << row.name;
    EXPECT_GE(row.capabilities.least, kLeastCapability) << row.name;
  }
  EXPECT_EQ(kernel_rows().find("none"), nullptr);
}

TEST(Select, GroupsOfOddSizesAreTheUniversalKernels) {
  for (const int32_t mode : kEveryMode) {
    const std::string name = select(problem(GATUN_U4, mode, 64, 4096, 1700, 17), device(9, 0)).name;
    EXPECT_EQ(name, mode <= GATUN_QMATMUL_INT8_GROUP ? "qmatmul_i8_simt_sm80" : "qmatmul_f32_simt_sm80");
  }
}

TEST(Plan, PartsBeginAtGroupsAndCoverTheDepth) {
  for (const KernelRow& row : kernel_rows()) {
    for (const int32_t mode : kEveryMode) {
      for (const int32_t codes : {GATUN_U4, GATUN_U2, GATUN_I8}) {
        for (const int64_t group : {16, 17, 32, 100, 128, 384, 16384}) {
          for (const int64_t rows : {1, 5, 300}) {
            for (const int64_t columns : {1, 100, 1024, 100'000}) {
              const Problem p = problem(codes, mode, rows, columns, 16384, group);
              if (why_not(row, p, device(row.capabilities.least == 90 ? 9 : 8, 0)) != nullptr) continue;
              const Plan plan = plan_on(row, p);
              SCOPED_TRACE(testing::Message() << row.name << ", mode " << mode << ", codes " << codes << ", group "
                                              << group << ", " << rows << " x " << columns);
              ASSERT_GE(plan.parts, 1);
              ASSERT_LE((plan.parts - 1) * plan.units_a_part, p.form.units - 1);
              ASSERT_GE(plan.parts * plan.units_a_part, p.form.units);
              if (plan.parts == 1) continue;
              const int64_t depth = plan.units_a_part * unit_depth(p.form.codes);
              EXPECT_EQ(depth % kDepthMultiple, 0);
              EXPECT_GE(depth, row.part_depth);
              EXPECT_TRUE(p.form.groups == 1 || depth % group == 0);
              EXPECT_TRUE(p.form.groups > 1 || !plan.has_sums);
              EXPECT_EQ(plan.workspace_bytes - plan.partial_at,
                        blocks_of(plan.parts * rows * p.form.padded_columns() * 4, 256) * 256);
            }
          }
        }
      }
    }
  }
}

TEST(Plan, SplitsWhereBlocksAreFewOnly) {
  const KernelRow& row = *kernel_rows().find("qmatmul_f32_simt_sm80");
  EXPECT_GT(plan_on(row, problem(GATUN_U4, GATUN_QMATMUL_PRECISE, 1, 256, 16384, 128)).parts, 1);
  EXPECT_EQ(plan_on(row, problem(GATUN_U4, GATUN_QMATMUL_PRECISE, 1, 16384, 16384, 128)).parts, 1);
  EXPECT_EQ(plan_on(row, problem(GATUN_U4, GATUN_QMATMUL_PRECISE, 1, 256, 512, 128)).parts, 1);
  EXPECT_EQ(plan_on(row, problem(GATUN_U4, GATUN_QMATMUL_PRECISE, 256, 4096, 16384, 128)).parts, 1);
}

TEST(Plan, SplitsTakeLeastTimeInRoundsOfBlocks) {
  // Of 4096 of depth in one group, the least part 1024, of blocks of which 132 run at once.
  const auto parts = [](int64_t blocks, int64_t groups = 1) {
    const Split split = split_depth({64, 64, 4096 / groups, groups, blocks, 132, 1024});
    EXPECT_GE(split.parts * split.units_a_part, 64);
    return split.parts;
  };
  EXPECT_EQ(parts(1), 4);
  EXPECT_EQ(parts(33), 4);
  EXPECT_EQ(parts(34), 3);
  EXPECT_EQ(parts(44), 3);
  EXPECT_EQ(parts(45), 2);
  EXPECT_EQ(parts(48), 2);
  EXPECT_EQ(parts(66), 2);
  EXPECT_EQ(parts(128), 1);
  EXPECT_EQ(parts(132), 1);
  EXPECT_EQ(parts(140), 1);  // more than run at once
  EXPECT_EQ(parts(48, 32), 2);
  EXPECT_EQ(parts(34, 2), 2);  // only where the second group begins
  EXPECT_EQ(split_depth({64, 64, 4096, 1, 1, 132, 0}).parts, 1);
  EXPECT_EQ(split_depth({0, 64, 0, 1, 1, 132, 1024}).parts, 1);
}

TEST(Plan, XIsReadWhereItLiesOnlyIfItIsRight) {
  const KernelRow& row = *kernel_rows().find("qmatmul_f32_simt_sm80");
  Problem p = problem(GATUN_U4, GATUN_QMATMUL_PRECISE, 3, 64, 256, 64);
  EXPECT_TRUE(plan_on(row, p).may_use_x);
  p.params.x_row_stride = 258;
  EXPECT_FALSE(plan_on(row, p).may_use_x);
  p.params.rows = 1;
  EXPECT_TRUE(plan_on(row, p).may_use_x);
  p.params.x_dtype = GATUN_BF16;
  EXPECT_FALSE(plan_on(row, p).may_use_x);
  EXPECT_FALSE(plan_on(row, problem(GATUN_U4, GATUN_QMATMUL_PRECISE, 3, 64, 250, 64)).may_use_x);
  EXPECT_FALSE(plan_on(row, problem(GATUN_U4, GATUN_QMATMUL_F16, 3, 64, 256, 64)).may_use_x);  // made f32
}

TEST(Plan, PartsOfTheWorkspaceAreDisjoint) {
  for (const KernelRow& row : kernel_rows()) {
    for (const int32_t mode : kEveryMode) {
      const Problem p = problem(GATUN_U4, mode, 5, 100, 8192, 128, GATUN_ZERO_FLOAT);
      if ((row.modes >> mode & 1) == 0) continue;
      const Plan plan = plan_on(row, p);
      std::vector<int64_t> at = {plan.x_at, plan.scales_at, plan.sums_at, plan.partial_at, plan.workspace_bytes};
      EXPECT_TRUE(std::is_sorted(at.begin(), at.end()));
      for (const int64_t each : at) EXPECT_EQ(each % 256, 0);
      const int64_t element = row.arithmetic == Arithmetic::f32 ? 4 : row.arithmetic == Arithmetic::i8 ? 1 : 2;
      EXPECT_GE(plan.scales_at - plan.x_at, 5 * 8192 * element);
      const int64_t scales = mode == GATUN_QMATMUL_INT8_GROUP ? 5 * 64 : mode == GATUN_QMATMUL_INT8_ROW ? 5 : 0;
      EXPECT_GE(plan.sums_at - plan.scales_at, scales * 4);
      EXPECT_GE(plan.partial_at - plan.sums_at, row.sums ? 5 * 64 * 4 : 0);
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::qmatmul
