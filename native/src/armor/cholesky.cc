#include "armor/cholesky.h"

#include <cmath>

namespace gatun::armor {
namespace {

// to -= factor * from
void subtract(double factor, const double* from, int64_t count, double* to) {
  for (int64_t i = 0; i < count; ++i) to[i] -= factor * from[i];
}

}  // namespace

// Column by column, each taken off the columns to the right: rows of L^T, in the upper half, are contiguous there.
bool factor(double* a, int64_t size, int64_t stride) {
  for (int64_t k = 0; k < size; ++k) {
    double* const row = a + k * stride;
    for (int64_t j = k; j < size; ++j) row[j] = a[j * stride + k];
    if (!(row[k] > 0) || !std::isfinite(row[k])) return false;
    const double pivot = std::sqrt(row[k]);
    for (int64_t j = k; j < size; ++j) row[j] /= pivot;
    for (int64_t i = k + 1; i < size; ++i) subtract(row[i], row + k + 1, i - k, a + i * stride + k + 1);
    for (int64_t i = k; i < size; ++i) a[i * stride + k] = row[i];
  }
  return true;
}

void solve(const double* l, int64_t size, int64_t stride, double* x, int64_t columns) {
  const auto divide = [&](int64_t i) {
    for (int64_t j = 0; j < columns; ++j) x[i * columns + j] /= l[i * stride + i];
  };
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t k = 0; k < i; ++k) subtract(l[i * stride + k], x + k * columns, columns, x + i * columns);
    divide(i);
  }
  for (int64_t i = size; i-- > 0;) {
    for (int64_t k = i + 1; k < size; ++k) subtract(l[k * stride + i], x + k * columns, columns, x + i * columns);
    divide(i);
  }
}

}  // namespace gatun::armor
