// Comparison of kernels with references: per element, never a mean; a failure names the worst element.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace gatun::test {

// The distance from |value| to the next larger number of a float dtype (F32, F16, BF16).
double unit_in_last_place(int32_t dtype, double value);

// The error that a sum of `depth` f32 products over `lanes` independent partial sums may have:
//   2^-23 * (depth / lanes + 8) * sum_k |a_k w_k| + one unit in the last place of the output dtype.
double accumulation_bound(int64_t depth, int64_t lanes, double sum_of_magnitudes, int32_t dtype, double reference);

// |y[i] - reference[i]| <= allowed[i] for every i; NaN is met by NaN only, an infinity by the same infinity only.
// Elements are named as [row, column] when `columns` is given.
::testing::AssertionResult within(const std::vector<double>& y, const std::vector<double>& reference,
                                  const std::vector<double>& allowed, int64_t columns = 0);

// Elements of a float dtype as doubles, exactly.
std::vector<double> to_doubles(const void* values, int32_t dtype, int64_t count);

// Elements of a float dtype from floats, rounded to nearest even, as bytes.
std::vector<unsigned char> from_floats(const std::vector<float>& values, int32_t dtype);

std::string element_name(int64_t index, int64_t columns);

// Bit for bit the same. For floats this tells NaNs and signed zeros apart.
template <class T>
::testing::AssertionResult identical(const T* actual, const T* expected, int64_t count, int64_t columns = 0) {
  int64_t first = -1, different = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (std::memcmp(actual + i, expected + i, sizeof(T)) != 0) {
      if (different++ == 0) first = i;
    }
  }
  if (different == 0) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << different << " of " << count << " elements differ; the first is "
                                       << element_name(first, columns) << ": " << +actual[first] << ", expected "
                                       << +expected[first];
}

template <class T>
::testing::AssertionResult identical(const std::vector<T>& actual, const std::vector<T>& expected,
                                     int64_t columns = 0) {
  if (actual.size() != expected.size()) {
    return ::testing::AssertionFailure() << actual.size() << " elements, expected " << expected.size();
  }
  return identical(actual.data(), expected.data(), static_cast<int64_t>(actual.size()), columns);
}

}  // namespace gatun::test
