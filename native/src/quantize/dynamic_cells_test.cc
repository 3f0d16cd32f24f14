#include "quantize/dynamic_cells.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

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

int32_t thresholds_below(const DynamicCells& cells, float v) {
  int32_t count = 0;
  for (int i = 0; i < 255; ++i) count += cells.thresholds[i] < v;
  return count;
}

TEST(DynamicCells, FindTheThresholdsBelow) {
  for (const bool is_signed : {true, false}) {
    const DynamicCells& cells = dynamic_cells(is_signed);
    int32_t last = -1;
    for (int i = 0; i < 255; ++i) {
      float v = cells.thresholds[i];
      for (int n = 0; n < 40; ++n) v = std::nextafter(v, -kInfinity);
      for (int n = 0; n < 80; ++n, v = std::nextafter(v, kInfinity)) {
        ASSERT_EQ(code_of(cells, v), thresholds_below(cells, v)) << v;
        ASSERT_GE(place_of(cells, v), last) << v;
        last = place_of(cells, v);
      }
    }
    for (float v = is_signed ? -1.0000002f : 0.0f; v <= 1.0000002f; v += 0x1p-18f) {
      ASSERT_EQ(code_of(cells, v), thresholds_below(cells, v)) << v;
    }
    for (float v = 1; v > 1e-38f; v *= 0.97f) {
      ASSERT_EQ(code_of(cells, v), thresholds_below(cells, v)) << v;
      if (!is_signed) continue;
      ASSERT_EQ(code_of(cells, -v), thresholds_below(cells, -v)) << -v;
    }
    EXPECT_EQ(code_of(cells, 0), is_signed ? 127 : 0);
  }
}

// Zeros are many, and no doubt is to slow them down.
TEST(DynamicCells, ZeroIsCertain) {
  for (const bool is_signed : {true, false}) {
    const DynamicCells& cells = dynamic_cells(is_signed);
    for (const float zero : {0.0f, -0.0f}) {
      if (std::signbit(zero) && !is_signed) continue;
      const int32_t place = place_of(cells, zero);
      EXPECT_NE(place & 255, cells.within[0][place >> 8]);
      EXPECT_NE(place & 255, cells.within[1][place >> 8]);
    }
  }
}

}  // namespace
}  // namespace gatun::quantize
