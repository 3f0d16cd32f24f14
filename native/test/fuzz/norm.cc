// gatun_norm.
#include "gatun/norm.h"

#include <cmath>

#include "base/dtype.h"
#include "input.h"
#include "norm/reference.h"

namespace gatun::fuzz {
namespace {

bool documented_valid(const gatun_norm_params& p) {
  const auto is_float = [](int32_t dtype) { return dtype == GATUN_F32 || dtype == GATUN_BF16; };
  return p.struct_size == sizeof(p) && (p.kind == GATUN_NORM_LAYER || p.kind == GATUN_NORM_RMS) &&
         is_float(p.x_dtype) && is_float(p.y_dtype) && p.threads >= 0 && p.threads <= 1024 &&
         std::isfinite(p.epsilon) && p.epsilon >= 0 && p.rows >= 0 && p.columns >= 0 &&
         (p.rows < 2 || (p.x_row_stride >= p.columns && p.y_row_stride >= p.columns));
}

// Rows of moderate values against the reference; a row with NaN or infinity must be all NaN.
void check_rows(const gatun_norm_params& p, const std::vector<uint8_t>& x, const float* weight, const float* bias,
                const uint8_t* y, bool is_moderate) {
  std::vector<double> row(static_cast<size_t>(p.columns)), normalized(row.size()), expected(row.size());
  for (int64_t r = 0; r < p.rows; ++r) {
    bool finite = true;
    double largest = 0;
    for (int64_t k = 0; k < p.columns; ++k) {
      row[static_cast<size_t>(k)] = float_at(x.data(), p.x_dtype, r * p.x_row_stride + k);
      finite = finite && std::isfinite(row[static_cast<size_t>(k)]);
      largest = std::fmax(largest, std::fabs(row[static_cast<size_t>(k)]));
    }
    if (finite && !is_moderate) continue;
    norm::reference_row(p, row.data(), weight, bias, normalized.data(), expected.data());
    double mean = 0, squares = 0;
    for (const double v : row) mean += p.kind == GATUN_NORM_LAYER ? v / static_cast<double>(p.columns) : 0;
    for (const double v : row) squares += (v - mean) * (v - mean);
    const double deviation = std::sqrt(squares / static_cast<double>(p.columns) + double{p.epsilon});
    if (finite && !(deviation > 0x1p-8 * largest)) continue;  // cancellation leaves little to compare
    const double relative = 0x1p-23 * (static_cast<double>(p.columns) / 4 + 16) * (1 + largest / deviation);
    for (int64_t k = 0; k < p.columns; ++k) {
      const double actual = float_at(y, p.y_dtype, r * p.y_row_stride + k), wanted = expected[static_cast<size_t>(k)];
      if (std::isnan(wanted) && std::isnan(actual)) continue;
      const double w = weight != nullptr ? std::fabs(double{weight[k]}) : 1,
                   b = bias != nullptr ? std::fabs(double{bias[k]}) : 0;
      const double scale = (std::fabs(normalized[static_cast<size_t>(k)]) + largest / deviation) * w + b;
      const double rounding = p.y_dtype == GATUN_BF16 ? 0x1p-8 : 0x1p-23;
      const double allowed = relative * scale + rounding * std::fabs(wanted) + 0x1p-126;
      if (!(std::fabs(actual - wanted) <= allowed)) {
        defect("y[%lld][%lld] = %g, reference %g, allowed %g", static_cast<long long>(r), static_cast<long long>(k),
               actual, wanted, allowed);
      }
    }
  }
}

}  // namespace

void fuzz_norm(Input& input) {
  gatun_norm_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.kind = input.choice({GATUN_NORM_LAYER, GATUN_NORM_RMS});
  p.x_dtype = input.choice({GATUN_F32, GATUN_BF16});
  p.y_dtype = input.choice({GATUN_F32, GATUN_BF16});
  p.threads = input.choice({0, 1, 2, 3});
  test::Rng rng = input.rng();
  p.epsilon = input.rarely() ? rng.special() : input.range(0, 2) == 0 ? 0.0f : 1e-5f;
  p.rows = input.size();
  p.columns = input.size();
  p.x_row_stride = input.stride(p.columns);
  p.y_row_stride = input.stride(p.columns);

  const bool with_weight = input.range(0, 1) == 1, with_bias = input.range(0, 1) == 1;

  bool valid = documented_valid(p);
  int64_t sizes[] = {1, 1, 1};
  if (valid) {
    sizes[0] = extent(p.rows, p.columns, p.x_row_stride, 1, dtype_bytes(p.x_dtype, 1));
    sizes[1] = extent(p.rows, p.columns, p.y_row_stride, 1, dtype_bytes(p.y_dtype, 1));
    sizes[2] = extent(with_weight || with_bias, p.columns, 0, 1, 4);
    bool affordable = true;
    for (const int64_t size : sizes) {
      affordable = affordable && size != kUnaffordable;
      valid = valid && size != kImpossible;
    }
    if (valid && !affordable) return;
    if (!valid) sizes[0] = sizes[1] = sizes[2] = 1;
  }
  Buffer x(sizes[0]), y(sizes[1]), weight(sizes[2]), bias(sizes[2]);
  const Values kind = values(input);
  if (valid) {
    x.fill_floats(rng, p.x_dtype, kind);
    weight.fill_floats(rng, GATUN_F32, Values::normal);
    bias.fill_floats(rng, GATUN_F32, Values::normal);
  }
  const bool in_place = p.x_dtype == p.y_dtype && p.x_row_stride == p.y_row_stride && input.range(0, 3) == 0;
  if (!in_place) {
    for (Buffer* buffer : {&x, &y}) {
      buffer->spoil(input);
      if (buffer->bytes() > 0 && (buffer->is_null() || buffer->misaligned())) valid = false;
    }
  }
  Buffer& output = in_place ? x : y;
  const std::vector<uint8_t> x_before = x.copy(), before = output.copy();
  const float* weight_at = with_weight ? reinterpret_cast<const float*>(weight.data()) : nullptr;
  const float* bias_at = with_bias ? reinterpret_cast<const float*>(bias.data()) : nullptr;
  const int32_t status = gatun_norm(&p, x.data(), weight_at, bias_at, output.data());
  check_status(status, valid, "gatun_norm");
  if (status != GATUN_OK && output.copy() != before) defect("gatun_norm failed and wrote y");
  if (status == GATUN_OK && y.bytes() > 0) {
    check_rows(p, x_before, weight_at, bias_at, output.data(), moderate(kind));
  }
}

}  // namespace gatun::fuzz
