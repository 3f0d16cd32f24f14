// Gradients in double precision, straight from the formulas on dense matrices: what kernels are compared with.
#pragma once

#include <cstdint>
#include <vector>

#include "gatun/nm_backward.h"

namespace gatun::nm_backward {

// What each weight of [columns, depth] is: whether it is kept, by which of the row's values, and that value.
struct DenseWeights {
  std::vector<bool> kept;
  std::vector<int64_t> place;
  std::vector<double> value;

  // `values` may be null: then all are 0.
  DenseWeights(const gatun_nm_backward_params& params, const void* values, const uint8_t* indices);
};

// An element, and in *magnitudes the sum of its terms' magnitudes.
double reference_dx(const gatun_nm_backward_params& params, const DenseWeights& weights, const float* dy, int64_t t,
                    int64_t k, double* magnitudes);
// Of a kept weight.
double reference_dw(const gatun_nm_backward_params& params, const float* dy, const float* x, int64_t n, int64_t k,
                    double* magnitudes);

}  // namespace gatun::nm_backward
