// Numbers that are not finite, that cancel, that are far beyond what models have: what gatun/decode.h says of them.
#include <limits>

#include "decode/test_problem.h"

namespace gatun::decode {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
constexpr uint16_t kNanF16 = 0x7e00, kInfinityF16 = 0x7c00;

// Rows see different keys, of two parts.
Spec spec_of(const Format& k, const Format& v, int32_t dtype = GATUN_F32) {
  Spec spec;
  spec.dtype = dtype;
  spec.k = k;
  spec.v = v;
  spec.size = spec.value_size = 48;
  spec.heads = spec.ratio = 2;
  spec.query_length = 6;
  spec.causal = true;
  spec.lengths = {70, 1100};
  return spec;
}

// Calls visit(row is one that shares keys with item 1, head 1 of the pools; it sees key j of these).
template <class Visit>
void for_each_row(const Problem& problem, const Reference& reference, int64_t j, Visit visit) {
  problem.for_each_row([&](int64_t b, int64_t h, int64_t i) {
    const bool shares = b == 1 && h >= 2;
    visit(b, h, i, shares, shares && reference.sees(b, h, i, j));
  });
}

bool all_nan(const Problem& problem, const Outputs& outputs, int64_t b, int64_t h, int64_t i) {
  for (const double y : problem.out_row(outputs, b, h, i)) {
    if (!std::isnan(y)) return false;
  }
  return std::isnan(outputs.lse[static_cast<size_t>(problem.lse_at(b, h, i))]);
}

TEST(DecodeExtremes, NanInQueries) {
  for (const Format& format : kSomeFormats) {
    for (const int32_t mode : {GATUN_DECODE_EXACT, GATUN_DECODE_INT8}) {
      Spec spec = spec_of(format, format);
      spec.mode = mode;
      SCOPED_TRACE(describe(spec));
      Problem problem(spec);
      problem.set_q(1, 2, 3, 13, kNan);
      Outputs outputs;
      ASSERT_NO_FATAL_FAILURE(problem.call(&outputs));
      ASSERT_TRUE(problem.good(outputs));
      EXPECT_TRUE(all_nan(problem, outputs, 1, 2, 3));
    }
  }
}

// With values logits are infinite or NaN; with codes there is no such query.
TEST(DecodeExtremes, InfinityInQueries) {
  for (const Format& format : kSomeFormats) {
    for (const float infinity : {kInfinity, -kInfinity}) {
      Spec spec = spec_of(format, format);
      SCOPED_TRACE(describe(spec));
      Problem problem(spec);
      problem.set_q(1, 2, 3, 13, infinity);
      Outputs outputs;
      ASSERT_NO_FATAL_FAILURE(problem.call(&outputs));
      Reference reference = problem.reference();
      problem.for_each_row([&](int64_t b, int64_t h, int64_t i) {
        const bool spoiled = b == 1 && h == 2 && i == 3 && format.scaling != GATUN_KV_UNSCALED;
        if (!spoiled) {
          EXPECT_TRUE(problem.good_row(reference, outputs, b, h, i));
        }
      });
    }
  }
}

// Rows that see such a key, and no others, are not numbers; a logit of -infinity has no weight.
TEST(DecodeExtremes, NoNumbersInKeys) {
  for (const Format& format : kValueFormats) {
    for (const float bad : {kNan, kInfinity, -kInfinity}) {
      if (format.dtype == GATUN_F8E4M3 && std::isinf(bad)) continue;
      for (const int64_t place : {0, 1030, 1097}) {
        Spec spec = spec_of(format, format, place == 0 ? GATUN_BF16 : GATUN_F32);
        spec.window_left = 1096;  // hides key 0 of the last queries alone
        SCOPED_TRACE(describe(spec));
        Problem problem(spec);
        problem.k().set(problem.page_of(1, 1, place), 1, place % spec.page_size, 13, bad);
        Outputs outputs;
        ASSERT_NO_FATAL_FAILURE(problem.call(&outputs));
        ASSERT_TRUE(problem.good(outputs));
        for_each_row(problem, problem.reference(), place, [&](int64_t b, int64_t h, int64_t i, bool, bool sees) {
          if (std::isnan(bad)) {
            EXPECT_EQ(all_nan(problem, outputs, b, h, i), sees) << b << ", " << h << ", " << i;
          }
        });
      }
    }
  }
}

TEST(DecodeExtremes, NoNumbersInScalesOfKeys) {
  for (const Format& format : code_formats()) {
    for (const uint16_t bad : {kNanF16, kInfinityF16}) {
      for (const bool zeros : {false, true}) {
        if (zeros && format.zero_point == GATUN_ZERO_NONE) continue;
        if (format.scaling == GATUN_KV_PER_TOKEN && format.group == 16) continue;
        constexpr int64_t kKey = 1030;
        Spec spec = spec_of(format, {GATUN_F32});
        spec.logits = false;
        SCOPED_TRACE(describe(spec));
        Problem problem(spec);
        const int64_t r = kKey % spec.page_size;
        const int64_t row = format.scaling == GATUN_KV_PER_TOKEN ? r : r / format.group;
        (zeros ? problem.k().zeros()
               : problem.k().scales())[problem.k().scale_at(problem.page_of(1, 1, kKey), 1, row, 0)] = bad;
        Outputs outputs;
        ASSERT_NO_FATAL_FAILURE(problem.call(&outputs));
        Reference reference = problem.reference();
        for_each_row(problem, reference, kKey, [&](int64_t b, int64_t h, int64_t i, bool shares, bool) {
          if (!shares) {
            EXPECT_TRUE(problem.good_row(reference, outputs, b, h, i));
          }
          if (shares && bad == kNanF16) {
            EXPECT_TRUE(all_nan(problem, outputs, b, h, i)) << b << ", " << h << ", " << i;
          }
        });
      }
    }
  }
}

// They reach the rows that see them, in their column at least, and none of another head or item.
TEST(DecodeExtremes, NoNumbersInValues) {
  for (const Format& format : kValueFormats) {
    for (const float bad : {kNan, kInfinity}) {
      if (format.dtype == GATUN_F8E4M3 && std::isinf(bad)) continue;
      for (const int64_t place : {3, 1030, 1097}) {
        Spec spec = spec_of({GATUN_F32}, format, place == 3 ? GATUN_BF16 : GATUN_F32);
        SCOPED_TRACE(describe(spec));
        Problem problem(spec);
        problem.v().set(problem.page_of(1, 1, place), 1, place % spec.page_size, 13, bad);
        Outputs outputs;
        ASSERT_NO_FATAL_FAILURE(problem.call(&outputs));
        Reference reference = problem.reference();
        for_each_row(problem, reference, place, [&](int64_t b, int64_t h, int64_t i, bool shares, bool sees) {
          if (!shares) {
            EXPECT_TRUE(problem.good_row(reference, outputs, b, h, i));
          }
          if (sees) {
            EXPECT_FALSE(std::isfinite(problem.out_row(outputs, b, h, i)[13])) << b << ", " << h << ", " << i;
          }
        });
      }
    }
  }
}

TEST(DecodeExtremes, NoNumbersInScalesOfValues) {
  for (const Format& format : code_formats()) {
    for (const bool zeros : {false, true}) {
      if (zeros && format.zero_point == GATUN_ZERO_NONE) continue;
      constexpr int64_t kKey = 1030;
      Spec spec = spec_of({GATUN_F32}, format);
      SCOPED_TRACE(describe(spec));
      Problem problem(spec);
      const int64_t r = kKey % spec.page_size;
      const int64_t row = format.scaling == GATUN_KV_PER_TOKEN ? r : r / format.group;
      (zeros ? problem.v().zeros()
             : problem.v().scales())[problem.v().scale_at(problem.page_of(1, 1, kKey), 1, row, 0)] = kNanF16;
      Outputs outputs;
      ASSERT_NO_FATAL_FAILURE(problem.call(&outputs));
      Reference reference = problem.reference();
      for_each_row(problem, reference, kKey, [&](int64_t b, int64_t h, int64_t i, bool shares, bool) {
        if (!shares) {
          EXPECT_TRUE(problem.good_row(reference, outputs, b, h, i));
        }
        if (shares) {
          EXPECT_TRUE(std::isnan(problem.out_row(outputs, b, h, i)[0])) << b << ", " << h << ", " << i;
        }
      });
    }
  }
}

TEST(DecodeExtremes, NoNumbersInSlopesAndSinks) {
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    for (const bool slopes : {true, false}) {
      Spec spec = spec_of({GATUN_F32}, {GATUN_F32});
      spec.lengths = {70, 0};
      spec.slopes = slopes;
      spec.sinks = !slopes;
      SCOPED_TRACE(describe(spec));
      Problem problem(spec);
      slopes ? problem.set_slope(2, bad) : problem.set_sink(2, bad);
      ASSERT_NO_FATAL_FAILURE(problem.compare());
    }
  }
}

