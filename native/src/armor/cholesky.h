// Symmetric positive definite systems in double precision.
#pragma once

#include <cstdint>

namespace gatun::armor {

// Replaces the lower half of a [size][stride] by its factor L, a = L L^T. False if a pivot is not positive and finite.
bool factor(double* a, int64_t size, int64_t stride);

// x [size][columns] becomes the solution of L L^T x' = x.
void solve(const double* l, int64_t size, int64_t stride, double* x, int64_t columns);

}  // namespace gatun::armor
