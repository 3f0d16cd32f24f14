#include "nm_backward/reference.h"

#include <cmath>

#include "base/dtype.h"

namespace gatun::nm_backward {
namespace {

double value_at(const void* values, int32_t dtype, int64_t i) {
  if (values == nullptr) return 0;
  if (dtype == GATUN_F32) return double{static_cast<const float*>(values)[i]};
  const uint16_t half = static_cast<const uint16_t*>(values)[i];
  return double{dtype == GATUN_F16 ? f16_to_f32(half) : bf16_to_f32(half)};
}

}  // namespace

DenseWeights::DenseWeights(const gatun_nm_backward_params& p, const void* values, const uint8_t* indices)
    : kept(static_cast<size_t>(p.columns * p.depth)), place(kept.size()), value(kept.size()) {
  const int64_t bits = p.m == 32 ? 8 : p.m >= 8 ? 4 : 2;
  const int64_t row_kept = (p.depth + p.m - 1) / p.m * p.n, row_bits = (row_kept * bits + 7) / 8 * 8;
  for (int64_t n = 0; n < p.columns; ++n) {
    for (int64_t i = 0; i < row_kept; ++i) {
      int64_t position = 0;
      for (int64_t bit = 0; bit < bits; ++bit) {
        const int64_t at = n / p.vector * row_bits + i * bits + bit;
        position += int64_t{indices[at / 8] >> at % 8 & 1} << bit;
      }
      const int64_t k = i / p.n * p.m + position;
      if (k >= p.depth) continue;
      kept[static_cast<size_t>(n * p.depth + k)] = true;
      place[static_cast<size_t>(n * p.depth + k)] = i;
      value[static_cast<size_t>(n * p.depth + k)] = value_at(values, p.value_dtype, n * row_kept + i);
    }
  }
}

double reference_dx(const gatun_nm_backward_params& p, const DenseWeights& weights, const float* dy, int64_t t,
                    int64_t k, double* magnitudes) {
  double sum = *magnitudes = 0;
  for (int64_t n = 0; n < p.columns; ++n) {
    if (!weights.kept[static_cast<size_t>(n * p.depth + k)]) continue;
    const double term = double{dy[t * p.dy_row_stride + n]} * weights.value[static_cast<size_t>(n * p.depth + k)];
    sum += term;
    *magnitudes += std::fabs(term);
  }
  return sum;
}

double reference_dw(const gatun_nm_backward_params& p, const float* dy, const float* x, int64_t n, int64_t k,
                    double* magnitudes) {
  double sum = *magnitudes = 0;
  for (int64_t t = 0; t < p.rows; ++t) {
    const double term = double{dy[t * p.dy_row_stride + n]} * double{x[t * p.x_row_stride + k]};
    sum += term;
    *magnitudes += std::fabs(term);
  }
  return sum;
}

}  // namespace gatun::nm_backward