// Products beyond the range of f32 are infinite before a scale that would bring them back.
TEST(DecodeExtremes, ProductsThatOverflow) {
  for (const float sign : {1.0f, -1.0f}) {
    for (const float scale : {1e-38f, -1e-38f}) {
      Spec spec = spec_of({GATUN_F32}, {GATUN_F32});
      spec.lengths = {70, 80};
      spec.scale = scale;
      SCOPED_TRACE(describe(spec));
      Problem problem(spec);
      for (int64_t c = 0; c < spec.size; ++c) problem.set_q(1, 2, 3, c, 1e20f);
      const int64_t page = problem.page_of(1, 1, 7);
      for (int64_t c = 0; c < spec.size; ++c) problem.k().set(page, 1, 7, c, sign * 1e20f);
      ASSERT_NO_FATAL_FAILURE(problem.compare());
    }
  }
}

// All of a row's logits are -infinity: as if it saw no key.
TEST(DecodeExtremes, RowsOfMinusInfinity) {
  for (const bool sinks : {false, true}) {
    Spec spec = spec_of({GATUN_F32}, {GATUN_F32});
    spec.lengths = {70, 40};
    spec.sinks = sinks;
    Problem problem(spec);
    for (int64_t j = 0; j < 40; ++j) problem.k().set(problem.page_of(1, 1, j), 1, j, 0, -kInfinity);
    for (int64_t c = 0; c < spec.size; ++c) problem.set_q(1, 2, 3, c, 0.5f);
    ASSERT_NO_FATAL_FAILURE(problem.compare());
  }
}

