#include "self_test/self_test.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "norm/reference.h"
#include "norm/table.h"

namespace gatun::norm {
namespace {

constexpr int64_t kRows = 3;

// Rows of uniform values, |z| < 4, |weight| and |bias| < 1: the bound of tile.h, and half a unit of bf16 where it is y.
bool agrees(Tier tier, const gatun_norm_params& p) {
  SmallValues values;
  const size_t columns = static_cast<size_t>(p.columns), count = static_cast<size_t>(kRows) * columns;
  std::vector<float> x(count), y(count), weight(columns), bias(columns);
  std::vector<uint16_t> x_half(count), y_half(count);
  std::generate(weight.begin(), weight.end(), [&] { return values.next(); });
  std::generate(bias.begin(), bias.end(), [&] { return values.next(); });
  for (size_t i = 0; i < count; ++i) {
    x_half[i] = f32_to_bf16(values.next());
    x[i] = bf16_to_f32(x_half[i]);
  }
  const void* x_data = p.x_dtype == GATUN_F32 ? static_cast<const void*>(x.data()) : x_half.data();
  void* y_data = p.y_dtype == GATUN_F32 ? static_cast<void*>(y.data()) : y_half.data();
  if (run(tier, &p, x_data, weight.data(), bias.data(), y_data) != GATUN_OK) return false;
  const double bound = 0x1p-23 * (5 * (static_cast<double>(p.columns) / kLanesOfSums + 8) + 1);
  const double unit = p.y_dtype == GATUN_BF16 ? 0x1p-8 : 0x1p-23;
  for (size_t row = 0; row < static_cast<size_t>(kRows); ++row) {
    const std::vector<double> input(x.begin() + static_cast<int64_t>(row * columns),
                                    x.begin() + static_cast<int64_t>((row + 1) * columns));
    std::vector<double> expected(columns);
    reference_row(p, input.data(), weight.data(), bias.data(), nullptr, expected.data());
    for (size_t k = 0; k < columns; ++k) {
      const double result = p.y_dtype == GATUN_F32 ? y[row * columns + k] : bf16_to_f32(y_half[row * columns + k]);
      if (!(std::fabs(result - expected[k]) <= bound + unit * std::fabs(expected[k]))) return false;
    }
  }
  return true;
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(table(), tier, [&](const KernelRow<Kernel>& row) {
    int cases = 0, wrong = 0;
    for (const int32_t kind : {GATUN_NORM_LAYER, GATUN_NORM_RMS}) {
      for (const int64_t columns : {int64_t{7}, int64_t{97}, int64_t{384}}) {
        ++cases;
        wrong += !agrees(
            tier, {sizeof(gatun_norm_params), kind, row.from, row.to, 1, 1e-5f, kRows, columns, columns, columns});
      }
    }
    report.add(row.name, cases, wrong);
  });
}

}  // namespace gatun::norm
