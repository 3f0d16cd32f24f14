// How kernels walk over a matrix: batches of blocks whose scales are computed side by side, and the stretches of values
// that lie side by side in a batch.
//
// Operands: x, codes, scales and zero points as the caller has them; nothing is packed. A batch is
//
//   x row      [ block 0        | block 1        | .. | last, shorter ]    up to kBatch blocks of a row, or
//   rows       [ block 0 ] [ block 1 ] ..                                  one group of up to kBatch rows, or
//   rows       [ block 0 : all of them ]                                   one block of group_rows rows
//
// Strided columns: chunks of 32 rows x 64 columns are copied to the stack, walking down the rows, so that each cache
// line of a transposed matrix is used whole.
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

template <class X>
GATUN_INLINE typename X::Type* x_row(const Job& job, int64_t row) {
  return static_cast<typename X::Type*>(job.x) + row * job.x_row_stride;
}

// `lanes` groups of one row, or one group of `lanes` rows.
struct Batch {
  int64_t row, group, lanes;
  bool rows;      // whether a lane is a row
  int64_t begin;  // element of the first lane's first value in its row

  int64_t lane_row(int64_t lane) const { return rows ? row + lane : row; }
  int64_t lane_group(int64_t lane) const { return rows ? group : group + lane; }
  int64_t units() const { return rows ? 1 : lanes; }
};

// The batch that starts with unit `index`, of units below `end`.
GATUN_INLINE Batch batch_at(const Job& job, int64_t index, int64_t end) {
  const int64_t row = index / job.groups * job.unit_rows, group = index % job.groups;
  // What is scanned is encoded from the first-level cache, beside the next batch's values that are read meanwhile.
  constexpr int64_t kBatchValues = 2048;
  const int64_t most =
      job.group * kBatch <= kBatchValues ? kBatch : kBatchValues / job.group + (job.group > kBatchValues);
  const int64_t lanes = job.unit_rows > 1 ? smaller(job.rows - row, job.unit_rows)
                                          : smaller(smaller(end - index, job.groups - group), most);
  return {row, group, lanes, job.unit_rows > 1, group * job.group};
}

// Elements of lane `lane`.
GATUN_INLINE int64_t lane_count(const Job& job, const Batch& batch, int64_t lane) {
  return smaller(job.group, job.depth - batch.lane_group(lane) * job.group);
}

// Calls visit(lane, x, k, count) for stretches x of values that lie side by side, of each lane, a lane's in ascending
// order; the first value of a stretch is element k of its row.
template <class X, class Visit>
GATUN_INLINE void for_each_stretch(const Job& job, const Batch& batch, Visit visit) {
  if (job.x_column_stride == 1) {
    const typename X::Type* x = x_row<X>(job, batch.row) + batch.begin;
    const int64_t step = batch.rows ? job.x_row_stride : job.group;
    for (int64_t lane = 0; lane < batch.lanes; ++lane, x += step) {
      visit(lane, x, batch.lane_group(lane) * job.group, lane_count(job, batch, lane));
    }
    return;
  }
  constexpr int64_t kColumns = 64;
  typename X::Type chunk[kBatch][kColumns];
  const int64_t count = lane_count(job, batch, 0);
  for (int64_t first = 0; first < batch.lanes; first += kBatch) {
    const int64_t rows = smaller(kBatch, batch.lanes - first);
    const typename X::Type* x = x_row<X>(job, batch.row + first) + batch.begin * job.x_column_stride;
    for (int64_t offset = 0; offset < count; offset += kColumns) {
      const int64_t columns = smaller(kColumns, count - offset);
      for (int64_t k = 0; k < columns; ++k, x += job.x_column_stride) {
        for (int64_t r = 0; r < rows; ++r) chunk[r][k] = x[r * job.x_row_stride];
      }
      for (int64_t r = 0; r < rows; ++r) visit(first + r, chunk[r], batch.begin + offset, columns);
    }
  }
}

}  // namespace
}  // namespace gatun::GATUN_ISA
