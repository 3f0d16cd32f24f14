// The parts of each row in ascending order, its sink, and what is left of the formulas. A block does a row: its threads
// make the weights of 128 parts at a time, then each adds a channel of these.
#include "decode/part.h"
#include "ptx/launch.h"

namespace gatun::cuda::decode {
namespace {

constexpr int kThreads = 128;

struct Shared {
  float weight[kThreads];  // of a part; -1 of one that has no keys
  float total[kThreads];
  float largest[kThreads / 32];
};

GATUN_KERNEL(kThreads, 4) merge(GATUN_GRID_CONSTANT Job job) {
  const gatun_decode_params& p = job.params;
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  Part part = {};
  part.item = quotient(block_x(), job.rows);
  const int row = static_cast<int>(block_x() - part.item * job.rows), size = static_cast<int>(job.v.layout.size);
  part.b = quotient(part.item, job.k.layout.heads);
  part.g = part.item - part.b * job.k.layout.heads;
  part.length = length_of(job, part.b, part.g);
  const Query query = query_of(job, part, row);
  const int64_t parts = quotient(part.length + job.part_keys - 1, job.part_keys);
  const int64_t stride = job.rows * (job.v.layout.size + 2);
  const float* const maxima = partial_of(job, part) + row;
  const float* const totals = maxima + job.rows;
  const float* const sums = maxima - row + 2 * job.rows + int64_t{row} * size;

  const float none = as_float(kMinusInfinityBits), sink = job.sinks != nullptr ? job.sinks[query.head] : none;
  float maximum = none;
  bool seen = false;
  for (int64_t n = thread_index(); n < parts; n += kThreads) {
    if (totals[n * stride] == 0) continue;
    maximum = max_number(maximum, maxima[n * stride]);
    seen = true;
  }
  for (int mask = 1; mask < 32; mask *= 2) maximum = max_number(maximum, shuffle_xor(maximum, mask));
  // A warp that has seen nothing says NaN.
  seen = ballot(seen) != 0;
  if (lane() == 0) shared.largest[warp()] = seen ? maximum : as_float(kNanBits);
  block_barrier();
  maximum = sink;
  seen = false;
  for (const float largest : shared.largest) {
    if (largest != largest) continue;
    seen = true;
    if (maximum < largest) maximum = largest;
  }

  float total = sink == none ? 0 : sink == maximum ? 1 : expf(sink - maximum), sum[2] = {0, 0};
  for (int64_t first = 0; first < parts; first += kThreads) {
    const int64_t own = first + thread_index();
    const float of_part = own < parts ? totals[own * stride] : 0;
    block_barrier();
    shared.total[thread_index()] = of_part;
    shared.weight[thread_index()] = of_part == 0 ? -1 : expf(maxima[own * stride] - maximum);
    block_barrier();
    const int count = static_cast<int>(parts - first < kThreads ? parts - first : kThreads);
#pragma unroll 8
    for (int n = 0; n < count; ++n) {
      const float weight = shared.weight[n];
      const float* const from = sums + (first + n) * stride;
      const float x = thread_index() < size ? from[thread_index()] : 0;
      const float y = thread_index() + kThreads < size ? from[thread_index() + kThreads] : 0;
      if (weight < 0) continue;
      total = fused(shared.total[n], weight, total);
      sum[0] = fused(x, weight, sum[0]);
      sum[1] = fused(y, weight, sum[1]);
    }
  }
  if (thread_index() == 0 && job.lse != nullptr) {
    job.lse[part.b * p.lse_batch_stride + query.head * p.lse_head_stride + query.query] =
        total == 0 ? maximum : maximum + logf(total);
  }
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int channel = thread_index() + i * kThreads;
    if (channel >= size) continue;
    const float y = seen ? sum[i] / total : 0;
    const int64_t at =
        part.b * p.out_batch_stride + query.head * p.out_head_stride + query.query * p.out_row_stride + channel;
    if (p.out_dtype == GATUN_F32) {
      static_cast<float*>(job.out)[at] = y;
    } else {
      static_cast<uint16_t*>(job.out)[at] = p.out_dtype == GATUN_BF16 ? f32_to_bf16(y) : f32_to_f16(y);
    }
  }
}

}  // namespace

int32_t run_merge(const Job& job, void* stream) {
  return launch("decode_merge", merge, {job.items() * job.rows, 1, 1, kThreads, sizeof(Shared)}, stream, job);
}

}  // namespace gatun::cuda::decode
