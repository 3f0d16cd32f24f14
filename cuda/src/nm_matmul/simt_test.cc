// Products of the universal kernels against the oracle, and what the entry does with every option.
#include "nm_matmul/test_sparse.h"

namespace gatun::cuda::nm_matmul {
namespace {

struct ValuesAndMode {
  int32_t values, mode;
};
constexpr ValuesAndMode kAll[] = {{GATUN_F32, GATUN_NM_F32},  {GATUN_F16, GATUN_NM_F32},   {GATUN_F16, GATUN_NM_F16},
                                  {GATUN_BF16, GATUN_NM_F32}, {GATUN_BF16, GATUN_NM_BF16}, {GATUN_I8, GATUN_NM_F32},
                                  {GATUN_I8, GATUN_NM_F16},   {GATUN_I8, GATUN_NM_BF16},   {GATUN_I8, GATUN_NM_INT8},
                                  {GATUN_U4, GATUN_NM_F32},   {GATUN_U4, GATUN_NM_F16},    {GATUN_U4, GATUN_NM_BF16},
                                  {GATUN_U4, GATUN_NM_INT8}};

const KernelRow* simt(int32_t mode) {
  return kernel_rows().find(mode == GATUN_NM_INT8 ? "nm_matmul_i8_simt_sm80" : "nm_matmul_f32_simt_sm80");
}

TEST(Simt, EveryPatternOfEveryTypeInEveryMode) {
  uint64_t count = 0;
  for (const ValuesAndMode& all : kAll) {
    for (const int32_t m : {2, 4, 8, 16, 32}) {
      const int32_t kept[] = {1, m / 2 + 1, m};
      Case c = of_values(all.values, all.mode, ++count % 2 ? GATUN_ZERO_INTEGER : GATUN_ZERO_NONE);
      c.n = kept[count % 3];
      c.m = m;
      c.vector = count % 4 == 0 ? 5 : 1;
      c.rows = count % 7 == 0 ? 1 : 3;
      c.columns = 19;
      c.depth = 150 + c.n % 3;
      c.group = count % 5 == 0 ? 0 : 64;
      c.integers = count % 4 == 1;
      expect_product(c, simt(c.mode), count);
      if (m != 4) continue;
      c.n = 2;
      expect_product(c, simt(c.mode), count);
    }
  }
}

TEST(Simt, EveryGroup) {
  for (const ValuesAndMode& all : kAll) {
    if (all.values != GATUN_I8 && all.values != GATUN_U4) continue;
    for (const int64_t group : {16, 18, 20, 32, 34, 100, 128, 300}) {
      Case c = of_values(all.values, all.mode, group % 3 == 0 ? GATUN_ZERO_NONE : GATUN_ZERO_INTEGER);
      c.n = 1;
      c.m = 2;
      c.rows = 2;
      c.columns = 17;
      c.depth = 300;
      c.group = group;
      c.scale_dtype = group % 4 == 0 ? GATUN_F32 : GATUN_F16;
      c.integers = group % 8 == 4;
      expect_product(c, simt(c.mode));
    }
  }
}

TEST(Entry, EveryShape) {
  uint64_t count = 0;
  for (const int64_t rows : {0, 1, 9, 17}) {
    for (const int64_t columns : {0, 1, 16, 33}) {
      for (const int64_t depth : {0, 1, 33, 64, 129}) {
        const ValuesAndMode& all = kAll[++count % std::size(kAll)];
        Case c = of_values(all.values, all.mode);
        c.m = count % 2 == 0 ? 4 : 8;
        c.rows = rows;
        c.columns = columns;
        c.depth = depth;
        c.bias = rows % 3 == 0;
        expect_product(c, nullptr, count);
      }
    }
  }
}

TEST(Entry, EveryTypeOfXAndYAtAnyAddress) {
  uint64_t count = 0;
  for (const int32_t x_dtype : {GATUN_F32, GATUN_F16, GATUN_BF16}) {
    for (const int32_t y_dtype : {GATUN_F32, GATUN_F16, GATUN_BF16}) {
      for (const int64_t offset : {0, 1, 3}) {
        const ValuesAndMode some[] = {kAll[1], kAll[2], kAll[4], kAll[8], kAll[11]};
        for (int i = 0; i < 2; ++i) {
          const ValuesAndMode& all = some[++count % std::size(some)];
          Case c = of_values(all.values, all.mode);
          c.m = count % 2 == 0 ? 4 : 16;
          c.rows = 3;
          c.columns = 35;
          c.depth = offset == 3 ? 100 : 128;
          c.x_dtype = x_dtype;
          c.y_dtype = y_dtype;
          c.x_offset = c.y_offset = offset;
          c.x_gap = offset == 1 ? 8 : offset;  // rows 16 bytes apart or not
          c.y_gap = offset;
          c.residual = true;
          expect_product(c, nullptr, count);
        }
      }
    }
  }
}

TEST(Entry, BiasResidualActivationAndColumns) {
  uint64_t count = 0;
  for (const int32_t activation : {GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_RELU, GATUN_ACTIVATION_GELU,
                                   GATUN_ACTIVATION_GELU_TANH, GATUN_ACTIVATION_SILU}) {
    for (const int64_t begin : {0, 1, 16, 47}) {
      for (int i = 0; i < 2; ++i) {
        constexpr int64_t kEnds[] = {47, 48, 50};
        const int64_t end = kEnds[++count % 3];
        Case c = of_values(GATUN_U4, (begin + end) % 2 == 0 ? GATUN_NM_INT8 : GATUN_NM_BF16);
        c.rows = 3;
        c.columns = 50;
        c.activation = activation;
        c.y_dtype = begin == 16 ? GATUN_BF16 : GATUN_F32;
        c.bias = begin != 1;
        c.residual = end != 48;
        c.in_place = c.residual && begin != 16;
        c.y_gap = 2;
        c.column_begin = begin;
        c.column_end = end;
        expect_product(c);
      }
    }
  }
}

TEST(Entry, NanAndInfinitySpoilWhatKeepsThem) {
  uint64_t count = 0;
  for (const std::vector<float>& special :
       std::initializer_list<std::vector<float>>{{NAN}, {INFINITY}, {-INFINITY, INFINITY}, {65520.0f}, {3.4e38f}}) {
    for (const ValuesAndMode& all : kAll) {
      Case c = of_values(all.values, all.mode);
      c.m = ++count % 2 == 0 ? 4 : 8;
      c.rows = 3;
      c.depth = 100;
      c.special = special;
      c.activation = GATUN_ACTIVATION_RELU;
      expect_product(c);
    }
  }
}

TEST(Entry, SplitDepth) {
  for (const ValuesAndMode& all : kAll) {
    for (const int64_t depth : {4096, 4100}) {
      Case c = of_values(all.values, all.mode);
      c.m = depth == 4096 ? 4 : 16;
      c.rows = 2;
      c.columns = 17;
      c.depth = depth;
      c.group = 128;
      c.bias = c.residual = true;
      c.integers = depth == 4096;
      Rng rng;
      Problem problem = {};
      problem.params = Product(rng, c).params;
      const Weights weights(rng, c);
      ASSERT_EQ(form_of(&weights.description, &problem.form), GATUN_OK);
      EXPECT_GT(plan_on(*simt(c.mode), problem).parts, 1) << c;
      expect_product(c);
      if (all.mode == GATUN_NM_INT8 || all.mode == GATUN_NM_F32) expect_product(c, simt(c.mode));
    }
  }
}

TEST(Simt, EveryOrderOfThreads) {
  in_every_order([] {
    for (const ValuesAndMode& all : {kAll[0], kAll[8], kAll[9]}) {
      Case c = of_values(all.values, all.mode);
      c.m = all.values == GATUN_F32 ? 16 : 4;
      c.rows = 3;
      c.columns = 33;
      c.depth = 1300;
      c.group = 100;
      c.bias = c.residual = true;
      expect_product(c, simt(c.mode));
    }
  });
}

}  // namespace
}  // namespace gatun::cuda::nm_matmul
