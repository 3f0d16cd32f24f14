// INT8_FP8: codes of v bit for bit, attention over them, and what smoothing is for.
#include "attention/fp8_problem.h"

namespace gatun::cuda::attention {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLn2 = 0.693147181f;

// Channels have means.
Problem problem_of(const Spec& spec, Rng& rng) {
  Problem problem(spec, rng);
  problem.set_v([&](int64_t b, int64_t head, int64_t, int64_t x) {
    return rng.normal() + static_cast<float>((b + head + x) % 5) * 3.0f - 4.0f;
  });
  return problem;
}

// Weights of which 448 times is a number of f8e4m3: `levels`, -1, 0 or 1 for each key and as often -1 as 1, give
// weights of 8^(level - 1) beside the largest.
void set_levels(Problem& problem, const std::function<float(int64_t key)>& level) {
  problem.spec().scale = 3 * kLn2;
  problem.set_q([](int64_t, int64_t, int64_t, int64_t x) { return x == 0 ? 1.0f : 0.0f; });
  problem.set_k([&](int64_t, int64_t, int64_t key, int64_t x) { return x == 0 ? level(key) : 0.0f; });
}

// As it is and, closely, with weights that are all the same but for slopes: each key's value is at its place.
void compare_closely(Problem problem) {
  ASSERT_NO_FATAL_FAILURE(compare_fp8(problem));
  if (problem.spec().slopes) return;
  set_levels(problem, [](int64_t) { return 0.0f; });
  ASSERT_NO_FATAL_FAILURE(compare_fp8(problem, true));
}

TEST(AttentionFp8, Lengths) {
  Rng rng(70);
  int i = 0;
  for (const Kind& kind : kFp8Kinds) {
    for (const auto& [queries, keys] :
         {std::pair{1, 1}, {2, 130}, {63, 15}, {64, 64}, {65, 33}, {129, 257}, {128, 128}, {70, 16}, {5, 0}}) {
      Spec spec = device_spec(kind, queries, keys);
      ++i;
      spec.head_size = std::array{64, 128, 8, 72, 40}[static_cast<size_t>(i % 5)];
      spec.value_size = std::array{64, 128, 24, 8}[static_cast<size_t>(i % 4)];
      spec.causal = i / 4 % 2 == 0;
      spec.query_heads = 2;
      spec.kv_heads = 1 + i / 2 % 2;
      spec.batch = 1 + i % 2;
      next_way();
      ASSERT_NO_FATAL_FAILURE(compare_fp8(problem_of(spec, rng)));
    }
  }
}

TEST(AttentionFp8, Options) {
  Rng rng(71);
  for (const Kind& kind : kFp8Kinds) {
    for (int i = 0; i < 8; ++i) {
      Spec spec = device_spec(kind, i == 6 ? 180 : 70, 150);  // of 180 queries some see nothing
      spec.query_heads = 2;
      spec.causal = i % 3 == 0;
      spec.window_left = i % 2 == 0 ? 20 : -1;
      spec.window_right = i % 4 == 1 ? 7 : -1;
      spec.sink_keys = i == 2 || i == 4 ? 5 : 0;
      spec.soft_cap = i >= 5 ? 2.0f : 0.0f;
      spec.slopes = i % 3 == 1;
      spec.sinks = i % 2 == 1;
      spec.correction = i == 3 || i == 6;
      spec.values = i != 7;
      spec.lse = i != 1;
      if (i == 2) spec.head_size = spec.value_size = 128;
      if (i == 4) spec.scale = -0.1f;
      next_way();
      ASSERT_NO_FATAL_FAILURE(compare_closely(problem_of(spec, rng)));
    }
  }
}

TEST(AttentionFp8, Masks) {
  Rng rng(72);
  int i = 0;
  for (const Kind& kind : kFp8Kinds) {
    for (const MaskKind mask : kMaskKinds) {
      constexpr std::pair<int, int> kBlocks[] = {{16, 48}, {64, 64}, {128, 16}, {48, 128}, {32, 16}};
      const auto& [query_block, key_block] = kBlocks[++i % 5];
      Spec spec = device_spec(kind, 140, 330);
      spec.mask = mask;
      spec.query_block = query_block;
      spec.key_block = key_block;
      spec.query_heads = 2;
      spec.batch = 1 + i % 2;
      spec.mask_heads = i % 3 != 0;
      spec.causal = i % 5 == 0;
      spec.value_size = i % 2 == 0 ? 128 : 64;
      next_way();
      ASSERT_NO_FATAL_FAILURE(compare_closely(problem_of(spec, rng)));
    }
  }
}

TEST(AttentionFp8, Ragged) {
  Rng rng(73);
  int i = 0;
  for (const Kind& kind : kFp8Kinds) {
    for (const MaskKind mask : {MaskKind::none, MaskKind::mixed}) {
      Spec spec = device_spec(kind, 0, 0);
      ++i;
      spec.q_offsets = {3, 3, 68, 69, 200, 210};
      spec.kv_offsets = {1, 40, 41, 171, 240, 240};
      spec.query_length = 213;
      spec.query_heads = 2;
      spec.kv_heads = 2;
      spec.mask = mask;
      spec.query_block = 32;
      spec.causal = i % 2 == 0;
      spec.sinks = true;
      spec.q_order = kOrders[i % 3];
      spec.kv_order = kOrders[(i + 1) % 3];
      spec.out_order = kOrders[(i + 2) % 3];
      next_way();
      ASSERT_NO_FATAL_FAILURE(compare_closely(problem_of(spec, rng)));
    }
  }
}

TEST(AttentionFp8, Memory) {
  Rng rng(74);
  int i = 0;
  for (const Kind& kind : kFp8Kinds) {
    for (const Order order : {Order::nhd, Order::gaps, Order::one_head}) {
      Spec spec = device_spec(kind, 66, 70);
      spec.offset = ++i % 2;
      spec.batch = 2;
      spec.query_heads = 4;
      spec.kv_heads = 2;
      spec.kv_order = order;
      spec.q_order = kOrders[i % 3];
      spec.out_order = kOrders[(i + 1) % 3];
      next_way();
      ASSERT_NO_FATAL_FAILURE(compare_closely(Problem(spec, rng)));
    }
  }
}

// With weights that f8e4m3 holds, in every order: each key at its place, maxima that grow from step to step, that fall,
// and that come and go, and slopes of which each key has another weight than the next.
TEST(AttentionFp8, WeightsThatAreExact) {
  in_every_order([] {
    Rng rng(75);
    for (const int64_t size : {64, 128}) {
      Spec spec = device_spec(kFp8Kinds[2], 100, 384);
      spec.value_size = size;
      Problem problem = problem_of(spec, rng);
      set_levels(problem, [](int64_t key) { return static_cast<float>(key / 128) - 1; });
      ASSERT_NO_FATAL_FAILURE(compare_fp8(problem, true));
      set_levels(problem, [](int64_t key) { return 1 - static_cast<float>(key / 128); });
      ASSERT_NO_FATAL_FAILURE(compare_fp8(problem, true));
      set_levels(problem, [](int64_t key) { return static_cast<float>(key * 7 % 3) - 1; });
      problem.spec().causal = true;
      ASSERT_NO_FATAL_FAILURE(compare_fp8(problem, true));
      spec.slopes = true;
      for (const float slope : {kLn2, -kLn2}) {
        Problem sloping = problem_of(spec, rng);
        set_levels(sloping, [](int64_t) { return 0.0f; });
        sloping.set_slope(0, slope);
        ASSERT_NO_FATAL_FAILURE(compare_fp8(sloping, true));
      }
    }
  });
}

// Steps come back to every place of the ring, in either parity of its barriers: with values, and for lse alone.
TEST(AttentionFp8, ManySteps) {
  in_every_order([] {
    Rng rng(81);
    for (const int64_t size : {64, 128}) {
      Spec spec = device_spec(kFp8Kinds[0], 100, 9 * 128 + 20);
      spec.value_size = size;
      spec.mask = MaskKind::mixed;
      spec.key_block = 48;
      for (const bool values : {true, false}) {
        spec.values = values;
        Problem problem = problem_of(spec, rng);
        if (values) set_levels(problem, [](int64_t key) { return static_cast<float>(key / 128 % 3) - 1; });
        ASSERT_NO_FATAL_FAILURE(compare_fp8(problem, values));
      }
    }
  });
}

// One step: weights are rounded to the nearest number of f8e4m3, the denominator is of those before.
TEST(AttentionFp8, WeightsAreRounded) {
  Rng rng(76);
  Spec spec = device_spec(kFp8Kinds[2], 40, 128);
  spec.value_size = 16;
  const Problem problem = problem_of(spec, rng);
  const KernelRow* const row = fp8_row(problem);
  if (row == nullptr) GTEST_SKIP() << "kernels of compute capability 9.0 alone";
  Outputs outputs;
  ASSERT_NO_FATAL_FAILURE(call(problem, row, &outputs));
  // Weights by the reference: values that are 1 for one key.
  gatun_attention_params p = problem.params();
  Inputs in = problem.inputs();
  const Fp8Reference oracle = fp8_reference(problem);
  p.mode = GATUN_ATTENTION_INT8;
  p.value_size = p.v_row_stride = 128;
  std::vector<float> unit(128 * 128);
  for (size_t j = 0; j < 128; ++j) unit[j * 129] = 1;
  in.v = unit.data();
  gatun::attention::Reference reference(p, in);
  for (int64_t i = 0; i < 40; ++i) {
    const std::vector<double> weights = reference.row(0, 0, i).out;
    const double largest = *std::max_element(weights.begin(), weights.end());
    for (int64_t c = 0; c < 16; ++c) {
      const Channel& v = oracle.channel(0, 0, c);
      double sum = 0, magnitude = 0, allowed = 0;
      for (size_t j = 0; j < 128; ++j) {
        const auto rounded = [&](double factor) {
          const float weight = static_cast<float>(448 * weights[j] / largest * factor);
          return static_cast<double>(small_to_f32<F8E4M3>(f32_to_small<F8E4M3>(weight)));
        };
        const double code = static_cast<double>(small_to_f32<F8E4M3>(v.codes[j]));
        sum += rounded(1) * code;
        magnitude += rounded(1) * std::fabs(code);
        allowed += std::fabs(code) * (rounded(1 + 0x1p-16) - rounded(1 - 0x1p-16) + 0x1p-18);  // near a tie
      }
      const double scale = static_cast<double>(v.scale) * largest / 448;
      float actual;
      std::memcpy(&actual, outputs.out.data() + (i * 16 + c) * 4, 4);
      allowed += kFp8Sums * magnitude;
      EXPECT_NEAR(static_cast<double>(actual), sum * scale + static_cast<double>(v.mean),
                  allowed * scale + 0x1p-18 * (1 + std::fabs(static_cast<double>(v.mean))))
          << i << ", " << c;
    }
  }
}

void check_codes(const Spec& spec, Rng& rng) {
  const Problem problem = problem_of(spec, rng);
  const KernelRow* const row = fp8_row(problem);
  if (row == nullptr) GTEST_SKIP() << "kernels of compute capability 9.0 alone";
  const gatun_attention_params p = problem.params();
  const Fp8Reference oracle = fp8_reference(problem);
  const Plan plan = plan_on(*row, p, oracle.ragged());
  Outputs outputs;
  std::vector<uint8_t> left;
  ASSERT_NO_FATAL_FAILURE(call(problem, row, &outputs, &left));
  const auto float_at = [&](int64_t place, int64_t index) {
    float x;
    std::memcpy(&x, left.data() + place + index * 4, 4);
    return x;
  };
  constexpr int kOrder[16] = {0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15};
  int64_t wrong = 0;
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t head = 0; head < p.kv_heads; ++head) {
      const int64_t first = oracle.ragged() ? oracle.first_key(b) / kUnitKeys + b + head * plan.k_units
                                            : (b * p.kv_heads + head) * plan.k_units;
      for (int64_t c = 0; c < plan.columns; ++c) {
        const Channel none = {0, 0, std::vector<uint8_t>(static_cast<size_t>(oracle.keys(b)))};
        const Channel& channel = c < p.value_size ? oracle.channel(b, head, c) : none;
        if (c < p.value_size) {
          const int64_t at = (b * p.kv_heads + head) * p.value_size + c;
          EXPECT_EQ(float_at(plan.v_mean_at, at), channel.mean);
          EXPECT_EQ(float_at(plan.v_scales_at, at), channel.scale);
        }
        for (int64_t j = 0; j < blocks_of(oracle.keys(b), kUnitKeys) * kUnitKeys; ++j) {
          const int64_t panel = first * 4 + j / 16, key = j / 16 * 16 + kOrder[j % 16];
          const uint8_t code = left[static_cast<size_t>(plan.values_at + (panel * plan.columns + c) * 16 + j % 16)];
          const uint8_t expected = key < oracle.keys(b) ? channel.codes[static_cast<size_t>(key)] : uint8_t{0};
          wrong += (code == 0x80 ? 0 : code) != (expected == 0x80 ? 0 : expected);  // -0 is as good
        }
      }
    }
  }
  EXPECT_EQ(wrong, 0) << describe(spec);
}

