// The tiles of sm_90a against the oracle: what comes of their size, their ring and their order of things. What they
// have in common with those of sm_80 is in sm80_test.cc.
#include <string>
#include <vector>

#include "nm_matmul/test_sparse.h"

namespace gatun::cuda::nm_matmul {
namespace {

constexpr int64_t kTileRows = 192, kTileColumns = 256;
constexpr int64_t kStages = 5;  // of a ring

int64_t stage_depth(const KernelRow& row) { return row.arithmetic == Arithmetic::i8 ? 128 : 64; }

std::vector<const KernelRow*> tiles() {
  std::vector<const KernelRow*> rows;
  for (const KernelRow& row : kernel_rows()) {
    const std::string name = row.name;
    if (fits_device(row) && name.substr(name.size() - 5) == "_sm90") rows.push_back(&row);
  }
  return rows;
}

// Of small integers, whose sums are exact.
Case case_on(const KernelRow& row) {
  Case c = row.arithmetic == Arithmetic::i8    ? of_values(GATUN_I8, GATUN_NM_INT8)
           : row.arithmetic == Arithmetic::f16 ? of_values(GATUN_F16, GATUN_NM_F16)
                                               : of_values(GATUN_BF16, GATUN_NM_BF16);
  c.x_dtype = row.arithmetic == Arithmetic::bf16 ? GATUN_BF16 : GATUN_F16;
  c.rows = 9;
  c.columns = 70;
  c.depth = 256;
  c.integers = true;
  return c;
}

Problem problem_of(const Case& c) {
  Rng rng;
  Problem problem = {};
  problem.params = Product(rng, c).params;
  const Weights weights(rng, c);
  EXPECT_EQ(form_of(&weights.description, &problem.form), GATUN_OK) << gatun_last_error();
  return problem;
}

TEST(Sm90, TheTableHasATileForEachType) {
  Device device = {};
  ASSERT_EQ(describe_device(0, &device), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(tiles().size(), device.major == 9 ? 3u : 0u);
  for (const KernelRow* row : tiles()) {
    EXPECT_EQ(row->block_rows, kTileRows);
    EXPECT_EQ(row->block_columns, kTileColumns);
  }
}

TEST(Sm90, EdgesOfTiles) {
  for (const KernelRow* row : tiles()) {
    for (const int64_t columns : {int64_t{1}, int64_t{17}, kTileColumns - 1, kTileColumns, kTileColumns + 1}) {
      for (const int64_t rows : {int64_t{1}, kTileRows - 1, kTileRows, kTileRows + 1}) {
        Case c = case_on(*row);
        c.columns = columns;
        c.rows = rows;
        c.depth = 130;
        in_another_order([&] { expect_product(c, row); });
      }
    }
    Case c = case_on(*row);
    c.rows = 2 * kTileRows + 1;
    c.columns = 2 * kTileColumns + 1;
    c.depth = 40;
    c.integers = false;
    in_another_order([&] { expect_product(c, row); });
  }
}

// More tiles of rows than a band has.
TEST(Sm90, MoreThanOneBand) {
  for (const KernelRow* row : tiles()) {
    Case c = case_on(*row);
    c.rows = 9 * kTileRows + 5;
    c.columns = kTileColumns + 1;
    c.depth = 8;
    expect_product(c, row);
  }
}

// Depths around stages (64 and 128), products (32 and 64) and rings (five stages).
TEST(Sm90, EveryDepth) {
  for (const KernelRow* row : tiles()) {
    for (const int64_t depth :
         {0, 1, 3, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 257, 320, 384, 449, 640, 641, 769}) {
      for (const bool integers : {true, false}) {
        Case c = case_on(*row);
        c.depth = depth;
        c.integers = integers;
        in_another_order([&] { expect_product(c, row); });
      }
    }
  }
}

// Rounds of the ring with every order of warps: who overwrites what is still read, or reads what has not come, shows.
TEST(Sm90, ManyRoundsOfTheRing) {
  for (const KernelRow* row : tiles()) {
    Case c = case_on(*row);
    c.columns = kTileColumns;
    c.rows = 40;
    c.depth = 3 * kStages * stage_depth(*row);
    ASSERT_EQ(plan_on(*row, problem_of(c)).parts, 1);
    in_every_order([&] { expect_product(c, row); });
  }
}

TEST(Sm90, OutputsAndWhatTheyAreMadeOf) {
  for (const KernelRow* row : tiles()) {
    for (const int32_t y_dtype : {GATUN_F32, GATUN_F16, GATUN_BF16}) {
      for (const int32_t activation : {GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_RELU, GATUN_ACTIVATION_GELU,
                                       GATUN_ACTIVATION_GELU_TANH, GATUN_ACTIVATION_SILU}) {
        Case c = case_on(*row);
        c.integers = false;
        c.columns = kTileColumns + 30;
        c.rows = 33;
        c.depth = 128;
        c.y_dtype = y_dtype;
        c.x_gap = c.y_gap = 5;
        c.x_offset = c.y_offset = 1;
        c.bias = c.residual = true;
        c.in_place = activation % 2 == 0;
        c.activation = activation;
        c.column_begin = 21;
        c.column_end = kTileColumns + 19;
        expect_product(c, row);
      }
    }
  }
}

// Whether a call leaves the workspace alone: x, which is nothing but ones, is read where it lies, nothing is scaled,
// and the depth is not split.
bool reads_in_place(const Case& c, const KernelRow& row) {
  Rng rng;
  const Weights weights(rng, c);
  const Problem problem = problem_of(c);
  const Plan plan = plan_on(row, problem);
  const DeviceBuffer<uint8_t> packed(weights.pack());
  const std::vector<uint16_t> ones(static_cast<size_t>(c.rows * problem.params.x_row_stride), 0x3c00);
  const DeviceBuffer<uint16_t> x(ones, c.x_offset);
  DeviceBuffer<float> y(c.rows * problem.params.y_row_stride);
  DeviceBuffer<uint8_t> workspace(plan.workspace_bytes);
  EXPECT_EQ(run_plan(plan, problem, {x.data(), packed.data(), nullptr, nullptr, y.data(), workspace.data()}, nullptr),
            GATUN_OK)
      << gatun_last_error();
  return workspace.copy() == std::vector<uint8_t>(static_cast<size_t>(plan.workspace_bytes), 0xff);
}

// x as it lies, of rows further apart than their depth, and copied where its address or its rows are no multiples of
// 16, or where it becomes int8.
TEST(Sm90, XInPlaceAndCopied) {
  for (const KernelRow* row : tiles()) {
    for (const int64_t gap : {0, 8, 3}) {
      for (const int64_t offset : {0, 8, 1}) {
        Case c = case_on(*row);
        c.rows = kTileRows + 3;
        c.x_gap = gap;
        c.x_offset = offset;
        expect_product(c, row);
        const bool aligned = gap % 8 == 0 && offset % 8 == 0;
        EXPECT_EQ(reads_in_place(c, *row), aligned && row->arithmetic != Arithmetic::i8) << row->name << ", " << c;
      }
    }
  }
}

TEST(Sm90, ScalesOfColumns) {
  for (const KernelRow* row : tiles()) {
    if (row->arithmetic != Arithmetic::i8) continue;
    for (const int32_t scale_dtype : {GATUN_F16, GATUN_F32}) {
      Case c = case_on(*row);
      c.scale_dtype = scale_dtype;
      c.integers = false;
      c.columns = kTileColumns + 9;
      c.rows = kTileRows + 1;
      expect_product(c, row);
    }
  }
}

// The depth is split at points of the shape alone, whatever range of columns is wanted.
TEST(Sm90, SplitDepth) {
  for (const KernelRow* row : tiles()) {
    for (const int64_t depth : {4000, 4096, 6200}) {
      Case c = case_on(*row);
      c.integers = depth != 4000;
      c.depth = depth;
      Problem problem = problem_of(c);
      const Plan plan = plan_on(*row, problem);
      EXPECT_GT(plan.parts, 1);
      problem.params.column_begin = 17;
      EXPECT_EQ(plan_on(*row, problem).parts, plan.parts);
      EXPECT_EQ(plan_on(*row, problem).units_a_part, plan.units_a_part);
      expect_product(c, row);
      c.column_begin = 17;
      expect_product(c, row);
    }
  }
}

TEST(Sm90, WhatIsNotFiniteMakesNanOfOutputsThatKeepIt) {
  for (const KernelRow* row : tiles()) {
    for (const float special : {INFINITY, -INFINITY, NAN}) {
      Case c = case_on(*row);
      c.integers = false;
      c.rows = 70;
      c.special = {special};
      expect_product(c, row);
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::nm_matmul
