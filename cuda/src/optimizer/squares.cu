// Sums of squares of gradients, and what sums of parts become: chunk_squares.h says in which order they are made.
#include "optimizer/chunk_squares.h"
#include "optimizer/device_job.h"
#include "optimizer/values_in_memory.h"
#include "ptx/launch.h"

namespace gatun::cuda::optimizer {
namespace {

constexpr int kThreads = 512, kTurn = 32;

// A thread block does a part, a warp a chunk.
GATUN_KERNEL(kThreads, 2)
squares_of_parts(int32_t dtype, const void* x, int64_t count, int64_t part, Squares* parts) {
  const int64_t chunks = (count - 1) / kSquaresChunk + 1, begin = block_x() * part;
  const int64_t end = begin + part < chunks ? begin + part : chunks;
  const auto sum_chunk = [&](int64_t chunk, double(&sums)[1]) {
    const int64_t first = chunk * kSquaresChunk, left = count - first;
    const auto load = [&](int32_t i) { return load_value(dtype, x, first + i); };
    const auto numbers = [&](uint32_t bits, float(&v)[1]) { v[0] = widen(dtype, bits); };
    add_chunk<16>(static_cast<int32_t>(left < kSquaresChunk ? left : kSquaresChunk), load, numbers, sums);
  };
  const double total = add_units<kTurn, 1>(begin, end, reinterpret_cast<double*>(shared_memory()), sum_chunk);
  if (thread_index() == 0) parts[block_x()] = {total, 0};
}

// The sums over all parts, in ascending order, by one warp.
GATUN_DEVICE Squares merged(const Squares* parts, int32_t count) {
  double* const sums = reinterpret_cast<double*>(shared_memory());
  const double* const from = reinterpret_cast<const double*>(parts);
  for (int i = lane(); i < 2 * count; i += 32) sums[i] = from[i];
  warp_barrier();
  double total = 0;
  for (int i = 0; i < count; ++i) total += sums[2 * i + lane() % 2];
  return {shuffle(total, 0), shuffle(total, 1)};
}

GATUN_KERNEL(32, 1) sum_of_parts(const Squares* parts, int32_t count, double* sum) {
  const Squares total = merged(parts, count);
  if (lane() == 0) *sum = total.p;
}

GATUN_DEVICE bool is_norm(double x) { return x > 0 && x <= 0x1.fffffffffffffp1023; }

GATUN_KERNEL(32, 1) rate_of_parts(const Squares* parts, int32_t count, NormLimit limit, float* rate) {
  const Squares total = merged(parts, count);
  const double p = root(total.p), update = (limit.unit < 0 ? -limit.unit : limit.unit) * root(total.update);
  const double most = limit.most * p / update;
  const double factor = is_norm(p) && is_norm(update) && most < 1 ? most : 1;
  if (lane() == 0) *rate = static_cast<float>(limit.rate * factor);
}

constexpr int64_t kMergeBytes = kMostParts * sizeof(Squares);

}  // namespace

int32_t sum_squares(int32_t dtype, const void* x, int64_t count, int64_t part, Squares* parts, int64_t part_count,
                    void* stream) {
  const Grid grid = {part_count, 1, 1, kThreads, 2 * kTurn * sizeof(double)};
  return launch("optimizer_squares_sm80", squares_of_parts, grid, stream, dtype, x, count, part, parts);
}

int32_t merge_squares(const Squares* parts, int64_t part_count, double* sum, void* stream) {
  return launch("optimizer_sum_of_parts_sm80", sum_of_parts, {1, 1, 1, 32, kMergeBytes}, stream, parts,
                static_cast<int32_t>(part_count), sum);
}

int32_t limit_rate(const Squares* parts, int64_t part_count, const NormLimit& limit, float* rate, void* stream) {
  return launch("optimizer_rate_of_parts_sm80", rate_of_parts, {1, 1, 1, 32, kMergeBytes}, stream, parts,
                static_cast<int32_t>(part_count), limit, rate);
}

}  // namespace gatun::cuda::optimizer
