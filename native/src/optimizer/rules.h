// The rules: what an element's gradient does to its state, and which way it moves the parameter.
//
// A rule has kStates states in planes, of which the last one is state 2 if kSecond, and a mean or sum of squares if
// kSquares. update(p, gradient, s) makes the new states of the old ones and returns d, by which move() changes the
// parameter. Each operation rounds once, so that every tier gives the same bits.
#pragma once

#include "optimizer/kernel.h"
#include "simd/vec.h"

namespace gatun::GATUN_ISA {
namespace {

using optimizer::Constants;

// What rules share. Decay that is decoupled follows the step.
struct Rule {
  explicit GATUN_INLINE Rule(const Constants& c)
      : scale(set1(c.gradient_scale)),
        weight_decay(set1(c.weight_decay)),
        beta1(set1(c.beta1)),
        rest1(set1(c.rest1)),
        epsilon(set1(c.epsilon)),
        back(set1(-c.rate)),
        decay(set1(c.decay)) {}

  GATUN_INLINE F32 move(F32 p, F32 d) const { return mul(fma(back, d, p), decay); }

  const F32 scale, weight_decay, beta1, rest1, epsilon, back, decay;
};

// The average of squares: beta v + (root g)^2, root^2 = 1 - beta.
GATUN_INLINE F32 average_square(F32 beta, F32 v, F32 root, F32 g) {
  const F32 h = mul(root, g);
  return fma(h, h, mul(beta, v));
}

struct Adam : Rule {
  static constexpr int kStates = 2;
  static constexpr bool kSecond = true, kSquares = true;

  explicit GATUN_INLINE Adam(const Constants& c) : Rule(c), beta2(set1(c.beta2)), root2(set1(c.root2)) {}

  GATUN_INLINE F32 update(F32, F32 gradient, F32 (&s)[kStates]) const {
    s[0] = fma(beta1, s[0], mul(rest1, gradient));
    s[1] = average_square(beta2, s[1], root2, gradient);
    return div(s[0], add(sqrt(s[1]), epsilon));
  }

  const F32 beta2, root2;
};

struct AdEmaMix : Adam {
  static constexpr int kStates = 3;

  explicit GATUN_INLINE AdEmaMix(const Constants& c)
      : Adam(c),
        beta3(set1(c.beta3)),
        rest3(set1(c.rest3)),
        alpha(set1(c.alpha)),
        first(set1(c.first)),
        second(set1(c.second)) {}

  GATUN_INLINE F32 update(F32, F32 gradient, F32 (&s)[kStates]) const {
    s[0] = fma(beta1, s[0], mul(rest1, gradient));
    s[1] = fma(beta3, s[1], mul(rest3, gradient));
    s[2] = average_square(beta2, s[2], root2, gradient);
    return div(fma(alpha, s[1], mul(s[0], first)), fma(sqrt(s[2]), second, epsilon));
  }

  const F32 beta3, rest3, alpha, first, second;
};

struct Momentum : Rule {
  static constexpr int kStates = 1;
  static constexpr bool kSecond = false, kSquares = false;

  explicit GATUN_INLINE Momentum(const Constants& c) : Rule(c), starts(c.starts) {}

  GATUN_INLINE F32 update(F32 p, F32 gradient, F32 (&s)[kStates]) const {
    const F32 g = fma(weight_decay, p, mul(gradient, scale));
    s[0] = starts ? g : fma(beta1, s[0], g);
    return s[0];
  }

  const bool starts;  // the old state may be anything
};

// RMSprop and Adagrad: the gradient over the root of its squares.
struct Scaled : Rule {
  static constexpr int kStates = 1;
  static constexpr bool kSecond = false, kSquares = true;

  explicit GATUN_INLINE Scaled(const Constants& c) : Rule(c), raw(c.raw_gradient) {}

  GATUN_INLINE F32 decayed(F32 p, F32 gradient) const { return fma(weight_decay, p, mul(gradient, scale)); }
  GATUN_INLINE F32 over_root(F32 gradient, F32 g, F32 v) const {
    return div(raw ? gradient : g, add(sqrt(v), epsilon));
  }

  const bool raw;
};

struct RmsProp : Scaled {
  explicit GATUN_INLINE RmsProp(const Constants& c) : Scaled(c), root1(set1(c.root1)) {}

  GATUN_INLINE F32 update(F32 p, F32 gradient, F32 (&s)[kStates]) const {
    const F32 g = decayed(p, gradient);
    s[0] = average_square(beta1, s[0], root1, g);
    return over_root(gradient, g, s[0]);
  }

  const F32 root1;
};

struct Adagrad : Scaled {
  using Scaled::Scaled;

  GATUN_INLINE F32 update(F32 p, F32 gradient, F32 (&s)[kStates]) const {
    const F32 g = decayed(p, gradient);
    s[0] = fma(g, g, s[0]);
    return over_root(gradient, g, s[0]);
  }
};

struct Lion : Rule {
  static constexpr int kStates = 1;
  static constexpr bool kSecond = false, kSquares = false;

  explicit GATUN_INLINE Lion(const Constants& c) : Rule(c), beta2(set1(c.beta2)), rest2(set1(c.rest2)) {}

  GATUN_INLINE F32 update(F32, F32 gradient, F32 (&s)[kStates]) const {
    const F32 way = fma(beta1, s[0], mul(rest1, gradient));
    s[0] = fma(beta2, s[0], mul(rest2, gradient));
    return select_less(zero_f32(), abs(way), copy_sign(set1(1), way), zero_f32());
  }

  // Decay comes before the step.
  GATUN_INLINE F32 move(F32 p, F32 d) const { return fma(back, d, mul(p, decay)); }

  const F32 beta2, rest2;
};

}  // namespace
}  // namespace gatun::GATUN_ISA
