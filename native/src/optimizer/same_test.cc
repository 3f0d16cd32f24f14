// The same bits on every tier, for any number of threads, and of any part of a tensor that begins with a block.
#include <gtest/gtest.h>

#include "optimizer/test_step.h"

namespace gatun::optimizer {
namespace {

TEST(SameResults, OnEveryTier) {
  Rng rng(1);
  for (const int32_t rule : kAllRules) {
    for (const int32_t state : kStates) {
      for (const int32_t p_dtype : kFloats) {
        for (const float most : {0.0f, 0.02f}) {
          for (const int64_t count : {1, 100, 1000, 2500}) {
            gatun_optimizer_params params = step_params(rule, p_dtype, state, count, 256);
            params.max_update_norm = most;
            if (p_dtype == GATUN_BF16) params.rounding = GATUN_PARAMETER_STOCHASTIC;
            Tensors mine = normal_tensors(params, rng);
            const Tensors scalar = step_on_tier(Tier::scalar, params, mine);
            call_in_place(params, mine, entry(params));
            ASSERT_TRUE(same(params, mine, scalar)) << describe(params);
          }
        }
      }
    }
  }
}

// The number of threads of a step, as gatun_optimizer_explain tells it.
int32_t threads_of(const gatun_optimizer_params& params) {
  char text[1024];
  EXPECT_EQ(gatun_optimizer_explain(&params, text, sizeof(text)), GATUN_OK) << gatun_last_error();
  const std::string all = text, before = " elements", on = " on ";
  const size_t at = all.find(on, all.find(before));
  EXPECT_NE(at, std::string::npos) << all;
  return std::atoi(all.c_str() + at + on.size());
}

// Of so many elements each of 8 threads has 64 KiB of p and g, in 16 bits, too. ADAM, of two states, and MOMENTUM, with
// the norm of its update, go through all states and numbers of threads, other rules take one state and 8 threads.
TEST(SameResults, OnAnyNumberOfThreads) {
  constexpr int64_t kCount = 140000;
  Rng rng(2);
  for (const int32_t rule : kAllRules) {
    const bool all = rule == GATUN_ADAM || rule == GATUN_MOMENTUM;
    const int64_t only = rng.integer(0, 3);
    for (const int32_t state : kStates) {
      if (!all && state != kStates[only]) continue;
      const int32_t p_dtype = all ? GATUN_BF16 : rng.pick<int32_t>({GATUN_F32, GATUN_F16, GATUN_BF16});
      gatun_optimizer_params params = step_params(rule, p_dtype, state, kCount, 256);
      if (p_dtype == GATUN_BF16) params.rounding = GATUN_PARAMETER_STOCHASTIC;
      params.max_update_norm = all ? rule == GATUN_MOMENTUM ? 0.02f : 0.0f : rng.pick<float>({0.0f, 0.02f});
      const Tensors before = normal_tensors(params, rng), one = step(params, before);
      for (int32_t threads = all ? 0 : 8; threads <= 8; ++threads) {
        params.threads = threads;
        const int32_t used = threads_of(params);
        ASSERT_TRUE(threads == 0 || used == threads) << used << " threads, " << describe(params);
        Tensors tensors = before;
        call_in_place(params, tensors, entry(params));
        ASSERT_TRUE(same(params, tensors, one)) << describe(params);
      }
    }
  }
}

Bytes part(const Bytes& whole, int64_t begin, int64_t end) { return Bytes(whole.begin() + begin, whole.begin() + end); }

// A tensor's blocks are steps of their own, but that stochastic rounding counts its elements.
TEST(SameResults, OfPartsOfATensor) {
  Rng rng(3);
  for (const int32_t rule : {GATUN_ADAM, GATUN_MOMENTUM, GATUN_RMSPROP, GATUN_ADAGRAD, GATUN_LION}) {
    for (const int32_t state : kStates) {
      for (const int32_t p_dtype : kFloats) {
        constexpr int64_t kBlock = 128, kAll = 5 * kBlock + 37;
        const gatun_optimizer_params whole = step_params(rule, p_dtype, state, kAll, kBlock);
        const Tensors before = normal_tensors(whole, rng), after = step(whole, before);
        for (int64_t first = 0; first < 6; ++first) {
          for (const int64_t end : {(first + 1) * kBlock, kAll}) {
            gatun_optimizer_params some = whole;
            const int64_t begin = first * kBlock;
            some.count = std::min(end, kAll) - begin;
            const auto cut = [&](const Tensors& t) {
              const int64_t element = dtype_bytes(p_dtype, 1);
              const int64_t skipped = dtype_bytes(state_dtype(state), begin), kept = state_row_bytes(some);
              const int64_t scales = 4 * first, kept_scales = 4 * state_row_scales(some);
              const auto state_part = [&](const Bytes& s) { return s.empty() ? s : part(s, skipped, skipped + kept); };
              const auto scale_part = [&](const Bytes& s) {
                return s.empty() ? s : part(s, scales, scales + kept_scales);
              };
              return Tensors{part(t.p, begin * element, (begin + some.count) * element),
                             part(t.g, begin * element, (begin + some.count) * element),
                             state_part(t.state1),
                             scale_part(t.scales1),
                             state_part(t.state2),
                             scale_part(t.scales2)};
            };
            ASSERT_TRUE(same(some, step(some, cut(before)), cut(after))) << describe(some) << ", from " << begin;
          }
        }
      }
    }
  }
}

// A step, its state saved and read again, and another step: nothing else is remembered.
TEST(SameResults, OfStepsOneAfterTheOther) {
  Rng rng(4);
  for (const int32_t state : kStates) {
    gatun_optimizer_params params = step_params(GATUN_ADAM, GATUN_BF16, state, 1000);
    params.rounding = GATUN_PARAMETER_STOCHASTIC;
    Tensors straight = normal_tensors(params, rng), resumed = straight;
    for (int64_t t = 1; t <= 10; ++t) {
      params.step = params.seed = t;
      straight.g = resumed.g = test::from_floats(rng.normals(1000), GATUN_BF16);
      straight = step(params, straight);
      const gatun_optimizer_params other = step_params(GATUN_LION, GATUN_F32, GATUN_STATE_DYNAMIC8, 300);
      step(other, normal_tensors(other, rng));
      resumed = step_on_tier(t % 2 == 0 ? Tier::scalar : active_tier(), params, resumed);
    }
    EXPECT_TRUE(same(params, resumed, straight));
  }
}

}  // namespace
}  // namespace gatun::optimizer
