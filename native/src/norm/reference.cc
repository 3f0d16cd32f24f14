#include "norm/reference.h"

#include <cmath>
#include <limits>

namespace gatun::norm {

void reference_row(const gatun_norm_params& params, const double* x, const float* weight, const float* bias,
                   double* normalized, double* y) {
  const double columns = static_cast<double>(params.columns);
  double sum = 0, squares = 0;
  bool finite = true;
  for (int64_t k = 0; k < params.columns; ++k) {
    sum += x[k];
    finite = finite && std::isfinite(x[k]);
  }
  const double mean = params.kind == GATUN_NORM_LAYER ? sum / columns : 0;
  for (int64_t k = 0; k < params.columns; ++k) squares += (x[k] - mean) * (x[k] - mean);
  const double root = std::sqrt(squares / columns + static_cast<double>(params.epsilon));
  for (int64_t k = 0; k < params.columns; ++k) {
    const double z = finite ? (x[k] - mean) / root : std::numeric_limits<double>::quiet_NaN();
    if (normalized != nullptr) normalized[k] = z;
    y[k] = z * (weight != nullptr ? double{weight[k]} : 1.0) + (bias != nullptr ? double{bias[k]} : 0.0);
  }
}

}  // namespace gatun::norm
