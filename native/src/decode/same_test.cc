// What results do not depend on, bit for bit: threads, other heads and batch items, which pages hold the keys.
#include "decode/test_problem.h"

namespace gatun::decode {
namespace {

Spec large_spec(const Format& format, int variant) {
  Spec spec;
  spec.dtype = variant == 1 ? GATUN_BF16 : GATUN_F32;
  spec.mode = variant == 2 ? GATUN_DECODE_INT8 : GATUN_DECODE_EXACT;
  spec.k = spec.v = format;
  spec.heads = 2;
  spec.ratio = variant == 0 ? 1 : 3;
  spec.query_length = variant == 0 ? 1 : 3;
  spec.lengths = variant == 0 ? std::vector<int64_t>{2600} : std::vector<int64_t>{1200, 70};
  spec.causal = variant == 1;
  spec.window_left = variant == 2 ? 900 : -1;
  spec.sinks = spec.slopes = variant == 2;
  spec.size = spec.value_size = 48;
  return spec;
}

// Heads that take turns in sets, the last of which is smaller: with one thread 2, 2 and 1; with more fewer together.
Spec uneven_spec(const Format& format) {
  Spec spec;
  spec.k = spec.v = format;
  spec.heads = 5;
  spec.ratio = 4;
  spec.query_length = 4;
  spec.lengths = {70, 90};
  return spec;
}

template <class Test>
void for_each_problem(Test test) {
  for (const Format& format : kSomeFormats) {
    for (int variant = 0; variant < 3; ++variant) test(large_spec(format, variant));
    test(uneven_spec(format));
  }
}

TEST(DecodeSame, AnyNumberOfThreads) {
  for_each_problem([](const Spec& spec) {
    SCOPED_TRACE(describe(spec));
    Problem problem(spec);
    Outputs one;
    ASSERT_NO_FATAL_FAILURE(problem.call(&one));
    ASSERT_TRUE(problem.good(one));
    for (const int32_t threads : {0, 2, 3, 4, 5, 6, 7, 8}) {
      problem.spec().threads = threads;
      Outputs many;
      ASSERT_NO_FATAL_FAILURE(problem.call(&many));
      ASSERT_TRUE(identical(many, one)) << threads << " threads";
    }
  });
}

TEST(DecodeSame, AnyOrderOfPagesInAnyPlace) {
  for_each_problem([](const Spec& spec) {
    SCOPED_TRACE(describe(spec));
    Problem problem(spec);
    Outputs one;
    ASSERT_NO_FATAL_FAILURE(problem.call(&one));
    Spec other = spec;
    for (const uint64_t seed : {2, 3}) {
      other.page_seed = seed;
      other.pool_order = seed == 2 ? Order::nhd : Order::gaps;
      other.edge = Edge::front;
      other.offset = static_cast<int64_t>(seed);
      Problem moved(other);
      Outputs same;
      ASSERT_NO_FATAL_FAILURE(moved.call(&same));
      ASSERT_TRUE(identical(same, one));
    }
    // Contiguous pages, and ones of another size.
    other.contiguous = true;
    Problem contiguous(other);
    Outputs same;
    ASSERT_NO_FATAL_FAILURE(contiguous.call(&same));
    ASSERT_TRUE(identical(same, one));
    other.contiguous = false;
    for (const int64_t page_size : {1, 48, 192, 512}) {
      if (spec.k.scaling == GATUN_KV_PER_CHANNEL && page_size % spec.k.group != 0) continue;
      // Groups of tokens are those of positions.
      if (spec.k.scaling == GATUN_KV_PER_CHANNEL && page_size < spec.k.group) continue;
      other.page_size = page_size;
      Problem paged(other);
      ASSERT_NO_FATAL_FAILURE(paged.call(&same));
      ASSERT_TRUE(identical(same, one)) << "pages of " << page_size;
    }
  });
}

// Each query head of each item, called alone.
TEST(DecodeSame, EachHeadAlone) {
  for_each_problem([](const Spec& spec) {
    SCOPED_TRACE(describe(spec));
    Problem problem(spec);
    Outputs all;
    ASSERT_NO_FATAL_FAILURE(problem.call(&all));
    gatun_decode_params p = problem.params();
    const gatun_decode_params whole = p;
    gatun_kv_layout k = problem.k_layout(), v = problem.v_layout();
    p.batch = p.query_heads = k.heads = v.heads = 1;
    const auto from = [](const auto* data, int64_t elements) { return data == nullptr ? nullptr : data + elements; };
    const auto bytes = [](const void* data) { return static_cast<const uint8_t*>(data); };
    const auto halves = [](const void* data) { return static_cast<const uint16_t*>(data); };
    problem.for_each_row([&](int64_t b, int64_t h, int64_t i) {
      if (i != 0) return;
      const int64_t g = h / spec.ratio;
      const Inputs in = problem.inputs();
      std::vector<uint8_t> out(all.out.size());
      std::vector<float> lse(all.lse.size()), logits(all.logits.size());
      ASSERT_EQ(
          gatun_decode(&p, &k, &v, bytes(in.q) + (b * p.q_batch_stride + h * p.q_head_stride) * dtype_bytes(p.dtype, 1),
                       bytes(in.k) + g * k.head_stride, from(halves(in.k_scales), g * k.scale_head_stride),
                       from(halves(in.k_zeros), g * k.scale_head_stride), bytes(in.v) + g * v.head_stride,
                       from(halves(in.v_scales), g * v.scale_head_stride),
                       from(halves(in.v_zeros), g * v.scale_head_stride), in.table + b * whole.table_stride,
                       in.lengths + b, from(in.slopes, h), from(in.sinks, h), out.data(), lse.data(), logits.data()),
          GATUN_OK)
          << gatun_last_error();
      for (int64_t r = 0; r < spec.query_length; ++r) {
        const int64_t element = dtype_bytes(p.out_dtype, 1);
        ASSERT_TRUE(test::identical(out.data() + r * p.out_row_stride * element,
                                    all.out.data() + problem.out_at(b, h, r) * element, spec.value_size * element))
            << b << ", " << h << ", " << r;
        ASSERT_TRUE(test::identical(lse.data() + r, all.lse.data() + problem.lse_at(b, h, r), 1));
        ASSERT_TRUE(test::identical(logits.data() + r * p.logits_row_stride,
                                    all.logits.data() + problem.logits_at(b, h, r), problem.length(b, h)));
      }
    });
  });
}

// What an earlier call left in memory of the library's own does not matter.
TEST(DecodeSame, CallAfterCall) {
  for_each_problem([](const Spec& spec) {
    Problem problem(spec);
    Outputs first, again;
    ASSERT_NO_FATAL_FAILURE(problem.call(&first));
    Spec other;
    other.size = other.value_size = 128;
    other.ratio = 8;
    other.lengths = {1100};
    Problem between(other);
    Outputs ignored;
    ASSERT_NO_FATAL_FAILURE(between.call(&ignored));
    ASSERT_NO_FATAL_FAILURE(problem.call(&again));
    ASSERT_TRUE(identical(again, first));
  });
}

}  // namespace
}  // namespace gatun::decode