// Exponentials of logits far apart: the largest is subtracted before they could overflow or all vanish.
TEST(DecodeExtremes, LogitsFarApart) {
  for (const Format& format : kSomeFormats) {
    for (const float scale : {30.0f, -30.0f, 1000.0f}) {
      Spec spec = spec_of(format, format);
      spec.scale = scale;
      Problem problem(spec);
      ASSERT_NO_FATAL_FAILURE(problem.compare());
    }
  }
}

TEST(DecodeExtremes, QueriesOfAnySize) {
  for (const Format& format : kSomeFormats) {
    for (const int32_t mode : {GATUN_DECODE_EXACT, GATUN_DECODE_INT8}) {
      for (const float size : {0.0f, 1e-30f, 1e-4f, 1e4f, 1e30f}) {
        Spec spec = spec_of(format, format);
        spec.mode = mode;
        spec.lengths = {70, 90};
        spec.scale = size > 0 ? 0.1f / size : 1.0f;
        Problem problem(spec);
        Rng rng(7);
        problem.for_each_row([&](int64_t b, int64_t h, int64_t i) {
          for (int64_t c = 0; c < spec.size; ++c) problem.set_q(b, h, i, c, size * rng.normal());
        });
        ASSERT_NO_FATAL_FAILURE(problem.compare());
      }
    }
  }
}

// Codes at the ends of their range, in all places at once, with queries likewise: integer sums must hold them.
TEST(DecodeExtremes, LargestSumsOfCodes) {
  for (const Format& format : code_formats()) {
    for (const int32_t mode : {GATUN_DECODE_EXACT, GATUN_DECODE_INT8}) {
      for (const float sign : {1.0f, -1.0f}) {
        Spec spec = spec_of(format, format);
        spec.mode = mode;
        spec.size = spec.value_size = 256;
        spec.lengths = {70, 90};
        spec.scale = 1e-4f;
        SCOPED_TRACE(describe(spec));
        Problem problem(spec);
        problem.for_each_row([&](int64_t b, int64_t h, int64_t i) {
          for (int64_t c = 0; c < spec.size; ++c) problem.set_q(b, h, i, c, sign * 3.0f);
        });
        for (TestPool* const pool : {&problem.k(), &problem.v()}) {
          for (int64_t j = 0; j < 90; ++j) {
            const uint8_t code = format.dtype == GATUN_I8 ? j % 2 == 0 ? 0x7f : 0x81 : j % 2 == 0 ? 0xff : 0;
            uint8_t* const row = pool->row_at(problem.page_of(1, 1, j), 1, j % spec.page_size);
            std::fill_n(row, kv_cache::row_bytes(pool->layout()), code);
          }
        }
        ASSERT_NO_FATAL_FAILURE(problem.compare());
      }
    }
  }
}

}  // namespace
}  // namespace gatun::decode
