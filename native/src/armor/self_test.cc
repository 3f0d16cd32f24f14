#include "self_test/self_test.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "armor/blocks.h"
#include "armor/reference.h"
#include "armor/table.h"

namespace gatun::armor {
namespace {

constexpr int64_t kRows = 5, kColumns = 37, kDepth = 50, kBlock = 16, kKept = 26;  // 2:4

std::vector<float> uniform(SmallValues* random, int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  std::generate(values.begin(), values.end(), [random] { return random->next(); });
  return values;
}

// A uniform product, within the bound of gatun/armor.h; y is RELU of it, plus bias before and residual after.
bool multiplies(Tier tier) {
  SmallValues random;
  const std::vector<float> x = uniform(&random, kRows * kDepth), values = uniform(&random, kColumns * kKept);
  const std::vector<float> left = uniform(&random, Blocks{kColumns, kBlock}.floats());
  const std::vector<float> right = uniform(&random, Blocks{kDepth, kBlock}.floats());
  const std::vector<float> bias = uniform(&random, kColumns), residual = uniform(&random, kRows * kColumns);
  std::vector<uint8_t> indices(static_cast<size_t>(kColumns * 7), 0x44);  // positions 0 and 1
  // Unused bits of a row are 0.
  for (size_t row = 1; row <= static_cast<size_t>(kColumns); ++row) indices[row * 7 - 1] = 0x04;
  gatun_nm_weights weights{};
  weights.struct_size = sizeof(weights);
  weights.n = 2;
  weights.m = 4;
  weights.vector = 1;
  weights.value_dtype = GATUN_F32;
  weights.columns = kColumns;
  weights.depth = kDepth;
  int64_t bytes;
  if (gatun_nm_packed_bytes(&weights, &bytes) != GATUN_OK) return false;
  std::vector<uint8_t> packed(static_cast<size_t>(bytes));
  if (gatun_nm_pack(&weights, values.data(), indices.data(), nullptr, nullptr, packed.data(), bytes) != GATUN_OK) {
    return false;
  }
  gatun_nm_matmul_params p{};
  p.struct_size = sizeof(p);
  p.x_dtype = p.y_dtype = GATUN_F32;
  p.mode = GATUN_NM_F32;
  p.activation = GATUN_ACTIVATION_RELU;
  p.threads = 1;
  p.rows = kRows;
  p.columns = p.column_end = p.y_row_stride = p.residual_row_stride = kColumns;
  p.depth = p.x_row_stride = kDepth;
  std::vector<float> y(residual.size());
  if (run_matmul(tier, &p, kBlock, x.data(), right.data(), packed.data(), bytes, left.data(), bias.data(),
                 residual.data(), y.data()) != GATUN_OK) {
    return false;
  }
  const std::vector<double> a = reference_diagonal(kColumns, kBlock, left.data());
  const std::vector<double> b = reference_diagonal(kDepth, kBlock, right.data());
  const std::vector<double> s = reference_core(kColumns, kDepth, 2, 4, values.data(), indices.data());
  const std::vector<double> w =
      reference_product(a, reference_product(s, b, kColumns, kDepth, kDepth), kColumns, kColumns, kDepth);
  const std::vector<double> magnitudes =
      reference_product(a, reference_product(s, b, kColumns, kDepth, kDepth, true), kColumns, kColumns, kDepth, true);
  for (size_t t = 0; t < static_cast<size_t>(kRows); ++t) {
    for (size_t n = 0; n < static_cast<size_t>(kColumns); ++n) {
      double sum = double{bias[n]}, terms = std::fabs(sum) + 1;
      for (size_t k = 0; k < static_cast<size_t>(kDepth); ++k) {
        sum += w[n * static_cast<size_t>(kDepth) + k] * double{x[t * static_cast<size_t>(kDepth) + k]};
        terms +=
            magnitudes[n * static_cast<size_t>(kDepth) + k] * std::fabs(double{x[t * static_cast<size_t>(kDepth) + k]});
      }
      const size_t at = t * static_cast<size_t>(kColumns) + n;
      const double expected = std::fmax(sum, 0) + double{residual[at]};
      if (!(std::fabs(double{y[at]} - expected) <= 0x1p-23 * (2 * kBlock + kKept + 24) * terms)) return false;
    }
  }
  return true;
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(table(), tier,
                    [&](const KernelRow<Kernel>& row) { report.add(row.name, 1, multiplies(tier) ? 0 : 1); });
}

}  // namespace gatun::armor
