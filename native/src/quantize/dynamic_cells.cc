#include "quantize/dynamic_cells.h"

#include <algorithm>
#include <cmath>

#include "base/dtype.h"
#include "gatun/quantize.h"
#include "quantize/books.h"
#include "simd/float_mode.h"

namespace gatun::quantize {
namespace {

float curve(float v) {
  const uint32_t bits = float_bits(v);
  return float_from_bits((bits & 0x80000000u) | ((bits & 0x7fffffffu) / 4 + DynamicCells::kKink));
}

DynamicCells make(bool is_signed) {
  const Book& book = built_in_book(is_signed ? GATUN_BOOK_DYNAMIC : GATUN_BOOK_DYNAMIC_UNSIGNED);
  DynamicCells cells{};
  cells.is_signed = is_signed;
  // From the outermost places inwards, these are the first with two thresholds a cell.
  cells.slope = (is_signed ? 32568 : 65160) / curve(1);
  cells.offset = 0x1p23f + (is_signed ? 0x8000 : 0);
  std::copy(book.thresholds, book.thresholds + 256, cells.thresholds);
  if (is_signed) cells.thresholds[126] = std::nextafterf(-DynamicCells::kLeast, -1);  // what is not above it has a sign
  std::fill_n(&cells.within[0][0], sizeof(cells.within), uint8_t{255});
  int32_t found[256] = {};
  for (int i = 0; i < 255; ++i) {
    const int32_t place = place_of(cells, cells.thresholds[i]), cell = place >> 8;
    if (found[cell] < 2) {
      cells.within[found[cell]][cell] = std::min(static_cast<uint8_t>(place), DynamicCells::kLast);
    }
    ++found[cell];
  }
  for (int cell = 0, before = 0; cell < 256; before += found[cell++]) {
    cells.starts[cell] = static_cast<uint8_t>(before);
  }
  return cells;
}

}  // namespace

int32_t place_of(const DynamicCells& cells, float v) {
  return static_cast<int32_t>(float_bits(std::fma(curve(v), cells.slope, cells.offset)) & 0xffff);
}

const DynamicCells& dynamic_cells(bool is_signed) {
  const DefaultFloatMode mode;  // the first caller's mode must not make those of all
  static const DynamicCells tree = make(true), positive = make(false);
  return is_signed ? tree : positive;
}

}  // namespace gatun::quantize
