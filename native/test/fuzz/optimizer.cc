// gatun_optimizer_step and gatun_gradient_norm: a status, or what the reference makes, bit for bit, on the scalar tier
// and on the tier in use; with max_update_norm, p within the reference's bounds and the same on both.
#include "gatun/optimizer.h"

#include <cmath>
#include <cstring>

#include "base/cpu.h"
#include "base/dtype.h"
#include "input.h"
#include "optimizer/check.h"
#include "optimizer/reference.h"
#include "optimizer/table.h"

namespace gatun::fuzz {
namespace {

using optimizer::rows_of_state1;
using optimizer::rows_of_state2;

bool is_float(int32_t dtype) { return dtype == GATUN_F32 || dtype == GATUN_F16 || dtype == GATUN_BF16; }

// Mostly one of the good values, rarely any number at all.
float number(Input& input, std::initializer_list<float> good) {
  if (input.rarely()) return input.rng().special();
  return good.begin()[input.range(0, static_cast<int64_t>(good.size()) - 1)];
}

gatun_optimizer_params params_from(Input& input) {
  gatun_optimizer_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.rule = input.choice({GATUN_ADAM, GATUN_ADEMAMIX, GATUN_MOMENTUM, GATUN_RMSPROP, GATUN_ADAGRAD, GATUN_LION});
  p.p_dtype = input.choice({GATUN_F32, GATUN_F16, GATUN_BF16});
  p.state = input.choice({GATUN_STATE_F32, GATUN_STATE_DYNAMIC8, GATUN_STATE_F8E4M3, GATUN_STATE_DYNAMIC4});
  p.rounding = p.p_dtype == GATUN_BF16 ? input.choice({GATUN_PARAMETER_NEAREST, GATUN_PARAMETER_STOCHASTIC})
                                       : input.choice({GATUN_PARAMETER_NEAREST});
  const bool raw = p.rule == GATUN_RMSPROP || p.rule == GATUN_ADAGRAD;
  p.raw_gradient = raw ? input.choice({0, 1}) : input.choice({0});
  p.threads = input.choice({0, 1, 2, 8});
  p.learning_rate = number(input, {1e-3f, 0.1f, 0, -1, 100});
  p.beta1 = number(input, {0.9f, 0, 0.5f, 1});
  p.beta2 = number(input, {0.999f, 0.99f, 0, 1});
  p.beta3 = number(input, {0.9999f, 0, 1});
  p.alpha = number(input, {5, 0, -1});
  p.epsilon = number(input, {1e-8f, 0, 1});
  p.weight_decay = number(input, {0, 0.1f, 3});
  p.gradient_scale = number(input, {1, 0x1p-16f, 0, -2});
  p.max_update_norm = input.range(0, 3) == 0 ? number(input, {1, 0.02f, 1e-6f}) : 0;
  p.step = input.range(0, 3) == 0 ? input.size() : input.range(1, 10);
  p.count = input.range(0, 3) == 0 ? input.range(0, 3000) : input.size();
  p.block = p.state == GATUN_STATE_F32 ? 0 : 128 * input.range(1, 16);
  if (input.rarely()) p.block = input.size();
  p.seed = input.size();
  return p;
}

bool documented_valid(const gatun_optimizer_params& p) {
  const bool enums =
      p.rule >= GATUN_ADAM && p.rule <= GATUN_LION && is_float(p.p_dtype) && p.state >= GATUN_STATE_F32 &&
      p.state <= GATUN_STATE_DYNAMIC4 &&
      (p.rounding == GATUN_PARAMETER_NEAREST ||
       (p.rounding == GATUN_PARAMETER_STOCHASTIC && p.p_dtype == GATUN_BF16)) &&
      (p.raw_gradient == 0 || (p.raw_gradient == 1 && (p.rule == GATUN_RMSPROP || p.rule == GATUN_ADAGRAD)));
  bool numbers = true;
  for (const float value : {p.learning_rate, p.alpha, p.gradient_scale}) numbers = numbers && std::isfinite(value);
  for (const float value : {p.beta1, p.beta2, p.beta3}) numbers = numbers && value >= 0 && value <= 1;
  for (const float value : {p.epsilon, p.weight_decay, p.max_update_norm}) {
    numbers = numbers && std::isfinite(value) && value >= 0;
  }
  const bool block =
      p.state == GATUN_STATE_F32 ? p.block == 0 : p.block >= 128 && p.block <= 2048 && p.block % 128 == 0;
  return p.struct_size == sizeof(p) && enums && numbers && block && p.threads >= 0 && p.threads <= 1024 &&
         p.step >= 1 && p.count >= 0;
}

// In the order of the arguments.
constexpr int kBuffers = 6;
constexpr const char* kNames[kBuffers] = {"p", "g", "state1", "scales1", "state2", "scales2"};
using Contents = std::vector<std::vector<uint8_t>>;

struct Arguments {
  gatun_optimizer_params p;
  bool affordable = true, valid;
  Buffer buffers[kBuffers];
  bool present[kBuffers] = {true, true, true, true, true, true};

