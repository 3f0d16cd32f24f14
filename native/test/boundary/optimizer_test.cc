// gatun_optimizer_step, gatun_gradient_norm: every documented refusal.
#include "gatun/optimizer.h"

#include "boundary.h"
#include "optimizer/test_step.h"
#include "tolerance.h"

namespace gatun::test {
namespace {

constexpr int64_t kCount = 300, kBlock = 128, kBlocks = 3;
// Bytes behind each argument, so that what is moved to the end of one overlaps no other.
constexpr int64_t kRoom = 8 * kCount;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInfinity = std::numeric_limits<float>::infinity();

// A good call, of ADEMAMIX, which has all arguments; each test spoils one thing.
class OptimizerBoundary : public ::testing::Test {
 protected:
  int32_t step() { return gatun_optimizer_step(given, p_at, g_at, state1_at, scales1_at, state2_at, scales2_at); }
  void refused(std::initializer_list<const char*> words) {
    const std::vector<float> before = g;
    EXPECT_TRUE(invalid(step(), words));
    for (const std::vector<uint8_t>* output : {&p, &state1, &scales1, &state2, &scales2}) {
      EXPECT_TRUE(untouched(*output)) << "an output was written";
    }
    EXPECT_TRUE(identical(g, before));
    params = good;
    place();
  }
  // Arguments where they belong.
  void place() {
    p_at = p.data();
    g_at = g.data();
    state1_at = state1.data();
    state2_at = state2.data();
    scales1_at = floats(scales1);
    scales2_at = floats(scales2);
  }
  // No second state; no scales.
  void make_plain(int32_t rule) {
    params.rule = rule;
    params.state = GATUN_STATE_F32;
    params.block = 0;
    scales1_at = scales2_at = nullptr;
    if (rule != GATUN_ADAM && rule != GATUN_ADEMAMIX) state2_at = nullptr;
  }
  static float* floats(std::vector<uint8_t>& bytes) { return reinterpret_cast<float*>(bytes.data()); }

