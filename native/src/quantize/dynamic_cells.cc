#include "quantize/dynamic_cells.h"

#include <algorithm>
#include <cmath>

#include "base/dtype.h"
#include "gatun/quantize.h"
#include "simd/float_mode.h"

namespace gatun::quantize {
namespace {

constexpr int32_t kMagnitude = 0x7fffffff;

// The curve: nearly |v|^power, times a constant.
float curve(const DynamicCells& cells, float v) {
  const float bits = static_cast<float>(static_cast<int32_t>(float_bits(v) & kMagnitude));
  const float y = std::nearbyint(std::fma(bits, cells.power, cells.shift));
  return float_from_bits(static_cast<uint32_t>(static_cast<int64_t>(y)));
}

DynamicCells make(bool is_signed) {
  DynamicCells cells{};
  cells.book = &built_in_book(is_signed ? GATUN_BOOK_DYNAMIC : GATUN_BOOK_DYNAMIC_UNSIGNED);
  cells.is_signed = is_signed;
  // Found by trying powers from 0.2 and kinks on; test: DynamicCells.
  constexpr float kOne = 127 << 23;  // the bits of 1
  cells.power = is_signed ? 0.2f : 0.2225f;
  cells.shift = (1 - cells.power) * kOne + (is_signed ? 0.2f : 0.22f) * (1 << 23);
  const float low = curve(cells, 0), high = curve(cells, 1);
  cells.slope = 65500 / (high - low);  // room for what rounding adds to 1
  cells.offset = 0x1p23f + 4 - low * cells.slope;
  std::fill_n(&cells.within[0][0], sizeof(cells.within), uint8_t{255});
  const int first = is_signed ? 127 : 0, count = 255 - first;  // thresholds above 0
  int32_t found[256] = {};
  for (int i = 0; i < count; ++i) {
    const int32_t place = place_of(cells, cells.book->thresholds[first + i]), cell = place >> 8;
    if (found[cell] < 2) cells.within[found[cell]][cell] = static_cast<uint8_t>(place);
    ++found[cell];
  }
  for (int cell = 0, before = 0; cell < 256; before += found[cell++]) {
    cells.starts[cell] = static_cast<uint8_t>(before);
  }
  return cells;
}

}  // namespace

int32_t place_of(const DynamicCells& cells, float v) {
  return static_cast<int32_t>(float_bits(std::fma(curve(cells, v), cells.slope, cells.offset)) & 0xffff);
}

const DynamicCells& dynamic_cells(bool is_signed) {
  const DefaultFloatMode mode;  // the first caller's mode must not make those of all
  static const DynamicCells tree = make(true), positive = make(false);
  return is_signed ? tree : positive;
}

}  // namespace gatun::quantize
