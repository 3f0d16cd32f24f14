// The tiles of sm_90a: every row of the table of them against the oracle.
#include <set>
#include <string>
#include <vector>

#include "qmatmul/test_product.h"

namespace gatun::cuda::qmatmul {
namespace {

// The rows that run on a device of this architecture; on a GPU of another one there is nothing to test.
std::vector<const KernelRow*> tiles() {
  std::vector<const KernelRow*> rows;
  Device device = {};
  EXPECT_EQ(describe_device(0, &device), GATUN_OK) << gatun_last_error();
  for (const KernelRow& row : kernel_rows()) {
    const std::string name = row.name;
    const bool here = row.capabilities.contains(device.major * 10 + device.minor);
    if (here && name.size() > 5 && name.substr(name.size() - 5) == "_sm90") rows.push_back(&row);
  }
  return rows;
}

Case case_on(const KernelRow& row) {
  Case c;
  c.scheme = row.arithmetic == Arithmetic::i8 ? kI8 : kU4;
  for (const int32_t mode : kModes) {
    if (row.modes >> mode & 1) c.mode = mode;
  }
  c.x_dtype = row.arithmetic == Arithmetic::f16 ? GATUN_F16 : GATUN_BF16;
  c.group = 128;
  return c;
}

std::vector<Scheme> schemes_on(const KernelRow& row) {
  if (row.arithmetic == Arithmetic::i8) return {kI8, kU4, kU4Zero};
  return {kU4, kU4Zero, kI8, kU8Zero, kE4M3};
}

// What the tests below rely on.
TEST(InAnotherOrder, CasesRunOnceAndThoseThatTakeTurnsInEveryWay) {
  int calls = 0;
  std::set<int> ways[2];
  for (int i = 0; i < kWays * kWays; ++i) {
    in_another_order([&] {
      int way = 0;
#if defined(GATUN_EMULATED)
      const gatun::emulator::Settings& settings = gatun::emulator::settings();
      way = static_cast<int>(settings.order) * 2 + (settings.effects == gatun::emulator::Effects::first);
#endif
      ways[i % 2].insert(way);
      ++calls;
    });
  }
  EXPECT_EQ(calls, kWays * kWays);
  EXPECT_EQ(ways[0].size(), static_cast<size_t>(kWays));
  EXPECT_EQ(ways[1].size(), static_cast<size_t>(kWays > 1 ? kWays : 0));
}

// Sizes around a tile; the last one needs more stages than a ring has.
TEST(Sm90, EdgesOfTiles) {
  for (const KernelRow* row : tiles()) {
    for (const int64_t columns : {1, 17, row->block_columns + 1}) {
      for (const int64_t rows : {1, row->block_rows - 1, row->block_rows + 1}) {
        Case c = case_on(*row);
        c.columns = columns;
        c.rows = rows;
        c.depth = 200;
        c.integers = true;
        in_another_order([&] { expect_product(c, row); });
      }
    }
    Case c = case_on(*row);
    c.columns = row->block_columns + 1;
    c.rows = 9;
    c.depth = 1100;
    c.integers = true;
    in_every_order([&] { expect_product(c, row); });
  }
}

TEST(Sm90, EveryFormat) {
  for (const KernelRow* row : tiles()) {
    for (const Scheme& scheme : schemes_on(*row)) {
      for (const int32_t scale_dtype : {GATUN_F16, GATUN_F32, GATUN_E8M0}) {
        if (scale_dtype == GATUN_E8M0 && scheme.code_dtype != GATUN_F8E4M3) continue;
        for (const bool integers : {true, false}) {
          Case c = case_on(*row);
          c.scheme = scheme;
          c.scale_dtype = scale_dtype;
          c.columns = 70;
          c.rows = 20;
          c.depth = 384;
          c.integers = integers;
          in_another_order([&] { expect_product(c, row); });
        }
      }
    }
  }
}

// Depths around stages (64 and 128), rings shorter than the depth, groups of one stage, of several, and of all.
TEST(Sm90, EveryDepthAndGroup) {
  size_t count = 0;
  for (const KernelRow* row : tiles()) {
    const std::vector<Scheme> schemes = schemes_on(*row);
    for (const int64_t depth : {1, 64, 65, 128, 192, 1000}) {
      for (const int64_t group : {int64_t{64}, int64_t{128}, int64_t{192}, int64_t{256}, depth}) {
        if (group > depth || (group < depth && group % row->group_multiple != 0)) continue;
        Case c = case_on(*row);
        c.scheme = schemes[count++ % schemes.size()];
        c.columns = 40;
        c.rows = 9;
        c.depth = depth;
        c.group = group;
        c.integers = depth % 2 != 0;
        in_another_order([&] { expect_product(c, row); });
      }
    }
  }
}

TEST(Sm90, DepthOfOneGroupBeyondWhatInt32Holds) {
  for (const KernelRow* row : tiles()) {
    if (row->arithmetic != Arithmetic::i8) continue;
    Case c = case_on(*row);
    c.columns = 1;
    c.rows = 1;
    c.depth = (1 << 17) + 256;
    c.group = c.depth;
    expect_product(c, row);
  }
}

TEST(Sm90, OutputsAndWhatTheyAreMadeOf) {
  for (const KernelRow* row : tiles()) {
    for (const int32_t y_dtype : {GATUN_F32, GATUN_F16, GATUN_BF16}) {
      Case c = case_on(*row);
      c.columns = row->block_columns + 30;
      c.rows = 33;
      c.depth = 256;
      c.y_dtype = y_dtype;
      c.x_gap = 3;
      c.y_gap = 5;
      c.x_offset = 1;
      c.y_offset = 1;
      c.bias = true;
      c.residual = true;
      c.activation = GATUN_ACTIVATION_SILU;
      c.column_begin = 21;
      c.column_end = row->block_columns + 19;
      expect_product(c, row);
      c.in_place = true;
      expect_product(c, row);
    }
  }
}

TEST(Sm90, SplitDepth) {
  for (const KernelRow* row : tiles()) {
    for (const int64_t group : {int64_t{128}, int64_t{384}, int64_t{4096}}) {
      Case c = case_on(*row);
      c.columns = 48;
      c.rows = 5;
      c.depth = 4096;
      c.group = group;
      expect_product(c, row);
    }
  }
}

TEST(Sm90, WhatIsNotFiniteMakesItsRowNan) {
  for (const KernelRow* row : tiles()) {
    for (const float special : {INFINITY, -INFINITY, NAN}) {
      Case c = case_on(*row);
      c.columns = 20;
      c.rows = 70;
      c.depth = 300;
      c.special = {special};
      expect_product(c, row);
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::qmatmul
