// Code books: their values, and the search for the nearest one.
//
// The values of a book in ascending order take positions 0, 1, ..; a position is the code but for FP4. What a value v
// rounds to is the number of thresholds below v: threshold p lies between positions p and p + 1. Between two values a
// and b it is (a + b) / 2 rounded down to f32, so that f32 numbers beyond the exact middle go up and the middle itself
// goes down. NF4 and FP4 have bitsandbytes' thresholds, which are such middles written as decimal numbers; FP4 rounds
// the middle of two magnitudes to the smaller one on both sides of 0, and negative numbers near 0 to its -0.
//
// To search 255 thresholds, kernels cut either side of 0 into 256 cells, numbered by a function of the magnitude (see
// Cells) of which every step is monotone, whatever its rounding: thresholds in cells before that of v are below v for
// certain (Book::starts counts them), and of those in the same cell, fewer than 2^steps, a binary search finds how many
// are. So the result is exact for any cells, and cells only have to make `steps` small: 1 for signed built-in books, 2
// for the others; a given one may need up to 8.
#pragma once

#include <cstdint>

namespace gatun::quantize {

// With m the bits of |v|, or `most` if that is less, as an integer:
//
//   y = as_f32(round_to_i32(fma(to_f32(m), power, shift))),   cell = round_to_i32(fma(y, slope, offset)), 0..255
//
// y is nearly |v|^power, as the bits of a float are nearly its logarithm. A dynamic tree has twice as many values in
// each decade as in the one below, so a power near log10(2) spreads them evenly; even values want 1.
struct Cells {
  int32_t most;  // the bits of a magnitude beyond all thresholds, or of 2^127
  float power, shift, slope, offset;
};

// Of 16 values, 15 thresholds: cells are even, y = v, 0..31, and a search takes 1 step for NF4 and 2 for FP4.
struct Book {
  static constexpr int kMost = 256;

  alignas(64) float values[kMost];      // by code
  alignas(64) float ascending[kMost];   // by position
  alignas(64) float thresholds[kMost];  // ascending; infinite from count - 1 on
  // 256 values: the position where the search in a cell starts, for values without and with a sign bit.
  alignas(64) uint8_t starts[2][kMost];
  alignas(64) float starts_of_16[32];  // the same for 16 values and both signs: the bits are the position
  alignas(16) uint8_t codes[16];       // 16 values: by position
  int32_t count;                       // 256 or 16
  int32_t steps;
  Cells cells;
};

// The number of values of a built-in book, 16 or 256; 0 if there is no such book.
int32_t book_count(int32_t book);

// The values of a built-in book, by code.
void book_values(int32_t book, float* values);

// A built-in book, made when first asked for.
const Book& built_in_book(int32_t book);

// The values of 4-bit optimizer state (gatun/optimizer.h): the dynamic tree of 3 decades, or multiples of 1/16.
const Book& state4_book(bool is_signed);

// INVALID_ARGUMENT, with a message, if a value is not finite or less than the one before it.
int32_t check_code_book(const float* values, int32_t count);

// A book of `count` given values, finite and in ascending order.
void make_book(const float* values, int32_t count, Book* book);

// As in Cells, of |v|.
int32_t cell_of(const Cells& cells, float v);
// The same of a book of 16 values.
int32_t even_cell_of(const Cells& cells, float v);

}  // namespace gatun::quantize
