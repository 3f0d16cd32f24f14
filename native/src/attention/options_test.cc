// Options that change logits, denominators or outputs.
#include <limits>

#include "attention/test_problem.h"

namespace gatun::attention {
namespace {

// Of two items, which end where `rows` end or before.
std::vector<int64_t> random_offsets(Rng& rng, int64_t rows) {
  const int64_t cut = rng.integer(0, rows);
  return {0, cut, rng.integer(cut, rows)};
}

// All combinations of the options; by chance with windows, of two ragged items, in blocks of any size.
TEST(AttentionOptions, Combinations) {
  Rng rng(30);
  for (const Kind& kind : kKinds) {
    for (int options = 0; options < 64; ++options) {
      Spec spec = spec_of(kind, 70, 150);
      spec.head_size = 40;
      spec.query_heads = 4;
      spec.kv_heads = 2;
      spec.soft_cap = options & 1 ? 3.0f : 0.0f;
      spec.slopes = options & 2;
      spec.sinks = options & 4;
      spec.correction = options & 8;
      spec.causal = options & 16;
      spec.mask = options & 32 ? MaskKind::mixed : MaskKind::none;
      const auto chance = [&] { return rng.integer(0, 1) != 0; };
      if (chance()) spec.window_left = rng.integer(0, 80);
      if (chance()) spec.window_right = rng.integer(0, 40);
      if (chance()) spec.sink_keys = rng.integer(1, 70);
      if (chance()) {
        spec.q_offsets = random_offsets(rng, spec.query_length);
        spec.kv_offsets = random_offsets(rng, spec.kv_length);
      }
      spec.query_block = rng.integer(1, 8) * 16;
      spec.key_block = rng.integer(1, 8) * 16;
      spec.mask_batch = chance();
      spec.mask_heads = chance();
      Problem problem(spec, rng);
      ASSERT_NO_FATAL_FAILURE(problem.compare());
    }
  }
}

TEST(AttentionOptions, Outputs) {
  Rng rng(31);
  for (const Kind& kind : kKinds) {
    for (const bool values : {true, false}) {
      for (const bool lse : {true, false}) {
        if (!values && !lse) continue;
        for (const bool causal : {true, false}) {
          Spec spec = spec_of(kind, 77, 140);
          spec.values = values;
          spec.lse = lse;
          spec.causal = causal;
          spec.sinks = causal;
          spec.query_heads = 2;
          spec.mask = causal ? MaskKind::none : MaskKind::bits;
          Problem problem(spec, rng);
          ASSERT_NO_FATAL_FAILURE(problem.compare());
        }
      }
    }
  }
}

// What one output is does not hang on whether the other is asked for.
TEST(AttentionOptions, EachOutputAlone) {
  for (const Kind& kind : kKinds) {
    Outputs both, values, sums;
    const auto call = [&](bool with_values, bool with_lse, Outputs* outputs) {
      Rng rng(32);
      Spec spec = spec_of(kind, 77, 300);
      spec.values = with_values;
      spec.lse = with_lse;
      Problem problem(spec, rng);
      ASSERT_NO_FATAL_FAILURE(problem.call(outputs));
    };
    ASSERT_NO_FATAL_FAILURE(call(true, true, &both));
    ASSERT_NO_FATAL_FAILURE(call(true, false, &values));
    ASSERT_NO_FATAL_FAILURE(call(false, true, &sums));
    EXPECT_TRUE(test::identical(both.out, values.out));
    EXPECT_TRUE(test::identical(both.lse, sums.lse));
  }
}

TEST(AttentionOptions, ScalesAndCaps) {
  Rng rng(33);
  for (const Kind& kind : kKinds) {
    for (const float scale : {1.0f, -0.125f, 1e-3f, 30.0f, 0.0f}) {
      for (const float cap : {0.0f, 0.01f, 1.0f, 50.0f, 1e6f}) {
        Spec spec = spec_of(kind, 40, 90);
        spec.scale = scale;
        spec.soft_cap = cap;
        Problem problem(spec, rng);
        ASSERT_NO_FATAL_FAILURE(problem.compare());
      }
    }
  }
}

// NaN and infinity in what is given for heads and rows. Where bits hide the query's own key, an infinite slope makes no
// NaN.
TEST(AttentionOptions, NoNumbersInSlopesSinksAndCorrection) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Rng rng(35);
  for (const Kind& kind : kKinds) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), kInfinity, -kInfinity}) {
      for (int what = 0; what < 3; ++what) {
        Spec spec = spec_of(kind, 90, 70);  // the first 20 rows see no key
        spec.causal = true;
        spec.mask = MaskKind::bits;
        spec.query_heads = 2;
        spec.slopes = what == 0;
        spec.sinks = what == 1;
        spec.correction = what == 2;
        Problem problem(spec, rng);
        // Of one sign, so that infinity times a row is known.
        problem.set_v([&](int64_t, int64_t, int64_t, int64_t) { return std::fabs(rng.normal()) + 0.5f; });
        if (spec.slopes) problem.set_slope(1, bad);
        if (spec.sinks) problem.set_sink(1, bad);
        problem.for_each_row([&](int64_t, int64_t, int64_t i, int64_t, int64_t lse_at) {
          if (spec.correction && i % 3 == 0) problem.set_correction(lse_at, bad);
        });
        ASSERT_NO_FATAL_FAILURE(problem.compare());
      }
    }
  }
}

// A row times its correction, which lse knows nothing of; 0 gives zeros.
TEST(AttentionOptions, CorrectionOfRows) {
  for (const Kind& kind : kKinds) {
    Rng rng(34);
    Spec spec = spec_of(kind, 60, 200);
    spec.out_dtype = GATUN_F32;
    spec.correction = true;
    Problem problem(spec, rng);
    problem.set_correction(1);
    Outputs outputs;
    ASSERT_NO_FATAL_FAILURE(problem.call(&outputs));
    ASSERT_NO_FATAL_FAILURE(problem.check(outputs));
    for (size_t i = 0; i < outputs.lse.size(); ++i)
      problem.set_correction(static_cast<int64_t>(i), static_cast<float>(i % 3) * 0.5f);
    Outputs again;
    ASSERT_NO_FATAL_FAILURE(problem.call(&again));
    EXPECT_TRUE(test::identical(again.lse, outputs.lse));
    problem.for_each_row([&](int64_t, int64_t, int64_t, int64_t out_at, int64_t lse_at) {
      const double factor = static_cast<double>(lse_at % 3) * 0.5;
      const auto row = test::to_doubles(again.out.data() + out_at * 4, GATUN_F32, spec.value_size);
      auto expected = test::to_doubles(outputs.out.data() + out_at * 4, GATUN_F32, spec.value_size);
      for (double& y : expected) y *= factor;
      EXPECT_EQ(row, expected) << lse_at;
    });
  }
}

}  // namespace
}  // namespace gatun::attention