  explicit Arguments(Input& input) : p(params_from(input)), valid(documented_valid(p)) {
    test::Rng rng = input.rng();
    int64_t sizes[kBuffers] = {1, 1, 1, 1, 1, 1};  // of an invalid call nothing may be touched
    int64_t alignments[kBuffers] = {1, 1, 1, 1, 1, 1};
    bool wanted[kBuffers] = {true, true, true, true, true, true};
    if (valid) {
      const int64_t rows1 = rows_of_state1(p.rule), rows2 = rows_of_state2(p.rule);
      const bool plain = p.state == GATUN_STATE_F32;
      const int64_t codes = p.state == GATUN_STATE_DYNAMIC4 ? p.count / 2 + p.count % 2 : p.count;
      const int64_t blocks = plain || p.count == 0 ? 0 : (p.count - 1) / p.block + 1;
      const int64_t element = dtype_bytes(p.p_dtype, 1), state = plain ? 4 : 1;
      const int64_t extents[kBuffers] = {
          extent(1, p.count, p.count, 1, element), extent(1, p.count, p.count, 1, element),
          extent(rows1, codes, codes, 1, state),   extent(rows1, blocks, blocks, 1, 4),
          extent(rows2, codes, codes, 1, state),   extent(rows2, blocks, blocks, 1, 4)};
      const int64_t aligned[kBuffers] = {element, element, state, 4, state, 4};
      std::copy(std::begin(aligned), std::end(aligned), alignments);
      wanted[3] = !plain;
      wanted[4] = rows2 > 0;
      wanted[5] = !plain && rows2 > 0;
      for (const int64_t size : extents) {
        affordable = affordable && size != kUnaffordable;
        valid = valid && size != kImpossible;
      }
      // The reference of codes tries all of them.
      if (p.count > (plain ? 1 << 14 : 1 << 12)) affordable = false;
      if (!valid) affordable = true;  // refused before any access
      if (!affordable) return;
      if (valid) std::copy(std::begin(extents), std::end(extents), sizes);
    }
    for (int i = 0; i < kBuffers; ++i) buffers[i] = Buffer(sizes[i]);
    if (valid) fill(input, rng);
    for (int i = 0; i < kBuffers; ++i) {
      buffers[i].spoil(input);
      if (sizes[i] > 0 && (buffers[i].is_null() || (buffers[i].misaligned() && alignments[i] > 1))) valid = false;
      // What is not wanted has to be null.
      if (wanted[i]) continue;
      present[i] = input.range(0, 63) == 63;
      if (present[i] && !buffers[i].is_null()) valid = false;
    }
  }

