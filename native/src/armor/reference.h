// ARMOR's formulas in double precision on dense matrices: what kernels and the fit are compared with.
#pragma once

#include <cstdint>
#include <vector>

namespace gatun::armor {

// A dense matrix [size, size] from blocks on its diagonal.
std::vector<double> reference_diagonal(int64_t size, int64_t block, const float* blocks);

// S [columns, depth] from its canonical form, f32.
std::vector<double> reference_core(int64_t columns, int64_t depth, int32_t n, int32_t m, const float* values,
                                   const uint8_t* indices);

// a b, a [rows, depth] and b [depth, columns]; with `magnitudes` of the elements' absolute values.
std::vector<double> reference_product(const std::vector<double>& a, const std::vector<double>& b, int64_t rows,
                                      int64_t depth, int64_t columns, bool magnitudes = false);

// sum_ij norms[j]^2 (w - A S B)_ij^2; norms may be null.
double reference_loss(int64_t columns, int64_t depth, const float* w, const float* norms,
                      const std::vector<double>& product);

}  // namespace gatun::armor
