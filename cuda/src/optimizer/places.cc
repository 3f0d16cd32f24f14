#include "optimizer/places.h"

#include <algorithm>
#include <cmath>

#include "base/dtype.h"
#include "gatun/quantize.h"
#include "quantize/books.h"
#include "quantize/dynamic_cells.h"
#include "simd/float_mode.h"

namespace gatun::cuda::optimizer {
namespace {

using gatun::quantize::built_in_book;
using gatun::quantize::dynamic_cells;
using gatun::quantize::state4_book;

// Of four times v.
float curve(float v4) {
  const uint32_t bits = float_bits(v4);
  return float_from_bits((bits & 0x80000000u) | (bits & 0x7fffffffu) / 4);
}

// Of a book in ascending order with its thresholds.
template <int kBits>
BookTables<kBits> make_tables(const gatun::quantize::Book& book, const float* thresholds) {
  constexpr int kValues = BookTables<kBits>::kValues;
  BookTables<kBits> tables = {};
  std::copy_n(book.values, kValues, tables.values);
  for (int i = 0; i < kValues; ++i) tables.thresholds[i] = 4 * thresholds[i];
  // 1 has the place 255/256 of the way to the last one, with which no cell has two thresholds.
  constexpr float kPlaces = 1 << kPlaceBits;
  const float zero = book.values[0] < 0 ? kPlaces / 2 : 0;
  tables.slope = (kPlaces - zero) * (255.0f / 256) / curve(4);
  tables.offset = kPlaces + zero;
  uint32_t start = 0;
  for (uint32_t cell = 0; cell < kCells; ++cell) {
    const float sum =
        std::fma(curve(tables.thresholds[start]), tables.slope, tables.offset);  // infinite after the last one
    const uint32_t place = float_bits(sum) & ((1u << kPlaceBits) - 1);
    const bool here = start < kValues - 1 && place >> kCellShift == cell;
    const uint32_t rest = here ? (1u << 16) - 4 * (place & ((1u << kCellShift) - 1)) : 2;
    tables.entries[cell] = ((start - cell) << 16) + rest;
    start += here ? 1 : 0;
  }
  return tables;
}

}  // namespace

template <>
const BookTables<8>& book_tables<8>(bool is_signed) {
  const auto make = [](bool has_sign) {
    return make_tables<8>(built_in_book(has_sign ? GATUN_BOOK_DYNAMIC : GATUN_BOOK_DYNAMIC_UNSIGNED),
                          dynamic_cells(has_sign).thresholds);
  };
  const DefaultFloatMode mode;  // the first caller's mode must not make the tables of all
  static const BookTables<8> tree = make(true), positive = make(false);
  return is_signed ? tree : positive;
}

template <>
const BookTables<4>& book_tables<4>(bool is_signed) {
  const auto make = [](bool has_sign) {
    return make_tables<4>(state4_book(has_sign), state4_book(has_sign).thresholds);
  };
  const DefaultFloatMode mode;
  static const BookTables<4> tree = make(true), linear = make(false);
  return is_signed ? tree : linear;
}

}  // namespace gatun::cuda::optimizer
