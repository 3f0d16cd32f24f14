#include "qmatmul/reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/dtype.h"
#include "qmatmul/layout.h"

namespace gatun::qmatmul {
double reference_element(const void* values, int32_t dtype, int64_t index) {
  switch (dtype) {
    case GATUN_F32:
      return double{static_cast<const float*>(values)[index]};
    case GATUN_BF16:
      return double{bf16_to_f32(static_cast<const uint16_t*>(values)[index])};
    case GATUN_I8:
      return static_cast<double>(static_cast<const int8_t*>(values)[index]);
    case GATUN_F8E4M3:
      return double{small_to_f32<F8E4M3>(static_cast<const uint8_t*>(values)[index])};
    default:
      return double{small_to_f32<F8E5M2>(static_cast<const uint8_t*>(values)[index])};
  }
}

double reference_quantize(std::vector<double>& x, int64_t begin, int64_t end) {
  float amax = 0;
  for (int64_t k = begin; k < end; ++k) amax = std::fmax(amax, static_cast<float>(std::fabs(x[k])));
  const float scale = amax / 127.0f;
  const bool zero = scale < 0x1p-120f;
  for (int64_t k = begin; k < end; ++k) {
    x[k] = zero ? 0.0 : double{std::nearbyint(static_cast<float>(x[k]) * (1.0f / scale))};
  }
  return zero ? 0.0 : double{scale};
}

double reference_activate(double v, int32_t activation) {
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

namespace {

// A row of x as it is multiplied: x[k] = value[k] * scale[k / group], or NaN all over.
struct Row {
  std::vector<double> values;
  std::vector<double> scales;  // of the weights' groups
  bool finite = true;
};

Row read_row(const gatun_qmatmul_params& params, const void* x, const gatun_qmatmul_weights& d,
             const ReferenceScales& x_scales, int64_t m) {
  const int64_t groups = d.depth == 0 ? 0 : (d.depth + d.group - 1) / d.group;
  Row row{std::vector<double>(static_cast<size_t>(d.depth)), std::vector<double>(static_cast<size_t>(groups), 1.0)};
  for (int64_t k = 0; k < d.depth; ++k) {
    row.values[k] = reference_element(x, params.x_dtype, m * params.x_row_stride + k);
    row.finite = row.finite && std::isfinite(row.values[k]) && (params.x_dtype != GATUN_I8 || row.values[k] != -128);
  }
  for (int64_t g = 0; x_scales.at != nullptr && g < groups; ++g) {
    row.scales[g] = double{x_scales.at[m * x_scales.row_stride + (x_scales.group == d.depth ? 0 : g)]};
    row.finite = row.finite && std::isfinite(row.scales[g]);
  }
  if (!row.finite || params.mode == GATUN_QMATMUL_PRECISE || params.x_dtype == GATUN_I8) return row;
  if (params.mode == GATUN_QMATMUL_BF16) {
    for (double& value : row.values) {
      value = double{bf16_to_f32(f32_to_bf16(static_cast<float>(value)))};
      if (std::fabs(value) < 0x1p-126) value = 0;
      row.finite = row.finite && std::isfinite(value);
    }
    return row;
  }
  const bool by_row = params.mode == GATUN_QMATMUL_INT8_ROW;
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t begin = g * d.group, end = by_row ? d.depth : std::min(d.depth, begin + d.group);
    if (g == 0 || !by_row) row.scales[g] = reference_quantize(row.values, begin, end);
    if (by_row) row.scales[g] = row.scales[0];
  }
  return row;
}

}  // namespace

Reference reference(const gatun_qmatmul_params& params, const void* x, const ReferenceWeights& weights,
                    const float* bias, const void* residual, const ReferenceScales& x_scales) {
  const gatun_qmatmul_weights& d = weights.description;
  const int64_t columns = params.column_end - params.column_begin;
  Reference result;
  for (auto* plane : {&result.y, &result.activated, &result.magnitude, &result.fixed_point}) {
    plane->resize(static_cast<size_t>(params.rows * columns));
  }
  std::vector<Row> rows;
  for (int64_t m = 0; m < params.rows; ++m) rows.push_back(read_row(params, x, d, x_scales, m));
  std::vector<ReferenceTerm> w(static_cast<size_t>(d.depth));
  for (int64_t i = 0; i < columns; ++i) {
    const int64_t n = params.column_begin + i;
    for (int64_t k = 0; k < d.depth; ++k) w[k] = reference_weight(weights, params.mode, n, k);
    for (int64_t m = 0; m < params.rows; ++m) {
      const Row& row = rows[m];
      double sum = 0, magnitude = 0, fixed_point = 0;
      double largest = 0x1p-104, weight_magnitude = 0;  // of a piece
      for (int64_t k = 0; k < d.depth; ++k) {
        const double value = row.values[k] * row.scales[k / d.group];
        const double of_weight = std::fabs(w[k].product) + std::fabs(w[k].offset);
        sum += value * (w[k].product + w[k].offset);
        magnitude += std::fabs(value) * of_weight;
        if (params.mode == GATUN_QMATMUL_BF16) {
          const double of_scales =
              (std::fabs(w[k].product) + std::fabs(w[k].scale)) * std::fabs(row.scales[k / d.group]);
          fixed_point += 0x1p-126 * of_scales;
        }
        if (params.mode != GATUN_QMATMUL_PRECISE) continue;
        largest = std::fmax(largest, std::fabs(value));
        weight_magnitude += of_weight;
        const int64_t in_group = k % d.group + 1;
        if (k + 1 == d.depth || in_group == d.group || in_group % kPieceDepth == 0) {
          fixed_point += 1.01 * 0x1p-23 * largest * weight_magnitude;
          largest = 0x1p-104, weight_magnitude = 0;
        }
      }
      if (bias != nullptr) {
        sum += double{bias[n]};
        magnitude += std::fabs(double{bias[n]});
      }
      sum = row.finite ? reference_activate(sum, params.activation) : std::numeric_limits<double>::quiet_NaN();
      result.activated[m * columns + i] = sum;
      if (residual != nullptr) {
        const double r = reference_element(residual, params.y_dtype, m * params.residual_row_stride + n);
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
