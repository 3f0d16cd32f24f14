// The parts of each row in ascending order, its sink, and what is left of the formulas. A block does a row, a thread a
// channel.
#include "decode/part.h"
#include "ptx/launch.h"

namespace gatun::cuda::decode {
namespace {

constexpr int kThreads = 128;

GATUN_KERNEL(kThreads, 4) merge(GATUN_GRID_CONSTANT Job job) {
  const gatun_decode_params& p = job.params;
  Part part = {};
  part.item = quotient(block_x(), job.rows);
  const int row = static_cast<int>(block_x() - part.item * job.rows), size = static_cast<int>(job.v.layout.size);
  part.b = quotient(part.item, job.k.layout.heads);
  part.g = part.item - part.b * job.k.layout.heads;
  part.length = length_of(job, part.b, part.g);
  const Query query = query_of(job, part, row);
  const int64_t parts = (part.length + job.part_keys - 1) / job.part_keys;
  const int64_t stride = job.rows * (job.v.layout.size + 2);
  const float* const maxima = partial_of(job, part) + row;
  const float* const totals = maxima + job.rows;
  const float* const sums = maxima - row + 2 * job.rows + int64_t{row} * size;

  const float none = as_float(kMinusInfinityBits), sink = job.sinks != nullptr ? job.sinks[query.head] : none;
  float maximum = sink;
  bool seen = false;
#pragma unroll 4
  for (int64_t n = 0; n < parts; ++n) {
    const float own = maxima[n * stride], of_part = totals[n * stride];
    if (of_part == 0) continue;
    if (maximum < own) maximum = own;
    seen = true;
  }
  const float start = sink == none ? 0 : sink == maximum ? 1 : expf(sink - maximum);
  for (int c = thread_index(); c < size || c == 0; c += kThreads) {
    float total = start, sum = 0;
#pragma unroll 4
    for (int64_t n = 0; n < parts; ++n) {
      const float of_part = totals[n * stride], own = maxima[n * stride];
      const float of_channel = size > 0 ? sums[n * stride + c] : 0;
      if (of_part == 0) continue;
      const float weight = expf(own - maximum);
      total = fused(of_part, weight, total);
      sum = fused(of_channel, weight, sum);
    }
    if (c == 0 && job.lse != nullptr) {
      job.lse[part.b * p.lse_batch_stride + query.head * p.lse_head_stride + query.query] =
          total == 0 ? maximum : maximum + logf(total);
    }
    if (size == 0) continue;
    const float y = seen ? sum / total : 0;
    const int64_t at =
        part.b * p.out_batch_stride + query.head * p.out_head_stride + query.query * p.out_row_stride + c;
    if (p.out_dtype == GATUN_F32) {
      static_cast<float*>(job.out)[at] = y;
    } else {
      static_cast<uint16_t*>(job.out)[at] = p.out_dtype == GATUN_BF16 ? f32_to_bf16(y) : f32_to_f16(y);
    }
  }
}

}  // namespace

int32_t run_merge(const Job& job, void* stream) {
  return launch("decode_merge", merge, {job.items() * job.rows, 1, 1, kThreads, 0}, stream, job);
}

}  // namespace gatun::cuda::decode
