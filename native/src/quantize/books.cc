#include "quantize/books.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "base/dtype.h"
#include "base/status.h"
#include "gatun/quantize.h"
#include "simd/float_mode.h"

namespace gatun::quantize {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

constexpr float kNf4[16] = {-1.0f,
                            -0.6961928009986877f,
                            -0.5250730514526367f,
                            -0.39491748809814453f,
                            -0.28444138169288635f,
                            -0.18477343022823334f,
                            -0.09105003625154495f,
                            0.0f,
                            0.07958029955625534f,
                            0.16093020141124725f,
                            0.24611230194568634f,
                            0.33791524171829224f,
                            0.44070982933044434f,
                            0.5626170039176941f,
                            0.7229568362236023f,
                            1.0f};
constexpr float kNf4Thresholds[15] = {
    -0.8480964004993439f,  -0.6106329262256622f,   -0.4599952697753906f, -0.33967943489551544f, -0.23460740596055984f,
    -0.13791173323988914f, -0.045525018125772476f, 0.03979014977812767f, 0.1202552504837513f,   0.2035212516784668f,
    0.2920137718319893f,   0.3893125355243683f,    0.5016634166240692f,  0.6427869200706482f,   0.8614784181118011f};

// FP4: twelve times the magnitude of codes 0..7, and what lies between the magnitudes in ascending order.
constexpr float kFp4[8] = {0, 0.0625f, 8, 12, 4, 6, 2, 3};
constexpr float kFp4Thresholds[7] = {0.00260417f, 0.0859375f, 0.20833333f, 0.29166667f,
                                     0.4166667f,  0.583333f,  0.8333333f};

// The dynamic tree of D decades (8 bits: 7): decade i = 0..D - 1, from 10^(i - D) to 10^(i + 1 - D), is cut into 2^i
// pieces, twice that without negative values, and the middles of the pieces are values; so are 0 and 1. In f32 as
// bitsandbytes makes them:
// the ends of the pieces of [0.1, 1] by one fma from the nearer end of the range, the middle rounded, then the power of
// ten.
void dynamic_values(int decades, bool is_signed, float* values) {
  constexpr float kPowers[7] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
  constexpr float kLow = 0.1f, kHigh = 1.0f;
  const int half = 1 << decades;
  float* out = values + (is_signed ? half : 1);
  for (int i = 0; i < decades; ++i) {
    const int pieces = is_signed ? 1 << i : 2 << i;
    const float step = (kHigh - kLow) / static_cast<float>(pieces);
    const auto end = [&](int k) {
      return k < (pieces + 1) / 2 ? std::fma(step, static_cast<float>(k), kLow)
                                  : std::fma(-step, static_cast<float>(pieces - k), kHigh);
    };
    for (int k = 0; k < pieces; ++k) *out++ = kPowers[7 - decades + i] * ((end(k) + end(k + 1)) / 2);
  }
  *out = kHigh;
  if (!is_signed) {
    values[0] = 0;
    return;
  }
  values[half - 1] = 0;
  for (int k = 0; k < half - 1; ++k) values[half - 2 - k] = -values[half + k];
}

// The greatest f32 that is not above the exact middle of a <= b. The sum of two floats in double may be off by half a
// unit in its last place, which matters only where the sum, halved, is an f32.
float middle(float a, float b) {
  const double x = a, y = b, sum = x + y, part = sum - x;
  const double error = (x - (sum - part)) + (y - part);
  const float rounded = static_cast<float>(sum / 2);
  const bool above = double{rounded} > sum / 2 || (double{rounded} == sum / 2 && error < 0);
  return above ? std::nextafterf(rounded, -kInfinity) : rounded;
}

float next_up(float x) { return std::nextafterf(x, kInfinity); }

// What of a line of cells depends on the power: the value 1 stays 1.
Cells cells_with(float power, const Book& book) {
  const float first = book.thresholds[0], last = book.thresholds[book.count - 2];
  Cells cells = {};
  const float beyond = next_up(std::max(std::fabs(first), std::fabs(last)));
  cells.most = static_cast<int32_t>(float_bits(std::min(beyond, 0x1p127f)));  // bits are rounded, not to infinity
  cells.power = power;
  cells.shift = (1 - power) * static_cast<float>(0x3f800000);
  return cells;
}

// y of Cells.
float curved(const Cells& cells, float v) {
  const int32_t magnitude = std::min(static_cast<int32_t>(float_bits(v) & 0x7fffffffu), cells.most);
  const float bits = std::nearbyint(std::fma(static_cast<float>(magnitude), cells.power, cells.shift));
  return float_from_bits(static_cast<uint32_t>(static_cast<int64_t>(bits)));
}

// Makes the cells of a power: magnitudes of thresholds from the least to the largest one spread over all of them.
// Returns the steps that a search takes.
int32_t make_cells(float power, Book* book) {
  Cells& cells = book->cells;
  cells = cells_with(power, *book);
  float low = kInfinity, high = 0;
  for (int32_t p = 0; p < book->count - 1; ++p) {
    low = std::min(low, curved(cells, book->thresholds[p]));
    high = std::max(high, curved(cells, book->thresholds[p]));
  }
  // Cells stay within 16 bits for all values, as vectors of cells are packed into bytes with saturation.
  const float most = curved(cells, float_from_bits(static_cast<uint32_t>(cells.most)));
  const float steepest = std::min(8192 / most, 0x1p100f);
  cells.slope = high > low ? std::min(255.0f / (high - low), steepest) : 0.0f;
  cells.offset = -low * cells.slope;
  // In ascending order: with a sign bit from the last cell to the first one, then the others.
  int32_t counts[512] = {};
  for (int32_t p = 0; p < book->count - 1; ++p) {
    const int32_t cell = cell_of(cells, book->thresholds[p]);
    ++counts[std::signbit(book->thresholds[p]) ? 255 - cell : 256 + cell];
  }
  int32_t steps = 0;
  while (*std::max_element(counts, counts + 512) >= 1 << steps) ++steps;
  int32_t first = 0;
  for (int32_t i = 0; i < 512; ++i) {
    // A search that starts at s ends in s..s + 2^steps - 1, which is below 256.
    const uint8_t start = static_cast<uint8_t>(std::min(first, 256 - (1 << steps)));
    (i < 256 ? book->starts[1][255 - i] : book->starts[0][i - 256]) = start;
    first += counts[i];
  }
  return steps;
}

// The same for 16 values. Cells cover -1..1, where values are that the scale is made of, so that these need no
// clamping.
int32_t make_even_cells(Book* book) {
  constexpr int32_t kCells = 32;
  Cells& cells = book->cells;
  const float low = std::min(book->ascending[0], -1.0f), high = std::max(book->ascending[15], 1.0f);
  cells.slope = (kCells - 1) / (high - low);  // 0 if that overflows
  cells.offset = -low * cells.slope;
  int32_t counts[kCells] = {};
  for (int32_t p = 0; p < 15; ++p) ++counts[even_cell_of(cells, book->thresholds[p])];
  int32_t steps = 0;
  while (*std::max_element(counts, counts + kCells) >= 1 << steps) ++steps;
  int32_t first = 0;
  for (int32_t i = 0; i < kCells; ++i) {
    book->starts_of_16[i] = float_from_bits(static_cast<uint32_t>(std::min(first, 16 - (1 << steps))));
    first += counts[i];
  }
  return steps;
}

// Fills a book whose values, by position, are in ascending order.
void make(const float* values, const float* thresholds, const uint8_t* codes, int32_t count, Book* book) {
  std::memset(book, 0, sizeof(*book));
  book->count = count;
  for (int32_t p = 0; p < count; ++p) {
    const int32_t code = codes == nullptr ? p : codes[p];
    book->values[code] = book->ascending[p] = values[p];
    if (count == 16) book->codes[p] = static_cast<uint8_t>(code);
  }
  for (int32_t p = 0; p < Book::kMost; ++p) {
    book->thresholds[p] = p >= count - 1          ? kInfinity
                          : thresholds != nullptr ? thresholds[p]
                                                  : middle(values[p], values[p + 1]);
    book->thresholds[p] += 0.0f;  // of two zeros the one without a sign, as -0 is not below it
  }
  if (count != Book::kMost) {
    book->steps = make_even_cells(book);
    return;
  }
  constexpr float kPowers[] = {1.0f, 0.5f, 0.35f};
  int32_t best = 9;
  float power = 0;
  for (const float candidate : kPowers) {
    if (const int32_t steps = make_cells(candidate, book); steps < best) {
      best = steps;
      power = candidate;
    }
  }
  book->steps = make_cells(power, book);
}

Book make_nf4() {
  Book book;
  make(kNf4, kNf4Thresholds, nullptr, 16, &book);
  return book;
}

Book make_fp4() {
  constexpr uint8_t kCodes[16] = {11, 10, 13, 12, 15, 14, 9, 8, 0, 1, 6, 7, 4, 5, 2, 3};  // by position
  float by_code[16], values[16], thresholds[15];
  book_values(GATUN_BOOK_FP4, by_code);
  for (int p = 0; p < 16; ++p) values[p] = by_code[kCodes[p]];
  // v is at the upper of two positions if v > t; for negative ones if -v <= t.
  for (int p = 0; p < 7; ++p) {
    thresholds[8 + p] = kFp4Thresholds[p];
    thresholds[6 - p] = std::nextafterf(-kFp4Thresholds[p], -kInfinity);
  }
  thresholds[7] = -std::numeric_limits<float>::denorm_min();  // 0 and -0 are at the upper one
  Book book;
  make(values, thresholds, kCodes, 16, &book);
  return book;
}

Book make_from_values(int32_t kind) {
  float values[Book::kMost];
  book_values(kind, values);
  Book book;
  make_book(values, book_count(kind), &book);
  return book;
}

Book make_state4(bool is_signed) {
  float values[16];
  if (is_signed) {
    dynamic_values(3, true, values);
  } else {
    for (int i = 0; i < 16; ++i) values[i] = static_cast<float>(i + 1) / 16;
  }
  Book book;
  make(values, nullptr, nullptr, 16, &book);
  return book;
}

}  // namespace

