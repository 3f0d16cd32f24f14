// Products by tiles of matrix instructions against the oracle: of sm_80, and what those of sm_90a (sm90_sparse_test.cc)
// have in common with them.
#include "nm_matmul/test_sparse.h"

namespace gatun::cuda::nm_matmul {
namespace {

bool is_tile(const KernelRow& row) { return row.group_multiple != 1; }
bool is_few(const KernelRow& row) { return row.rows.most == 16; }

int32_t mode_of(const KernelRow& row) {
  return row.arithmetic == Arithmetic::i8 ? GATUN_NM_INT8
         : row.modes == kF16Mode          ? int32_t{GATUN_NM_F16}
                                          : GATUN_NM_BF16;
}

// Products of each kernel by tiles: `change` makes of a small one what is wanted, for each type of values that it
// takes.
template <class Change>
void on_every_tile(Change change) {
  for (const KernelRow& row : kernel_rows()) {
    if (!is_tile(row) || !fits_device(row)) continue;
    const LeastSharedMemory least(row);
    for (const int32_t values : {GATUN_F16, GATUN_BF16, GATUN_I8, GATUN_U4}) {
      if ((row.values >> values & 1) == 0) continue;
      Case c = of_values(values, mode_of(row), GATUN_ZERO_INTEGER);
      c.rows = is_few(row) ? 9 : 33;
      c.columns = 40;
      c.depth = 150;
      if (!row.fragments) c.m = 8;
      change(row, c);
    }
  }
}

void expect_tile(Case c, const KernelRow& row, uint64_t stream = 0) {
  if (row.group_multiple == 0) c.group = 0;  // a single one
  expect_product(c, &row, stream);
}

TEST(Tiles, Integers) {
  on_every_tile([](const KernelRow& row, Case& c) {
    c.integers = true;
    c.y_dtype = GATUN_F32;
    for (const int64_t group : {0, 64, 128}) {
      c.group = group;
      c.depth = 300;
      c.zero_point = group == 128 || c.value_dtype != GATUN_U4 ? GATUN_ZERO_NONE : GATUN_ZERO_INTEGER;
      expect_tile(c, row);
    }
  });
}

TEST(Tiles, EveryPatternDecoded) {
  uint64_t count = 0;
  on_every_tile([&](const KernelRow& row, Case& c) {
    if (row.fragments || !is_few(row)) return;
    for (const int32_t m : {2, 4, 8, 16, 32}) {
      for (const int32_t n : {1, m / 2 + 1, m}) {
        c.n = n;
        c.m = m;
        c.vector = ++count % 3 == 0 ? 4 : 1;
        c.depth = 97 + n;
        c.group = count % 2 == 0 ? 64 : 0;
        c.rows = 3;
        expect_tile(c, row, count);
      }
    }
  });
}

// One row after the other of a list of shapes that has every tail on every axis.
TEST(Tiles, EveryShape) {
  struct Sizes {
    int64_t rows, columns, depth;
  };
  constexpr Sizes kFew[] = {{1, 129, 1},  {2, 1, 128},    {7, 16, 63},  {8, 127, 64},
                            {15, 17, 65}, {16, 128, 129}, {1, 257, 700}};
  constexpr Sizes kMany[] = {{1, 129, 1},   {63, 1, 128},    {64, 16, 64},   {65, 127, 63},
                             {127, 17, 65}, {128, 128, 129}, {129, 257, 64}, {257, 40, 500}};
  constexpr Sizes kWide[] = {{95, 255, 1}, {192, 256, 128}, {193, 257, 65}};
  size_t count = 0;
  on_every_tile([&](const KernelRow& row, Case& c) {
    if (!row.fragments && c.value_dtype == GATUN_I8) return;
    for (size_t i = 0; i < (is_few(row) ? std::size(kFew) : 3); ++i) {
      const Sizes& sizes = is_few(row)                ? kFew[i]
                           : row.block_columns == 256 ? kWide[i]
                                                      : kMany[count++ % std::size(kMany)];
      c.rows = sizes.rows;
      c.columns = sizes.columns;
      c.depth = sizes.depth;
      expect_tile(c, row, i);
    }
  });
}

TEST(Tiles, GroupsAndScales) {
  uint64_t count = 0;
  on_every_tile([&](const KernelRow& row, Case& c) {
    if (c.scale_dtype == 0 || row.group_multiple == 0) return;
    for (const int64_t group : {32, 64, 96, 128, 192}) {
      if (group % row.group_multiple != 0) continue;
      c.depth = 450;
      c.group = group;
      c.rows = 5;
      c.scale_dtype = ++count % 2 == 0 ? GATUN_F32 : GATUN_F16;
      c.zero_point = c.value_dtype == GATUN_U4 && count % 3 != 0 ? GATUN_ZERO_INTEGER : GATUN_ZERO_NONE;
      expect_tile(c, row, count);
    }
  });
}

TEST(Tiles, OptionsRangesAndPartsOfTheDepth) {
  on_every_tile([](const KernelRow& row, Case& c) {
    c.depth = 2 * row.part_depth - 100;
    c.group = 128;
    c.rows = is_few(row) ? 3 : 17;
    c.columns = 150;
    c.column_begin = 3;
    c.column_end = 140;
    c.bias = c.residual = c.in_place = true;
    c.y_gap = 2;
    c.y_dtype = GATUN_BF16;
    c.activation = GATUN_ACTIVATION_SILU;
    Rng rng;
    Problem problem = {};
    problem.params = Product(rng, c).params;
    const Weights weights(rng, c);
    ASSERT_EQ(form_of(&weights.description, &problem.form), GATUN_OK);
    EXPECT_GT(plan_on(row, problem).parts, 1) << row.name;
    expect_tile(c, row);
  });
}

TEST(Tiles, XThatIsReadWhereItLies) {
  on_every_tile([](const KernelRow& row, Case& c) {
    if (row.arithmetic == Arithmetic::i8) return;
    c.x_dtype = row.arithmetic == Arithmetic::f16 ? GATUN_F16 : GATUN_BF16;
    c.depth = 256;
    c.x_gap = 8;
    expect_tile(c, row);
    c.x_offset = 1;
    expect_tile(c, row);
  });
}

TEST(Tiles, NanAndInfinity) {
  on_every_tile([](const KernelRow& row, Case& c) {
    for (const float special : {NAN, INFINITY, 1e6f}) {
      c.special = {special};
      c.rows = 3;
      expect_tile(c, row);
    }
  });
}

TEST(Tiles, ExtremeCodes) {
  // The longest group that int32 holds, of the largest products.
  for (const char* name : {"nm_matmul_sparse_i8_m16n128_sm80", "nm_matmul_sparse_i8_m192n256_sm80",
                           "nm_matmul_sparse_i8_m192n256_sm90", "nm_matmul_decoded_i8_m16n128_sm80"}) {
    if (!fits_device(*kernel_rows().find(name))) continue;
    Case c = of_values(GATUN_I8, GATUN_NM_INT8);
    c.columns = 1;
    c.depth = 1 << 17;
    c.scale_dtype = GATUN_F32;
    Rng rng;
    Weights weights(rng, c);
    for (uint8_t& byte : weights.values) byte = 0x80;
    for (size_t i = 0; i < weights.scales.size(); i += 4) std::memcpy(&weights.scales[i], "\0\0\x80\x3f", 4);
    Product product(rng, c);
    product.x = as_bytes(std::vector<float>(static_cast<size_t>(c.depth), 127.0f), GATUN_F32);
    const DeviceBuffer<uint8_t> packed(weights.pack()), x(product.x);
    DeviceBuffer<float> y(1);
    Problem problem = {};
    problem.params = product.params;
    ASSERT_EQ(form_of(&weights.description, &problem.form), GATUN_OK);
    Plan plan = plan_on(*kernel_rows().find(name), problem);
    plan.parts = 1;
    plan.units_a_part = problem.form.units;
    DeviceBuffer<uint8_t> workspace(plan.workspace_bytes);
    ASSERT_EQ(run_plan(plan, problem, {x.data(), packed.data(), nullptr, nullptr, y.data(), workspace.data()}, nullptr),
              GATUN_OK);
    EXPECT_EQ(y.copy()[0], -128.0f * 127.0f * 65536.0f) << name;
  }
}

TEST(Tiles, EveryOrderOfThreads) {
  in_every_order([] {
    on_every_tile([](const KernelRow& row, Case& c) {
      if (!row.fragments && c.value_dtype != GATUN_U4) return;  // others have the same instance
      c.rows = is_few(row) ? 3 : 97;
      c.columns = 130;
      c.depth = 300;
      c.group = 128;
      c.bias = true;
      expect_tile(c, row);
    });
  });
}

}  // namespace
}  // namespace gatun::cuda::nm_matmul
