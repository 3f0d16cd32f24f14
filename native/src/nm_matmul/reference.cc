#include "nm_matmul/reference.h"

#include <cmath>
#include <limits>

#include "base/dtype.h"
#include "gatun/quantize.h"
#include "qmatmul/reference.h"

namespace gatun::nm_matmul {
namespace {

int64_t groups_of(const gatun_nm_weights& d) { return d.depth / d.m + (d.depth % d.m != 0); }

// Bit by bit, the lowest first.
int index_at(const ReferenceWeights& weights, int64_t column, int64_t slot) {
  const gatun_nm_weights& d = weights.description;
  const int64_t bits = d.m <= 4 ? 2 : d.m <= 16 ? 4 : 8;
  const int64_t row_bytes = (groups_of(d) * d.n * bits + 7) / 8;
  const uint8_t* row = weights.indices + column / d.vector * row_bytes;
  int index = 0;
  for (int64_t b = 0; b < bits; ++b) {
    const int64_t bit = slot * bits + b;
    index |= (row[bit / 8] >> bit % 8 & 1) << b;
  }
  return index;
}

int code_at(const ReferenceWeights& weights, int64_t column, int64_t slot) {
  const gatun_nm_weights& d = weights.description;
  const int64_t kept = groups_of(d) * d.n;
  if (d.value_dtype == GATUN_I8) return static_cast<const int8_t*>(weights.values)[column * kept + slot];
  const uint8_t byte = static_cast<const uint8_t*>(weights.values)[column * ((kept + 1) / 2) + slot / 2];
  return slot % 2 == 0 ? byte & 15 : byte >> 4;
}

double float_at(const void* values, int32_t dtype, int64_t index) {
  if (dtype == GATUN_F16) return double{f16_to_f32(static_cast<const uint16_t*>(values)[index])};
  return qmatmul::reference_element(values, dtype, index);
}

struct Row {
  std::vector<double> values;  // as they are multiplied
  double scale = 1;
  bool finite = true;
};

Row read_row(const gatun_nm_matmul_params& params, const void* x, int64_t m) {
  Row row;
  for (int64_t k = 0; k < params.depth; ++k) {
    double value = qmatmul::reference_element(x, params.x_dtype, m * params.x_row_stride + k);
    row.finite = row.finite && std::isfinite(value);
    if (params.mode == GATUN_NM_BF16) value = double{bf16_to_f32(f32_to_bf16(static_cast<float>(value)))};
    row.values.push_back(value);
  }
  if (params.mode == GATUN_NM_INT8 && row.finite) {
    row.scale = qmatmul::reference_quantize(row.values, 0, params.depth);
  }
  return row;
}

}  // namespace

ReferenceWeight reference_weight(const ReferenceWeights& weights, int32_t mode, int64_t column, int64_t slot) {
  const gatun_nm_weights& d = weights.description;
  const int64_t kept = groups_of(d) * d.n, depth = slot / d.n * d.m + index_at(weights, column, slot);
  if (d.value_dtype != GATUN_I8 && d.value_dtype != GATUN_U4) {
    return {depth, float_at(weights.values, d.value_dtype, column * kept + slot)};
  }
  const int64_t group = std::min(depth, d.depth - 1) / d.group, groups = (d.depth + d.group - 1) / d.group;
  int zero = d.value_dtype == GATUN_U4 ? 8 : 0;
  if (d.zero_point == GATUN_ZERO_INTEGER) zero = weights.zero_points[column * groups + group];
  const double exact =
      (code_at(weights, column, slot) - zero) * float_at(weights.scales, d.scale_dtype, column * groups + group);
  return {depth, mode == GATUN_NM_F32 ? double{static_cast<float>(exact)} : exact};
}

std::vector<double> reference_matrix(const ReferenceWeights& weights, int32_t mode) {
  const gatun_nm_weights& d = weights.description;
  std::vector<double> matrix(static_cast<size_t>(d.columns * d.depth));
  for (int64_t column = 0; column < d.columns; ++column) {
    for (int64_t slot = 0; slot < groups_of(d) * d.n; ++slot) {
      const ReferenceWeight weight = reference_weight(weights, mode, column, slot);
      if (weight.depth < d.depth) matrix[static_cast<size_t>(column * d.depth + weight.depth)] = weight.value;
    }
  }
  return matrix;
}

Reference reference(const gatun_nm_matmul_params& params, const void* x, const ReferenceWeights& weights,
                    const float* bias, const void* residual, bool dense) {
  const gatun_nm_weights& d = weights.description;
  const int64_t columns = params.column_end - params.column_begin;
  const bool int8 = params.mode == GATUN_NM_INT8;
  Reference result;
  for (auto* plane : {&result.y, &result.activated, &result.magnitude, &result.small}) {
    plane->resize(static_cast<size_t>(params.rows * columns));
  }
  std::vector<Row> rows;
  for (int64_t m = 0; m < params.rows; ++m) rows.push_back(read_row(params, x, m));
  for (int64_t i = 0; i < columns; ++i) {
    const int64_t n = params.column_begin + i;
    std::vector<ReferenceWeight> kept;
    std::vector<bool> keeps(static_cast<size_t>(d.depth));
    for (int64_t slot = 0; slot < groups_of(d) * d.n; ++slot) {
      const ReferenceWeight weight = reference_weight(weights, params.mode, n, slot);
      if (weight.depth >= d.depth) continue;
      kept.push_back(weight);
      keeps[static_cast<size_t>(weight.depth)] = true;
    }
    for (int64_t k = 0; dense && !int8 && k < d.depth; ++k) {
      if (!keeps[static_cast<size_t>(k)]) kept.push_back({k, 0.0});
    }
    for (int64_t m = 0; m < params.rows; ++m) {
      const Row& row = rows[static_cast<size_t>(m)];
      double sum = 0, magnitude = 0, small = 0;
      for (const ReferenceWeight& weight : kept) {
        const double value = row.values[static_cast<size_t>(weight.depth)] * row.scale;
        sum += value * weight.value;
        magnitude += std::fabs(value * weight.value);
        small += params.mode == GATUN_NM_BF16 ? 0x1p-126 * (std::fabs(value) + std::fabs(weight.value) + 1) : 0x1p-149;
      }
      if (bias != nullptr) {
        sum += double{bias[n]};
        magnitude += std::fabs(double{bias[n]});
      }
      const bool spoiled = int8 && !row.finite;
      sum = spoiled ? std::numeric_limits<double>::quiet_NaN() : qmatmul::reference_activate(sum, params.activation);
      const size_t at = static_cast<size_t>(m * columns + i);
      result.activated[at] = sum;
      if (residual != nullptr) {
        const double r = qmatmul::reference_element(residual, params.y_dtype, m * params.residual_row_stride + n);
        sum += r;
        magnitude += std::fabs(r);
      }
      result.y[at] = sum;
      result.magnitude[at] = magnitude;
      result.small[at] = small;
    }
  }
  return result;
}

double reference_steps(const gatun_nm_weights& d, int32_t mode, bool dense) {
  if (mode != GATUN_NM_INT8) return static_cast<double>(groups_of(d) * (dense ? d.m : d.n));
  // Two roundings a piece: scales, and the sum.
  double pieces = 0;
  for (int64_t begin = 0; begin < d.depth; begin += d.group) {
    const int64_t depth = std::min(d.group, d.depth - begin);
    pieces += static_cast<double>((depth + 511) / 512);
  }
  return 2 * pieces;
}

}  // namespace gatun::nm_matmul
