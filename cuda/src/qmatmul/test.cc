// Products of the universal kernels against the oracle.
#include "qmatmul/test_product.h"

namespace gatun::cuda::qmatmul {
namespace {

const KernelRow* simt(int32_t mode) { return find_kernel(mode <= GATUN_QMATMUL_INT8_GROUP ? "simt_i8" : "simt_f32"); }

TEST(Simt, EveryFormatInEveryMode) {
  for (const Scheme& scheme : kSchemes) {
    for (const int32_t mode : kModes) {
      if (!takes(scheme, mode)) continue;
      for (const bool integers : {true, false}) {
        Case c;
        c.scheme = scheme;
        c.mode = mode;
        c.rows = 2;
        c.columns = 19;
        c.depth = 200;
        c.group = 64;
        c.scale_dtype = scheme.book != 0 ? GATUN_F32 : GATUN_F16;
        c.integers = integers && (scheme.book == 0 || scheme.book == GATUN_BOOK_GIVEN);
        expect_product(c, simt(mode));
      }
    }
  }
}

TEST(Simt, EveryGroupAndSize) {
  for (const int32_t mode : kModes) {
    for (const Scheme& scheme : {kU4Zero, kU2Float, kU8Zero, kI8}) {
      for (const int64_t group : {16, 17, 31, 48, 64, 100, 127, 128, 256, 300}) {
        Case c;
        c.scheme = scheme;
        c.mode = mode;
        c.rows = 5;
        c.columns = 33;
        c.depth = 300;
        c.group = group;
        c.integers = group % 2 == 0;
        expect_product(c, simt(mode));
      }
    }
  }
}

TEST(Entry, SplitDepth) {
  for (const int32_t mode : kModes) {
    for (const int64_t group : {64, 100, 8192}) {
      Case c;
      c.mode = mode;
      c.columns = 16;
      c.depth = 8192;
      c.group = group;
      expect_product(c, nullptr);
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::qmatmul
