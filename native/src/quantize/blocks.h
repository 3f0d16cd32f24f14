// How kernels walk over a matrix: batches of blocks whose scales are computed side by side, and the stretches of values
// that lie side by side in a batch.
//
// Operands: x, codes, scales and zero points as the caller has them; nothing is packed. A batch is
//
//   x row      [ block 0        | block 1        | .. | last, shorter ]    up to kBatch blocks of a row, or of
//                                                                          group_rows rows, or
//   rows       [ block 0 ] [ block 1 ] ..                                  one group of up to kBatch rows, or
//   x row      [   piece   ]                                               a part of a block, if pieces > 1
//
// Kernels compute in f32: stretches of other types, or of strided columns, are converted or copied to a chunk on the
// stack first. Strided: 32 rows x 64 columns, walking down the rows, so that each cache line of a transposed matrix is
// used whole.
#pragma once

#include "quantize/kernel.h"
#include "simd/elements.h"

namespace gatun::GATUN_ISA {
namespace {

using quantize::Job;
using quantize::kBatch;

GATUN_INLINE int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

// Bytes of a row of codes of kBits bits: 8, 6, 4 or 2.
template <int kBits>
GATUN_INLINE int64_t code_bytes(int64_t codes) {
  return codes / 8 * kBits + (codes % 8 * kBits + 7) / 8;
}

template <class Codes>
GATUN_INLINE uint8_t* codes_row(const Job& job, int64_t row) {
  return static_cast<uint8_t*>(job.codes) + row * code_bytes<Codes::kBits>(job.depth);
}

// x[row][k] of an x of f32.
GATUN_INLINE float* x_at(const Job& job, int64_t row, int64_t k) {
  return static_cast<float*>(job.x) + row * job.x_row_stride + k * job.x_column_stride;
}

struct Batch {
  int64_t row, rows;      // of the matrix
  int64_t group, groups;  // of a row
  int64_t begin, count;   // elements of a row: `count` from `begin` on
  bool by_rows;           // whether blocks are rows

  int64_t blocks() const { return by_rows ? rows : groups; }
  int64_t block(int64_t r, int64_t g) const { return by_rows ? r : g; }
};

// Whether a block has only one row.
GATUN_INLINE bool single_rows(const Job& job) { return job.group_rows == 1; }

// The batch that starts with unit `index`, of units below `end`.
GATUN_INLINE Batch batch_at(const Job& job, int64_t index, int64_t end) {
  // What is scanned is encoded from a near cache, beside the next batch's values that are read meanwhile: 8 KiB of
  // single rows, 256 KiB of blocks of many (2 KiB of each of 128 rows, as memory likes to be read in order).
  const int64_t most_values = single_rows(job) ? 2048 : 65536 / job.unit_rows + 1;
  const int64_t columns = job.groups * job.pieces, column = index % columns;
  const int64_t row = index / columns * job.unit_rows, group = column / job.pieces, piece = column % job.pieces;
  const int64_t rows = smaller(job.rows - row, job.unit_rows);
  const bool by_rows = single_rows(job) && job.unit_rows > 1;
  const int64_t begin = group * job.group + piece * job.piece;
  int64_t groups = 1;
  if (job.pieces == 1 && !by_rows) {
    groups = job.group >= most_values ? 1 : smaller(kBatch, most_values / job.group);
    groups = smaller(groups, smaller(end - index, job.groups - group));
  }
  const int64_t last =
      smaller(smaller(begin + job.piece, (group + 1) * job.group) + (groups - 1) * job.group, job.depth);
  return {row, rows, group, groups, begin, last > begin ? last - begin : 0, by_rows};
}

// Units that a batch has.
GATUN_INLINE int64_t units(const Batch& batch) { return batch.groups; }

// Elements of a matrix in f32: rows * columns of them from x on, rows of the result result_stride apart.
template <class X>
GATUN_INLINE void copy_to_f32(const void* x, int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride,
                              float* result, int64_t result_stride) {
  const auto* from = static_cast<const typename X::Type*>(x);
  if (column_stride == 1) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t k = 0; k < columns; k += kLanes) {
        const int n = static_cast<int>(smaller(columns - k, kLanes));
        store_f32_n(result + r * result_stride + k, X::load_n(from + r * row_stride + k, n), n);
      }
    }
    return;
  }
  typename X::Type column[kBatch];
  for (int64_t k = 0; k < columns; ++k) {
    for (int64_t r = 0; r < rows; ++r) column[r] = from[r * row_stride + k * column_stride];
    float values[kBatch];
    for (int64_t r = 0; r < rows; r += kLanes) {
      const int n = static_cast<int>(smaller(rows - r, kLanes));
      store_f32_n(values + r, X::load_n(column + r, n), n);
    }
    for (int64_t r = 0; r < rows; ++r) result[r * result_stride + k] = values[r];
  }
}

