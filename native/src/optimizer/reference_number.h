// Numbers that the reference's rules are written for: f32, and doubles that know how far f32 may come from them.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

namespace gatun::optimizer {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr double kOverflow = 0x1.ffffffp127;  // what rounds to infinity in f32, from here on

// A double, and a bound of |f32 - it|.
struct Number {
  double value, error;

  bool known() const { return error < kInfinity; }
};

// What an f32 operation gives whose exact result is within `error` of `value`.
inline Number rounded(double value, double error) {
  if (!(error < kInfinity)) return {value, kInfinity};
  if (!std::isfinite(value)) return {value, 0};
  const double most = std::fabs(value) + error, least = std::fabs(value) - error;
  if (least >= kOverflow) return {std::copysign(kInfinity, value), 0};
  if (most >= kOverflow) return {value, kInfinity};
  if (error == 0 && value == static_cast<float>(value)) return {value, 0};
  if (most < 0x1p-150) return {0, value < 0 ? 0x1p-150 : 0};  // f32 has a zero below 0, too
  // Half a unit in the last place, at least that of subnormals; doubles round, too.
  return {value, error + most * 0x1p-50 + std::max(most * 0x1p-24, 0x1p-150)};
}

// The error of an operation on these, if they and the result are finite.
inline bool finite(const Number& a, const Number& b) { return std::isfinite(a.value) && std::isfinite(b.value); }
inline double unknown_or(const Number& a, const Number& b, double error) {
  if (!a.known() || !b.known()) return kInfinity;
  return finite(a, b) ? error : 0;
}
inline double product_error(const Number& a, const Number& b) {
  // Infinity times what may be 0, or of either sign.
  const auto unclear = [](const Number& x) { return x.error > 0 && std::fabs(x.value) <= x.error; };
  if ((std::isinf(a.value) && unclear(b)) || (std::isinf(b.value) && unclear(a))) return kInfinity;
  return unknown_or(a, b, std::fabs(a.value) * b.error + std::fabs(b.value) * a.error + a.error * b.error);
}

inline Number operator-(const Number& a) { return {-a.value, a.error}; }
inline Number operator+(const Number& a, const Number& b) {
  return rounded(a.value + b.value, unknown_or(a, b, a.error + b.error));
}
inline Number operator*(const Number& a, const Number& b) { return rounded(a.value * b.value, product_error(a, b)); }
inline Number operator/(const Number& a, const Number& b) {
  const double left = std::fabs(b.value) - b.error;
  if (b.error > 0 && left <= 0) return {a.value, kInfinity};
  const double value = a.value / b.value;
  if (b.value == 0) return rounded(value, a.error == 0 ? 0 : kInfinity);
  return rounded(value, unknown_or(a, b, (a.error + std::fabs(value) * b.error) / left));
}

inline Number fused(const Number& a, const Number& b, const Number& c) {
  const double product = product_error(a, b);
  const Number ab = {a.value * b.value, product};
  return rounded(ab.value + c.value, unknown_or(ab, c, product + c.error));
}
inline float fused(float a, float b, float c) { return std::fma(a, b, c); }

inline Number root(const Number& a) {
  if (!a.known() || (a.error > 0x1p-149 && a.value < a.error)) return {a.value, kInfinity};
  const double value = std::sqrt(a.value);
  if (!std::isfinite(value)) return {value, 0};
  const double least = std::sqrt(std::max(a.value - a.error, 0.0));
  return rounded(value, a.error == 0 ? 0 : std::max(value - least, std::sqrt(a.value + a.error) - value));
}
inline float root(float a) { return std::sqrt(a); }

inline Number sign_of(const Number& a) {
  if (a.error > 0 && std::fabs(a.value) <= a.error) return {0, 1};
  if (std::isnan(a.value)) return {a.value, 0};
  return {a.value == 0 ? 0 : std::copysign(1.0, a.value), 0};
}
inline float sign_of(float a) { return a == 0 || std::isnan(a) ? 0 : std::copysign(1.0f, a); }

}  // namespace gatun::optimizer
