// What the entry points hand to kernels, and the table of kernels. Plain data, for the host and for devices.
//
// A matrix is cut into blocks, [group_rows x group] values with one scale each, and blocks into chunks: kChunk values
// of a row that lie side by side, which one thread has in registers. A team of threads does a unit of chunks:
//
//   blocks   a unit is a block: its team finds the extremes, makes the scale, and encodes what it has in registers;
//            or the scale is known
//   chunks   a unit is a chunk, where scales are known: of blocks too large for a team, and of groups that are no
//            multiple of chunks
//
//   row of a block  [ chunk 0 | chunk 1 | .. | chunk C - 1, shorter ]    threads t = 0 .. C - 1 of a team; those of the
//   next row        [ chunk C | ..                                  ]    next row follow; a team is 2^n lanes of a
//   warp,
//                                                                        or a whole thread block
//
// A unit that is a chunk may have values of two groups, no more, as a group has 16 values at least or is the whole row.
#pragma once

#include <cstdint>

namespace gatun::quantize {
struct Book;  // native/src/quantize/books.h
}

namespace gatun::cuda {
struct Grid;  // ptx/launch.h
}

namespace gatun::cuda::quantize {

inline constexpr int kChunk = 16;
// Of a thread block. Kernels keep to the registers with which a multiprocessor has one such block, or as many threads
// in smaller ones: 64 of them, which is half of the 2048 threads it could have.
inline constexpr int kMostThreads = 1024;
inline constexpr int kLargestBlocks = 1;
inline constexpr int kResidentThreads = kLargestBlocks * kMostThreads;
// Chunks of a part of a block that more than one thread block scans.
inline constexpr int kPartChunks = 4096;
inline constexpr int kScanThreads = 256;
// What teams of several warps exchange goes through this many bytes of shared memory; tables come after it.
inline constexpr int kExchangeBytes = 512;

// What a scale is made of, where 0 is one of the values unless it says otherwise.
enum class Make : int32_t {
  magnitude,  // max |x| / divisor
  extreme,    // the first value of largest magnitude / divisor
  twice,      // 2 max |x| / divisor
  sides,      // max(max / divisor, min / -(divisor + 1))
  range,      // (max - min) / divisor
  span,       // the same of the values alone
  power,      // a power of two of max |x|, per `rule`
  nested      // max |x| / divisor / tensor_scale, as F8E4M3
};

struct ScaleMaker {
  Make make;
  float divisor, inverse_divisor;
  int32_t rule;                // gatun_scale_rule of powers of two
  int32_t top, mantissa_bits;  // of codes that are floats: exponent of the largest power of two, bits of the mantissa
  float tensor_scale;
  float one;  // fl(1 / tensor_scale): codes come from x * fl(one / scale)
};

// What a place in memory has as a number: that of unit (slow, fast) is slow * .slow + fast * .fast and so on.
struct Stride {
  int64_t slow, fast;
  int64_t step;  // from a team's unit to its next one
  int64_t wrap;  // more of it, where that is in the next row
};

// How a grid's teams walk over units: team i does unit i, i + teams, .., which are columns of rows of units.
struct Walk {
  int64_t rows, columns;         // of units
  int64_t fast;                  // units that follow each other: `columns`, or `rows` if down_rows
  int64_t step_slow, step_fast;  // from a team's unit to its next one
  Stride x, codes, blocks;       // elements, bytes, numbers of blocks
  int64_t row_chunks;            // of a row of a block
  int32_t steps;                 // of the team that has most
  int32_t unit_rows;             // of the matrix: group_rows, or 1
  int32_t last_rows;             // the same of the last row of units
  int32_t unit_chunks;           // of a row of a unit
  int32_t width, last_width;  // values of a row of a unit, and of the last unit of a row; at most kMostThreads chunks
  int32_t team;               // threads
  bool whole_block;           // whether a team is a thread block
  bool down_rows;             // where the values of a column are close to each other
  bool chunks;                // whether units are chunks
};

struct Job {
  void* x;
  void* codes;
  void* scales;
  void* zero_points;
  const uint8_t* round_up;
  uint64_t* faults;  // [2], as gatun_cuda_faults; null to dequantize
  int64_t rows, depth, group, groups, group_rows;
  int64_t x_row_stride, x_column_stride;  // of elements
  int64_t code_row_bytes;
  uint64_t seed;
  Walk walk;
  ScaleMaker maker;
  int32_t scale_dtype;
  int32_t zero_point;   // gatun_zero_point
  int32_t rounding;     // gatun_rounding
  int32_t least, most;  // of steps, without a zero point: I8 -127 or -128 .. 127, U4 -8 .. 7, U2 -2 .. 1
  bool given;           // whether scales are the caller's
  bool make;            // whether scales are made, or known
  bool encode;          // whether codes are made
};

// A part of a block: its extremes, and the first value of largest magnitude.
struct Part {
  float low, high, extreme, unused;
};

struct Kernel {
  const char* name;
  int32_t x_dtype, code_dtype;
  bool book;
  int32_t table_bytes;  // of shared memory
  int32_t (*quantize)(const Job& job, const gatun::quantize::Book* book, const Grid& grid, void* stream);
  int32_t (*dequantize)(const Job& job, const gatun::quantize::Book* book, const Grid& grid, void* stream);
};

#define GATUN_CUDA_QUANTIZE(family, name, x, codes, code_dtype, is_book) extern const Kernel name;
#include "quantize/simt_kernels.inc"
#undef GATUN_CUDA_QUANTIZE

// The parts of all blocks, a thread block each, `parts_of_block` of a block; then the scales of blocks, a thread block
// each, from their parts. Teams are thread blocks of kScanThreads.
int32_t scan_parts(const Job& job, int32_t x_dtype, Part* parts, int64_t parts_of_block, const Grid& grid,
                   void* stream);
int32_t make_scales(const Job& job, const Part* parts, int64_t parts_of_block, const Grid& grid, void* stream);

}  // namespace gatun::cuda::quantize
