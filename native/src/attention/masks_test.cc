// Masks: which keys a row sees, exactly and within the bounds.
#include <algorithm>

#include "attention/test_problem.h"

namespace gatun::attention {
namespace {

// The ways to hide keys but by lists of blocks: none, causal, windows, sink keys, and all at once.
struct Hiding {
  bool causal;
  int64_t window_left, window_right, sink_keys;
};
constexpr Hiding kHidings[] = {{false, -1, -1, 0}, {true, -1, -1, 0},  {false, 20, -1, 0}, {false, -1, 7, 0},
                               {false, 0, 0, 0},   {true, 30, -1, 5},  {false, 9, 40, 17}, {true, 12, 3, 64},
                               {true, 70, 5, 0},   {false, 64, 64, 1}, {true, 1000, -1, 3}};

void hide(Spec& spec, const Hiding& hiding) {
  spec.causal = hiding.causal;
  spec.window_left = hiding.window_left;
  spec.window_right = hiding.window_right;
  spec.sink_keys = hiding.sink_keys;
}

double nearest_whole(double x) {
  const double whole = std::nearbyint(x);
  return std::fabs(x - whole) <= x * 0x1p-18 ? whole : x;
}

// Logits of 0, and as correction the number of keys that are seen: out is the sum of their rows of v, and those are
// powers of two which tell them apart. Comparison with == of what is rounded to integers, as the exponential of 0 may
// be off by its last bit, or by 2^-20 of itself where it is made for bf16.
void compare_seen_keys(Spec spec, Rng& rng) {
  spec.correction = true;
  spec.sinks = spec.slopes = false;
  spec.out_dtype = GATUN_F32;
  spec.value_size = 64;  // up to 8 * 64 keys
  Problem problem(spec, rng);
  SCOPED_TRACE(describe(problem.spec()));
  problem.set_q([](int64_t, int64_t, int64_t, int64_t) { return 0.0f; });
  problem.set_v([](int64_t, int64_t, int64_t row, int64_t column) {
    return row % 64 == column ? std::ldexp(1.0f, static_cast<int>(row / 64)) : 0.0f;
  });
  Reference reference(problem.params(), problem.inputs());
  problem.for_each_row([&](int64_t b, int64_t h, int64_t i, int64_t, int64_t lse_at) {
    problem.set_correction(lse_at, static_cast<float>(reference.row(b, h, i).seen));
  });
  Outputs outputs;
  ASSERT_NO_FATAL_FAILURE(problem.call(&outputs));
  problem.for_each_row([&](int64_t b, int64_t h, int64_t i, int64_t out_at, int64_t) {
    if (::testing::Test::HasFatalFailure()) return;
    std::vector<double> actual = test::to_doubles(outputs.out.data() + out_at * 4, GATUN_F32, 64);
    std::vector<double> expected = reference.row(b, h, i).out;
    std::transform(actual.begin(), actual.end(), actual.begin(), nearest_whole);
    std::transform(expected.begin(), expected.end(), expected.begin(), nearest_whole);
    ASSERT_TRUE(test::identical(actual, expected)) << "row " << b << ", " << h << ", " << i;
  });
}

TEST(AttentionMasks, SeenKeysOfEveryKind) {
  Rng rng(20);
  for (const Kind& kind : kKinds) {
    for (const MaskKind mask : kMaskKinds) {
      for (const Hiding& hiding : kHidings) {
        for (const auto& [queries, keys] : {std::pair<int64_t, int64_t>{70, 100}, {100, 70}, {1, 300}}) {
          Spec spec = spec_of(kind, queries, keys);
          spec.head_size = 32;
          hide(spec, hiding);
          spec.mask = mask;
          ASSERT_NO_FATAL_FAILURE(compare_seen_keys(spec, rng));
        }
      }
    }
  }
}

TEST(AttentionMasks, SeenKeysInBlocksOfAnySize) {
  Rng rng(21);
  size_t problems = 0;
  for (int64_t query_block = 16; query_block <= 128; query_block += 16) {
    for (int64_t key_block = 16; key_block <= 128; key_block += 16) {
      for (const MaskKind mask : {MaskKind::full, MaskKind::mixed, MaskKind::bits}) {
        Spec spec = spec_of(kKinds[problems++ % 4], 200, 290);
        spec.head_size = 8;
        spec.mask = mask;
        spec.query_block = query_block;
        spec.key_block = key_block;
        hide(spec, kHidings[static_cast<size_t>(rng.integer(0, std::size(kHidings) - 1))]);
        ASSERT_NO_FATAL_FAILURE(compare_seen_keys(spec, rng));
      }
    }
  }
}

TEST(AttentionMasks, SeenKeysOfHeadsAndItems) {
  Rng rng(22);
  for (const bool each_item : {true, false}) {
    for (const bool each_head : {true, false}) {
      for (const bool ragged : {true, false}) {
        for (const Hiding& hiding : kHidings) {
          Spec spec = spec_of(kKinds[0], 90, 130);
          spec.head_size = 16;
          spec.batch = 3;
          spec.query_heads = 4;
          spec.kv_heads = 2;
          spec.mask = MaskKind::mixed;
          spec.query_block = 16;
          spec.key_block = 32;
          spec.mask_batch = each_item;
          spec.mask_heads = each_head;
          spec.spare_query_blocks = ragged ? 2 : 0;
          hide(spec, hiding);
          if (ragged) {
            spec.q_offsets = {0, 40, 40, 90};
            spec.kv_offsets = {0, 70, 71, 130};
          }
          ASSERT_NO_FATAL_FAILURE(compare_seen_keys(spec, rng));
        }
      }
    }
  }
}

TEST(AttentionMasks, WithinBounds) {
  Rng rng(23);
  for (const Kind& kind : kKinds) {
    for (const MaskKind mask : kMaskKinds) {
      for (const Hiding& hiding : kHidings) {
        Spec spec = spec_of(kind, 90, 140);
        spec.value_size = 40;
        spec.query_heads = 2;
        spec.mask = mask;
        spec.query_block = rng.integer(1, 8) * 16;
        spec.key_block = rng.integer(1, 8) * 16;
        hide(spec, hiding);
        Problem problem(spec, rng);
        ASSERT_NO_FATAL_FAILURE(problem.compare());
      }
    }
  }
}

TEST(AttentionMasks, OtherTypesAndModes) {
  Rng rng(26);
  for (const Kind& kind : kOtherKinds) {
    for (const MaskKind mask : {MaskKind::full, MaskKind::bits, MaskKind::mixed}) {
      for (const Hiding& hiding : kHidings) {
        Spec spec = spec_of(kind, 90, 140);
        spec.query_heads = 2;
        spec.mask = mask;
        spec.query_block = 32;
        spec.key_block = 48;
        hide(spec, hiding);
        Problem problem(spec, rng);
        ASSERT_NO_FATAL_FAILURE(problem.compare());
        ASSERT_NO_FATAL_FAILURE(compare_seen_keys(spec, rng));
      }
    }
  }
}

// Windows and sink keys of any size hide as they should: nothing overflows.
TEST(AttentionMasks, HugeWindows) {
  Rng rng(24);
  for (const int64_t huge : {INT64_MAX, INT64_MAX - 1, INT64_MAX / 2, int64_t{1} << 40}) {
    for (const Kind& kind : kKinds) {
      for (const Hiding& hiding : {Hiding{false, huge, huge, huge},
                                   {true, huge, -1, 0},
                                   {false, -1, huge, huge},
                                   {false, 3, huge, huge},
                                   {false, huge, 3, 0},
                                   {false, 3, huge, 2}}) {
        Spec spec = spec_of(kind, 20, 50);
        spec.head_size = 8;
        hide(spec, hiding);
        ASSERT_NO_FATAL_FAILURE(compare_seen_keys(spec, rng));
      }
    }
  }
}

// A row that sees no key: zeros and -infinity, or the sink.
TEST(AttentionMasks, EmptyRows) {
  Rng rng(25);
  for (const Kind& kind : kKinds) {
    for (const bool sinks : {false, true}) {
      for (const bool correction : {false, true}) {
        Spec spec = spec_of(kind, 100, 30);
        spec.causal = true;  // the first 70 rows see nothing
        spec.sinks = sinks;
        spec.correction = correction;
        spec.query_heads = 2;
        Problem problem(spec, rng);
        SCOPED_TRACE(describe(problem.spec()));
        Outputs outputs;
        ASSERT_NO_FATAL_FAILURE(problem.call(&outputs));
        ASSERT_NO_FATAL_FAILURE(problem.check(outputs));
        const float* const given = problem.inputs().sinks;
        const int64_t element = dtype_bytes(spec.out_dtype, 1);
        problem.for_each_row([&](int64_t, int64_t h, int64_t i, int64_t out_at, int64_t lse_at) {
          if (i >= 70) return;
          const auto row = test::to_doubles(outputs.out.data() + out_at * element, spec.out_dtype, spec.value_size);
          EXPECT_EQ(row, std::vector<double>(row.size()));
          EXPECT_EQ(outputs.lse[static_cast<size_t>(lse_at)], sinks ? given[h] : -INFINITY);
        });
      }
    }
  }
}

}  // namespace
}  // namespace gatun::attention
