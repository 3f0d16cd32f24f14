// Means of the rows of blocks (MEANS), and of heads (PROXY). Both read their input once and are bound by memory.
#include <cstdint>

#include "attention_select/selection_rows.h"
#include "base/check.h"
#include "ptx/launch.h"

namespace gatun::cuda::attention_select {
namespace {

constexpr int kThreads = 128, kWarps = kThreads / 32, kMostRows = 128,
              kColumns = 2;  // of head_size 256 a thread has two

struct MeansShared {
  float inverse[kMostRows];  // of the lengths of rows
  float of_warps[kWarps];
};

// Block: blocks of a head, heads, batch items, the first fastest.
GATUN_KERNEL(kThreads, 8)
select_means(GATUN_GRID_CONSTANT MeansJob job) {
  MeansShared& shared = *reinterpret_cast<MeansShared*>(shared_memory());
  const int64_t all = quotient(block_x(), job.blocks), b = quotient(all, job.heads);
  const Item item = item_of(job.items, b);
  const int64_t first = (block_x() - all * job.blocks) * job.rows;
  const int64_t length = job.of_keys ? item.sight.keys : item.sight.queries;
  if (first >= length) return;
  const int rows = static_cast<int>(lesser(job.rows, length - first));
  const Params& p = job.items.p;
  const int columns = static_cast<int>(p.head_size);
  const int64_t from = place_of(job.from, job.items.q_offsets != nullptr, b, job.of_keys ? item.k_first : item.q_first,
                                all - b * job.heads) +
                       first * job.from.row_stride;
  const auto load = [&](int row, int column) {
    return load_float(job.from.data, job.from.dtype, from + row * job.from.row_stride + column);
  };
  // Similarity is at least 0, so nothing is below 0.
  const bool measured = job.items.s.similarity > 0;
  for (int row = warp(); measured && row < rows; row += kWarps) {
    float square = 0;
    for (int column = lane(); column < columns; column += 32)
      square = fused(load(row, column), load(row, column), square);
#pragma unroll
    for (int i = 1; i < 32; i *= 2) square += shuffle_xor(square, i);
    if (lane() == 0) shared.inverse[row] = square < 0x1p-126f ? 0.0f : exp2_fast(-0.5f * log2_fast(square));
  }
  block_barrier();
  float strange = 0, squares = 0;
#pragma unroll
  for (int i = 0; i < kColumns; ++i) {
    const int column = thread_index() + i * kThreads;
    if (column >= columns) continue;
    float sum = 0, unit = 0;
#pragma unroll 8
    for (int row = 0; row < rows; ++row) {
      const float x = load(row, column);
      sum += x;
      if (measured) unit = fused(x, shared.inverse[row], unit);
    }
    const float mean = sum * (1.0f / static_cast<float>(rows));
    job.means[block_x() * columns + column] = mean;
    if (!is_finite(mean)) strange = 1;
    squares = fused(unit, unit, squares);
  }
  strange = most_block(strange, shared.of_warps);
  squares = sum_block(squares, shared.of_warps);
  if (thread_index() != 0) return;
  const float pairs = static_cast<float>(rows * rows);
  job.similar[block_x()] = strange == 0 && (!measured || squares / pairs >= job.items.s.similarity);
}

// A thread for each element.
GATUN_KERNEL(kThreads, 8)
select_average(GATUN_GRID_CONSTANT HeadsJob job, int64_t elements) {
  const int64_t index = block_x() * kThreads + thread_index();
  if (index >= elements) return;
  const int64_t line = quotient(index, job.columns), all = quotient(line, job.rows), b = quotient(all, job.heads);
  const int64_t first_head = (all - b * job.heads) * job.sharing;
  const int64_t from =
      b * job.from.batch_stride + (line - all * job.rows) * job.from.row_stride + index - line * job.columns;
  const float share = 1.0f / static_cast<float>(job.sharing);
  float sum = 0;
  for (int64_t i = 0; i < job.sharing; ++i) {
    const int64_t head = quotient(first_head + i, job.ratio);
    sum = fused(load_float(job.from.data, job.from.dtype, from + head * job.from.head_stride), share, sum);
  }
  if (job.from.dtype == GATUN_F32) {
    static_cast<float*>(job.to)[index] = sum;
  } else {
    static_cast<uint16_t*>(job.to)[index] = job.from.dtype == GATUN_F16 ? f32_to_f16(sum) : f32_to_bf16(sum);
  }
}

}  // namespace

int32_t run_means(const MeansJob& job, void* stream) {
  const int64_t blocks = job.items.p.batch * job.heads * job.blocks;
  return launch("select_means_sm80", select_means, {blocks, 1, 1, kThreads, sizeof(MeansShared)}, stream, job);
}

int32_t run_average(const HeadsJob& job, void* stream) {
  const int64_t elements = job.batches * job.heads * job.rows * job.columns;
  return launch("select_average_sm80", select_average, {blocks_of(elements, kThreads), 1, 1, kThreads, 0}, stream, job,
                elements);
}

}  // namespace gatun::cuda::attention_select
