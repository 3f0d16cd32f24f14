// Products of the kernels of matrix instructions against the oracle.
#include "qmatmul/test_product.h"

namespace gatun::cuda::qmatmul {
namespace {

const KernelRow* kernel_of(bool few, int32_t mode) {
  const char* const names[2][3] = {{"sm80_tiled_i8", "sm80_tiled_bf16", "sm80_tiled_f16"},
                                   {"sm80_few_i8", "sm80_few_bf16", "sm80_few_f16"}};
  return find_kernel(names[few][mode == GATUN_QMATMUL_F16 ? 2 : mode == GATUN_QMATMUL_BF16 ? 1 : 0]);
}

const int32_t kTileModes[] = {GATUN_QMATMUL_INT8_ROW, GATUN_QMATMUL_INT8_GROUP, GATUN_QMATMUL_BF16, GATUN_QMATMUL_F16};

TEST(Sm80, EveryFormatInEveryMode) {
  for (const Scheme& scheme : kSchemes) {
    for (const int32_t mode : kTileModes) {
      if (!takes(scheme, mode)) continue;
      for (const bool few : {true, false}) {
        for (const bool integers : {true, false}) {
          Case c;
          c.scheme = scheme;
          c.mode = mode;
          c.rows = 11;
          c.columns = 19;
          c.depth = 200;
          c.group = 64;
          c.scale_dtype = scheme.book != 0 ? GATUN_F32 : GATUN_F16;
          c.integers = integers && (scheme.book == 0 || scheme.book == GATUN_BOOK_GIVEN);
          if (mode <= GATUN_QMATMUL_INT8_GROUP && scheme.code_dtype == GATUN_U8 && scheme.zero_point == 1) continue;
          expect_product(c, kernel_of(few, mode));
        }
      }
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::qmatmul