int32_t cell_of(const Cells& cells, float v) {
  const float cell = std::nearbyint(std::fma(curved(cells, v), cells.slope, cells.offset));
  return static_cast<int32_t>(std::clamp(cell, 0.0f, 255.0f));
}

int32_t even_cell_of(const Cells& cells, float v) {
  return static_cast<int32_t>(std::nearbyint(std::clamp(std::fma(v, cells.slope, cells.offset), 0.0f, 31.0f)));
}

int32_t book_count(int32_t book) {
  switch (book) {
    case GATUN_BOOK_NF4:
    case GATUN_BOOK_FP4:
      return 16;
    case GATUN_BOOK_DYNAMIC:
    case GATUN_BOOK_DYNAMIC_UNSIGNED:
    case GATUN_BOOK_LINEAR:
    case GATUN_BOOK_LINEAR_UNSIGNED:
      return 256;
    default:
      return 0;
  }
}

void book_values(int32_t book, float* values) {
  switch (book) {
    case GATUN_BOOK_NF4:
      std::copy(kNf4, kNf4 + 16, values);
      break;
    case GATUN_BOOK_FP4:
      for (int code = 0; code < 8; ++code) {
        values[code] = kFp4[code] / 12;
        values[8 + code] = -values[code];
      }
      break;
    case GATUN_BOOK_DYNAMIC:
    case GATUN_BOOK_DYNAMIC_UNSIGNED:
      dynamic_values(7, book == GATUN_BOOK_DYNAMIC, values);
      break;
    case GATUN_BOOK_LINEAR:
      for (int p = 0; p < 128; ++p) {
        values[p] = static_cast<float>(p - 127) / 127;
        values[255 - p] = static_cast<float>(127 - p) / 127;
      }
      break;
    case GATUN_BOOK_LINEAR_UNSIGNED:
      for (int p = 0; p < 256; ++p) values[p] = static_cast<float>(p) / 255;
      break;
    default:
      break;
  }
}

