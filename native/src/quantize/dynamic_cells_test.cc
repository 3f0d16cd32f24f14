#include "quantize/dynamic_cells.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "gatun/quantize.h"
#include "quantize/books.h"

namespace gatun::quantize {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// What a search by cells promises: codes that are certain, and doubt exactly where a threshold has the same place.
int32_t code_of(const DynamicCells& cells, float v) {
  const int32_t place = place_of(cells, v), cell = place >> 8, position = std::min(place & 255, 254);
  const int32_t code = cells.starts[cell] + (position > cells.within[0][cell]) + (position > cells.within[1][cell]);
  const bool doubt = position == cells.within[0][cell] || position == cells.within[1][cell];
  return code + (doubt && v > cells.thresholds[code]);
}

// What lies between codes, exactly: the middles of neighbouring values, and for codes 126 and 127 of the tree with a
// sign what is just below -2^-60, too close for f32.
std::vector<double> middles_of(bool is_signed) {
  const Book& book = built_in_book(is_signed ? GATUN_BOOK_DYNAMIC : GATUN_BOOK_DYNAMIC_UNSIGNED);
  std::vector<double> middles(255);
  for (size_t i = 0; i < 255; ++i) middles[i] = (double{book.values[i]} + double{book.values[i + 1]}) / 2;
  if (is_signed) middles[126] = -0x1p-60 - 0x1p-100;
  return middles;
}

int32_t middles_below(const std::vector<double>& middles, float v) {
  return static_cast<int32_t>(std::lower_bound(middles.begin(), middles.end(), double{v}) - middles.begin());
}

class DynamicCellsOf : public ::testing::TestWithParam<bool> {
 protected:
  const bool is_signed_ = GetParam();
  const DynamicCells& cells_ = dynamic_cells(is_signed_);
  const std::vector<double> middles_ = middles_of(is_signed_);
};

INSTANTIATE_TEST_SUITE_P(Trees, DynamicCellsOf, ::testing::Bool(),
                         [](const auto& tree) { return tree.param ? "Signed" : "Unsigned"; });

// The 40 values on either side of what lies between codes.
TEST_P(DynamicCellsOf, NextToThresholds) {
  int32_t last = -1;
  for (const double middle : middles_) {
    float v = static_cast<float>(middle);
    for (int n = 0; n < 40; ++n) v = std::nextafter(v, -kInfinity);
    for (int n = 0; n <= 80; ++n, v = std::nextafter(v, kInfinity)) {
      ASSERT_EQ(code_of(cells_, v), middles_below(middles_, v)) << v;
      ASSERT_GE(place_of(cells_, v), last) << v;
      last = place_of(cells_, v);
    }
  }
}

// From end to end in steps of 2^-22, a little beyond 1, too.
TEST_P(DynamicCellsOf, EvenValues) {
  int32_t code = 0, last = -1;
  for (int32_t i = is_signed_ ? -(1 << 22) - 1 : 0; i <= (1 << 22) + 1; ++i) {
    const float v = static_cast<float>(i) * 0x1p-22f;
    while (code < 255 && middles_[static_cast<size_t>(code)] < double{v}) ++code;
    const int32_t found = code_of(cells_, v), place = place_of(cells_, v);
    if (found != code || place < last) FAIL() << v << " has code " << found << ", not " << code;
    last = place;
  }
  EXPECT_EQ(code, 255);
}

TEST_P(DynamicCellsOf, SmallValues) {
  for (float v = 1; v > 1e-38f; v *= 0.97f) {
    ASSERT_EQ(code_of(cells_, v), middles_below(middles_, v)) << v;
    if (!is_signed_) continue;
    ASSERT_EQ(code_of(cells_, -v), middles_below(middles_, -v)) << -v;
  }
  EXPECT_EQ(code_of(cells_, 0), is_signed_ ? 127 : 0);
}

// Zeros are many, and no doubt is to slow them down.
TEST_P(DynamicCellsOf, ZeroIsCertain) {
  for (const float zero : {0.0f, -0.0f}) {
    if (std::signbit(zero) && !is_signed_) continue;
    const int32_t place = place_of(cells_, zero);
    EXPECT_NE(place & 255, cells_.within[0][place >> 8]);
    EXPECT_NE(place & 255, cells_.within[1][place >> 8]);
  }
}

}  // namespace
}  // namespace gatun::quantize