constexpr int64_t kChunk = 2048;  // values of a chunk

// Rows [row, row + rows), at most kBatch, of columns [k, k + count) to a chunk, whose rows are `columns` apart.
[[maybe_unused]] __attribute__((noinline)) void read_chunk(const Job& job, int64_t row, int64_t rows, int64_t k,
                                                           int64_t count, int64_t columns, float* chunk) {
  const int64_t index = row * job.x_row_stride + k * job.x_column_stride;
  const auto read = [&](auto type) GATUN_INLINE_LAMBDA {
    using X = decltype(type);
    copy_to_f32<X>(static_cast<const typename X::Type*>(job.x) + index, rows, count, job.x_row_stride,
                   job.x_column_stride, chunk, columns);
  };
  if (job.x_dtype == GATUN_F32) return read(f32());
  job.x_dtype == GATUN_F16 ? read(f16()) : read(bf16());
}

// Calls visit(row, block, x, k, count) for stretches x of values that lie side by side and belong to one block, those
// of a row in ascending order; the first value of a stretch is element k of its row.
template <class Visit>
GATUN_INLINE void for_each_stretch(const Job& job, const Batch& batch, Visit visit) {
  const bool in_place = job.x_column_stride == 1 && job.x_dtype == GATUN_F32;
  float chunk[kChunk];
  const int64_t rows_at_once = job.x_column_stride == 1 ? 1 : kBatch;
  const int64_t columns = kChunk / rows_at_once;
  for (int64_t first = 0; first < batch.rows; first += rows_at_once) {
    const int64_t rows = smaller(rows_at_once, batch.rows - first);
    for (int64_t g = 0; g < batch.groups; ++g) {
      const int64_t begin = batch.begin + g * job.group, last = smaller(begin + job.group, batch.begin + batch.count);
      for (int64_t k = begin; k < last;) {
        const int64_t n = in_place ? last - k : smaller(last - k, columns);
        if (!in_place) read_chunk(job, batch.row + first, rows, k, n, columns, chunk);
        for (int64_t r = 0; r < rows; ++r) {
          visit(batch.row + first + r, batch.block(first + r, g),
                in_place ? x_at(job, batch.row + first + r, k) : chunk + r * columns, k, n);
        }
        k += n;
      }
    }
  }
}

// A plane of scales or zero points, one value a block of the batch, from and to an array of them.
template <class T>
GATUN_INLINE T* plane_at(const Job& job, const Batch& batch, void* plane) {
  return static_cast<T*>(plane) + batch.row / job.group_rows * job.groups + batch.group;
}
template <class T>
GATUN_INLINE void put_blocks(const Job& job, const Batch& batch, const T* blocks, void* plane) {
  T* to = plane_at<T>(job, batch, plane);
  if (!batch.by_rows) {
    for (int64_t i = 0; i < batch.groups; ++i) to[i] = blocks[i];
    return;
  }
  for (int64_t i = 0; i < batch.rows; ++i, to += job.groups) *to = blocks[i];
}
template <class T, class Take>
GATUN_INLINE void get_blocks(const Job& job, const Batch& batch, void* plane, Take take) {
  const T* from = plane_at<T>(job, batch, plane);
  const int64_t step = batch.by_rows ? job.groups : 1, blocks = batch.blocks();
  for (int64_t i = 0; i < blocks; ++i, from += step) take(i, *from);
}

}  // namespace
}  // namespace gatun::GATUN_ISA