const Book& built_in_book(int32_t book) {
  const DefaultFloatMode mode;  // the first caller's mode must not make the books of all
  static const Book nf4 = make_nf4(), fp4 = make_fp4(), dynamic = make_from_values(GATUN_BOOK_DYNAMIC),
                    dynamic_unsigned = make_from_values(GATUN_BOOK_DYNAMIC_UNSIGNED),
                    linear = make_from_values(GATUN_BOOK_LINEAR),
                    linear_unsigned = make_from_values(GATUN_BOOK_LINEAR_UNSIGNED);
  switch (book) {
    case GATUN_BOOK_NF4:
      return nf4;
    case GATUN_BOOK_FP4:
      return fp4;
    case GATUN_BOOK_DYNAMIC:
      return dynamic;
    case GATUN_BOOK_DYNAMIC_UNSIGNED:
      return dynamic_unsigned;
    case GATUN_BOOK_LINEAR:
      return linear;
    default:
      return linear_unsigned;
  }
}

const Book& state4_book(bool is_signed) {
  const DefaultFloatMode mode;
  static const Book tree = make_state4(true), linear = make_state4(false);
  return is_signed ? tree : linear;
}

int32_t check_code_book(const float* values, int32_t count) {
  for (int32_t i = 0; i < count; ++i) {
    if (std::isfinite(values[i]) && (i == 0 || values[i] >= values[i - 1])) continue;
    return fail(GATUN_INVALID_ARGUMENT, "code_book[%d] = %g; allowed: finite values in ascending order", i,
                double{values[i]});
  }
  return GATUN_OK;
}

void make_book(const float* values, int32_t count, Book* book) { make(values, nullptr, nullptr, count, book); }

}  // namespace gatun::quantize

using namespace gatun;
using namespace gatun::quantize;

int32_t gatun_code_book(int32_t book, float* values) {
  if (book_count(book) == 0) {
    return fail(GATUN_INVALID_ARGUMENT, "book = %d; allowed: %d..%d (NF4 to LINEAR_UNSIGNED)", book, GATUN_BOOK_NF4,
                GATUN_BOOK_LINEAR_UNSIGNED);
  }
  GATUN_TRY(check_not_null(values, "values"));
  GATUN_TRY(check_aligned(values, sizeof(float), "values"));
  const DefaultFloatMode mode;
  book_values(book, values);
  return GATUN_OK;
}
