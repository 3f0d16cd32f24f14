// The rules are written once, for two kinds of numbers: f32, where every operation rounds, gives the bits; doubles that
// know how far f32 may come from them give values and bounds that no order of operations of ours can spoil.
#include "optimizer/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/dtype.h"
#include "optimizer/check.h"
#include "optimizer/reference_number.h"
#include "quantize/reference.h"

namespace gatun::optimizer {
namespace {

bool is_finite(float a) { return std::isfinite(a); }
bool is_finite(const Number& a) { return std::isfinite(a.value); }
bool is_negative(float a) { return std::signbit(a); }
bool is_negative(const Number& a) { return a.value < 0; }

template <class Real>
struct From;
template <>
struct From<float> {
  static float f32(float x) { return x; }
  // Made in double, rounded once. Of what a norm is part of, only an estimate.
  static float constant(double x) { return static_cast<float>(x); }
  static float constant(const Number& x) { return static_cast<float>(x.value); }
};
template <>
struct From<Number> {
  static Number f32(float x) { return {double{x}, 0}; }
  // Powers and differences of doubles are not exact.
  static Number constant(double x) { return constant(Number{x, 0}); }
  static Number constant(const Number& x) {
    return rounded(x.value, std::isfinite(x.value) ? x.error + std::fabs(x.value) * 0x1p-30 : 0);
  }
};

// The numbers that are the same for all elements.
struct Corrections {
  double first, second;  // c1, c2
};
Corrections corrections_of(const gatun_optimizer_params& p) {
  const double t = static_cast<double>(p.step);
  return {1 - std::pow(double{p.beta1}, t), std::sqrt(1 - std::pow(double{p.beta2}, t))};
}

// An element: state is m n v of ADEMAMIX, m v of ADAM, else the one.
template <class Real>
struct Element {
  Real p, g;
  Real state[3];
};

// The rule of a step.
template <class Real>
class Rule {
  using Make = From<Real>;

 public:
  // `factor` is that of max_update_norm.
  Rule(const gatun_optimizer_params& p, const Number& factor) : p_(p), corrections_(corrections_of(p)) {
    const auto& [c1, c2] = corrections_;
    const bool adam = p.rule == GATUN_ADAM;
    const double rate = adam ? double{p.learning_rate} * c2 / c1 : double{p.learning_rate};
    rate_ = factor.error == 0 && factor.value == 1
                ? Make::constant(rate)
                : Make::constant(Number{rate * factor.value, std::fabs(rate) * factor.error});
    epsilon_ = adam ? Make::constant(double{p.epsilon} * c2) : f32(p.epsilon);
    decay_ = Make::constant(1 - double{p.learning_rate} * double{p.weight_decay});
  }

  // New state of an element, and its update, without the rate.
  Real update(Element<Real>& e) const {
    Real& s = e.state[0];
    const Real g = e.g * f32(p_.gradient_scale);
    switch (p_.rule) {
      case GATUN_ADAM: {
        Real& v = e.state[1];
        s = average(p_.beta1, s, e.g);
        v = average_square(p_.beta2, v, p_.gradient_scale, e.g);
        return s / (root(v) + epsilon_);
      }
      case GATUN_ADEMAMIX: {
        Real &n = e.state[1], &v = e.state[2];
        s = average(p_.beta1, s, e.g);
        n = average(p_.beta3, n, e.g);
        v = average_square(p_.beta2, v, p_.gradient_scale, e.g);
        const Real first = Make::constant(1 / corrections_.first), second = Make::constant(1 / corrections_.second);
        return fused(f32(p_.alpha), n, s * first) / fused(root(v), second, epsilon_);
      }
      case GATUN_MOMENTUM: {
        const Real decayed = fused(f32(p_.weight_decay), e.p, g);
        s = p_.step == 1 ? decayed : fused(f32(p_.beta1), s, decayed);
        return s;
      }
      case GATUN_LION: {
        const Real way = average(p_.beta1, s, e.g);
        s = average(p_.beta2, s, e.g);
        return sign_of(way);
      }
      default: {
        const Real decayed = fused(f32(p_.weight_decay), e.p, g);
        s = p_.rule == GATUN_RMSPROP ? average_square(p_.beta1, s, 1, decayed) : fused(decayed, decayed, s);
        return (p_.raw_gradient != 0 ? e.g : decayed) / (root(s) + epsilon_);
      }
    }
  }

  Real moved(const Real& p, const Real& update) const {
    switch (p_.rule) {
      case GATUN_ADAM:
      case GATUN_ADEMAMIX:
        return fused(-rate_, update, p) * decay_;
      case GATUN_LION:
        return fused(-rate_, update, p * decay_);
      default:
        return fused(-rate_, update, p);
    }
  }

