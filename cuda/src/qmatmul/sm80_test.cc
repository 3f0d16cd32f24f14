// Products of the kernels of matrix instructions against the oracle.
#include "base/status.h"
#include "qmatmul/test_product.h"
#include "shapes.h"

namespace gatun::cuda::qmatmul {
namespace {

using gatun::test::edge_sizes;
using gatun::test::prime_sizes;

const KernelRow* kernel_of(bool few, int32_t mode) {
  const char* const names[2][3] = {
      {"qmatmul_i8_m128n128_sm80", "qmatmul_bf16_m128n128_sm80", "qmatmul_f16_m128n128_sm80"},
      {"qmatmul_i8_m16n32_sm80", "qmatmul_bf16_m16n32_sm80", "qmatmul_f16_m16n32_sm80"}};
  return kernel_rows().find(names[few][mode == GATUN_QMATMUL_F16 ? 2 : mode == GATUN_QMATMUL_BF16 ? 1 : 0]);
}
bool is_int8(int32_t mode) { return mode <= GATUN_QMATMUL_INT8_GROUP; }

const int32_t kTileModes[] = {GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP, GATUN_QMATMUL_BF16, GATUN_QMATMUL_F16};

void expect_few(const Case& c) { expect_product(c, kernel_of(true, c.mode)); }
void expect_tiled(const Case& c) { expect_product(c, kernel_of(false, c.mode)); }

// Of small integers, so that every sum is exact.
Case exact(int64_t rows, int64_t columns, int64_t depth, int64_t group, int32_t mode = GATUN_QMATMUL_F16,
           const Scheme& scheme = kU4Zero) {
  Case c;
  c.scheme = scheme;
  c.mode = mode;
  c.rows = rows;
  c.columns = columns;
  c.depth = depth;
  c.group = std::min(group, depth);
  c.integers = true;
  return c;
}

TEST(Sm80, EveryFormatInEveryMode) {
  for (const Scheme& scheme : kSchemes) {
    for (const int32_t mode : kTileModes) {
      if (!takes(scheme, mode)) continue;
      // Codes of int8 do not hold these without their zero points.
      if (is_int8(mode) && scheme.code_dtype == GATUN_U8 && scheme.zero_point == GATUN_ZERO_INTEGER) continue;
      for (const bool integers : {true, false}) {
        Case c = exact(3, 35, 200, 64, mode, scheme);
        c.scale_dtype = scheme.book != 0 ? GATUN_F32 : GATUN_F16;
        c.integers = integers && (scheme.book == 0 || scheme.book == GATUN_BOOK_GIVEN);
        expect_few(c);
        c.rows = 11;
        expect_few(c);
        expect_tiled(c);
      }
    }
  }
}

TEST(Sm80, FewRowsAtEveryEdge) {
  for (const int32_t mode : std::vector<int32_t>{GATUN_QMATMUL_F16, GATUN_QMATMUL_INT8_ROW}) {
    for (const int64_t rows : {1, 2, 7, 8, 9, 13, 15, 16}) expect_few(exact(rows, 33, 130, 64, mode));
    for (const int64_t columns : edge_sizes(32)) {
      if (columns > 0) expect_few(exact(9, columns, 130, 64, mode));
    }
    for (const int64_t depth : edge_sizes(64)) {
      if (depth > 0) expect_few(exact(2, 17, depth, depth, mode));
    }
    for (const int64_t size : prime_sizes()) expect_few(exact(1 + size % 16, size, size, size, mode));
  }
}

TEST(Sm80, TilesAtEveryEdge) {
  for (const int32_t mode : std::vector<int32_t>{GATUN_QMATMUL_BF16, GATUN_QMATMUL_INT8_GROUP}) {
    for (const int64_t tile : {64, 128}) {
      for (const int64_t rows : edge_sizes(tile)) {
        if (rows > 0) expect_tiled(exact(rows, 17, 70, 32, mode));
      }
    }
    for (const int64_t columns : edge_sizes(128)) {
      if (columns > 0) expect_tiled(exact(3, columns, 130, 64, mode));
    }
    for (const int64_t depth : edge_sizes(128)) {
      if (depth > 0) expect_tiled(exact(2, 17, depth, depth, mode));
    }
    for (const int64_t size : prime_sizes()) expect_tiled(exact(size / 2 + 1, size, size, size, mode));
  }
}

TEST(Sm80, EveryGroup) {
  for (const int32_t mode : kTileModes) {
    for (const Scheme& scheme : {kU4Zero, kU4Float, kU2Zero, kU2Float, kI8, kE2M1}) {
      if (!takes(scheme, mode)) continue;
      for (const int64_t group : {16, 32, 48, 64, 80, 96, 128, 160, 192, 256}) {
        if (is_int8(mode) && group % 32 != 0) continue;
        Case c = exact(9, 35, 300, group, mode, scheme);
        c.integers = group % 64 != 0;
        expect_few(c);
        expect_tiled(c);
      }
    }
  }
}

TEST(Sm80, EveryScale) {
  for (const int32_t scale : std::vector<int32_t>{GATUN_F32, GATUN_F16, GATUN_E8M0, GATUN_F8E4M3}) {
    for (const int64_t group : {16, 64, 150}) {
      Case c = exact(4, 50, 150, group, GATUN_QMATMUL_BF16, kE2M1);
      c.scale_dtype = scale;
      c.integers = false;
      c.tensor_scale = 0.75f;
      c.group_rows = group == 64 ? 16 : 1;
      expect_few(c);
      expect_tiled(c);
    }
  }
}

// Chunks of x in few, stages in tiles: fewer than are copied ahead, as many, more; with every order of threads, copies
// as late and as early as they may be.
TEST(Sm80, PipelinesOfEveryLength) {
  in_every_order([] {
    for (int64_t stages = 1; stages <= 9; ++stages) {
      expect_tiled(exact(2, 17, stages * 64 - 30, 64));
      expect_tiled(exact(2, 17, stages * 128 - 30, 128, GATUN_QMATMUL_INT8_ROW, kI8));
    }
    expect_tiled(exact(70, 17, 400, 400, GATUN_QMATMUL_BF16, kBook256));
    // A chunk is 1024 of depth for 16 rows, 8192 for one.
    for (const int64_t depth : {1000, 1024, 1100, 2048, 4200}) expect_few(exact(16, 17, depth, 64));
    expect_few(exact(1, 17, 17000, 17000, GATUN_QMATMUL_F16, kE2M1));
    expect_few(exact(16, 33, 2500, 16, GATUN_QMATMUL_BF16, kU2Zero));
    expect_few(exact(3, 17, 3000, 32, GATUN_QMATMUL_INT8_GROUP, kI8));
  });
}

TEST(Sm80, SplitDepth) {
  for (const int32_t mode : kTileModes) {
    Case c = exact(2, 40, 2500, 32, mode);
    expect_tiled(c);
    c.group = 96;
    c.integers = false;
    expect_tiled(c);
    c.depth = 20000;
    expect_few(c);
    c.group = c.depth;
    expect_few(c);
    c.scheme = kU4Float;
    c.group = 512;
    expect_few(c);
    expect_tiled(c);
  }
}

// Wide weights share a block's warps in other ways: 2, 3, 4, 5, 8 and 16 pairs of strips.
TEST(Sm80, FewRowsOfWideWeights) {
  for (const int64_t columns : {8400, 12000, 16500, 20500, 33000, 67000}) {
    for (const int64_t begin : {int64_t{0}, columns - 700}) {
      Case c = exact(3, columns, 33, 33, GATUN_QMATMUL_BF16, kI8);
      c.column_begin = begin + 5;
      c.column_end = begin + 700;
      expect_few(c);
    }
  }
  Case c = exact(16, 16500, 1200, 64);
  c.column_begin = 16000;
  c.column_end = 16500;
  expect_few(c);
}

TEST(Sm80, ColumnsAndFinish) {
  for (const int32_t activation :
       std::vector<int32_t>{GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_SILU, GATUN_ACTIVATION_GELU}) {
    for (const int32_t dtype : std::vector<int32_t>{GATUN_F32, GATUN_F16, GATUN_BF16}) {
      Case c;
      c.scheme = kU4Zero;
      c.mode = GATUN_QMATMUL_BF16;
      c.x_dtype = dtype;
      c.y_dtype = dtype;
      c.rows = 10;
      c.columns = 200;
      c.depth = 256;
      c.activation = activation;
      c.bias = c.residual = true;
      c.in_place = activation == GATUN_ACTIVATION_SILU;
      c.x_gap = dtype == GATUN_BF16 ? 8 : 3;  // with 8, x is read as it is
      c.y_gap = 5;
      c.y_offset = 1;
      c.x_offset = dtype == GATUN_F16 ? 1 : 0;
      expect_few(c);
      expect_tiled(c);
      c.column_begin = 37;
      c.column_end = 161;
      expect_few(c);
      expect_tiled(c);
    }
  }
}

TEST(Sm80, NotFiniteRowsStayAlone) {
  for (const int32_t mode : kTileModes) {
    for (const float special : {INFINITY, -INFINITY, NAN}) {
      Case c = exact(5, 40, 300, 64, mode);
      c.integers = false;
      c.special = {special};
      expect_few(c);
      expect_tiled(c);
    }
  }
}

TEST(Sm80, IsSelected) {
  const auto selected = [](const Scheme& scheme, int32_t mode, int64_t rows, int64_t depth, int64_t group) {
    gatun_qmatmul_weights weights = {
        sizeof(weights), scheme.code_dtype, scheme.book, scheme.zero_point, GATUN_F32, 0, 1, 1, 64, depth, group};
    Problem problem = {};
    EXPECT_EQ(form_of(&weights, &problem.form), GATUN_OK) << gatun_last_error();
    problem.params.mode = mode;
    problem.params.rows = rows;
    Device device = {};
    device.major = 8;
    return std::string(select(problem, device).name);
  };
  EXPECT_EQ(selected(kU4, GATUN_QMATMUL_F16, 16, 4096, 128), "qmatmul_f16_m16n32_sm80");
  EXPECT_EQ(selected(kNF4, GATUN_QMATMUL_BF16, 1, 4096, 64), "qmatmul_bf16_m16n32_sm80");
  EXPECT_EQ(selected(kU4, GATUN_QMATMUL_F16, 17, 4096, 128), "qmatmul_f16_m128n128_sm80");
  EXPECT_EQ(selected(kI8, GATUN_QMATMUL_INT8_ROW, 512, 4096, 4096), "qmatmul_i8_m128n128_sm80");
  EXPECT_EQ(selected(kI8, GATUN_QMATMUL_INT8_ROW, 4, 4095, 4095), "qmatmul_i8_m16n32_sm80");
  // Groups that cut an instruction, zero points that do not fit into int8, positions that do not fit into 32 bits.
  EXPECT_EQ(selected(kU4, GATUN_QMATMUL_F16, 16, 4096, 40), "qmatmul_f32_simt_sm80");
  EXPECT_EQ(selected(kU4, GATUN_QMATMUL_INT8_ROW, 16, 4096, 48), "qmatmul_i8_simt_sm80");
  EXPECT_EQ(selected(kU8Zero, GATUN_QMATMUL_INT8_ROW, 16, 4096, 64), "qmatmul_i8_simt_sm80");
  EXPECT_EQ(selected(kU8Zero, GATUN_QMATMUL_F16, 16, 4096, 64), "qmatmul_f16_m16n32_sm80");
  EXPECT_EQ(selected(kU4, GATUN_QMATMUL_F16, 16, int64_t{1} << 31, 64), "qmatmul_f32_simt_sm80");
  EXPECT_EQ(selected(kU4, GATUN_QMATMUL_F16, 16, int64_t{1} << 30, 1024), "qmatmul_f32_simt_sm80");
  EXPECT_EQ(selected(kU4, GATUN_QMATMUL_F16, 16, int64_t{1} << 30, int64_t{1} << 30), "qmatmul_f16_m16n32_sm80");
}

}  // namespace
}  // namespace gatun::cuda::qmatmul