TEST(AttentionFp8, CodesAreThoseOfTheDefinition) {
  Rng rng(77);
  for (const Kind& kind : kFp8Kinds) {
    Spec spec = device_spec(kind, 20, 150);
    spec.value_size = 72;
    spec.batch = 2;
    spec.query_heads = 4;
    spec.kv_heads = 2;
    spec.kv_order = Order::gaps;
    next_way();
    ASSERT_NO_FATAL_FAILURE(check_codes(spec, rng));
    spec.q_offsets = {2, 9, 9, 30};
    spec.kv_offsets = {1, 70, 90, 220};
    ASSERT_NO_FATAL_FAILURE(check_codes(spec, rng));
  }
}

// Channels whose mean is far from 0 beside their spread: against attention over v itself, with and without the mean.
TEST(AttentionFp8, SmoothingMatters) {
  Rng rng(78);
  Spec spec = device_spec(kFp8Kinds[2], 30, 200);
  Problem problem(spec, rng);
  problem.set_v([&](int64_t, int64_t, int64_t, int64_t x) { return rng.normal() + (x % 2 == 0 ? 100.0f : -30.0f); });
  const KernelRow* const row = fp8_row(problem);
  if (row == nullptr) GTEST_SKIP() << "kernels of compute capability 9.0 alone";
  Outputs outputs;
  ASSERT_NO_FATAL_FAILURE(call(problem, row, &outputs));
  gatun_attention_params exact = problem.params();
  exact.mode = GATUN_ATTENTION_EXACT;
  gatun::attention::Reference of_values(exact, problem.inputs());
  const Fp8Reference rough = fp8_reference(problem, true, false);
  gatun::attention::Reference of_codes = rough.reference();
  double error = 0, error_without = 0;
  for (int64_t i = 0; i < 30; ++i) {
    const std::vector<double> expected = of_values.row(0, 0, i).out, without = rough.row(of_codes, 0, 0, i).out;
    const std::vector<double> actual =
        gatun::test::to_doubles(outputs.out.data() + of_values.out_index(0, 0, i) * 4, GATUN_F32, spec.value_size);
    for (size_t c = 0; c < expected.size(); ++c) {
      error = std::max(error, std::fabs(actual[c] - expected[c]));
      error_without = std::max(error_without, std::fabs(without[c] - expected[c]));
    }
  }
  EXPECT_LT(error, 0.05);
  EXPECT_GT(error_without, 0.5);
}