 private:
  static Real f32(float x) { return Make::f32(x); }
  // beta m + (1 - beta) g of a gradient that is still to be scaled.
  Real average(float beta, const Real& m, const Real& gradient) const {
    return fused(f32(beta), m, Make::constant((1 - double{beta}) * double{p_.gradient_scale}) * gradient);
  }
  // beta v + (1 - beta) (scale g)^2.
  static Real average_square(float beta, const Real& v, float scale, const Real& g) {
    const Real h = Make::constant(std::sqrt(1 - double{beta}) * double{scale}) * g;
    return fused(h, h, f32(beta) * v);
  }

  const gatun_optimizer_params& p_;
  const Corrections corrections_;
  Real rate_, epsilon_, decay_;
};

float get(const void* x, int32_t dtype, int64_t index) {
  if (dtype == GATUN_F32) return static_cast<const float*>(x)[index];
  const uint16_t half = static_cast<const uint16_t*>(x)[index];
  return dtype == GATUN_F16 ? f16_to_f32(half) : bf16_to_f32(half);
}

// bf16 beside x: the one nearer to 0, or the other.
uint16_t toward_zero(float x) { return static_cast<uint16_t>(float_bits(x) >> 16); }

void set(const gatun_optimizer_params& params, void* p, int64_t index, float x) {
  if (params.p_dtype == GATUN_F32) {
    static_cast<float*>(p)[index] = x;
    return;
  }
  uint16_t half = params.p_dtype == GATUN_F16 ? f32_to_f16(x) : f32_to_bf16(x);
  if (params.rounding == GATUN_PARAMETER_STOCHASTIC && std::isfinite(x)) {
    const uint32_t random = static_cast<uint32_t>(quantize::reference_threshold(params.seed, index)) >> 8;
    half = static_cast<uint16_t>(toward_zero(x) + ((float_bits(x) & 0xffff) + random > 0xffff ? 1 : 0));
  }
  static_cast<uint16_t*>(p)[index] = half;
}

int64_t rows_of(const gatun_optimizer_params& p) { return rows_of_state1(p.rule) + rows_of_state2(p.rule); }

// Calls visit(index, element) for all elements, with their state as it is; what visit makes of it is stored.
template <class Real, class Visit>
void for_each_element(const gatun_optimizer_params& params, const void* p, const void* g,
                      const std::vector<float>& state1, const std::vector<float>& state2, Visit visit) {
  const int64_t firsts = rows_of_state1(params.rule);
  for (int64_t i = 0; i < params.count; ++i) {
    Element<Real> element = {
        From<Real>::f32(get(p, params.p_dtype, i)), From<Real>::f32(get(g, params.p_dtype, i)), {}};
    for (int64_t row = 0; row < rows_of(params); ++row) {
      const size_t at = static_cast<size_t>((row < firsts ? row : 0) * params.count + i);
      element.state[row] = From<Real>::f32((row < firsts ? state1 : state2)[at]);
    }
    visit(i, element);
  }
}

// Whether an element is stepped at all: v is no number below 0.
template <class Real>
bool stepped(const gatun_optimizer_params& params, const Element<Real>& element) {
  const bool squares = params.rule != GATUN_MOMENTUM && params.rule != GATUN_LION;
  const bool negative = squares && is_negative(element.state[rows_of(params) - 1]);
  return !negative &&
         std::all_of(element.state, element.state + rows_of(params), [](const Real& s) { return is_finite(s); });
}

bool known(const gatun_optimizer_params& params, const Element<Number>& element) {
  const Number& last = element.state[rows_of(params) - 1];
  const bool squares = params.rule != GATUN_MOMENTUM && params.rule != GATUN_LION;
  // Whether it is stepped hangs on the sign.
  if (squares && last.error > 0 && std::fabs(last.value) <= last.error) return false;
  return std::all_of(element.state, element.state + rows_of(params), [](const Number& s) { return s.known(); });
}

// Squares of numbers: of those nearest to 0, of them, of those farthest from 0.
struct Squares {
  double least = 0, value = 0, most = 0;

