// A small product of each row of the table of kernels, with all that comes before and after it: short enough for
// valgrind.
#include "nm_matmul/test_sparse.h"

namespace gatun::cuda::nm_matmul {
namespace {

TEST(SmallestOfEachKernel, IsRight) {
  for (const KernelRow& row : kernel_rows()) {
    if (!fits_device(row)) continue;
    for (const int32_t values : {GATUN_F16, GATUN_BF16, GATUN_I8, GATUN_U4}) {
      if ((row.values >> values & 1) == 0) continue;
      Case c = of_values(values, GATUN_NM_F32, GATUN_ZERO_INTEGER);
      for (int32_t mode = 0; mode < 4; ++mode) {
        if ((row.modes >> mode & 1) != 0) c.mode = mode;
      }
      if (c.mode == GATUN_NM_F16 && values == GATUN_BF16) c.mode = GATUN_NM_BF16;
      c.m = row.fragments ? 4 : 8;
      c.rows = 2;
      c.columns = 17;
      c.depth = 200;
      c.group = row.group_multiple == 0 ? 0 : 64;
      c.bias = c.residual = true;
      c.activation = GATUN_ACTIVATION_SILU;
      expect_product(c, &row);
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::nm_matmul
