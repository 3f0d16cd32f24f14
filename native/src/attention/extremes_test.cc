// Numbers that are none, extremes, and results that are exact but for the last bits: exponentials of 0 may be off by
// one.
#include <limits>

#include "attention/test_problem.h"

namespace gatun::attention {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Two steps of an exponential, two of a reciprocal; of exponentials that are rounded to bf16, the sum is of those which
// are not yet, and less exact; INT8 multiplies the logits' integers by numbers that are rounded.
std::vector<double> last_bits(const Spec& spec, std::vector<double> values) {
  const double part = spec.mode == GATUN_ATTENTION_INT8 ? 0x1p-15 : spec.dtype == GATUN_BF16 ? 0x1p-20 : 0x1p-22;
  for (double& value : values) value = std::fabs(value) * part;
  return values;
}

// Rows of q and k that match pairwise: the logit of a query and its own key is 512, of any other key at most 256, so
// that the other exponentials are 0. For up to 32 * 32 keys, head size 64.
float digit_of(int64_t key, int64_t x) { return (x < 32 ? key % 32 == x : key / 32 == x - 32) ? 1.0f : 0.0f; }

TEST(AttentionExtremes, OneKeyTakesAll) {
  Rng rng(40);
  for (const Kind& kind : kKinds) {
    for (const int64_t keys : {1, 16, 65, 300, 700}) {
      Spec spec = spec_of(kind, 90, keys);
      spec.scale = 1;
      spec.query_heads = 2;
      spec.out_dtype = GATUN_F32;
      Problem problem(spec, rng);
      SCOPED_TRACE(describe(problem.spec()));
      const auto target = [&](int64_t h, int64_t i) { return (i * 37 + h * 11) % keys; };
      problem.set_q([&](int64_t, int64_t h, int64_t i, int64_t x) { return 64 * digit_of(target(h, i), x); });
      problem.set_k([&](int64_t, int64_t, int64_t j, int64_t x) { return 4 * digit_of(j, x); });
      const auto value = [](int64_t j, int64_t x) { return static_cast<float>((j * 29 + x * 7) % 255 - 127); };
      problem.set_v([&](int64_t, int64_t, int64_t j, int64_t x) { return value(j, x); });
      Outputs outputs;
      ASSERT_NO_FATAL_FAILURE(problem.call(&outputs));
      problem.for_each_row([&](int64_t, int64_t h, int64_t i, int64_t out_at, int64_t lse_at) {
        if (HasFatalFailure()) return;
        const std::vector<double> row = test::to_doubles(outputs.out.data() + out_at * 4, GATUN_F32, 64);
        std::vector<double> expected;
        for (int64_t x = 0; x < 64; ++x) expected.push_back(static_cast<double>(value(target(h, i), x)));
        ASSERT_TRUE(test::within(row, expected, last_bits(spec, expected))) << h << ", " << i;
        if (spec.mode == GATUN_ATTENTION_EXACT) {
          ASSERT_NEAR(outputs.lse[static_cast<size_t>(lse_at)], 512, 512 * 0x1p-23) << i;
        }
      });
    }
  }
}

// Equal logits, a power of two of them, small integers in v: their mean is exact.
TEST(AttentionExtremes, EqualLogits) {
  Rng rng(41);
  for (const Kind& kind : kKinds) {
    for (const float size : {0.0f, 1.0f, 4.0f}) {  // logits 0, 8, 128
      for (const int64_t keys : {1, 2, 64, 256, 1024}) {
        Spec spec = spec_of(kind, 20, keys);
        spec.out_dtype = GATUN_F32;
        Problem problem(spec, rng);
        SCOPED_TRACE(describe(problem.spec()));
        problem.set_q([&](int64_t, int64_t, int64_t, int64_t) { return size; });
        problem.set_k([&](int64_t, int64_t, int64_t, int64_t) { return size; });
        problem.set_v([](int64_t, int64_t, int64_t j, int64_t x) { return static_cast<float>((j * 5 + x) % 31 - 15); });
        Outputs outputs;
        ASSERT_NO_FATAL_FAILURE(problem.call(&outputs));
        ASSERT_NO_FATAL_FAILURE(problem.check(outputs));
        Reference reference(problem.params(), problem.inputs());
        const std::vector<double> mean = reference.row(0, 0, 0).out;
        problem.for_each_row([&](int64_t, int64_t, int64_t i, int64_t out_at, int64_t) {
          if (HasFatalFailure()) return;
          const std::vector<double> row = test::to_doubles(outputs.out.data() + out_at * 4, GATUN_F32, 64);
          ASSERT_TRUE(test::within(row, mean, last_bits(spec, std::vector<double>(64, 16)))) << i;
        });
      }
    }
  }
}

TEST(AttentionExtremes, LargeAndSmallNumbers) {
  Rng rng(42);
  for (const Kind& kind : kKinds) {
    for (const float size : {1e-3f, 30.0f, 300.0f}) {  // of q and k: logits up to 1e6
      for (const float v_size : {1e-7f, 3e3f}) {
        Spec spec = spec_of(kind, 40, 180);
        spec.sinks = size == 30.0f;
        Problem problem(spec, rng);
        problem.set_q([&](int64_t, int64_t, int64_t, int64_t) { return size * rng.normal(); });
        problem.set_k([&](int64_t, int64_t, int64_t, int64_t) { return size * rng.normal(); });
        problem.set_v([&](int64_t, int64_t, int64_t, int64_t) { return v_size * rng.normal(); });
        ASSERT_NO_FATAL_FAILURE(problem.compare());
      }
    }
  }
}

// What is not a number in q or k makes the rows that see it not a number, and no other row.
TEST(AttentionExtremes, NoNumbersInQueriesAndKeys) {
  Rng rng(43);
  for (const Kind& kind : kKinds) {
    for (const float bad : {kNan, kInfinity, -kInfinity}) {
      for (const bool in_queries : {true, false}) {
        for (const bool causal : {true, false}) {
          Spec spec = spec_of(kind, 150, 170);
          spec.query_heads = spec.kv_heads = 2;
          spec.causal = causal;
          spec.window_left = causal ? 60 : -1;
          spec.mask = causal ? MaskKind::none : MaskKind::mixed;
          Problem problem(spec, rng);
          const auto spoiled = [&](int64_t, int64_t head, int64_t row, int64_t x) {
            return head == 1 && row == 77 && x == 13 ? bad : rng.normal();
          };
          in_queries ? problem.set_q(spoiled) : problem.set_k(spoiled);
          ASSERT_NO_FATAL_FAILURE(problem.compare());
        }
      }
    }
  }
}

// In v they reach the rows that see them, in their column; also where others of the same tile do not see them.
TEST(AttentionExtremes, NoNumbersInValues) {
  Rng rng(44);
  for (const Kind& kind : kKinds) {
    for (const float bad : {kNan, kInfinity, -kInfinity}) {
      for (const auto& [causal, mask] : {std::pair<bool, MaskKind>{true, MaskKind::none},
                                         {false, MaskKind::mixed},
                                         {false, MaskKind::none},
                                         {true, MaskKind::full}}) {
        for (const int64_t place : {0, 77, 169}) {
          Spec spec = spec_of(kind, 150, 170);
          spec.causal = causal;
          spec.window_left = causal ? 60 : -1;
          spec.mask = mask;
          Problem problem(spec, rng);
          problem.set_v(
              [&](int64_t, int64_t, int64_t row, int64_t x) { return row == place && x == 13 ? bad : rng.normal(); });
          ASSERT_NO_FATAL_FAILURE(problem.compare());
        }
      }
    }
  }
}

// Keys whose sum leaves the range of f32 have no mean: as if one were not finite.
TEST(AttentionExtremes, SumsOfKeysThatOverflow) {
  Rng rng(46);
  for (const Kind& kind :
       {Kind{GATUN_F32, GATUN_F32, GATUN_ATTENTION_INT8}, Kind{GATUN_BF16, GATUN_F32, GATUN_ATTENTION_INT8}}) {
    Spec spec = spec_of(kind, 30, 70);
    spec.query_heads = spec.kv_heads = 2;
    Problem problem(spec, rng);
    problem.set_q([](int64_t, int64_t, int64_t, int64_t) { return 1e-38f; });
    problem.set_k(
        [&](int64_t, int64_t head, int64_t, int64_t x) { return head == 1 && x == 5 ? 2e38f : rng.normal(); });
    Outputs outputs;
    ASSERT_NO_FATAL_FAILURE(problem.call(&outputs));
    ASSERT_NO_FATAL_FAILURE(problem.check(outputs));
    problem.for_each_row([&](int64_t, int64_t h, int64_t i, int64_t, int64_t lse_at) {
      EXPECT_EQ(std::isnan(outputs.lse[static_cast<size_t>(lse_at)]), h == 1) << h << ", " << i;
    });
  }
}

// Products of subnormals with large numbers, and subnormals in v: those of bf16 count as 0 where the dot instruction
// takes them so, those of f16 never do.
TEST(AttentionExtremes, Subnormals) {
  for (const Kind& kind : kKinds) {
    if (kind.dtype == GATUN_F32) continue;
    const std::string kernel = table().select(kind.dtype, kind.mode, static_cast<Tier>(gatun_tier())).name;
    const bool kept = kind.dtype == GATUN_F16 || kernel.find("avx512vnni") == std::string::npos;
    const float tiny = kind.dtype == GATUN_F16 ? 0x1p-22f : 0x1p-130f,
                large = kind.dtype == GATUN_F16 ? 0x1p14f : 0x1p126f;
    // Once with the subnormals, once with zeros instead of them.
    const auto fill = [&](Problem& problem, bool with_tiny) {
      Rng values(48);
      const auto subnormal = [&] { return std::round(8 * values.normal()) / 8 * tiny * (with_tiny ? 1.0f : 0.0f); };
      const auto element = [&](int64_t x, int64_t tiny_column) {
        return x % 4 == tiny_column ? subnormal() : x % 4 < 2 ? large * std::round(values.normal()) : values.normal();
      };
      if (kind.mode == GATUN_ATTENTION_EXACT) {
        problem.set_q([&](int64_t, int64_t, int64_t, int64_t x) { return element(x, 0); });
        problem.set_k([&](int64_t, int64_t, int64_t, int64_t x) { return element(x, 1); });
      }
      problem.set_v([&](int64_t, int64_t, int64_t, int64_t x) { return x % 2 == 0 ? subnormal() : values.normal(); });
    };
    Spec spec = spec_of(kind, 40, 180);
    spec.out_dtype = GATUN_F32;
    Rng rng(47), same(47);
    Problem problem(spec, rng), expected(spec, same);
    SCOPED_TRACE(describe(problem.spec()));
    fill(problem, true);
    fill(expected, kept);
    Outputs outputs;
    ASSERT_NO_FATAL_FAILURE(problem.call(&outputs));
    ASSERT_NO_FATAL_FAILURE(expected.check(outputs));
    double most = 0;
    problem.for_each_row([&](int64_t, int64_t, int64_t, int64_t out_at, int64_t) {
      for (const double y : test::to_doubles(outputs.out.data() + out_at * 4, GATUN_F32, 1)) most = std::max(most, y);
    });
    EXPECT_EQ(most > 0, kept) << "of the first column";
  }
}

// All of a row's logits are -infinity: as if it saw no key.
TEST(AttentionExtremes, RowsOfMinusInfinity) {
  Rng rng(45);
  for (const Kind& kind : kKinds) {
    if (kind.mode == GATUN_ATTENTION_INT8) continue;  // where infinity is no number
    Spec spec = spec_of(kind, 20, 40);
    Problem problem(spec, rng);
    problem.set_q([](int64_t, int64_t, int64_t i, int64_t x) { return x != 0 ? 0.5f : i % 2 == 0 ? 1.0f : 0.5f; });
    problem.set_k([](int64_t, int64_t, int64_t, int64_t x) { return x == 0 ? -kInfinity : 1.0f; });
    ASSERT_NO_FATAL_FAILURE(problem.compare());
  }
}

}  // namespace
}  // namespace gatun::attention
