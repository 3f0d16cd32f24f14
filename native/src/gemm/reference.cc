#include "gemm/reference.h"

#include <cmath>

namespace gatun::gemm {

double reference_element(const Product& p, int64_t i, int64_t j, double start, double* magnitudes) {
  double sum = start;
  *magnitudes = std::fabs(start);
  for (int64_t k = p.depth; k-- > 0;) {
    const double term = double{p.a[i * p.a_row_stride + k * p.a_depth_stride]} *
                        double{p.b[k * p.b_depth_stride + j * p.b_column_stride]};
    sum += term;
    *magnitudes += std::fabs(term);
  }
  return sum;
}

}  // namespace gatun::gemm
