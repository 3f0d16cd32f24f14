// Which kernel a product gets on which device, where its depth is split, what the workspace holds. No device is asked.
#include "nm_matmul/select.h"

#include <gtest/gtest.h>

#include <string>

#include "base/check.h"

namespace gatun::cuda::nm_matmul {
namespace {

Device device(int32_t major, int32_t minor) {
  const int64_t shared_bytes = (major == 9 ? 227 : 163) * 1024;
  return {0, major, minor, 100, 1'000'000, shared_bytes, 1 << 20, int64_t{1} << 34, "invented"};
}

Problem problem(int32_t values, int32_t n, int32_t m, int32_t mode, int64_t rows, int64_t columns, int64_t depth,
                int64_t group) {
  const bool codes = values == GATUN_I8 || values == GATUN_U4;
  const gatun_nm_weights weights = {
      sizeof(weights), n, m, 1, values, 0, codes ? int32_t{GATUN_F16} : 0, 0, 0, columns, depth, codes ? group : 0};
  Problem p = {};
  EXPECT_EQ(form_of(&weights, &p.form), GATUN_OK) << gatun_last_error();
  p.params.struct_size = sizeof(p.params);
  p.params.x_dtype = mode == GATUN_NM_BF16 ? GATUN_BF16 : mode == GATUN_NM_F16 ? GATUN_F16 : GATUN_F32;
  p.params.y_dtype = GATUN_F32;
  p.params.mode = mode;
  p.params.rows = rows;
  p.params.columns = p.params.column_end = columns;
  p.params.depth = p.params.x_row_stride = depth;
  p.params.y_row_stride = columns;
  return p;
}

std::string kernel_of(int32_t values, int32_t n, int32_t m, int32_t mode, int64_t rows, int64_t group = 128,
                      const Device& on = device(8, 0)) {
  return select(problem(values, n, m, mode, rows, 4096, 4096, group), on).name;
}

TEST(Select, TheTable) {
  EXPECT_EQ(kernel_of(GATUN_BF16, 2, 4, GATUN_NM_BF16, 1), "nm_matmul_sparse_bf16_m16n128_sm80");
  EXPECT_EQ(kernel_of(GATUN_U4, 2, 4, GATUN_NM_BF16, 16), "nm_matmul_sparse_bf16_m16n128_sm80");
  EXPECT_EQ(kernel_of(GATUN_U4, 2, 4, GATUN_NM_F16, 17), "nm_matmul_sparse_f16_m128n128_sm80");
  EXPECT_EQ(kernel_of(GATUN_I8, 2, 4, GATUN_NM_INT8, 17), "nm_matmul_sparse_i8_m128n128_sm80");
  EXPECT_EQ(kernel_of(GATUN_I8, 2, 4, GATUN_NM_INT8, 129), "nm_matmul_sparse_i8_m128n128_sm80");
  EXPECT_EQ(kernel_of(GATUN_I8, 2, 4, GATUN_NM_INT8, 129, 4096), "nm_matmul_sparse_i8_m192n256_sm80");
  EXPECT_EQ(kernel_of(GATUN_F16, 2, 4, GATUN_NM_F16, 128), "nm_matmul_sparse_f16_m128n128_sm80");
  EXPECT_EQ(kernel_of(GATUN_F16, 2, 4, GATUN_NM_F16, 129), "nm_matmul_sparse_f16_m192n256_sm80");
  EXPECT_EQ(kernel_of(GATUN_U4, 2, 4, GATUN_NM_INT8, 17), "nm_matmul_decoded_i8_m128n128_sm80");
  EXPECT_EQ(kernel_of(GATUN_I8, 2, 4, GATUN_NM_BF16, 1), "nm_matmul_decoded_bf16_m16n128_sm80");
  EXPECT_EQ(kernel_of(GATUN_F16, 1, 4, GATUN_NM_F16, 17), "nm_matmul_decoded_f16_m128n128_sm80");
  EXPECT_EQ(kernel_of(GATUN_F16, 2, 4, GATUN_NM_F32, 17), "nm_matmul_f32_simt_sm80");
  EXPECT_EQ(kernel_of(GATUN_U4, 2, 4, GATUN_NM_BF16, 1, 48), "nm_matmul_f32_simt_sm80");
  EXPECT_EQ(kernel_of(GATUN_U4, 2, 4, GATUN_NM_INT8, 1, 32), "nm_matmul_i8_simt_sm80");
  // A device without the shared memory of the widest tile.
  Device small = device(8, 6);
  small.shared_bytes = 99 * 1024;
  EXPECT_STREQ(select(problem(GATUN_F16, 2, 4, GATUN_NM_F16, 4096, 4096, 4096, 0), small).name,
               "nm_matmul_sparse_f16_m128n128_sm80");
  // Groups whose sums int32 does not hold.
  EXPECT_STREQ(select(problem(GATUN_I8, 2, 4, GATUN_NM_INT8, 64, 64, (1 << 17) + 4, (1 << 17) + 4), device(9, 0)).name,
               "nm_matmul_i8_simt_sm80");
}

TEST(Select, SparseProductsOfGroupsOfWarpsAreOfSm90Alone) {
  const Device sm90 = device(9, 0);
  EXPECT_EQ(kernel_of(GATUN_F16, 2, 4, GATUN_NM_F16, 128, 0, sm90), "nm_matmul_sparse_f16_m128n128_sm80");
  EXPECT_EQ(kernel_of(GATUN_F16, 2, 4, GATUN_NM_F16, 129, 0, sm90), "nm_matmul_sparse_f16_m192n256_sm90");
  EXPECT_EQ(kernel_of(GATUN_BF16, 2, 4, GATUN_NM_BF16, 4096, 0, sm90), "nm_matmul_sparse_bf16_m192n256_sm90");
  EXPECT_EQ(kernel_of(GATUN_I8, 2, 4, GATUN_NM_INT8, 4096, 4096, sm90), "nm_matmul_sparse_i8_m192n256_sm90");
  EXPECT_EQ(kernel_of(GATUN_I8, 2, 4, GATUN_NM_INT8, 4096, 128, sm90), "nm_matmul_sparse_i8_m128n128_sm80");
  EXPECT_EQ(kernel_of(GATUN_U4, 2, 4, GATUN_NM_F16, 4096, 4096, sm90), "nm_matmul_sparse_f16_m128n128_sm80");
  EXPECT_EQ(kernel_of(GATUN_BF16, 1, 4, GATUN_NM_BF16, 4096, 0, sm90), "nm_matmul_decoded_bf16_m128n128_sm80");
  EXPECT_EQ(kernel_of(GATUN_BF16, 2, 4, GATUN_NM_BF16, int64_t{1} << 31, 0, sm90),
            "nm_matmul_sparse_bf16_m192n256_sm80");
  for (const Device& other : {device(8, 9), device(10, 0), device(12, 0)}) {
    EXPECT_EQ(kernel_of(GATUN_F16, 2, 4, GATUN_NM_F16, 4096, 0, other), "nm_matmul_sparse_f16_m192n256_sm80");
  }
  const Problem p = problem(GATUN_F16, 2, 4, GATUN_NM_F16, 4096, 4096, 4096, 0);
  EXPECT_STREQ(why_not(*kernel_rows().find("nm_matmul_sparse_f16_m192n256_sm90"), p, device(8, 0)),
               "another compute capability");
}

TEST(Select, EveryProblemHasAKernelOnEveryDevice) {
  for (const KernelRow& row : kernel_rows()) EXPECT_EQ(kernel_rows().find(row.name), &row);
  EXPECT_EQ(kernel_rows().find("none"), nullptr);
  for (const int32_t values : {GATUN_F32, GATUN_F16, GATUN_BF16, GATUN_I8, GATUN_U4}) {
    for (const int32_t mode : kModes) {
      for (const int64_t rows : {1, 16, 17, 4096}) {
        for (const Device& d : {device(8, 0), device(8, 9), device(9, 0), device(10, 0), device(12, 0)}) {
          const Problem p = problem(values, 2, 4, mode, rows, 4096, 4096, 64);
          if (check_mode(p.form, mode) != GATUN_OK) continue;
          EXPECT_EQ(why_not(select(p, d), p, d), nullptr);
        }
      }
    }
  }
}

TEST(Plan, PartsBeginAtGroupsAndPartsOfTheWorkspaceAreDisjoint) {
  for (const KernelRow& row : kernel_rows()) {
    for (const int32_t values : {GATUN_F16, GATUN_BF16, GATUN_U4}) {
      for (const int32_t mode : kModes) {
        for (const int64_t group : {100, 192, 4096}) {
          for (const int64_t columns : {1, 1024, 100'000}) {
            const Problem p = problem(values, 2, 4, mode, 5, columns, 16384, group);
            if (check_mode(p.form, mode) != GATUN_OK || why_not(row, p, device(8, 0)) != nullptr) continue;
            SCOPED_TRACE(testing::Message() << row.name << ", group " << group << ", columns " << columns);
            const Plan plan = plan_on(row, p);
            ASSERT_GE(plan.parts, 1);
            EXPECT_LT((plan.parts - 1) * plan.units_a_part, p.form.units);
            EXPECT_GE(plan.parts * plan.units_a_part, p.form.units);
            if (plan.parts > 1) {
              EXPECT_EQ(plan.units_a_part * kUnitDepth % kDepthMultiple, 0);
              EXPECT_GE(plan.units_a_part * kUnitDepth, row.part_depth);
              EXPECT_TRUE(p.form.groups == 1 || plan.units_a_part * kUnitDepth % p.form.group == 0);
            }
            const int64_t element = row.arithmetic == Arithmetic::f32 ? 4 : row.arithmetic == Arithmetic::i8 ? 1 : 2;
            EXPECT_GE(plan.scales_at - plan.x_at, 5 * 16384 * element);
            EXPECT_GE(plan.partial_at - plan.scales_at, row.arithmetic == Arithmetic::i8 ? 20 : 0);
            EXPECT_GE(plan.workspace_bytes - plan.partial_at,
                      plan.parts > 1 ? plan.parts * 5 * p.form.padded_columns() * 4 : 0);
            // What gatun/cuda_nm_matmul.h promises.
            const auto part = [](int64_t bytes) { return blocks_of(bytes, 256) * 256; };
            EXPECT_LE(plan.workspace_bytes, part(5 * 16384 * element) +
                                                part(row.arithmetic == Arithmetic::i8 ? 5 * 4 : 0) +
                                                part(64 * 5 * blocks_of(columns, 16) * 16 * 4));
          }
        }
      }
    }
  }
}

// Tiles of 256 columns by 192 rows, one a multiprocessor.
TEST(Plan, WhatFillsADeviceIsNotSplit) {
  const auto parts = [](const char* name, int64_t rows, int64_t columns, int64_t depth) {
    return plan_on(*kernel_rows().find(name), problem(GATUN_BF16, 2, 4, GATUN_NM_BF16, rows, columns, depth, 0)).parts;
  };
  for (const char* wide : {"nm_matmul_sparse_bf16_m192n256_sm90", "nm_matmul_sparse_bf16_m192n256_sm80"}) {
    EXPECT_EQ(parts(wide, 1536, 4096, 4096), 1);   // 128 blocks
    EXPECT_EQ(parts(wide, 2048, 2048, 4096), 1);   // 88
    EXPECT_EQ(parts(wide, 2048, 2048, 16384), 3);  // in two rounds
    EXPECT_EQ(parts(wide, 512, 4096, 4096), 2);    // 48
    EXPECT_EQ(parts(wide, 512, 4096, 3000), 1);    // parts would be short
    EXPECT_EQ(parts(wide, 4096, 4096, 16384), 1);  // more than run at once
  }
  EXPECT_EQ(parts("nm_matmul_sparse_bf16_m128n128_sm80", 512, 4096, 4096), 1);  // 128
  EXPECT_EQ(parts("nm_matmul_sparse_bf16_m128n128_sm80", 256, 4096, 4096), 2);  // 64
  EXPECT_EQ(parts("nm_matmul_sparse_bf16_m16n128_sm80", 16, 4096, 4096), 4);    // 32, of 528
}

TEST(Plan, XIsReadWhereItLiesOnlyIfItIsRight) {
  const KernelRow& row = *kernel_rows().find("nm_matmul_sparse_bf16_m16n128_sm80");
  Problem p = problem(GATUN_BF16, 2, 4, GATUN_NM_BF16, 3, 64, 256, 0);
  EXPECT_TRUE(plan_on(row, p).may_use_x);
  p.params.x_row_stride = 260;
  EXPECT_FALSE(plan_on(row, p).may_use_x);
  p.params.rows = 1;
  EXPECT_TRUE(plan_on(row, p).may_use_x);
  p.params.x_dtype = GATUN_F16;
  EXPECT_FALSE(plan_on(row, p).may_use_x);
  EXPECT_FALSE(plan_on(row, problem(GATUN_BF16, 2, 4, GATUN_NM_BF16, 3, 64, 192, 0)).may_use_x);
}

}  // namespace
}  // namespace gatun::cuda::nm_matmul
