// A step for the tests: its parameters, its arguments as bytes, and the call with them beside inaccessible memory.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "gatun/gatun.h"
#include "guard_buffer.h"
#include "optimizer/check.h"
#include "optimizer/reference.h"
#include "optimizer/table.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::optimizer {

using test::Edge;
using test::GuardBuffer;
using test::Rng;
using Bytes = std::vector<uint8_t>;

inline constexpr int32_t kAllRules[] = {GATUN_ADAM,    GATUN_ADEMAMIX, GATUN_MOMENTUM,
                                        GATUN_RMSPROP, GATUN_ADAGRAD,  GATUN_LION};
inline constexpr int32_t kFloats[] = {GATUN_F32, GATUN_F16, GATUN_BF16};
inline constexpr int32_t kStates[] = {GATUN_STATE_F32, GATUN_STATE_DYNAMIC8, GATUN_STATE_F8E4M3, GATUN_STATE_DYNAMIC4};

inline std::string describe(const gatun_optimizer_params& p) {
  std::string text = "rule " + std::to_string(p.rule) + ", p " + dtype_name(p.p_dtype) + ", state " +
                     std::to_string(p.state) + ", rounding " + std::to_string(p.rounding) + ", raw gradient " +
                     std::to_string(p.raw_gradient) + ", threads " + std::to_string(p.threads) + ", step " +
                     std::to_string(p.step) + ", count " + std::to_string(p.count) + ", block " +
                     std::to_string(p.block) + ", seed " + std::to_string(p.seed) + ", floats";
  for (const float value : {p.learning_rate, p.beta1, p.beta2, p.beta3, p.alpha, p.epsilon, p.weight_decay,
                            p.gradient_scale, p.max_update_norm}) {
    char number[32];
    std::snprintf(number, sizeof(number), " %g", double{value});
    text += number;
  }
  return text;
}

// The arguments of a call.
struct Tensors {
  Bytes p, g, state1, scales1, state2, scales2;
};

inline Bytes bytes_of(const std::vector<float>& values) { return test::from_floats(values, GATUN_F32); }
inline std::vector<float> floats_of(const Bytes& bytes) {
  std::vector<float> floats;
  for (const double value : test::to_doubles(bytes.data(), GATUN_F32, static_cast<int64_t>(bytes.size() / 4))) {
    floats.push_back(static_cast<float>(value));
  }
  return floats;
}

// Tensors from values of p and g and of f32 state.
inline Tensors make_tensors(const gatun_optimizer_params& params, const std::vector<float>& p,
                            const std::vector<float>& g, const std::vector<float>& state1,
                            const std::vector<float>& state2) {
  const auto bytes = [&](int64_t rows) { return Bytes(static_cast<size_t>(rows * state_row_bytes(params))); };
  const auto scales = [&](int64_t rows) {
    return std::vector<float>(static_cast<size_t>(rows * state_row_scales(params)));
  };
  const int64_t rows1 = rows_of_state1(params.rule), rows2 = rows_of_state2(params.rule);
  Tensors a = {
      test::from_floats(p, params.p_dtype), test::from_floats(g, params.p_dtype), bytes(rows1), {}, bytes(rows2), {}};
  std::vector<float> scales1 = scales(rows1), scales2 = scales(rows2);
  reference_store_state(params, state1, a.state1.data(), scales1.data(), false);
  reference_store_state(params, state2, a.state2.data(), scales2.data(), true);
  a.scales1 = bytes_of(scales1);
  a.scales2 = bytes_of(scales2);
  return a;
}

// Normal values; of state, m and n are of both signs, and v is not negative.
inline Tensors normal_tensors(const gatun_optimizer_params& params, Rng& rng) {
  std::vector<float> state1 = rng.normals(rows_of_state1(params.rule) * params.count);
  std::vector<float> state2 = rng.normals(rows_of_state2(params.rule) * params.count);
  if (params.rule == GATUN_RMSPROP || params.rule == GATUN_ADAGRAD) {
    for (float& v : state1) v *= v;
  }
  for (float& v : state2) v *= v;
  std::vector<float> p = rng.normals(params.count), g = rng.normals(params.count);
  return make_tensors(params, p, g, state1, state2);
}

// Calls with the addresses of what holds the arguments (each has data()); null where there is nothing to point to.
template <class Buffer, class Call>
void call_with(const gatun_optimizer_params& params, Buffer& p, const Buffer& g, Buffer& state1, Buffer& scales1,
               Buffer& state2, Buffer& scales2, Call call) {
  const bool second = rows_of_state2(params.rule) > 0, quantized = params.state != GATUN_STATE_F32;
  const auto floats = [](Buffer& buffer) { return reinterpret_cast<float*>(buffer.data()); };
  call(p.data(), g.data(), state1.data(), quantized ? floats(scales1) : nullptr, second ? state2.data() : nullptr,
       second && quantized ? floats(scales2) : nullptr);
}

