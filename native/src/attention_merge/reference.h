// Merging in double precision, from the formula: what kernels are compared with.
#pragma once

#include <cstdint>

namespace gatun::attention_merge {

// One row of `size` values; returns its lse.
double reference_row(const double* a, double a_lse, const double* b, double b_lse, int64_t size, double* out);

}  // namespace gatun::attention_merge
