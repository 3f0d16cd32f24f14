#include "product.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/dtype.h"

namespace gatun::fuzz {
namespace {

// The bound of the op's tests: f32 sums of pieces or depths, a slope of at most 1.13 through activations and their own
// error, rounding to the output.
double allowed_error(const gatun_qmatmul_params& p, double steps, double magnitude, double slack, double y) {
  const double rounding = (p.y_dtype == GATUN_BF16 ? 0x1p-7 : 0x1p-23) * std::fabs(y);
  const double sum = 0x1p-23 * (steps + 8) * magnitude + slack + steps * 0x1p-149 + 0x1p-126;
  const double through = p.activation == GATUN_ACTIVATION_NONE ? sum : 1.13 * sum + 0x1p-19 * magnitude + 0x1p-40;
  return through + rounding;
}

bool among(std::initializer_list<int32_t> values, int32_t value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

}  // namespace

gatun_qmatmul_params product_from(Input& input, std::initializer_list<int32_t> x_dtypes,
                                  std::initializer_list<int32_t> modes, int64_t columns, int64_t depth) {
  gatun_qmatmul_params p{};
  p.struct_size = input.struct_size(sizeof(p));
  p.x_dtype = input.choice(x_dtypes);
  p.y_dtype = input.choice({GATUN_F32, GATUN_BF16});
  p.mode = input.choice(modes);
  p.activation = input.choice({GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_NONE, GATUN_ACTIVATION_RELU,
                               GATUN_ACTIVATION_GELU, GATUN_ACTIVATION_GELU_TANH, GATUN_ACTIVATION_SILU});
  p.threads = input.choice({0, 1, 2, 3});
  p.rows = input.size();
  p.columns = input.rarely() ? input.size() : columns;
  p.depth = input.rarely() ? input.size() : depth;
  p.x_row_stride = input.stride(depth);
  p.y_row_stride = input.stride(columns);
  p.residual_row_stride = input.stride(columns);
  p.column_begin = input.range(0, 1) ? 0 : input.rarely() ? input.size() : input.range(0, columns);
  p.column_end = input.range(0, 1) ? columns : input.rarely() ? input.size() : input.range(0, columns);
  return p;
}

bool documented_product(const gatun_qmatmul_params& p, std::initializer_list<int32_t> x_dtypes, int32_t first_mode,
                        int32_t last_mode, int64_t columns, int64_t depth, bool with_residual) {
  return p.struct_size == sizeof(p) && among(x_dtypes, p.x_dtype) && among({GATUN_F32, GATUN_BF16}, p.y_dtype) &&
         p.mode >= first_mode && p.mode <= last_mode && p.activation >= 0 && p.activation <= 4 && p.threads >= 0 &&
         p.threads <= 1024 && p.rows >= 0 && p.columns == columns && p.depth == depth && 0 <= p.column_begin &&
         p.column_begin <= p.column_end && p.column_end <= columns &&
         (p.rows < 2 || (p.x_row_stride >= depth && p.y_row_stride >= columns &&
                         (!with_residual || p.residual_row_stride >= columns)));
}

ProductData::ProductData(const gatun_qmatmul_params& p, bool bias_wanted, bool residual_wanted, bool* valid)
    : with_bias(bias_wanted), with_residual(residual_wanted) {
  int64_t sizes[] = {1, 1, 1, 1};  // x, y, bias, residual
  if (*valid) {
    const int64_t y_element = dtype_bytes(p.y_dtype, 1);
    sizes[0] = extent(p.rows, p.depth, p.x_row_stride, 1, dtype_bytes(p.x_dtype, 1));
    sizes[1] = extent(p.rows, p.columns, p.y_row_stride, 1, y_element);
    sizes[2] = extent(1, with_bias ? p.columns : 0, p.columns, 1, 4);
    sizes[3] = extent(p.rows, with_residual ? p.columns : 0, p.residual_row_stride, 1, y_element);
    for (const int64_t size : sizes) {
      affordable = affordable && size != kUnaffordable;
      *valid = *valid && size != kImpossible;
    }
    if (*valid && p.rows > 0 && (p.columns + 1) * (p.depth + 1) > kMaxWork / p.rows) affordable = false;
    if (*valid && !affordable) return;
    if (!*valid) std::fill(std::begin(sizes), std::end(sizes), 1);
  }
  x = Buffer(sizes[0]);
  y = Buffer(sizes[1]);
  bias = Buffer(sizes[2]);
  residual = Buffer(sizes[3]);
}

void ProductData::fill(const gatun_qmatmul_params& p, test::Rng& rng) {
  bias.fill_floats(rng, GATUN_F32, Values::normal);
  residual.fill_floats(rng, p.y_dtype, Values::normal);
  y.fill_floats(rng, p.y_dtype, Values::normal);
}

bool ProductData::spoil(Input& input, bool any_alignment) {
  bool valid = true;
  for (Buffer* buffer : {&x, &y}) {
    buffer->spoil(input);
    const bool misaligned = buffer->misaligned() && !(buffer == &x && any_alignment);
    if (buffer->bytes() > 0 && (buffer->is_null() || misaligned)) valid = false;
  }
  return valid;
}

void check_product(const char* call, const gatun_qmatmul_params& p, const Expected& reference,
                   const std::vector<uint8_t>& before, const std::vector<uint8_t>& after) {
  const int64_t columns = p.column_end - p.column_begin, bytes = dtype_bytes(p.y_dtype, 1);
  std::vector<uint8_t> expected = before;
  for (int64_t m = 0; m < p.rows; ++m) {
    for (int64_t n = p.column_begin; n < p.column_end; ++n) {
      const int64_t index = m * p.y_row_stride + n;
      const size_t at = static_cast<size_t>(m * columns + n - p.column_begin);
      const double actual = float_at(after.data(), p.y_dtype, index), wanted = reference.y[at];
      const double allowed = allowed_error(p, reference.steps, reference.magnitude[at], reference.slack[at], wanted);
      const bool infinite = std::isinf(wanted);
      if (std::isnan(wanted) ? !std::isnan(actual)
          : infinite         ? actual != wanted
                             : !(std::fabs(actual - wanted) <= allowed)) {
        defect("%s: y[%lld][%lld] = %g, reference %g, allowed %g", call, static_cast<long long>(m),
               static_cast<long long>(n), actual, wanted, allowed);
      }
      std::memcpy(&expected[static_cast<size_t>(index * bytes)], &after[static_cast<size_t>(index * bytes)],
                  static_cast<size_t>(bytes));
    }
  }
  if (expected != after) defect("%s wrote outside of its range", call);
}

void tamper(Input& input, std::vector<uint8_t>& packed) {
  const int64_t bytes = static_cast<int64_t>(packed.size());
  const auto change = [&](int64_t last) {
    for (int64_t i = input.range(1, 4); i > 0; --i) {
      packed[static_cast<size_t>(input.range(0, last))] = static_cast<uint8_t>(input.range(0, 255));
    }
  };
  switch (input.range(0, 2)) {
    case 0:
      return packed.resize(static_cast<size_t>(input.range(0, bytes)));
    case 1:
      return change(63);
    default:
      return change(bytes - 1);
  }
}

}  // namespace gatun::fuzz