  void fill(Input& input, test::Rng& rng) {
    for (const int i : {0, 1}) buffers[i].fill_floats(rng, p.p_dtype, values(input));
    for (const int i : {2, 4}) {
      if (p.state == GATUN_STATE_F32) {
        buffers[i].fill_floats(rng, GATUN_F32, values(input));
        const bool any = input.range(0, 3) == 0;
        for (int64_t at = 3; at < buffers[i].bytes() && !any; at += 4) buffers[i].data()[at] &= 0x7f;
      } else {
        buffers[i].fill_integers(rng, 0, 255);
      }
    }
    for (const int i : {3, 5}) {
      buffers[i].fill_floats(rng, GATUN_F32, values(input));
      const bool any = input.range(0, 3) == 0;
      for (int64_t at = 3; at < buffers[i].bytes() && !any; at += 4) buffers[i].data()[at] &= 0x7f;
    }
  }

  void* at(int i) { return present[i] ? buffers[i].data() : nullptr; }
  float* floats_at(int i) { return static_cast<float*>(at(i)); }
  Contents copies() const {
    Contents all;
    for (const Buffer& buffer : buffers) all.push_back(buffer.copy());
    return all;
  }
  void restore(const Contents& contents) {
    for (size_t i = 0; i < kBuffers; ++i) {
      if (!contents[i].empty()) std::memcpy(buffers[i].data(), contents[i].data(), contents[i].size());
    }
  }
};

// Before a defect: what was asked for.
void describe(const gatun_optimizer_params& p) {
  std::fprintf(stderr, "rule %d p_dtype %d state %d rounding %d raw_gradient %d threads %d\n", p.rule, p.p_dtype,
               p.state, p.rounding, p.raw_gradient, p.threads);
  std::fprintf(stderr, "lr %g betas %g %g %g alpha %g epsilon %g decay %g scale %g norm %g\n", double{p.learning_rate},
               double{p.beta1}, double{p.beta2}, double{p.beta3}, double{p.alpha}, double{p.epsilon},
               double{p.weight_decay}, double{p.gradient_scale}, double{p.max_update_norm});
  std::fprintf(stderr, "step %lld count %lld block %lld seed %lld\n", static_cast<long long>(p.step),
               static_cast<long long>(p.count), static_cast<long long>(p.block), static_cast<long long>(p.seed));
}

float element(const std::vector<uint8_t>& bytes, int32_t dtype, int64_t index) {
  float value;
  uint16_t half;
  const size_t size = static_cast<size_t>(dtype_bytes(dtype, 1)), at = static_cast<size_t>(index) * size;
  if (dtype == GATUN_F32) {
    std::memcpy(&value, &bytes[at], size);
    return value;
  }
  std::memcpy(&half, &bytes[at], size);
  return dtype == GATUN_F16 ? f16_to_f32(half) : bf16_to_f32(half);
}

void check_p(const gatun_optimizer_params& p, const char* what, const std::vector<uint8_t>& actual,
             const std::vector<uint8_t>& expected) {
  for (int64_t i = 0; i < p.count; ++i) {
    const float a = element(actual, p.p_dtype, i), e = element(expected, p.p_dtype, i);
    if ((a == e && std::signbit(a) == std::signbit(e)) || (std::isnan(a) && std::isnan(e))) continue;
    describe(p);
    defect("p[%lld] = %g, %s %g", static_cast<long long>(i), double{a}, what, double{e});
  }
}

void check_state(const gatun_optimizer_params& p, Tier tier, const Contents& actual, const Contents& expected) {
  for (size_t i = 1; i < kBuffers; ++i) {
    if (actual[i] == expected[i]) continue;
    const auto at = std::mismatch(actual[i].begin(), actual[i].end(), expected[i].begin());
    describe(p);
    defect("%s[byte %lld] = 0x%x of tier %s, reference 0x%x", kNames[i],
           static_cast<long long>(at.first - actual[i].begin()), unsigned{*at.first}, tier_name(tier),
           unsigned{*at.second});
  }
}

void check_bounds(const gatun_optimizer_params& p, const optimizer::ExpectedStep& expected,
                  const std::vector<uint8_t>& actual) {
  for (int64_t i = 0; i < p.count; ++i) {
    const float a = element(actual, p.p_dtype, i);
    const optimizer::Expected& e = expected.p[static_cast<size_t>(i)];
    if (e.allows(a, p.p_dtype, p.rounding)) continue;
    describe(p);
    defect("p[%lld] = %g, reference %g, allowed %g", static_cast<long long>(i), double{a}, e.value, e.error);
  }
}

}  // namespace

void fuzz_optimizer(Input& input) {
  Arguments a(input);
  if (!a.affordable) return;
  const gatun_optimizer_params& p = a.p;
  char text[1024];
  if (a.valid) check_status(gatun_optimizer_explain(&p, text, sizeof(text)), true, "gatun_optimizer_explain");
  const bool some = a.valid && p.count > 0;
  const Contents before = a.copies();
  Contents expected = before;
  optimizer::ExpectedStep bounds;
  if (some) {
    bounds =
        optimizer::reference_bounds(p, a.at(0), a.at(1), optimizer::reference_state(p, a.at(2), a.floats_at(3), false),
                                    optimizer::reference_state(p, a.at(4), a.floats_at(5), true));
    optimizer::reference_step(p, a.at(0), a.at(1), a.at(2), a.floats_at(3), a.at(4), a.floats_at(5));
    expected = a.copies();
    a.restore(before);
  }
  Contents first;
  for (const Tier tier : {Tier::scalar, active_tier()}) {
    const int32_t status =
        optimizer::run_step(tier, &p, a.at(0), a.at(1), a.at(2), a.floats_at(3), a.at(4), a.floats_at(5));
    check_status(status, a.valid, "gatun_optimizer_step");
    const Contents after = a.copies();
    if (!a.valid && after != before) defect("gatun_optimizer_step failed and wrote something");
    if (!some) continue;
    check_state(p, tier, after, expected);
    check_bounds(p, bounds, after[0]);
    if (p.max_update_norm == 0) check_p(p, "reference", after[0], expected[0]);
    if (!first.empty()) check_p(p, "of the scalar tier", after[0], first[0]);
    first = after;
    a.restore(before);
  }
}

void fuzz_gradient_norm(Input& input) {
  const int32_t dtype = input.choice({GATUN_F32, GATUN_F16, GATUN_BF16});
  const int32_t threads = input.choice({0, 1, 2, 8});
  const int64_t count = input.range(0, 3) == 0 ? input.range(0, 5000) : input.size();
  bool valid = is_float(dtype) && threads >= 0 && threads <= 1024 && count >= 0;
  const int64_t bytes = valid ? extent(1, count, count, 1, dtype_bytes(dtype, 1)) : 1;
  if (bytes == kUnaffordable) return;
  valid = valid && bytes != kImpossible;
  Buffer g(bytes), sum(sizeof(double));
  test::Rng rng = input.rng();
  if (valid) g.fill_floats(rng, dtype, values(input));
  g.spoil(input);
  sum.spoil(input);
  if (bytes > 0 && (g.is_null() || g.misaligned())) valid = false;
  valid = valid && !sum.is_null() && !sum.misaligned();
  const std::vector<uint8_t> before = sum.copy();
  double sums[2] = {};
  int tiers = 0;
  for (const Tier tier : {Tier::scalar, active_tier()}) {
    const int32_t status =
        optimizer::run_gradient_norm(tier, dtype, count, g.data(), threads, reinterpret_cast<double*>(sum.data()));
    check_status(status, valid, "gatun_gradient_norm");
    if (!valid && sum.copy() != before) defect("gatun_gradient_norm failed and wrote its sum");
    if (valid) std::memcpy(&sums[tiers++], sum.data(), sizeof(double));
  }
  if (!valid) return;
  const double expected = optimizer::reference_sum_of_squares(dtype, count, g.data());
  for (const double actual : sums) {
    const bool right =
        std::isfinite(expected) ? std::fabs(actual - expected) <= 0x1p-18 * expected : !std::isfinite(actual);
    if (!right) defect("sum of squares %g, reference %g", actual, expected);
  }
  if (std::isfinite(expected) && sums[0] != sums[1]) defect("sums of squares %a and %a", sums[0], sums[1]);
}

}  // namespace gatun::fuzz
