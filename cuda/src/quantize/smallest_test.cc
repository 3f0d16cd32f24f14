// A small matrix of each kind of kernel, both ways: short enough for valgrind.
#include "quantize/device_call.h"

namespace gatun::cuda::quantize {
namespace {

TEST(SmallestOfEachKernel, IsRight) {
  Rng rng(9);
  const Format kinds[] = {{GATUN_U4, 0, GATUN_ZERO_INTEGER, GATUN_F16, 0},
                          {GATUN_I8, 0, GATUN_ZERO_NONE, GATUN_F32, 0},
                          {GATUN_F6E3M2, 0, 0, GATUN_E8M0, 0},
                          {GATUN_F4E2M1, 0, 0, GATUN_F8E4M3, 0},
                          {GATUN_U4, GATUN_BOOK_NF4, 0, GATUN_F32, 0},
                          {GATUN_U8, GATUN_BOOK_DYNAMIC, 0, GATUN_F32, 0}};
  for (const Format& format : kinds) {
    for (const int32_t x_dtype : kFloats) {
      const gatun_quantize_params p = make_params(format, 2, 71, 33, x_dtype);  // groups share bytes of codes
      compare(p, values(rng, x_extent(p), 0), rng, 1);
    }
    const gatun_quantize_params p = make_params(format, 1, 600, 600);  // more than a warp's
    compare(p, values(rng, x_extent(p), 0), rng);
  }
}

// Scanned in parts, whose scales are made by another kernel.
TEST(SmallestOfEachKernel, LargestBlocks) {
  Rng rng(10);
  const gatun_quantize_params p = make_params({GATUN_I8, 0, 0, GATUN_F32, 0}, 1, 16385, 16385);
  compare(p, values(rng, x_extent(p), 0), rng);
}

}  // namespace
}  // namespace gatun::cuda::quantize
