#include "self_test/self_test.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "gemm/gemm.h"
#include "gemm/reference.h"

namespace gatun::gemm {
namespace {

// Uniform values; a and b in both orders, every element within the bound of tile.h.
bool agrees(const Kernel& kernel, int64_t rows, int64_t columns, int64_t depth, bool transposed) {
  SmallValues values;
  std::vector<float> a(static_cast<size_t>(rows * depth)), b(static_cast<size_t>(depth * columns));
  std::vector<float> c(static_cast<size_t>(rows * columns), 1);
  std::generate(a.begin(), a.end(), [&] { return values.next(); });
  std::generate(b.begin(), b.end(), [&] { return values.next(); });
  const Product product = {a.data(),
                           transposed ? 1 : depth,
                           transposed ? rows : 1,
                           b.data(),
                           transposed ? 1 : columns,
                           transposed ? depth : 1,
                           c.data(),
                           columns,
                           rows,
                           columns,
                           depth,
                           transposed};
  if (!run(kernel, product)) return false;
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      double magnitudes;
      const double expected = reference_element(product, i, j, transposed ? 1 : 0, &magnitudes);
      const double allowed = 0x1p-23 * (static_cast<double>(depth) + 8) * magnitudes;
      if (!(std::fabs(double{c[static_cast<size_t>(i * columns + j)]} - expected) <= allowed)) return false;
    }
  }
  return true;
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(table(), tier, [&](const KernelRow<Kernel>& row) {
    int cases = 0, wrong = 0;
    for (const int64_t depth : {int64_t{1}, int64_t{37}, int64_t{300}}) {
      for (const bool transposed : {false, true}) {
        ++cases;
        wrong += !agrees(*row.kernel, 8, 85, depth, transposed);
      }
    }
    report.add(row.name, cases, wrong);
  });
}

}  // namespace gatun::gemm
