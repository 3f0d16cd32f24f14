// Dense products in double precision: what kernels are compared with.
#pragma once

#include "gemm/kernel.h"

namespace gatun::gemm {

// Element [i][j] of the product, and in *magnitudes the sum of its terms' magnitudes; `start` is the first term.
double reference_element(const Product& product, int64_t i, int64_t j, double start, double* magnitudes);

}  // namespace gatun::gemm
