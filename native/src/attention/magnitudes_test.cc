// Products, caps and rows far beyond what models have: results known in closed form.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gatun/attention.h"

namespace gatun::attention {
namespace {

constexpr int64_t kSize = 8;

// One head, one query with all elements alike, keys likewise; v is 1 for the first key and 0 for the others.
struct OneQuery {
  OneQuery(float query, const std::vector<float>& keys) : q(kSize, query) {
    for (size_t j = 0; j < keys.size(); ++j) {
      k.insert(k.end(), kSize, keys[j]);
      v.insert(v.end(), kSize, j == 0 ? 1.0f : 0.0f);
    }
    params.struct_size = sizeof(params);
    params.dtype = params.out_dtype = GATUN_F32;
    params.threads = 1;
    params.scale = 1;
    params.window_left = params.window_right = -1;
    params.batch = params.query_heads = params.kv_heads = params.query_length = 1;
    params.kv_length = static_cast<int64_t>(keys.size());
    params.head_size = params.value_size = kSize;
    params.q_row_stride = params.k_row_stride = params.v_row_stride = params.out_row_stride = kSize;
  }
  void run(const float* correction = nullptr) {
    ASSERT_EQ(gatun_attention(&params, q.data(), k.data(), v.data(), nullptr, nullptr, nullptr, nullptr, correction,
                              nullptr, nullptr, nullptr, nullptr, nullptr, out, &lse),
              GATUN_OK);
  }

  gatun_attention_params params{};
  std::vector<float> q, k, v;
  float out[kSize], lse;
};

TEST(AttentionMagnitudes, LargestProductWins) {
  for (const float x : {1e3f, 1e5f, 1e6f, 1e12f, 1e18f}) {
    std::vector<float> keys(40, x / 2);
    keys[0] = x;
    OneQuery one(x, keys);
    one.run();
    for (const float y : one.out) EXPECT_EQ(y, 1.0f) << x;
    EXPECT_NEAR(one.lse / (8.0 * static_cast<double>(x) * static_cast<double>(x)), 1, 1e-6) << x;
  }
}

// The lowest finite product counts as one.
TEST(AttentionMagnitudes, LowestProducts) {
  OneQuery one(-2.1e19f, {2e18f});
  one.run();
  for (const float y : one.out) EXPECT_EQ(y, 1.0f);
  EXPECT_NEAR(one.lse / -3.36e38, 1, 1e-6);
  OneQuery two(-2.1e19f, {2e18f, 2.01e18f});
  two.run();
  for (const float y : two.out) EXPECT_EQ(y, 1.0f);
}

TEST(AttentionMagnitudes, ScalesBeyondTheOrdinary) {
  OneQuery small(1e18f, {1e19f, 0});
  small.params.scale = 1e-38f;  // logits 0.8 and 0
  small.run();
  EXPECT_NEAR(small.out[0], 1 / (1 + std::exp(-0.8)), 1e-6);
  OneQuery large(0, {1, 1});
  large.params.scale = 3e38f;
  large.run();
  EXPECT_EQ(large.out[0], 0.5f);
}

TEST(AttentionMagnitudes, CapsThatCapNothing) {
  for (const float cap : {1e3f, 1e7f, 1e12f}) {
    OneQuery one(1, {0.25f, 0});
    one.params.soft_cap = cap;
    one.run();
    const double logit = 2 - 8 / (3 * static_cast<double>(cap) * static_cast<double>(cap));  // x - x^3 / 3
    EXPECT_NEAR(one.out[0], 1 / (1 + std::exp(-logit)), 2e-7) << cap;
  }
}

TEST(AttentionMagnitudes, LongRowsDoNotDrift) {
  OneQuery one(0, std::vector<float>(1 << 18, 1.0f));
  one.run();
  EXPECT_NEAR(one.lse, std::log(double{1 << 18}), 2e-6);
  EXPECT_NEAR(one.out[0] * (1 << 18), 1, 2e-6);
}

TEST(AttentionMagnitudes, LargeCorrection) {
  OneQuery one(100, {1, 1});
  const float correction = 3e38f;
  one.run(&correction);
  for (const float y : one.out) EXPECT_EQ(y, correction / 2);
}

TEST(AttentionMagnitudes, StridesOfWhatIsThereOnce) {
  OneQuery one(1, {1});
  gatun_attention_params& p = one.params;
  for (int64_t* stride : {&p.q_batch_stride, &p.q_head_stride, &p.q_row_stride, &p.k_batch_stride, &p.k_head_stride,
                          &p.k_row_stride, &p.v_batch_stride, &p.v_head_stride, &p.v_row_stride, &p.out_batch_stride,
                          &p.out_head_stride, &p.out_row_stride, &p.lse_batch_stride, &p.lse_head_stride}) {
    *stride = INT64_MAX;
  }
  for (const int32_t mode : {GATUN_ATTENTION_EXACT, GATUN_ATTENTION_INT8}) {
    p.mode = mode;
    one.run();
    for (const float y : one.out) EXPECT_NEAR(y, 1, 0x1p-15);
  }
}

TEST(AttentionMagnitudes, KeysThatNoMemoryHolds) {
  OneQuery one(1, {1});
  one.params.kv_length = int64_t{1} << 50;
  one.params.k_row_stride = one.params.v_row_stride = 0;
  EXPECT_EQ(gatun_attention(&one.params, one.q.data(), one.k.data(), one.v.data(), nullptr, nullptr, nullptr, nullptr,
                            nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, one.out, &one.lse),
            GATUN_OUT_OF_RESOURCES);
}

}  // namespace
}  // namespace gatun::attention