// Of v they reach their column of all rows of the head that see anything, of k these rows, of q its row.
TEST(AttentionFp8, NotANumber) {
  Rng rng(79);
  int i = 0;
  for (const Kind& kind : kFp8Kinds) {
    for (const int where : {0, 1, 2}) {
      Spec spec = device_spec(kind, 110, 100);  // of which ten see nothing
      spec.query_heads = spec.kv_heads = 2;
      spec.causal = true;
      Problem problem = problem_of(spec, rng);
      const float bad = std::array{kNan, kInfinity, -kInfinity}[static_cast<size_t>(++i % 3)];
      const auto spoiled = [&](int64_t, int64_t head, int64_t row, int64_t x) {
        return head == 1 && row == 37 && x == 13 ? bad : rng.normal();
      };
      where == 0 ? problem.set_q(spoiled) : where == 1 ? problem.set_k(spoiled) : problem.set_v(spoiled);
      next_way();
      ASSERT_NO_FATAL_FAILURE(compare_fp8(problem));
    }
  }
}

// Corrections that are none, infinite, or so large that only the value in its own size stays finite; sinks and slopes
// that are none or infinite. Some channels have one value; in others codes' sums have another sign than the values,
// whose sign is that of out.
TEST(AttentionFp8, SinksSlopesAndCorrections) {
  Rng rng(82);
  for (const Kind& kind : kFp8Kinds) {
    for (const float bad : {kNan, kInfinity, -kInfinity, 1e37f, -1e37f, 0.0f}) {
      Spec spec = device_spec(kind, 35, 30);  // of which some see nothing
      spec.query_heads = 3;
      spec.causal = true;
      spec.sinks = spec.slopes = spec.correction = true;
      Problem problem(spec, rng);
      problem.set_v([&](int64_t, int64_t, int64_t, int64_t x) {
        return (x % 2 == 0 ? 1.0f : -1.0f) * (x % 5 == 0 ? 1.5f : rng.uniform(1.0f, 2.0f));
      });
      problem.set_correction(bad);
      if (!std::isfinite(bad)) {
        problem.set_sink(0, bad);
        problem.set_slope(1, bad);
      }
      next_way();
      ASSERT_NO_FATAL_FAILURE(compare_fp8(problem));
    }
  }
}

// Values that are all the same, very large and very small ones; sinks of infinity.
TEST(AttentionFp8, Extremes) {
  Rng rng(80);
  for (const float size : {0.0f, 1e-37f, 1e30f}) {
    Spec spec = device_spec(kFp8Kinds[2], 20, 90);
    spec.sinks = true;
    Problem problem(spec, rng);
    problem.set_v([&](int64_t, int64_t, int64_t key, int64_t x) {
      return x % 3 == 0 ? size : x % 3 == 1 ? size * rng.normal() : key == 5 ? size : 0.0f;
    });
    ASSERT_NO_FATAL_FAILURE(compare_fp8(problem));
    for (const float sink : {kInfinity, -kInfinity, kNan}) {
      problem.set_sink(0, sink);
      ASSERT_NO_FATAL_FAILURE(compare_fp8(problem));
    }
  }
}

}  // namespace
}  // namespace gatun::cuda::attention
