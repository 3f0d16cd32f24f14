// The rules, one element at a time: native/src/optimizer/rules.h has the same for vectors, operation by operation, as
// each rounds once.
//
// A rule has kStates states in planes, of which the last one is state 2 if kSecond, and a mean or sum of squares if
// kSquares. update(p, gradient, s) makes the new states of the old ones and returns d, by which move() changes the
// parameter.
#pragma once

#include <cstdint>

#include "optimizer/device_job.h"
#include "ptx/number.h"

namespace gatun::cuda::optimizer {

// What rules share. Decay that is decoupled follows the step.
struct Rule {
  GATUN_DEVICE Rule(const Constants& constants, float rate) : c(constants), back(-rate) {}

  GATUN_DEVICE float move(float p, float d) const { return fused(back, d, p) * c.decay; }

  const Constants& c;
  const float back;
};

// The average of squares: beta v + (root g)^2, root^2 = 1 - beta.
GATUN_DEVICE float average_square(float beta, float v, float root, float g) {
  const float h = root * g;
  return fused(h, h, beta * v);
}

struct Adam : Rule {
  static constexpr int kStates = 2;
  static constexpr bool kSecond = true, kSquares = true;
  using Rule::Rule;

  GATUN_DEVICE float update(float, float gradient, float (&s)[kStates]) const {
    s[0] = fused(c.beta1, s[0], c.rest1 * gradient);
    s[1] = average_square(c.beta2, s[1], c.root2, gradient);
    return s[0] / (root(s[1]) + c.epsilon);
  }
};

struct AdEmaMix : Rule {
  static constexpr int kStates = 3;
  static constexpr bool kSecond = true, kSquares = true;
  using Rule::Rule;

  GATUN_DEVICE float update(float, float gradient, float (&s)[kStates]) const {
    s[0] = fused(c.beta1, s[0], c.rest1 * gradient);
    s[1] = fused(c.beta3, s[1], c.rest3 * gradient);
    s[2] = average_square(c.beta2, s[2], c.root2, gradient);
    return fused(c.alpha, s[1], s[0] * c.first) / fused(root(s[2]), c.second, c.epsilon);
  }
};

struct Momentum : Rule {
  static constexpr int kStates = 1;
  static constexpr bool kSecond = false, kSquares = false;
  using Rule::Rule;

  GATUN_DEVICE float update(float p, float gradient, float (&s)[kStates]) const {
    const float g = fused(c.weight_decay, p, gradient * c.gradient_scale);
    s[0] = c.starts ? g : fused(c.beta1, s[0], g);
    return s[0];
  }
};

// RMSprop and Adagrad: the gradient over the root of its squares.
struct Scaled : Rule {
  static constexpr int kStates = 1;
  static constexpr bool kSecond = false, kSquares = true;
  using Rule::Rule;

  GATUN_DEVICE float decayed(float p, float gradient) const {
    return fused(c.weight_decay, p, gradient * c.gradient_scale);
  }
  GATUN_DEVICE float over_root(float gradient, float g, float v) const {
    return (c.raw_gradient ? gradient : g) / (root(v) + c.epsilon);
  }
};

struct RmsProp : Scaled {
  using Scaled::Scaled;

  GATUN_DEVICE float update(float p, float gradient, float (&s)[kStates]) const {
    const float g = decayed(p, gradient);
    s[0] = average_square(c.beta1, s[0], c.root1, g);
    return over_root(gradient, g, s[0]);
  }
};

struct Adagrad : Scaled {
  using Scaled::Scaled;

  GATUN_DEVICE float update(float p, float gradient, float (&s)[kStates]) const {
    const float g = decayed(p, gradient);
    s[0] = fused(g, g, s[0]);
    return over_root(gradient, g, s[0]);
  }
};

struct Lion : Rule {
  static constexpr int kStates = 1;
  static constexpr bool kSecond = false, kSquares = false;
  using Rule::Rule;

  GATUN_DEVICE float update(float, float gradient, float (&s)[kStates]) const {
    const float way = fused(c.beta1, s[0], c.rest1 * gradient);
    s[0] = fused(c.beta2, s[0], c.rest2 * gradient);
    const float sign = as_float((as_bits(way) & 0x80000000u) | 0x3f800000u);
    return absolute(way) > 0 ? sign : 0;
  }

  // Decay comes before the step.
  GATUN_DEVICE float move(float p, float d) const { return fused(back, d, p * c.decay); }
};

// Whether plane k of a rule is state 2, and whether it is of squares.
template <class R>
constexpr bool is_second(int k) {
  return R::kSecond && k == R::kStates - 1;
}
template <class R>
constexpr bool is_squares(int k) {
  return R::kSquares && k == R::kStates - 1;
}

// What magnitudes of a state are compared by: bits. NaN, infinity and squares with a sign are beyond all finite
// numbers.
template <class R>
GATUN_DEVICE uint32_t larger(uint32_t high, float s, int k) {
  if (!is_squares<R>(k)) return as_bits(max_or_nan(as_float(high), absolute(s)));
  return as_bits(s) > high ? as_bits(s) : high;
}
inline constexpr uint32_t kNotFinite = 0x7f800000u;

}  // namespace gatun::cuda::optimizer
