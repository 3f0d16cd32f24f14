// The kernels of sm_90a, which take one head size, whole tiles and matrices.
#include <limits>

#include "attention/device_problem.h"

namespace gatun::cuda::attention {
namespace {

constexpr Kind kHalves[] = {kKinds[1], kKinds[2]};

// By the first row, which is theirs.
void compare_first(const Spec& spec, Rng& rng) {
  const Problem problem(spec, rng);
  const KernelRow* const row = rows_for(problem.params()).front();
#if defined(GATUN_EMULATED)
  ASSERT_TRUE(row->whole) << row->name;
#endif
  ASSERT_NO_FATAL_FAILURE(compare(problem, row));
}

Spec whole_spec(const Kind& kind, int64_t queries, int64_t keys) {
  Spec spec = device_spec(kind, queries, keys);
  spec.head_size = spec.value_size = 128;
  spec.query_block = 128;
  return spec;
}

TEST(AttentionSm90, LengthsAndOptions) {
  Rng rng(50);
  int i = 0;
  for (const Kind& kind : kHalves) {
    for (const auto& [queries, keys] : {std::pair{65, 1}, {128, 128}, {129, 127}, {100, 400}, {150, 129}, {70, 16}}) {
      Spec spec = whole_spec(kind, queries, keys);
      ++i;
      spec.causal = i % 2 == 0;
      spec.window_left = i % 3 == 0 ? 70 : -1;
      spec.sink_keys = i % 3 == 0 ? 3 : 0;
      spec.soft_cap = i % 5 == 0 ? 2.0f : 0.0f;
      spec.slopes = i % 4 == 1;
      spec.sinks = i % 4 == 2;
      spec.correction = i % 4 == 3;
      spec.out_dtype = i % 2 == 0 ? GATUN_F32 : spec.dtype;
      next_way();
      ASSERT_NO_FATAL_FAILURE(compare_first(spec, rng));
    }
  }
}

TEST(AttentionSm90, MasksAndOrdersInMemory) {
  Rng rng(51);
  int i = 0;
  for (const Kind& kind : kHalves) {
    for (const MaskKind mask : {MaskKind::all, MaskKind::full, MaskKind::mixed}) {
      for (const int64_t key_block : {16, 64, 128}) {
        Spec spec = whole_spec(kind, 140, 330);
        ++i;
        spec.mask = mask;
        spec.key_block = key_block;
        spec.query_heads = 2;
        spec.kv_heads = 1 + i % 2;
        spec.batch = 1 + i / 2 % 2;
        spec.causal = i % 4 == 0;
        spec.q_order = kOrders[i % 2];
        spec.kv_order = kOrders[(i + 1) % 2];
        spec.out_order = kOrders[i % 3];
        next_way();
        ASSERT_NO_FATAL_FAILURE(compare_first(spec, rng));
      }
    }
  }
}

TEST(AttentionSm90, EveryOrder) {
  in_every_order([] {
    for (const Kind& kind : kHalves) {
      Rng rng(52);
      Spec spec = whole_spec(kind, 130, 600);
      spec.mask = MaskKind::mixed;
      spec.key_block = 48;
      ASSERT_NO_FATAL_FAILURE(compare_first(spec, rng));
    }
  });
}

// Steps come back to every place of the ring, in either parity of its barriers.
TEST(AttentionSm90, ManySteps) {
  in_every_order([] {
    for (const Kind& kind : kHalves) {
      Rng rng(55);
      Spec spec = whole_spec(kind, 100, 9 * 128 + 20);
      spec.mask = MaskKind::mixed;
      spec.key_block = 48;
      ASSERT_NO_FATAL_FAILURE(compare_first(spec, rng));
    }
  });
}

TEST(AttentionSm90, RaggedAndNotANumber) {
  Rng rng(53);
  for (const Kind& kind : kHalves) {
    Spec spec = whole_spec(kind, 0, 0);
    spec.q_offsets = {3, 80, 81, 300};
    spec.kv_offsets = {1, 40, 200, 420};
    spec.query_heads = spec.kv_heads = 2;
    spec.causal = true;
    next_way();
    ASSERT_NO_FATAL_FAILURE(compare_first(spec, rng));

    Problem problem(whole_spec(kind, 130, 140), rng);
    problem.spec().causal = true;
    problem.set_v([&](int64_t, int64_t, int64_t row, int64_t x) {
      return row == 100 && x == 77 ? std::numeric_limits<float>::quiet_NaN() : rng.normal();
    });
    ASSERT_NO_FATAL_FAILURE(compare(problem, rows_for(problem.params()).front()));
  }
}

// What is no matrix takes another row of the table; within this one, what is not aligned and calls for lse alone do.
TEST(AttentionSm90, OtherMemory) {
  Rng rng(54);
  Spec spec = whole_spec(kHalves[0], 130, 70);
  spec.offset = 1;
  ASSERT_NO_FATAL_FAILURE(compare_first(spec, rng));
  spec.offset = 0;
  spec.batch = 2;
  for (const Order order : {Order::gaps, Order::one_row}) {
    spec.kv_order = order;
    const Problem problem(spec, rng);
    EXPECT_FALSE(rows_for(problem.params()).front()->whole);
    ASSERT_NO_FATAL_FAILURE(compare(problem, nullptr));
  }
  spec.kv_order = Order::one_head;
  ASSERT_NO_FATAL_FAILURE(compare_first(spec, rng));
  spec.values = false;
  ASSERT_NO_FATAL_FAILURE(compare_first(spec, rng));
}

}  // namespace
}  // namespace gatun::cuda::attention
