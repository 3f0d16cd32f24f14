#include "calibrate/reference.h"

#include <cmath>
#include <limits>
#include <vector>

#include "base/dtype.h"

namespace gatun::calibrate {
namespace {

float get(const void* x, int32_t dtype, int64_t i) {
  if (dtype == GATUN_F32) return static_cast<const float*>(x)[i];
  const uint16_t half = static_cast<const uint16_t*>(x)[i];
  return dtype == GATUN_F16 ? f16_to_f32(half) : bf16_to_f32(half);
}

void put(void* x, int32_t dtype, int64_t i, float value) {
  if (dtype == GATUN_F32) {
    static_cast<float*>(x)[i] = value;
  } else {
    static_cast<uint16_t*>(x)[i] = dtype == GATUN_F16 ? f32_to_f16(value) : f32_to_bf16(value);
  }
}

size_t block_of(int64_t depth, int64_t group_rows, int64_t group, int64_t row, int64_t k) {
  return static_cast<size_t>(row / group_rows * ((depth + group - 1) / group) + k / group);
}

template <class Visit>
void for_each(int64_t rows, int64_t depth, int64_t group_rows, int64_t group, Visit visit) {
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t k = 0; k < depth; ++k) visit(row, k, block_of(depth, group_rows, group, row, k));
  }
}

template <class Visit>
void for_each(const gatun_calibrate_params& p, Visit visit) {
  for_each(p.rows, p.depth, p.group_rows, p.group, visit);
}

size_t count_of(int64_t rows, int64_t depth, int64_t group_rows, int64_t group) {
  return rows == 0 || depth == 0 ? 0 : block_of(depth, group_rows, group, rows - 1, depth - 1) + 1;
}

}  // namespace

void reference_amax(const gatun_calibrate_params& p, const void* x, float* amax) {
  const size_t count = count_of(p.rows, p.depth, p.group_rows, p.group);
  for (size_t i = 0; i < count; ++i) amax[i] = 0;
  for_each(p, [&](int64_t row, int64_t k, size_t block) {
    const float value = std::fabs(get(x, p.x_dtype, row * p.x_row_stride + k));
    if (std::isnan(value) || std::isnan(amax[block])) {
      amax[block] = std::numeric_limits<float>::quiet_NaN();
    } else if (value > amax[block]) {
      amax[block] = value;
    }
  });
}

void reference_fake_quantize(const gatun_calibrate_params& p, const void* x, const float* scales, void* y) {
  for_each(p, [&](int64_t row, int64_t k, size_t block) {
    float code = std::nearbyint(get(x, p.x_dtype, row * p.x_row_stride + k) / scales[block]);
    if (code < static_cast<float>(p.lowest)) code = static_cast<float>(p.lowest);
    if (code > static_cast<float>(p.highest)) code = static_cast<float>(p.highest);
    put(y, p.x_dtype, row * p.y_row_stride + k, code * scales[block]);
  });
}

void reference_backward(const gatun_calibrate_params& p, const void* x, const float* scales, const void* dy, void* dx,
                        double* ds, double* magnitudes) {
  const size_t count = count_of(p.rows, p.depth, p.group_rows, p.group);
  std::vector<long double> sums(count), sizes(count);
  for_each(p, [&](int64_t row, int64_t k, size_t block) {
    const float v = get(x, p.x_dtype, row * p.x_row_stride + k) / scales[block];
    const float g = get(dy, p.x_dtype, row * p.x_row_stride + k);
    const float lowest = static_cast<float>(p.lowest), highest = static_cast<float>(p.highest);
    float factor = std::numeric_limits<float>::quiet_NaN(), gradient = 0;
    if (v > lowest && v < highest) {
      factor = std::nearbyint(v) - v;
      gradient = g;
    } else if (v <= lowest) {
      factor = lowest;
    } else if (v >= highest) {
      factor = highest;
    }
    put(dx, p.x_dtype, row * p.y_row_stride + k, gradient);
    const long double summand = static_cast<long double>(g) * static_cast<long double>(factor);
    sums[block] += summand;
    sizes[block] += std::fabs(summand);
  });
  for (size_t i = 0; i < count; ++i) {
    ds[i] = static_cast<double>(sums[i] * static_cast<long double>(p.gradient_scale));
    if (magnitudes != nullptr) {
      magnitudes[i] = static_cast<double>(sizes[i] * std::fabs(static_cast<long double>(p.gradient_scale)));
    }
  }
}

