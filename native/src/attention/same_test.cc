// What results do not depend on, bit for bit: threads, other heads, other batch items.
#include "attention/test_problem.h"

namespace gatun::attention {
namespace {

Spec large_spec(const Kind& kind, int variant) {
  Spec spec = spec_of(kind, 140, 210);
  spec.batch = 2;
  spec.query_heads = 4;
  spec.kv_heads = 2;
  spec.causal = variant == 1;
  spec.mask = variant == 2 ? MaskKind::mixed : variant == 3 ? MaskKind::full : MaskKind::none;
  spec.key_block = variant == 2 ? 48 : 64;
  spec.sinks = spec.slopes = variant == 3;
  if (variant == 3) {
    spec.q_offsets = {0, 3, 140};
    spec.kv_offsets = {0, 80, 210};
  }
  return spec;
}

TEST(AttentionSame, AnyNumberOfThreads) {
  for (const Kind& kind : kKinds) {
    for (int variant = 0; variant < 4; ++variant) {
      Rng rng(50);
      Problem problem(large_spec(kind, variant), rng);
      SCOPED_TRACE(describe(problem.spec()));
      Outputs one;
      ASSERT_NO_FATAL_FAILURE(problem.call(&one));
      ASSERT_NO_FATAL_FAILURE(problem.check(one));
      for (const int32_t threads : {0, 2, 3, 8}) {
        problem.spec().threads = threads;
        Outputs many;
        ASSERT_NO_FATAL_FAILURE(problem.call(&many));
        ASSERT_TRUE(test::identical(many.out, one.out)) << threads << " threads";
        ASSERT_TRUE(test::identical(many.lse, one.lse)) << threads << " threads";
      }
    }
  }
}

// A decode step and a few queries over many keys: here threads share keys, if they do anywhere.
TEST(AttentionSame, FewQueriesOverManyKeys) {
  for (const Kind& kind : kKinds) {
    for (const int64_t queries : {1, 5}) {
      Rng rng(51);
      Spec spec = spec_of(kind, queries, 5000);
      spec.query_heads = 4;
      Problem problem(spec, rng);
      Outputs one;
      ASSERT_NO_FATAL_FAILURE(problem.call(&one));
      ASSERT_NO_FATAL_FAILURE(problem.check(one));
      for (const int32_t threads : {2, 8}) {
        problem.spec().threads = threads;
        Outputs many;
        ASSERT_NO_FATAL_FAILURE(problem.call(&many));
        ASSERT_TRUE(test::identical(many.out, one.out)) << threads << " threads";
        ASSERT_TRUE(test::identical(many.lse, one.lse)) << threads << " threads";
      }
    }
  }
}

TEST(AttentionSame, EachHeadAlone) {
  for (const Kind& kind : kKinds) {
    for (int variant = 0; variant < 2; ++variant) {
      Rng rng(52);
      Problem problem(large_spec(kind, variant), rng);
      SCOPED_TRACE(describe(problem.spec()));
      Outputs all;
      ASSERT_NO_FATAL_FAILURE(problem.call(&all));
      gatun_attention_params p = problem.params();
      const gatun_attention_params whole = p;
      p.batch = p.query_heads = p.kv_heads = 1;
      const int64_t in = dtype_bytes(p.dtype, 1), out = dtype_bytes(p.out_dtype, 1);
      const auto from = [](const void* data, int64_t bytes) { return static_cast<const char*>(data) + bytes; };
      for (int64_t b = 0; b < whole.batch; ++b) {
        for (int64_t h = 0; h < whole.query_heads; ++h) {
          const int64_t g = h / 2;
          Inputs inputs = problem.inputs();
          inputs.q = from(inputs.q, (b * p.q_batch_stride + h * p.q_head_stride) * in);
          inputs.k = from(inputs.k, (b * p.k_batch_stride + g * p.k_head_stride) * in);
          inputs.v = from(inputs.v, (b * p.v_batch_stride + g * p.v_head_stride) * in);
          std::vector<uint8_t> one(static_cast<size_t>(p.query_length * p.value_size * out));
          std::vector<float> lse(static_cast<size_t>(p.query_length));
          ASSERT_EQ(run(static_cast<Tier>(gatun_tier()), &p, inputs, one.data(), lse.data()), GATUN_OK)
              << gatun_last_error();
          const uint8_t* const expected = all.out.data() + (b * p.out_batch_stride + h * p.out_head_stride) * out;
          ASSERT_TRUE(test::identical(one.data(), expected, static_cast<int64_t>(one.size()))) << b << ", " << h;
          ASSERT_TRUE(test::identical(lse.data(), all.lse.data() + b * p.lse_batch_stride + h * p.lse_head_stride,
                                      p.query_length));
        }
      }
    }
  }
}

TEST(AttentionSame, CallAfterCall) {
  for (const Kind& kind : kKinds) {
    Rng rng(53);
    Problem problem(large_spec(kind, 2), rng);
    Outputs first, other, again;
    ASSERT_NO_FATAL_FAILURE(problem.call(&first));
    Spec spec = spec_of(kind, 400, 100);
    spec.head_size = spec.value_size = 128;
    Problem between(spec, rng);  // leaves other numbers in a thread's memory
    ASSERT_NO_FATAL_FAILURE(between.call(&other));
    ASSERT_NO_FATAL_FAILURE(problem.call(&again));
    EXPECT_TRUE(test::identical(again.out, first.out));
    EXPECT_TRUE(test::identical(again.lse, first.lse));
  }
}

}  // namespace
}  // namespace gatun::attention
