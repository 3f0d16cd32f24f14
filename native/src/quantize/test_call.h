// A call of quantize or dequantize, for the tests: parameters, and planes beside inaccessible memory.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/check.h"
#include "base/dtype.h"
#include "gatun/quantize.h"
#include "guard_buffer.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::quantize {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

inline constexpr int32_t kFloats[] = {GATUN_F32, GATUN_F16, GATUN_BF16};

// Parameters of a contiguous matrix, the rest as 0 says.
inline gatun_quantize_params matrix_params(int64_t rows, int64_t depth, int64_t group, int32_t x_dtype) {
  gatun_quantize_params p{};
  p.struct_size = sizeof(p);
  p.x_dtype = x_dtype;
  p.threads = 1;
  p.tensor_scale = 1;
  p.rows = rows;
  p.depth = p.x_row_stride = depth;
  p.group = group;
  p.group_rows = p.x_column_stride = 1;
  return p;
}

inline std::string describe(const gatun_quantize_params& p) {
  return std::string(dtype_name(p.x_dtype)) + " to " + dtype_name(p.code_dtype) + ", book " + std::to_string(p.book) +
         ", zero point " + std::to_string(p.zero_point) + ", scales " + dtype_name(p.scale_dtype) + " of rule " +
         std::to_string(p.scale_rule) + ", rounding " + std::to_string(p.rounding) + ", " + std::to_string(p.rows) +
         " x " + std::to_string(p.depth) + ", blocks of " + std::to_string(p.group_rows) + " x " +
         std::to_string(p.group) + ", strides " + std::to_string(p.x_row_stride) + " and " +
         std::to_string(p.x_column_stride) + ", threads " + std::to_string(p.threads);
}

inline int64_t groups_of(const gatun_quantize_params& p) { return gatun::blocks_of(p.depth, p.group); }

// Blocks, each of which has a scale.
inline int64_t blocks_of(const gatun_quantize_params& p) {
  return gatun::blocks_of(p.rows, p.group_rows) * groups_of(p);
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
        scales(blocks_of(p) * dtype_bytes(p.scale_dtype, 1), edge, offset * dtype_bytes(p.scale_dtype, 1)),
        zero_points(blocks_of(p) * zero_bytes(p), edge, offset * zero_bytes(p)),
        zeros(p.zero_point != GATUN_ZERO_NONE ? zero_points.data() : nullptr) {}

  GuardBuffer<uint8_t> codes, scales, zero_points;
  uint8_t* zeros;  // null without
};

inline ::testing::AssertionResult same(const Quantized& a, const Quantized& b, const gatun_quantize_params& p) {
  if (auto result = test::identical(a.scales.copy(), b.scales.copy()); !result) return result << " (bytes of scales)";
  if (auto result = test::identical(a.zero_points.copy(), b.zero_points.copy(), groups_of(p) * zero_bytes(p));
      !result) {
    return result << " (bytes of zero points)";
  }
  return test::identical(a.codes.copy(), b.codes.copy(), dtype_bytes(p.code_dtype, p.depth)) << " (bytes of codes)";
}

}  // namespace gatun::quantize
