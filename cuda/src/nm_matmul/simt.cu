// Products without matrix instructions: every N:M, every type of values, every group.
//
//   y[m][n] = sum over kept k of x[m][k] * w[n][k],    codes: w = f32((q - z) * s)        one fma for each kept weight
//
// A block makes a strip of 16 columns by kRows rows, its 8 warps taking units of the strip (form.h) in turn; a lane has
// one list of a unit, which is a column and 32 of depth, and reads x where its weights are. Lanes of a column add up by
// a shuffle, warps through shared memory in their order, so that the result depends on nothing but the shape. The error
// is at most 2^-23 (K + 8) sum |x w|.
//
// x f32, rounded before where the mode wants it, or int8.
#include "base/quotient.h"
#include "nm_matmul/list.h"
#include "ptx/launch.h"
#include "ptx/warp.h"
#include "qmatmul/finish.h"

namespace gatun::cuda::nm_matmul {
namespace {

using qmatmul::Job;

constexpr int kWarps = 8, kThreads = 32 * kWarps;
constexpr int kMostRows = 8;  // of a block

// Adds what a lane's list of the unit gives; `column` is that of y, `k` the first depth of the list.
template <class X, int kRows>
GATUN_DEVICE void add_list(const SparseJob& sparse, const List& list, int64_t column, int64_t k,
                           const X* const (&x)[kRows], float (&sum)[kRows]) {
  const Job& job = sparse.product;
  int64_t group = 0, group_end = 0;
  float scale = 1;
  int zero = 0, slot = 0;
#pragma unroll 1
  for (uint32_t mask = list.mask(); mask != 0 && slot < list.slots(); mask &= mask - 1, ++slot) {
    const int64_t at = k + lowest_bit(mask);
    if (at >= job.depth) return;  // what follows lies beyond it, too
    if (at >= group_end) {
      group = quotient(at, job.group);
      group_end = (group + 1) * job.group;
      scale = qmatmul::scale_value(
          qmatmul::load_scale(job.scales, job.scale_dtype, group * job.padded_columns + column), job.scale_dtype);
      zero = zero_of(job, group, column);
    }
    const float weight = list.value(list.bits(slot), zero) * scale;
#pragma unroll
    for (int m = 0; m < kRows; ++m) sum[m] = fused(static_cast<float>(x[m][at]), weight, sum[m]);
  }
}

template <class X, int kRows>
GATUN_KERNEL(kThreads, 2)
multiply(const SparseJob sparse) {
  const Job& job = sparse.product;
  const int64_t row_blocks = (job.rows + kRows - 1) / kRows;
  const int64_t strip = job.strip_begin + block_x() / row_blocks, row = block_x() % row_blocks * kRows;
  const X* x[kRows];
#pragma unroll
  for (int m = 0; m < kRows; ++m) {
    x[m] = static_cast<const X*>(job.x.x) + (row + m < job.rows ? row + m : job.rows - 1) * job.x.row_stride;
  }
  const int own = lane() % kStripColumns, segment = lane() / kStripColumns;
  const int64_t begin = block_y() * job.units_a_part;
  const int64_t end = begin + job.units_a_part < job.units ? begin + job.units_a_part : job.units;
  float sum[kRows] = {};
  for (int64_t u = begin + warp(); u < end; u += kWarps) {
    const List list(sparse, job.codes + (strip * job.units + u) * sparse.unit_bytes, own, segment);
    add_list(sparse, list, strip * kStripColumns + own, u * kUnitDepth + segment * kSegmentDepth, x, sum);
  }
  float* const sums = reinterpret_cast<float*>(shared_memory());
#pragma unroll
  for (int m = 0; m < kRows; ++m) {
    const float both = sum[m] + shuffle_xor(sum[m], kStripColumns);
    if (segment == 0) sums[(warp() * kRows + m) * kStripColumns + own] = both;
  }
  block_barrier();
  const int i = thread_index();
  if (i >= kRows * kStripColumns || row + i / kStripColumns >= job.rows) return;
  float all = 0;
  for (int w = 0; w < kWarps; ++w) all += sums[w * kRows * kStripColumns + i];
  qmatmul::put_sum(job, block_y(), row + i / kStripColumns, strip * kStripColumns + i % kStripColumns, all);
}

template <class X, int kRows>
int32_t run_rows(const char* name, const SparseJob& sparse, void* stream) {
  const Job& job = sparse.product;
  const int64_t row_blocks = (job.rows + kRows - 1) / kRows;
  return launch(name, multiply<X, kRows>,
                {(job.strip_end - job.strip_begin) * row_blocks, job.parts, 1, kThreads,
                 int64_t{4} * kWarps * kRows * kStripColumns},
                stream, sparse);
}

template <class X>
int32_t run(const char* name, const SparseJob& sparse, void* stream) {
  return sparse.product.rows == 1 ? run_rows<X, 1>(name, sparse, stream) : run_rows<X, kMostRows>(name, sparse, stream);
}

}  // namespace

int32_t run_nm_matmul_f32_simt_sm80(const SparseJob& job, void* stream) {
  return run<float>("nm_matmul_f32_simt_sm80", job, stream);
}
int32_t run_nm_matmul_i8_simt_sm80(const SparseJob& job, void* stream) {
  return run<int8_t>("nm_matmul_i8_simt_sm80", job, stream);
}

}  // namespace gatun::cuda::nm_matmul