  const gatun_optimizer_params good =
      optimizer::step_params(GATUN_ADEMAMIX, GATUN_F32, GATUN_STATE_DYNAMIC8, kCount, kBlock);
  gatun_optimizer_params params = good;
  const gatun_optimizer_params* given = &params;
  std::vector<float> g = std::vector<float>(kCount + kRoom / 4, 1.0f);
  std::vector<uint8_t> p = std::vector<uint8_t>(4 * kCount + kRoom, kUntouched);
  std::vector<uint8_t> state1 = std::vector<uint8_t>(2 * 4 * kCount + kRoom, kUntouched);
  std::vector<uint8_t> state2 = std::vector<uint8_t>(4 * kCount + kRoom, kUntouched);
  std::vector<uint8_t> scales1 = std::vector<uint8_t>(2 * 4 * kBlocks + kRoom, kUntouched);
  std::vector<uint8_t> scales2 = std::vector<uint8_t>(4 * kBlocks + kRoom, kUntouched);
  void *p_at = p.data(), *state1_at = state1.data(), *state2_at = state2.data();
  const void* g_at = g.data();
  float *scales1_at = floats(scales1), *scales2_at = floats(scales2);
};

TEST_F(OptimizerBoundary, TheGoodCallsAreAccepted) {
  EXPECT_EQ(step(), GATUN_OK) << gatun_last_error();
  for (const std::vector<uint8_t>* output : {&p, &state1, &scales1, &state2, &scales2})
    EXPECT_FALSE(untouched(*output));
  make_plain(GATUN_LION);
  EXPECT_EQ(step(), GATUN_OK) << gatun_last_error();
}

TEST_F(OptimizerBoundary, Struct) {
  check_struct(params, given, "params", [&](auto words) { refused(words); });
}

TEST_F(OptimizerBoundary, Enums) {
  for (const int32_t value : {-1, 6, 1 << 30}) {
    params.rule = value;
    refused({"rule", std::to_string(value).c_str(), "0..5"});
  }
  for (const int32_t dtype : {0, -1, 15, int{GATUN_I8}, int{GATUN_F8E4M3}}) {
    params.p_dtype = dtype;
    refused({"p_dtype", std::to_string(dtype).c_str(), "F32", "F16", "BF16"});
  }
  for (const int32_t value : {-1, 4, 1 << 30}) {
    params.state = value;
    refused({"state", std::to_string(value).c_str(), "0..3"});
  }
  for (const int32_t value : {-1, 2}) {
    params.p_dtype = GATUN_BF16;
    params.rounding = value;
    refused({"rounding", std::to_string(value).c_str(), "0..1"});
    params.rule = GATUN_RMSPROP;
    params.raw_gradient = value;
    refused({"raw_gradient", std::to_string(value).c_str(), "0..1"});
  }
  for (const int32_t dtype : {GATUN_F32, GATUN_F16}) {
    params.p_dtype = dtype;
    params.rounding = GATUN_PARAMETER_STOCHASTIC;
    refused({"rounding", "p_dtype", "BF16"});
  }
  for (const int32_t rule : {GATUN_ADAM, GATUN_ADEMAMIX, GATUN_MOMENTUM, GATUN_LION}) {
    params.rule = rule;
    params.raw_gradient = 1;
    refused({"raw_gradient", "rule", std::to_string(rule).c_str()});
  }
}

TEST_F(OptimizerBoundary, Numbers) {
  struct Number {
    const char* name;
    float gatun_optimizer_params::* field;
    std::vector<float> wrong, right;
  };
  const float least = std::numeric_limits<float>::denorm_min(), above = std::nextafter(1.0f, 2.0f);
  const std::vector<Number> numbers = {
      {"learning_rate", &gatun_optimizer_params::learning_rate, {}, {0, -1, 1e38f}},
      {"beta1", &gatun_optimizer_params::beta1, {-least, above, -1}, {0, 1}},
      {"beta2", &gatun_optimizer_params::beta2, {-least, above, 2}, {0, 1}},
      {"beta3", &gatun_optimizer_params::beta3, {-least, above, 1e9f}, {0, 1}},
      {"alpha", &gatun_optimizer_params::alpha, {}, {0, -1, 1e38f}},
      {"epsilon", &gatun_optimizer_params::epsilon, {-least, -1}, {0, 1e38f}},
      {"weight_decay", &gatun_optimizer_params::weight_decay, {-least, -0.1f}, {0, 1e38f}},
      {"gradient_scale", &gatun_optimizer_params::gradient_scale, {}, {0, -1, 1e38f}},
      {"max_update_norm", &gatun_optimizer_params::max_update_norm, {-least, -1}, {0, 1e38f}}};
  for (const Number& number : numbers) {
    std::vector<float> wrong = number.wrong;
    for (const float value : {kNan, kInfinity, -kInfinity}) wrong.push_back(value);
    for (const float value : wrong) {
      params.*number.field = value;
      refused({"params", number.name, "allowed"});
    }
  }
  for (const Number& number : numbers) {
    for (const float value : number.right) {
      params = good;
      params.*number.field = value;
      EXPECT_EQ(step(), GATUN_OK) << number.name << ": " << gatun_last_error();
    }
  }
}

TEST_F(OptimizerBoundary, Sizes) {
  for (const int32_t threads : {-1, 1025, std::numeric_limits<int32_t>::min()}) {
    params.threads = threads;
    refused({"threads", std::to_string(threads).c_str(), "1024"});
  }
  for (const int64_t t : {int64_t{0}, int64_t{-1}, kMin}) {
    params.step = t;
    refused({"step", std::to_string(t).c_str(), "1"});
  }
  for (const int64_t count : {int64_t{-1}, kMin}) {
    params.count = count;
    refused({"count", std::to_string(count).c_str(), "0"});
  }
  for (const int64_t block : {kMin, int64_t{-128}, int64_t{0}, int64_t{1}, int64_t{64}, int64_t{127}, int64_t{129},
                              int64_t{200}, int64_t{2049}, int64_t{2176}, int64_t{4096}, kMax}) {
    params.block = block;
    refused({"block", std::to_string(block).c_str(), "128"});
  }
  for (const int64_t block : {int64_t{-1}, int64_t{128}, int64_t{256}}) {
    make_plain(GATUN_ADAM);
    params.block = block;
    refused({"block", std::to_string(block).c_str(), "0"});
  }
}

TEST_F(OptimizerBoundary, CountsThatOverflow) {
  for (const int64_t count : {kMax, kMax / 2, int64_t{1} << 60}) {
    params.count = count;
    refused({"p", std::to_string(count).c_str()});
    make_plain(GATUN_MOMENTUM);
    params.count = count;
    refused({"p", std::to_string(count).c_str()});
  }
  // p fits in 16 bits, two rows of f32 state don't.
  make_plain(GATUN_ADEMAMIX);
  params.p_dtype = GATUN_BF16;
  params.count = int64_t{1} << 58;
  refused({"state1"});
}

TEST_F(OptimizerBoundary, Nulls) {
  p_at = nullptr;
  refused({"p is null"});
  g_at = nullptr;
  refused({"g is null"});
  state1_at = nullptr;
  refused({"state1 is null"});
  state2_at = nullptr;
  refused({"state2 is null"});
  scales1_at = nullptr;
  refused({"scales1 is null"});
  scales2_at = nullptr;
  refused({"scales2 is null"});
}

TEST_F(OptimizerBoundary, ArgumentsThatHaveToBeNull) {
  for (const int32_t rule : {GATUN_MOMENTUM, GATUN_RMSPROP, GATUN_ADAGRAD, GATUN_LION}) {
    params.rule = rule;
    scales2_at = nullptr;
    refused({"state2", "null", "one state"});
    params.rule = rule;
    state2_at = nullptr;
    refused({"scales2", "null", "one state"});
    make_plain(rule);
    state2_at = state2.data();
    refused({"state2", "null", "one state"});
  }
  for (const int32_t rule : {GATUN_ADAM, GATUN_ADEMAMIX}) {
    make_plain(rule);
    scales1_at = floats(scales1);
    refused({"scales1", "null", "F32"});
    make_plain(rule);
    scales2_at = floats(scales2);
    refused({"scales2", "null", "F32"});
  }
}

TEST_F(OptimizerBoundary, Alignment) {
  params.count = kCount - 1;
  p_at = p.data() + 2;
  refused({"p", "4"});
  params.count = kCount - 1;
  g_at = reinterpret_cast<const char*>(g.data()) + 1;
  refused({"g", "4"});
  for (const int32_t dtype : {GATUN_F16, GATUN_BF16}) {
    params.p_dtype = dtype;
    p_at = p.data() + 1;
    refused({"p", "2"});
    params.p_dtype = dtype;
    g_at = reinterpret_cast<const char*>(g.data()) + 1;
    refused({"g", "2"});
  }
  params.count = kBlock;
  scales1_at = floats(scales1) + 1;
  scales1_at = reinterpret_cast<float*>(reinterpret_cast<char*>(scales1_at) + 2);
  refused({"scales1", "4"});
  params.count = kBlock;
  scales2_at = reinterpret_cast<float*>(scales2.data() + 1);
  refused({"scales2", "4"});
  make_plain(GATUN_ADAM);
  params.count = kCount - 1;
  state1_at = state1.data() + 2;
  refused({"state1", "4"});
  make_plain(GATUN_ADAM);
  params.count = kCount - 1;
  state2_at = state2.data() + 1;
  refused({"state2", "4"});
  // Codes are bytes.
  params.count = kCount - 1;
  state1_at = state1.data() + 1;
  state2_at = state2.data() + 1;
  EXPECT_EQ(step(), GATUN_OK) << gatun_last_error();
}

TEST_F(OptimizerBoundary, Overlaps) {
  struct Place {
    const char* name;
    void* at;
    int64_t bytes;
  };
  Place places[] = {{"p", p.data(), 4 * kCount},           {"g", g.data(), 4 * kCount},
                    {"state1", state1.data(), 2 * kCount}, {"scales1", scales1.data(), 8 * kBlocks},
                    {"state2", state2.data(), kCount},     {"scales2", scales2.data(), 4 * kBlocks}};
  const auto move = [&](int which, void* to) {
    switch (which) {
      case 0:
        p_at = to;
        break;
      case 1:
        g_at = to;
        break;
      case 2:
        state1_at = to;
        break;
      case 3:
        scales1_at = static_cast<float*>(to);
        break;
      case 4:
        state2_at = to;
        break;
      default:
        scales2_at = static_cast<float*>(to);
    }
  };
  for (int one = 0; one < 6; ++one) {
    for (int other = 0; other < 6; ++other) {
      if (one == other) continue;
      for (const int64_t last : {int64_t{0}, places[other].bytes - 4}) {
        move(one, static_cast<char*>(places[other].at) + last);
        refused({places[one].name, places[other].name, "overlap"});
      }
    }
  }
  // Neighbours that only touch are no overlap.
  state2_at = state1.data() + 2 * kCount;
  EXPECT_EQ(step(), GATUN_OK) << gatun_last_error();
}

TEST_F(OptimizerBoundary, EmptyWorkNeedsNoMemory) {
  params.count = 0;
  p_at = state1_at = state2_at = nullptr;
  g_at = nullptr;
  scales1_at = scales2_at = nullptr;
  EXPECT_EQ(step(), GATUN_OK) << gatun_last_error();
  make_plain(GATUN_LION);
  params.count = 0;
  EXPECT_EQ(step(), GATUN_OK) << gatun_last_error();
}

TEST_F(OptimizerBoundary, Explain) {
  const auto explain = [&](char* text, int64_t capacity) { return gatun_optimizer_explain(given, text, capacity); };
  for (const int32_t state : {GATUN_STATE_F32, GATUN_STATE_DYNAMIC8, GATUN_STATE_F8E4M3, GATUN_STATE_DYNAMIC4}) {
    params.state = state;
    params.block = state == GATUN_STATE_F32 ? 0 : 2048;
    params.p_dtype = GATUN_BF16;
    params.max_update_norm = 1;
    params.threads = 0;
    params.count = int64_t{1} << 58;  // a long text
    check_text(explain, 1024);
  }
  std::vector<char> text(1024, '\x7f');
  EXPECT_TRUE(invalid(gatun_optimizer_explain(nullptr, text.data(), 1024), {"params"}));
  params.struct_size = 1;
  EXPECT_TRUE(invalid(explain(text.data(), 1024), {"struct_size"}));
  params = good;
  params.rule = 77;
  EXPECT_TRUE(invalid(explain(text.data(), 1024), {"rule", "77"}));
  params = good;
  params.count = kMax;
  EXPECT_TRUE(invalid(explain(text.data(), 1024), {"p", std::to_string(kMax).c_str()}));
  EXPECT_EQ(text, std::vector<char>(1024, '\x7f'));
}

TEST(GradientNormBoundary, EveryCheck) {
  std::vector<float> g(10, 2.0f);
  double sum = -1;
  const auto refused = [&](int32_t status, std::initializer_list<const char*> words) {
    EXPECT_TRUE(invalid(status, words));
    EXPECT_EQ(sum, -1) << "the output was written";
  };
  for (const int32_t dtype : {0, -1, int{GATUN_I8}, 15}) {
    refused(gatun_gradient_norm(dtype, 10, g.data(), 1, &sum),
            {"dtype", std::to_string(dtype).c_str(), "F32", "F16", "BF16"});
  }
  for (const int64_t count : {int64_t{-1}, kMin}) {
    refused(gatun_gradient_norm(GATUN_F32, count, g.data(), 1, &sum), {"count", std::to_string(count).c_str()});
  }
  for (const int64_t count : {kMax, int64_t{1} << 61}) {
    refused(gatun_gradient_norm(GATUN_F32, count, g.data(), 1, &sum), {"g", std::to_string(count).c_str()});
  }
  for (const int32_t threads : {-1, 1025}) {
    refused(gatun_gradient_norm(GATUN_F32, 10, g.data(), threads, &sum),
            {"threads", std::to_string(threads).c_str(), "1024"});
  }
  refused(gatun_gradient_norm(GATUN_F32, 10, nullptr, 1, &sum), {"g is null"});
  refused(gatun_gradient_norm(GATUN_F32, 10, g.data(), 1, nullptr), {"sum_of_squares is null"});
  refused(gatun_gradient_norm(GATUN_F32, 9, reinterpret_cast<const char*>(g.data()) + 2, 1, &sum), {"g", "4"});
  refused(gatun_gradient_norm(GATUN_F16, 9, reinterpret_cast<const char*>(g.data()) + 1, 1, &sum), {"g", "2"});
  alignas(8) char bytes[24] = {};
  refused(gatun_gradient_norm(GATUN_F32, 10, g.data(), 1, reinterpret_cast<double*>(bytes + 4)),
          {"sum_of_squares", "8"});
  const std::vector<float> before = g;
  refused(gatun_gradient_norm(GATUN_F32, 10, g.data(), 1, reinterpret_cast<double*>(g.data() + 2)),
          {"sum_of_squares", "g", "overlap"});
  EXPECT_EQ(g, before);
  EXPECT_EQ(gatun_gradient_norm(GATUN_F32, 0, nullptr, 1, &sum), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(sum, 0);
  EXPECT_EQ(gatun_gradient_norm(GATUN_F32, 10, g.data(), 1, &sum), GATUN_OK) << gatun_last_error();
  EXPECT_EQ(sum, 40);
}

}  // namespace
}  // namespace gatun::test
