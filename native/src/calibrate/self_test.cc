#include "self_test/self_test.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/dtype.h"
#include "calibrate/reference.h"
#include "calibrate/table.h"

namespace gatun::calibrate {
namespace {

constexpr int64_t kRows = 3, kDepth = 77, kGroup = 25, kBlocks = 4;

// Rows of values in [-4, 4) as bytes of a dtype.
std::vector<uint16_t> make(SmallValues& values, int32_t dtype) {
  const int64_t bytes = dtype_bytes(dtype, kRows * kDepth);
  std::vector<uint16_t> memory(static_cast<size_t>(bytes / 2));
  for (int64_t i = 0; i < kRows * kDepth; ++i) {
    const float value = 4 * values.next();
    const size_t at = static_cast<size_t>(i);
    if (dtype == GATUN_F32) std::memcpy(&memory[2 * at], &value, sizeof(value));
    if (dtype == GATUN_F16) memory[at] = f32_to_f16(value);
    if (dtype == GATUN_BF16) memory[at] = f32_to_bf16(value);
  }
  return memory;
}

// amax, y and dx bit for bit; ds within the rounding of its sum.
bool agrees(Tier tier, int32_t dtype, int64_t group_rows) {
  SmallValues values;
  const gatun_calibrate_params p = {sizeof(p), dtype,  1,      -8,         7,      0.5f,
                                    kRows,     kDepth, kGroup, group_rows, kDepth, kDepth};
  const std::vector<uint16_t> x = make(values, dtype), dy = make(values, dtype);
  const size_t blocks = static_cast<size_t>((kRows + group_rows - 1) / group_rows * kBlocks);
  std::vector<float> scales(blocks, 0.3f), amax(blocks), right_amax(blocks), ds(blocks);
  std::vector<double> right_ds(blocks), magnitudes(blocks);
  std::vector<uint16_t> y(x.size()), right_y(x.size()), dx(x.size()), right_dx(x.size());
  reference_amax(p, x.data(), right_amax.data());
  reference_fake_quantize(p, x.data(), scales.data(), right_y.data());
  reference_backward(p, x.data(), scales.data(), dy.data(), right_dx.data(), right_ds.data(), magnitudes.data());
  if (run_amax(tier, &p, x.data(), amax.data()) != GATUN_OK || amax != right_amax) return false;
  if (run_fake(tier, &p, x.data(), scales.data(), y.data()) != GATUN_OK || y != right_y) return false;
  if (run_gradients(tier, &p, x.data(), scales.data(), dy.data(), dx.data(), ds.data()) != GATUN_OK) return false;
  for (size_t i = 0; i < blocks; ++i) {
    const double error = std::fabs(double{ds[i]} - right_ds[i]);
    if (!(error <= 0x1p-24 * std::fabs(right_ds[i]) + 0x1p-40 * magnitudes[i])) return false;
  }
  return dx == right_dx;
}

// The error of int8 codes of which the values are known.
bool agrees_on_errors(Tier tier, int32_t dtype) {
  SmallValues values;
  gatun_quantize_params p{};
  p.struct_size = sizeof(p);
  p.x_dtype = dtype;
  p.code_dtype = GATUN_I8;
  p.scale_dtype = GATUN_F32;
  p.threads = 1;
  p.tensor_scale = 1;
  p.rows = kRows;
  p.depth = p.group = p.x_row_stride = kDepth;
  p.group_rows = p.x_column_stride = 1;
  const std::vector<uint16_t> x = make(values, dtype);
  const std::vector<float> scales(kRows, 0.25f);
  std::vector<int8_t> codes(kRows * kDepth);
  std::vector<float> dequantized(codes.size());
  for (size_t i = 0; i < codes.size(); ++i) {
    codes[i] = static_cast<int8_t>(std::nearbyint(16 * values.next()));
    dequantized[i] = static_cast<float>(codes[i]) * 0.25f;
  }
  double errors[kRows], squares[kRows], right[kRows], right_squares[kRows];
  reference_error(p, 1, kDepth, x.data(), dequantized.data(), right, right_squares);
  if (run_error(tier, &p, 0, GATUN_ERROR_PER_BLOCK, x.data(), nullptr, codes.data(), scales.data(), nullptr, errors,
                squares) != GATUN_OK) {
    return false;
  }
  for (int64_t row = 0; row < kRows; ++row) {
    if (!(std::fabs(errors[row] - right[row]) <= 0x1p-40 * right[row] &&
          std::fabs(squares[row] - right_squares[row]) <= 0x1p-40 * right_squares[row])) {
      return false;
    }
  }
  return true;
}

bool agrees(Tier tier, int32_t dtype, int32_t bits, int32_t zero_point) {
  gatun_quantize_params p{};
  p.struct_size = sizeof(p);
  p.code_dtype = dtype;
  p.zero_point = zero_point;
  p.scale_dtype = GATUN_F32;
  p.threads = 1;
  p.rows = kRows;
  p.depth = kDepth;
  p.group = kGroup;
  p.group_rows = 1;
  constexpr size_t kCount = kRows * kDepth, kGroups = kRows * kBlocks;
  std::vector<uint8_t> codes(kCount), zeros(kGroups), out(kCount), right(kCount), out_zeros(kGroups),
      right_zeros(kGroups);
  for (size_t i = 0; i < kCount; ++i) codes[i] = static_cast<uint8_t>(i * 37);
  for (size_t i = 0; i < kGroups; ++i) zeros[i] = static_cast<uint8_t>(i * 23);
  std::vector<float> scales(kGroups, 0.3f), out_scales(kGroups), right_scales(kGroups);
  const bool with_zeros = zero_point != GATUN_ZERO_NONE;
  reference_requantize(p, bits, codes.data(), scales.data(), zeros.data(), right.data(), right_scales.data(),
                       right_zeros.data());
  return run_requantize(tier, &p, bits, codes.data(), scales.data(), with_zeros ? zeros.data() : nullptr, out.data(),
                        out_scales.data(), with_zeros ? out_zeros.data() : nullptr) == GATUN_OK &&
         out == right && out_scales == right_scales && out_zeros == right_zeros;
}

}  // namespace

void self_test(Tier tier, Report& report) {
  for_each_selected(table(), tier, [&](const KernelRow<Kernel>& row) {
    const int wrong = !agrees(tier, row.from, 1) + !agrees(tier, row.from, 2) + !agrees_on_errors(tier, row.from);
    report.add(row.name, 3, wrong);
  });
  for_each_selected(code_table(), tier, [&](const KernelRow<CodeKernel>& row) {
    int wrong = 0;
    for (const int32_t bits : {6, 4, 2}) {
      wrong += !agrees(tier, row.from, bits, row.from == GATUN_I8 ? GATUN_ZERO_NONE : GATUN_ZERO_INTEGER);
    }
    report.add(row.name, 3, wrong);
  });
}

}  // namespace gatun::calibrate