void reference_requantize(const gatun_quantize_params& p, int32_t bits, const void* codes, const void* scales,
                          const void* zero_points, void* out_codes, void* out_scales, void* out_zero_points) {
  const int most = (1 << bits) - 1, ratio = 1 << (8 - bits);
  const bool is_signed = p.code_dtype == GATUN_I8;
  const int lowest = is_signed ? -(most + 1) / 2 : 0, highest = lowest + most;
  const int64_t row_bytes = bits == 6 ? p.depth : dtype_bytes(bits == 4 ? GATUN_U4 : GATUN_U2, p.depth);
  for (int64_t i = 0; i < p.rows * row_bytes; ++i) static_cast<uint8_t*>(out_codes)[i] = 0;
  for_each(p.rows, p.depth, 1, p.group, [&](int64_t row, int64_t k, size_t block) {
    const int64_t b = static_cast<int64_t>(block);
    const double scale = double{get(scales, p.scale_dtype, b)}, step = scale * ratio;
    put(out_scales, p.scale_dtype, b, static_cast<float>(step));
    int zero = 0, out_zero = 0;
    if (p.zero_point == GATUN_ZERO_INTEGER) {
      zero = static_cast<const uint8_t*>(zero_points)[b];
      out_zero = static_cast<int>(std::fmin(std::nearbyint(zero / static_cast<double>(ratio)), most));
      static_cast<uint8_t*>(out_zero_points)[b] = static_cast<uint8_t>(out_zero);
    } else if (p.zero_point == GATUN_ZERO_FLOAT) {
      static_cast<float*>(out_zero_points)[b] = static_cast<const float*>(zero_points)[b];
    }
    const int64_t i = row * p.depth + k;
    const int stored =
        is_signed ? int{static_cast<const int8_t*>(codes)[i]} : int{static_cast<const uint8_t*>(codes)[i]};
    // A scale of 0 says nothing about distances; those of the codes count then.
    const double value = (stored - zero) * (scale == 0 ? 1 : scale), unit = scale == 0 ? ratio : step;
    int best = lowest;
    double least = std::numeric_limits<double>::infinity();
    for (int code = lowest; code <= highest; ++code) {
      const double distance = std::fabs((code - out_zero) * unit - value);
      if (distance < least || (distance == least && (code - out_zero) % 2 == 0)) {
        least = distance;
        best = code;
      }
    }
    uint8_t* const row_codes = static_cast<uint8_t*>(out_codes) + row * row_bytes;
    if (bits == 6) {
      row_codes[k] = static_cast<uint8_t>(best);
    } else {
      const int64_t each = 8 / bits;
      row_codes[k / each] = static_cast<uint8_t>(row_codes[k / each] | (best - lowest) << (k % each * bits));
    }
  });
}

void reference_error(const gatun_quantize_params& p, int64_t group_rows, int64_t group, const void* x,
                     const float* values, double* errors, double* squares) {
  const size_t count = count_of(p.rows, p.depth, group_rows, group);
  std::vector<long double> error(count), square(count);
  for_each(p.rows, p.depth, group_rows, group, [&](int64_t row, int64_t k, size_t block) {
    const long double value = static_cast<long double>(get(x, p.x_dtype, row * p.x_row_stride + k));
    const long double difference = value - static_cast<long double>(values[row * p.depth + k]);
    error[block] += difference * difference;
    square[block] += value * value;
  });
  for (size_t i = 0; i < count; ++i) {
    errors[i] = static_cast<double>(error[i]);
    squares[i] = static_cast<double>(square[i]);
  }
}

}  // namespace gatun::calibrate
