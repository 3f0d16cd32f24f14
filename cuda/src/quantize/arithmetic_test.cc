// Arithmetic of kernels against plain definitions, for all operands that matter.
#if defined(GATUN_EMULATED)
#include <gtest/gtest.h>

#include <cmath>

#include "quantize/reference.h"
#include "quantize/scale.h"
#include "quantize/threshold.h"
#include "rng.h"

namespace gatun::cuda::quantize {
namespace {

// The divisors of scales, but for powers of two: quotients of all mantissas.
TEST(Arithmetic, QuotientsAreRoundedOnce) {
  for (const float divisor : {127.0f, 255.0f, 15.0f, 3.0f, 448.0f, 57344.0f, 28.0f, 7.5f, 6.0f}) {
    const float inverse = 1 / divisor;
    int64_t wrong = 0;
    for (uint32_t mantissa = 0; mantissa < 1u << 23; ++mantissa) {
      const float a = as_float(0x3f800000 | mantissa);
      wrong += divided(a, divisor, inverse) != a / divisor;
    }
    EXPECT_EQ(wrong, 0) << divisor;
  }
}

// At the ends of the range, where powers of two no longer leave quotients alike.
TEST(Arithmetic, QuotientsOfExtremes) {
  for (const float divisor : {127.0f, 255.0f, 15.0f, 3.0f, 448.0f, 57344.0f, 28.0f, 7.5f, 6.0f, -8.0f, -2.0f, 1.0f}) {
    const float inverse = 1 / divisor;
    const float least = std::fabs(divisor) * 0x1p-120f;
    for (uint32_t i = 0; i < 1u << 20; ++i) {
      const float small = as_float(as_bits(least) + i), large = as_float(0x7f7fffff - i);
      ASSERT_EQ(divided(small, divisor, inverse), small / divisor);
      ASSERT_EQ(divided(large, divisor, inverse), large / divisor);
      const float tiny = as_float(as_bits(least) - 1 - i);
      ASSERT_LT(std::fabs(divided(tiny, divisor, inverse)), 0x1p-120f);
    }
    EXPECT_EQ(divided(0, divisor, inverse), 0);
    EXPECT_TRUE(std::isnan(divided(as_float(0x7f800000), divisor, inverse)));
  }
}

TEST(Arithmetic, RandomThresholdsOfLargeIndices) {
  test::Rng rng(40);
  Job job = {};
  job.rounding = GATUN_ROUND_STOCHASTIC;
  for (const int64_t begin : {int64_t{0}, int64_t{0xfffffff8}, (int64_t{1} << 40) - 7, (int64_t{1} << 62) + 12345}) {
    job.seed = rng.next();
    Thresholds thresholds(job, begin);
    for (int i = 0; i < kChunk; ++i) {
      const int32_t expected = gatun::quantize::reference_threshold(static_cast<int64_t>(job.seed), begin + i);
      EXPECT_EQ(thresholds.next(), static_cast<float>(expected) * 0x1p-24f);
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::quantize
#endif
