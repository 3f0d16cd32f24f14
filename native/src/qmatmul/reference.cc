#include "qmatmul/reference.h"

#include <cmath>
#include <limits>

#include "base/dtype.h"
#include "qmatmul/layout.h"

namespace gatun::qmatmul {
namespace {

double element(const void* values, int32_t dtype, int64_t index) {
  if (dtype == GATUN_F32) return static_cast<const float*>(values)[index];
  const uint16_t bits = static_cast<const uint16_t*>(values)[index];
  return dtype == GATUN_BF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
}

// The weight's integer (code minus zero point).
int64_t weight(const ReferenceWeights& w, int64_t n, int64_t k, int64_t group_index) {
  const gatun_qmatmul_weights& d = w.description;
  const uint8_t* bytes = static_cast<const uint8_t*>(w.codes);
  int64_t code;
  if (d.code_dtype == GATUN_U4) {
    const uint8_t pair = bytes[n * ((d.depth + 1) / 2) + k / 2];
    code = k % 2 == 0 ? pair % 16 : pair / 16;
  } else {
    const uint8_t byte = bytes[n * d.depth + k];
    code = d.code_dtype == GATUN_I8 ? static_cast<int8_t>(byte) : byte;
  }
  if (d.zero_point == GATUN_ZERO_INTEGER) return code - static_cast<const uint8_t*>(w.zero_points)[group_index];
  return d.code_dtype == GATUN_U4 ? code - 8 : code;
}

// Integer codes and scale of x[begin, end).
double quantize(const std::vector<float>& x, int64_t begin, int64_t end, std::vector<int64_t>& codes) {
  float amax = 0;
  for (int64_t k = begin; k < end; ++k) amax = std::fmax(amax, std::fabs(x[k]));
  const float scale = amax / 127.0f;
  const bool zero = scale < 0x1p-120f;
  for (int64_t k = begin; k < end; ++k) {
    const float product = zero ? 0.0f : x[k] * (1.0f / scale);
    codes[k] = static_cast<int64_t>(std::nearbyint(product));
  }
  return zero ? 0.0 : scale;
}

double activate(double v, int32_t activation) {
  // Their limits: 0 times infinity is not what the definitions mean.
  if (activation >= GATUN_ACTIVATION_GELU && v < -1000) return -0.0;
  if (activation >= GATUN_ACTIVATION_GELU && v > 1000) return v;
  switch (activation) {
    case GATUN_ACTIVATION_RELU:
      return v > 0 || std::isnan(v) ? v : 0;
    case GATUN_ACTIVATION_GELU:
      return v * 0.5 * std::erfc(-v / std::sqrt(2.0));
    case GATUN_ACTIVATION_GELU_TANH:
      return v * 0.5 * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (v + 0.044715 * v * v * v)));
    case GATUN_ACTIVATION_SILU:
      return v / (1 + std::exp(-v));
    default:
      return v;
  }
}

}  // namespace

Reference reference(const gatun_qmatmul_params& params, const void* x, const ReferenceWeights& weights,
                    const float* bias, const void* residual) {
  const gatun_qmatmul_weights& d = weights.description;
  const int64_t columns = params.column_end - params.column_begin;
  const int64_t groups = d.depth == 0 ? 0 : (d.depth + d.group - 1) / d.group;
  Reference result;
  result.y.resize(static_cast<size_t>(params.rows * columns));
  result.magnitude.resize(result.y.size());
  result.activated.resize(result.y.size());
  result.fixed_point.resize(result.y.size());
  for (int64_t m = 0; m < params.rows; ++m) {
    std::vector<float> row(static_cast<size_t>(d.depth));
    bool finite = true;
    for (int64_t k = 0; k < d.depth; ++k) {
      row[k] = static_cast<float>(element(x, params.x_dtype, m * params.x_row_stride + k));
      finite = finite && std::isfinite(row[k]);
    }
    std::vector<int64_t> codes(row.size());
    std::vector<double> group_scales(static_cast<size_t>(groups));
    if (finite && params.mode != GATUN_QMATMUL_PRECISE) {
      if (params.mode == GATUN_QMATMUL_INT8_ROW) {
        const double scale = quantize(row, 0, d.depth, codes);
        for (double& s : group_scales) s = scale;
      } else {
        for (int64_t g = 0; g < groups; ++g) {
          group_scales[g] = quantize(row, g * d.group, std::min(d.depth, (g + 1) * d.group), codes);
        }
      }
    }
    for (int64_t i = 0; i < columns; ++i) {
      const int64_t n = params.column_begin + i;
      double sum = 0, magnitude = 0, fixed_point = 0;
      for (int64_t g = 0; g < groups; ++g) {
        const double scale = element(weights.scales, d.scale_dtype, n * groups + g);
        int64_t integer = 0, integer_magnitude = 0;
        double largest = 0x1p-104, weight_magnitude = 0;  // of a piece
        const int64_t begin = g * d.group, end = std::min(d.depth, begin + d.group);
        for (int64_t k = begin; k < end; ++k) {
          const int64_t w = weight(weights, n, k, n * groups + g);
          integer += codes[k] * w;
          integer_magnitude += std::abs(codes[k] * w);
          if (params.mode == GATUN_QMATMUL_PRECISE) {
            const double term = row[k] * (static_cast<double>(w) * scale);
            sum += term;
            magnitude += std::fabs(term);
            largest = std::fmax(largest, std::fabs(row[k]));
            weight_magnitude += std::fabs(static_cast<double>(w) * scale);
            if (k + 1 == end || (k + 1 - begin) % kPieceDepth == 0) {
              fixed_point += 1.01 * 0x1p-23 * largest * weight_magnitude;
              largest = 0x1p-104, weight_magnitude = 0;
            }
          }
        }
        sum += static_cast<double>(integer) * group_scales[g] * scale;
        magnitude += std::fabs(static_cast<double>(integer_magnitude) * group_scales[g] * scale);
      }
      if (bias != nullptr) {
        sum += bias[n];
        magnitude += std::fabs(bias[n]);
      }
      sum = finite ? activate(sum, params.activation) : std::numeric_limits<double>::quiet_NaN();
      result.activated[m * columns + i] = sum;
      if (residual != nullptr) {
        const double r = element(residual, params.y_dtype, m * params.residual_row_stride + n);
        sum += r;
        magnitude += std::fabs(r);
      }
      result.y[m * columns + i] = sum;
      result.magnitude[m * columns + i] = magnitude;
      result.fixed_point[m * columns + i] = fixed_point;
    }
  }
  return result;
}

}  // namespace gatun::qmatmul
