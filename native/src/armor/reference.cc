#include "armor/reference.h"

#include <cmath>

namespace gatun::armor {

std::vector<double> reference_diagonal(int64_t size, int64_t block, const float* blocks) {
  std::vector<double> dense(static_cast<size_t>(size * size));
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t j = i / block * block; j < size && j / block == i / block; ++j) {
      const int64_t rows = size - i / block * block < block ? size % block : block;
      dense[static_cast<size_t>(i * size + j)] =
          double{blocks[i / block * block * block + i % block * rows + j % block]};
    }
  }
  return dense;
}

std::vector<double> reference_core(int64_t columns, int64_t depth, int32_t n, int32_t m, const float* values,
                                   const uint8_t* indices) {
  std::vector<double> dense(static_cast<size_t>(columns * depth));
  const int64_t kept = (depth + m - 1) / m * n,
                bits = m == 32  ? 8
                       : m >= 8 ? 4
                                : 2,
                row_bits = (kept * bits + 7) / 8 * 8;
  for (int64_t r = 0; r < columns; ++r) {
    for (int64_t i = 0; i < kept; ++i) {
      int64_t k = i / n * m;
      for (int64_t bit = 0; bit < bits; ++bit) {
        const int64_t at = r * row_bits + i * bits + bit;
        k += int64_t{indices[at / 8] >> at % 8 & 1} << bit;
      }
      if (k < depth) dense[static_cast<size_t>(r * depth + k)] = double{values[r * kept + i]};
    }
  }
  return dense;
}

std::vector<double> reference_product(const std::vector<double>& a, const std::vector<double>& b, int64_t rows,
                                      int64_t depth, int64_t columns, bool magnitudes) {
  std::vector<double> c(static_cast<size_t>(rows * columns));
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t k = 0; k < depth; ++k) {
      const double factor = a[static_cast<size_t>(i * depth + k)];
      if (factor == 0) continue;
      for (int64_t j = 0; j < columns; ++j) {
        const double term = factor * b[static_cast<size_t>(k * columns + j)];
        c[static_cast<size_t>(i * columns + j)] += magnitudes ? std::fabs(term) : term;
      }
    }
  }
  return c;
}

double reference_loss(int64_t columns, int64_t depth, const float* w, const float* norms,
                      const std::vector<double>& product) {
  double loss = 0;
  for (int64_t at = 0; at < columns * depth; ++at) {
    const double norm = norms != nullptr ? double{norms[at % depth]} : 1;
    const double error = norm * (double{w[at]} - product[static_cast<size_t>(at)]);
    loss += error * error;
  }
  return loss;
}

}  // namespace gatun::armor
