// What the tests of linear codes share: schemes, calls, values.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "gatun/gatun.h"
#include "quantize/reference.h"
#include "quantize/table.h"
#include "quantize/test_call.h"
#include "shapes.h"

namespace gatun::quantize {

struct Scheme {
  int32_t code_dtype, zero_point, scale_rule = GATUN_SCALE_DEFAULT;
};
inline constexpr Scheme kSchemes[] = {
    {GATUN_I8, GATUN_ZERO_NONE},
    {GATUN_U8, GATUN_ZERO_INTEGER},
    {GATUN_U4, GATUN_ZERO_NONE},
    {GATUN_U4, GATUN_ZERO_INTEGER},
    {GATUN_U2, GATUN_ZERO_NONE},
    {GATUN_U2, GATUN_ZERO_INTEGER},
    {GATUN_U8, GATUN_ZERO_FLOAT},
    {GATUN_U4, GATUN_ZERO_FLOAT},
    {GATUN_U2, GATUN_ZERO_FLOAT},
    {GATUN_I8, GATUN_ZERO_NONE, GATUN_SCALE_FULL_RANGE},
    {GATUN_U4, GATUN_ZERO_NONE, GATUN_SCALE_FULL_RANGE},
    {GATUN_I8, GATUN_ZERO_NONE, GATUN_SCALE_NO_CLIPPING},
    {GATUN_U4, GATUN_ZERO_NONE, GATUN_SCALE_NO_CLIPPING},
    {GATUN_U2, GATUN_ZERO_NONE, GATUN_SCALE_NO_CLIPPING},
};
inline constexpr int32_t kScales[] = {GATUN_F32, GATUN_F16};

inline gatun_quantize_params make_params(Scheme scheme, int64_t rows, int64_t depth, int64_t group,
                                         int32_t x_dtype = GATUN_F32, int32_t scale_dtype = GATUN_F32) {
  gatun_quantize_params p = matrix_params(rows, depth, group, x_dtype);
  p.code_dtype = scheme.code_dtype;
  p.zero_point = scheme.zero_point;
  p.scale_dtype = scale_dtype;
  p.scale_rule = scheme.scale_rule;
  return p;
}

inline int32_t quantize(const gatun_quantize_params& p, const void* x, Quantized& q, const void* round_up = nullptr) {
  return gatun_quantize(&p, x, nullptr, round_up, q.codes.data(), q.scales.data(), q.zeros);
}
inline int32_t dequantize(const gatun_quantize_params& p, const Quantized& q, void* x) {
  return gatun_dequantize(&p, nullptr, q.codes.data(), q.scales.data(), q.zeros, x);
}
inline void reference(const gatun_quantize_params& p, const void* x, Quantized& q, const void* round_up = nullptr) {
  reference_quantize(p, x, nullptr, round_up, q.codes.data(), q.scales.data(), q.zeros);
}
inline void reference_back(const gatun_quantize_params& p, const Quantized& q, void* x) {
  reference_dequantize(p, nullptr, q.codes.data(), q.scales.data(), q.zeros, x);
}

// Values that make each step of the definition matter.
inline std::vector<float> values(Rng& rng, int64_t count, int64_t kind) {
  std::vector<float> x = rng.normals(count);
  for (float& value : x) {
    switch (kind) {
      case 0:
        break;
      case 1:
        value = static_cast<float>(rng.integer(-8, 8));
        break;  // ties, extremes of both signs
      case 2:
        value = std::fabs(value);
        break;  // no negative values
      case 3:
        value = 0;
        break;
      case 4:
        value *= std::ldexp(1.0f, static_cast<int>(rng.integer(-30, -10)));
        break;  // f16 scales underflow
      case 5:
        value = rng.integer(0, 3) == 0 ? value * 1000 : 0;
        break;
      default:
        value *= std::ldexp(1.0f, static_cast<int>(rng.integer(-149, -100)));
        break;  // scales below 2^-120
    }
  }
  return x;
}
inline constexpr int64_t kValueKinds = 7;

// Scales and zero points as somebody else made them: of both signs, too small, too large.
inline void give_scales(Rng& rng, const gatun_quantize_params& p, Quantized& q) {
  const int64_t blocks = p.rows * groups_of(p);
  std::vector<float> scales, offsets;
  for (int64_t i = 0; i < blocks; ++i) {
    scales.push_back(rng.integer(0, 3) == 0 ? rng.special_finite() : rng.uniform(-0.2f, 0.2f));
    if (p.scale_dtype == GATUN_F16) scales.back() = std::clamp(scales.back(), -65504.0f, 65504.0f);
    offsets.push_back(rng.integer(0, 3) == 0 ? rng.special_finite() : rng.normal());
  }
  const std::vector<unsigned char> bytes = test::from_floats(scales, p.scale_dtype);
  if (blocks > 0) std::memcpy(q.scales.data(), bytes.data(), bytes.size());
  if (p.zero_point == GATUN_ZERO_FLOAT && blocks > 0) std::memcpy(q.zeros, offsets.data(), offsets.size() * 4);
  if (p.zero_point == GATUN_ZERO_INTEGER) {
    for (int64_t i = 0; i < blocks; ++i) q.zeros[i] = static_cast<uint8_t>(rng.integer(0, i % 2 ? 15 : 255));
  }
}

inline std::vector<uint8_t> choices(Rng& rng, const gatun_quantize_params& p) {
  std::vector<uint8_t> up;
  if (p.rounding != GATUN_ROUND_GIVEN) return up;
  for (int64_t i = 0; i < p.rows * p.depth; ++i)
    up.push_back(static_cast<uint8_t>(rng.integer(0, 1) * rng.integer(1, 255)));
  return up;
}

}  // namespace gatun::quantize
