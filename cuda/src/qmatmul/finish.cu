// Adds the parts of a split depth in ascending order, and finishes y: a thread for each output.
#include "base/quotient.h"
#include "ptx/launch.h"
#include "qmatmul/finish.h"

namespace gatun::cuda::qmatmul {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kMostBlocks = 1 << 16;

GATUN_KERNEL(kThreads, 4) finish(const Job job) {
  const int64_t columns = job.finish.column_end - job.finish.column_begin, count = job.rows * columns;
  const int64_t a_part = job.rows * job.padded_columns;
  for (int64_t i = block_x() * kThreads + thread_index(); i < count; i += blocks_x() * kThreads) {
    const int64_t row = quotient(i, columns), column = job.finish.column_begin + i - row * columns;
    const float* from = job.partial + row * job.padded_columns + column;
    float sum = 0;
    for (int part = 0; part < job.parts; ++part, from += a_part) sum += *from;
    const float sums[1] = {sum};
    finish_outputs(job, row, 1, 1, column, sums);
  }
}

}  // namespace

int32_t run_finish(const Job& job, void* stream) {
  const int64_t count = job.rows * (job.finish.column_end - job.finish.column_begin);
  const int64_t blocks = (count + kThreads - 1) / kThreads;
  return launch("qmatmul_finish", finish, {blocks < kMostBlocks ? blocks : kMostBlocks, 1, 1, kThreads, 0}, stream,
                job);
}

}  // namespace gatun::cuda::qmatmul
