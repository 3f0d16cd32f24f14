#include "tolerance.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

namespace gatun::test {
namespace {

struct FloatFormat {
  int mantissa_bits;
  int lowest_exponent;  // of normal numbers
};

FloatFormat float_format(int32_t dtype) {
  switch (dtype) {
    case GATUN_F16:
      return {10, -14};
    case GATUN_BF16:
      return {7, -126};
    default:
      return {23, -126};
  }
}

// How far `y` is from the reference in multiples of what is allowed; above 1 is an error.
double excess(double y, double reference, double allowed) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (std::isnan(y) || std::isnan(reference)) return std::isnan(y) && std::isnan(reference) ? 0 : kInfinity;
  if (std::isinf(y) || std::isinf(reference)) return y == reference ? 0 : kInfinity;
  const double error = std::fabs(y - reference);
  if (error == 0) return 0;
  const double ratio = error / allowed;
  return std::isnan(ratio) ? kInfinity : ratio;
}

}  // namespace

double unit_in_last_place(int32_t dtype, double value) {
  const FloatFormat format = float_format(dtype);
  int exponent = format.lowest_exponent;
  if (value != 0 && std::isfinite(value)) exponent = std::max(exponent, std::ilogb(value));
  return std::ldexp(1.0, exponent - format.mantissa_bits);
}

double accumulation_bound(int64_t depth, int64_t lanes, double sum_of_magnitudes, int32_t dtype, double reference) {
  const double rounds = static_cast<double>(depth) / static_cast<double>(lanes) + 8;
  return 0x1p-23 * rounds * sum_of_magnitudes + unit_in_last_place(dtype, reference);
}

::testing::AssertionResult within(const std::vector<double>& y, const std::vector<double>& reference,
                                  const std::vector<double>& allowed, int64_t columns) {
  if (y.size() != reference.size() || y.size() != allowed.size()) {
    return ::testing::AssertionFailure() << y.size() << " elements, " << reference.size() << " references, "
                                         << allowed.size() << " bounds";
  }
  size_t worst = 0, wrong = 0;
  double worst_excess = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    const double e = excess(y[i], reference[i], allowed[i]);
    if (!(e > 1)) continue;
    ++wrong;
    if (e > worst_excess) {
      worst_excess = e;
      worst = i;
    }
  }
  if (wrong == 0) return ::testing::AssertionSuccess();
  std::ostringstream text;
  text.precision(9);
  text << wrong << " of " << y.size() << " elements are wrong; the worst is "
       << element_name(static_cast<int64_t>(worst), columns) << ": " << y[worst] << ", reference " << reference[worst]
       << ", difference " << y[worst] - reference[worst] << ", allowed " << allowed[worst];
  return ::testing::AssertionFailure() << text.str();
}

std::vector<double> to_doubles(const void* values, int32_t dtype, int64_t count) {
  std::vector<double> result(static_cast<size_t>(count));
  const unsigned char* bytes = static_cast<const unsigned char*>(values);
  for (double& value : result) {
    if (dtype == GATUN_F32) {
      float single;
      std::memcpy(&single, bytes, sizeof(single));
      value = static_cast<double>(single);
    } else {
      uint16_t half;
      std::memcpy(&half, bytes, sizeof(half));
      value = static_cast<double>(dtype == GATUN_BF16 ? bf16_to_f32(half) : f16_to_f32(half));
    }
    bytes += dtype_bytes(dtype, 1);
  }
  return result;
}

std::vector<unsigned char> from_floats(const std::vector<float>& values, int32_t dtype) {
  std::vector<unsigned char> bytes(static_cast<size_t>(dtype_bytes(dtype, static_cast<int64_t>(values.size()))));
  unsigned char* at = bytes.data();
  for (const float value : values) {
    if (dtype == GATUN_F32) {
      std::memcpy(at, &value, sizeof(value));
    } else {
      const uint16_t half = dtype == GATUN_BF16 ? f32_to_bf16(value) : f32_to_f16(value);
      std::memcpy(at, &half, sizeof(half));
    }
    at += dtype_bytes(dtype, 1);
  }
  return bytes;
}

std::string element_name(int64_t index, int64_t columns) {
  std::ostringstream text;
  if (columns > 0) {
    text << "[" << index / columns << ", " << index % columns << "]";
  } else {
    text << "[" << index << "]";
  }
  return text.str();
}

}  // namespace gatun::test