template <class Call>
void call_in_place(const gatun_optimizer_params& params, Tensors& t, Call call) {
  call_with(params, t.p, t.g, t.state1, t.scales1, t.state2, t.scales2, call);
}

// Calls with copies of the arguments beside inaccessible memory. Returns what became of them.
template <class Call>
Tensors call_beside_guards(const gatun_optimizer_params& params, const Tensors& given, Edge edge, int64_t offset,
                           Call call) {
  const int64_t element = dtype_bytes(params.p_dtype, 1), state = params.state == GATUN_STATE_F32 ? 4 : 1;
  GuardBuffer<uint8_t> p(given.p, edge, offset * element), g(given.g, edge, offset * element);
  GuardBuffer<uint8_t> state1(given.state1, edge, offset * state), state2(given.state2, edge, offset * state);
  GuardBuffer<uint8_t> scales1(given.scales1, edge, offset * 4), scales2(given.scales2, edge, offset * 4);
  g.make_read_only();
  call_with(params, p, g, state1, scales1, state2, scales2, call);
  return {p.copy(), g.copy(), state1.copy(), scales1.copy(), state2.copy(), scales2.copy()};
}

// The step of the entry, of the entry with a tier, and of the reference, as calls.
inline auto entry(const gatun_optimizer_params& params) {
  return [&params](void* p, const void* g, void* state1, float* scales1, void* state2, float* scales2) {
    EXPECT_EQ(gatun_optimizer_step(&params, p, g, state1, scales1, state2, scales2), GATUN_OK) << gatun_last_error();
  };
}
inline auto entry_on(Tier tier, const gatun_optimizer_params& params) {
  return [tier, &params](void* p, const void* g, void* state1, float* scales1, void* state2, float* scales2) {
    EXPECT_EQ(run_step(tier, &params, p, g, state1, scales1, state2, scales2), GATUN_OK) << gatun_last_error();
  };
}
inline auto reference(const gatun_optimizer_params& params) {
  return [&params](void* p, const void* g, void* state1, float* scales1, void* state2, float* scales2) {
    reference_step(params, p, g, state1, scales1, state2, scales2);
  };
}

inline Tensors step(const gatun_optimizer_params& params, const Tensors& given, Edge edge = Edge::back,
                    int64_t offset = 0) {
  return call_beside_guards(params, given, edge, offset, entry(params));
}
inline Tensors step_on_tier(Tier tier, const gatun_optimizer_params& params, Tensors given) {
  call_in_place(params, given, entry_on(tier, params));
  return given;
}
inline Tensors step_of_reference(const gatun_optimizer_params& params, Tensors given) {
  call_in_place(params, given, reference(params));
  return given;
}

// NaN of p in f32 may be any: processors differ in the sign of what they make of infinities.
inline ::testing::AssertionResult same_p(const gatun_optimizer_params& params, const Bytes& actual,
                                         const Bytes& expected) {
  const std::vector<double> a = test::to_doubles(actual.data(), params.p_dtype, params.count);
  const std::vector<double> e = test::to_doubles(expected.data(), params.p_dtype, params.count);
  for (size_t i = 0; i < a.size(); ++i) {
    const bool same = a[i] == e[i] && std::signbit(a[i]) == std::signbit(e[i]);
    if (!same && !(std::isnan(a[i]) && std::isnan(e[i]))) {
      return ::testing::AssertionFailure() << "p[" << i << "] = " << a[i] << ", expected " << e[i];
    }
  }
  return ::testing::AssertionSuccess();
}

inline ::testing::AssertionResult same_state(const Tensors& actual, const Tensors& expected) {
  const auto compare = [](const Bytes& a, const Bytes& e, const char* name) {
    ::testing::AssertionResult result = test::identical(a, e);
    return result ? result : result << " (bytes of " << name << ")";
  };
  ::testing::AssertionResult result = compare(actual.scales1, expected.scales1, "scales 1");
  if (result) result = compare(actual.state1, expected.state1, "state 1");
  if (result) result = compare(actual.scales2, expected.scales2, "scales 2");
  if (result) result = compare(actual.state2, expected.state2, "state 2");
  return result;
}

// Bit for bit.
inline ::testing::AssertionResult same(const gatun_optimizer_params& params, const Tensors& actual,
                                       const Tensors& expected) {
  ::testing::AssertionResult result = same_state(actual, expected);
  return result ? same_p(params, actual.p, expected.p) : result;
}

}  // namespace gatun::optimizer