  void add(const Number& x) {
    const double magnitude = std::fabs(x.value), low = std::max(magnitude - x.error, 0.0), high = magnitude + x.error;
    least += low * low;
    value += magnitude * magnitude;
    most += high * high;
  }
};

Number factor_of(const gatun_optimizer_params& params, const void* p, const void* g, const std::vector<float>& state1,
                 const std::vector<float>& state2) {
  if (params.max_update_norm == 0) return {1, 0};
  const Rule<Number> rule(params, {1, 0});
  const auto [c1, c2] = corrections_of(params);
  const double unit = params.rule == GATUN_ADAM ? c2 / c1 : 1;  // what lr multiplies has it
  Squares parameters, updates;
  bool sure = true;
  for_each_element<Number>(params, p, g, state1, state2, [&](int64_t, Element<Number>& element) {
    parameters.add(element.p);
    const Number update = rule.update(element);
    const bool counts = stepped(params, element);
    sure = sure && known(params, element) && (!counts || update.known());
    if (sure && counts) updates.add({update.value * unit, update.error * std::fabs(unit)});
  });
  if (!sure) return {1, kInfinity};
  const auto norm = [](const Squares& squares) { return squares.most > 0 && std::isfinite(squares.value); };
  if (!norm(parameters) || !norm(updates)) return {1, 0};
  const double numerator = double{params.max_update_norm} * std::sqrt(parameters.value);
  // Sums of squares are f32 ones in part.
  const auto factor = [&](double squares, double slack) {
    return std::min(1.0, numerator / std::sqrt(squares) * slack);
  };
  const double least = factor(updates.most, 1 - 0x1p-18), most = factor(updates.least, 1 + 0x1p-18);
  if (least == 1) return {1, 0};
  const double value = factor(updates.value, 1);
  return {value, std::max(most - value, value - least)};
}

// The f32 numbers within [low, high] begin and end here.
float first_from(double low) {
  const float nearest = static_cast<float>(low);
  return double{nearest} < low ? std::nextafter(nearest, std::numeric_limits<float>::infinity()) : nearest;
}
float last_to(double high) { return -first_from(-high); }

}  // namespace

void reference_step(const gatun_optimizer_params& params, void* p, const void* g, void* state1, float* scales1,
                    void* state2, float* scales2) {
  std::vector<float> first = reference_state(params, state1, scales1, false);
  std::vector<float> second = reference_state(params, state2, scales2, true);
  const Rule<float> rule(params, {1, 0});
  const int64_t firsts = rows_of_state1(params.rule);
  for_each_element<float>(params, p, g, first, second, [&](int64_t i, Element<float>& element) {
    const float update = rule.update(element);
    const bool kept = !stepped(params, element);
    if (!kept && params.max_update_norm == 0) set(params, p, i, rule.moved(element.p, update));
    for (int64_t row = 0; row < rows_of(params); ++row) {
      const size_t at = static_cast<size_t>((row < firsts ? row : 0) * params.count + i);
      (row < firsts ? first : second)[at] = kept ? 0 : element.state[row];
    }
  });
  reference_store_state(params, first, state1, scales1, false);
  reference_store_state(params, second, state2, scales2, true);
}

ExpectedStep reference_bounds(const gatun_optimizer_params& params, const void* p, const void* g,
                              const std::vector<float>& state1, const std::vector<float>& state2) {
  const Number factor = factor_of(params, p, g, state1, state2);
  ExpectedStep expected;
  expected.factor = {factor.value, factor.error};
  expected.p.resize(static_cast<size_t>(params.count));
  expected.state1.resize(state1.size());
  expected.state2.resize(state2.size());
  const Rule<Number> rule(params, factor);
  const int64_t firsts = rows_of_state1(params.rule);
  for_each_element<Number>(params, p, g, state1, state2, [&](int64_t i, Element<Number>& element) {
    const Number update = rule.update(element);
    const bool sure = known(params, element), kept = sure && !stepped(params, element);
    const Number moved = !sure ? Number{element.p.value, kInfinity} : kept ? element.p : rule.moved(element.p, update);
    expected.p[static_cast<size_t>(i)] = {moved.value, moved.error};
    for (int64_t row = 0; row < rows_of(params); ++row) {
      const size_t at = static_cast<size_t>((row < firsts ? row : 0) * params.count + i);
      const Number state = !sure  ? Number{element.state[row].value, kInfinity}
                           : kept ? Number{0, 0}
                                  : element.state[row];
      (row < firsts ? expected.state1 : expected.state2)[at] = {state.value, state.error};
    }
  });
  return expected;
}

bool Expected::allows(float actual, int32_t dtype, int32_t rounding) const {
  if (error == kInfinity) return true;
  if (!std::isfinite(value)) return std::isnan(value) ? std::isnan(actual) : actual == static_cast<float>(value);
  const float low = first_from(value - error), high = last_to(value + error);
  if (dtype == GATUN_F32) return actual >= low && actual <= high;
  if (dtype == GATUN_F16) return actual >= f16_to_f32(f32_to_f16(low)) && actual <= f16_to_f32(f32_to_f16(high));
  if (rounding == GATUN_PARAMETER_NEAREST) {
    return actual >= bf16_to_f32(f32_to_bf16(low)) && actual <= bf16_to_f32(f32_to_bf16(high));
  }
  // The neighbours of the ends.
  const auto neighbour = [](float x, bool above) {
    const uint16_t inner = toward_zero(x);
    const bool exact = bf16_to_f32(inner) == x, outward = above != std::signbit(x);
    return bf16_to_f32(static_cast<uint16_t>(inner + (!exact && outward ? 1 : 0)));
  };
  return actual >= neighbour(low, false) && actual <= neighbour(high, true);
}

double reference_sum_of_squares(int32_t dtype, int64_t count, const void* g) {
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) sum += double{get(g, dtype, i)} * double{get(g, dtype, i)};
  return sum;
}

}  // namespace gatun::optimizer
