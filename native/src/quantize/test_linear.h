// What the tests of linear codes share: schemes, parameters, buffers beside inaccessible memory, values.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "base/dtype.h"
#include "gatun/gatun.h"
#include "gatun/quantize.h"
#include "guard_buffer.h"
#include "quantize/reference.h"
#include "quantize/table.h"
#include "rng.h"
#include "shapes.h"
#include "tolerance.h"

namespace gatun::quantize {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

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
inline constexpr int32_t kFloats[] = {GATUN_F32, GATUN_F16, GATUN_BF16};
inline constexpr int32_t kScales[] = {GATUN_F32, GATUN_F16};

inline gatun_quantize_params make_params(Scheme scheme, int64_t rows, int64_t depth, int64_t group,
                                         int32_t x_dtype = GATUN_F32, int32_t scale_dtype = GATUN_F32) {
  gatun_quantize_params p{};
  p.struct_size = sizeof(p);
  p.x_dtype = x_dtype;
  p.code_dtype = scheme.code_dtype;
  p.zero_point = scheme.zero_point;
  p.scale_dtype = scale_dtype;
  p.scale_rule = scheme.scale_rule;
  p.threads = 1;
  p.tensor_scale = 1;
  p.rows = rows;
  p.depth = p.x_row_stride = depth;
  p.group = group;
  p.group_rows = p.x_column_stride = 1;
  return p;
}

inline std::string describe(const gatun_quantize_params& p) {
  return std::string(dtype_name(p.x_dtype)) + " to " + dtype_name(p.code_dtype) + ", zero point " +
         std::to_string(p.zero_point) + ", scales " + dtype_name(p.scale_dtype) + " of rule " +
         std::to_string(p.scale_rule) + ", rounding " + std::to_string(p.rounding) + ", " + std::to_string(p.rows) +
         " x " + std::to_string(p.depth) + ", group " + std::to_string(p.group) + ", strides " +
         std::to_string(p.x_row_stride) + " and " + std::to_string(p.x_column_stride) + ", threads " +
         std::to_string(p.threads);
}

inline int64_t groups_of(const gatun_quantize_params& p) {
  return p.depth == 0 ? 0 : (p.depth + p.group - 1) / p.group;
}

// Elements from the first to past the last one of x.
inline int64_t x_extent(const gatun_quantize_params& p) {
  if (p.rows == 0 || p.depth == 0) return 0;
  return (p.rows - 1) * p.x_row_stride + (p.depth - 1) * p.x_column_stride + 1;
}

inline int64_t zero_bytes(const gatun_quantize_params& p) {
  return p.zero_point == GATUN_ZERO_NONE ? 0 : p.zero_point == GATUN_ZERO_FLOAT ? 4 : 1;
}

// Codes, scales and zero points beside inaccessible memory, as many as the parameters say.
struct Quantized {
  explicit Quantized(const gatun_quantize_params& p, Edge edge = Edge::back, int64_t offset = 0)
      : codes(p.rows * dtype_bytes(p.code_dtype, p.depth), edge, offset),
        scales(p.rows * groups_of(p) * dtype_bytes(p.scale_dtype, 1), edge, offset * dtype_bytes(p.scale_dtype, 1)),
        zero_points(p.rows * groups_of(p) * zero_bytes(p), edge, offset * zero_bytes(p)),
        zeros(p.zero_point != GATUN_ZERO_NONE ? zero_points.data() : nullptr) {}

  GuardBuffer<uint8_t> codes, scales, zero_points;
  uint8_t* zeros;  // null without
};

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

inline ::testing::AssertionResult same(const Quantized& a, const Quantized& b, const gatun_quantize_params& p) {
  if (auto result = test::identical(a.scales.copy(), b.scales.copy()); !result) return result << " (bytes of scales)";
  if (auto result = test::identical(a.zero_points.copy(), b.zero_points.copy(), groups_of(p) * zero_bytes(p));
      !result) {
    return result << " (bytes of zero points)";
  }
  return test::identical(a.codes.copy(), b.codes.copy(), dtype_bytes(p.code_dtype, p.depth)) << " (bytes of codes)";
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
