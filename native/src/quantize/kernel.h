// What the entry hands to a kernel, and the table of kernels. Plain data only: ISA units include this file.
#pragma once

#include <cstdint>

#include "base/cpu.h"

namespace gatun::quantize {

// Blocks whose scales are made side by side; as many rows if columns are strided, since the elements of one column
// share cache lines.
inline constexpr int64_t kBatch = 32;

struct Book;  // books.h: a code book's values, and what kernels make of them

// A matrix, and how it is cut. The unit of work is a piece of a group of `unit_rows` rows (fewer at the matrix's end);
// units count along the pieces of a row, then down the rows: unit = ((row / unit_rows) * groups + group) * pieces +
// piece. Blocks whose scales are still to be made have one piece.
struct Job {
  void* x;  // quantize reads x and writes the rest, dequantize the other way round
  void* codes;
  void* scales;             // [ceil(rows / group_rows), groups] of scale_dtype; input if `fixed`
  void* zero_points;        // u8 or f32 like the scales, null without
  const Book* book;         // null without
  const uint8_t* round_up;  // [rows, depth] with GATUN_ROUND_GIVEN, otherwise null
  int64_t rows;
  int64_t depth;
  int64_t group;
  int64_t groups;  // of a row
  int64_t piece;   // elements, a multiple of 64 if there are several
  int64_t pieces;  // of a group
  int64_t x_row_stride;
  int64_t x_column_stride;
  int64_t group_rows;  // rows that share a scale
  int64_t unit_rows;   // group_rows; or 1, or kBatch if x_column_stride > 1
  uint64_t seed;
  float tensor_scale;
  int32_t x_dtype;
  int32_t zero_point;  // gatun_zero_point
  int32_t scale_dtype;
  int32_t scale_rule;  // gatun_scale_rule, never GATUN_SCALE_DEFAULT with E8M0 scales (that is GATUN_SCALE_FLOOR)
  int32_t rounding;    // gatun_rounding
  bool fixed;          // whether quantize finds scales and zero points made
  bool scanned;        // whether x is known to be finite
  bool stream;         // whether the output is so large that it had better bypass the caches
};

// The smallest and the largest value, as scan.h orders them.
struct Range {
  int32_t low, high;
};

struct Kernel {
  // Quantizes units [begin, end). False if a value is not finite or a scale is not (overflow, or a bad given one): the
  // rest of the outputs is unspecified then, and the entry looks for the first culprit. Groups that share bytes with
  // their neighbours come together: one call does all units of such a row.
  bool (*quantize)(const Job& job, int64_t begin, int64_t end);
  // Dequantizes units [begin, end).
  void (*dequantize)(const Job& job, int64_t begin, int64_t end);
  // For blocks that are too large for one call: the range of units [begin, end) of one block, and the block's scale,
  // made of the range of all of them; false as above.
  Range (*scan)(const Job& job, int64_t begin, int64_t end);
  bool (*make_scale)(const Job& job, int64_t row, int64_t group, Range range);
};

// How a code stands for a value: a column of kernels.inc.
enum Coding : int32_t {
  kNumber,  // the code is an integer or a small float
  kBook     // the code is an index of a code book
};

#define GATUN_QUANTIZE_KERNEL(name, isa, codes, coding) \
  }                                                     \
  namespace gatun::isa {                                \
  extern const quantize::Kernel name;                   \
  }                                                     \
  namespace gatun::quantize {
#include "quantize/kernels.inc"
#undef GATUN_QUANTIZE_KERNEL

}  // namespace gatun::quantize
