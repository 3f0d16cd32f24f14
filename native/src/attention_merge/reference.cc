#include "attention_merge/reference.h"

#include <algorithm>
#include <cmath>

namespace gatun::attention_merge {

double reference_row(const double* a, double a_lse, const double* b, double b_lse, int64_t size, double* out) {
  // The sums of exponentials that the lse stand for, over the larger one's.
  const double shift = std::max(a_lse, b_lse);
  const double a_sum = a_lse == -INFINITY ? 0 : std::exp(a_lse - shift);
  const double b_sum = b_lse == -INFINITY ? 0 : std::exp(b_lse - shift);
  const bool any = a_lse != -INFINITY || b_lse != -INFINITY;
  for (int64_t c = 0; c < size; ++c) {
    double sum = 0;
    if (a_lse != -INFINITY) sum += a_sum * a[c];
    if (b_lse != -INFINITY) sum += b_sum * b[c];
    out[c] = any ? sum / (a_sum + b_sum) : 0;
  }
  return any ? shift + std::log(a_sum + b_sum) : -INFINITY;
}

}  // namespace gatun::attention_merge
