// The C entry point that adds up activations. A thread takes depths, so that each sum is of ascending rows whatever the
// number of threads.
#include "base/check.h"
#include "base/dtype.h"
#include "prune/pattern.h"
#include "prune/table.h"

namespace gatun::prune {
namespace {

// Sums [k, k + count) of all rows.
void observe(const Kernel& kernel, const Weights& x, int64_t rows, int64_t k, int64_t count, double* sums,
             double* squares) {
  float values[kChunk];
  for (int64_t row = 0; row < rows; ++row) {
    kernel.score(x, row, k, count, values);
    for (int64_t i = 0; i < count; ++i) {
      const double value = double{values[i]};
      squares[k + i] += value * value;
    }
    if (sums == nullptr) continue;
    for (int64_t i = 0; i < count; ++i) sums[k + i] += double{values[i]};
  }
}

}  // namespace
}  // namespace gatun::prune

using namespace gatun;

int32_t gatun_prune_observe(int32_t x_dtype, int64_t rows, int64_t depth, int64_t x_row_stride, const void* x,
                            int32_t threads, double* sums, double* squares) {
  GATUN_TRY(check_dtype(x_dtype, {GATUN_F32, GATUN_F16, GATUN_BF16}, "x_dtype"));
  GATUN_TRY(check_range(rows, 0, INT64_MAX, "rows"));
  GATUN_TRY(check_range(depth, 0, INT64_MAX, "depth"));
  GATUN_TRY(check_row_stride(rows, depth, x_row_stride, "x_row_stride"));
  GATUN_TRY(check_range(threads, 0, kMaxThreads, "threads"));
  const int64_t any = rows > 0;
  Buffer buffers[] = {{"squares", squares, any, depth, depth, 8, true},
                      {"sums", sums, any && sums != nullptr, depth, depth, 8, true},
                      {"x", x, rows, depth, x_row_stride, dtype_bytes(x_dtype, 1), false}};
  GATUN_TRY(check_buffers(buffers));
  if (rows == 0 || depth == 0) return GATUN_OK;
  const prune::Kernel& kernel = *prune::table().select(x_dtype, x_dtype, active_tier()).kernel;
  const prune::Weights values = {x, nullptr, true, x_row_stride};
  const int64_t parts = blocks_of(depth, prune::kChunk);
  parallel_for(parts, useful_threads(threads, parts, rows * depth * 4, prune::kGrainBytes),
               [&](int64_t begin, int64_t end) {
                 for (int64_t part = begin; part < end; ++part) {
                   const int64_t k = part * prune::kChunk, count = std::min(prune::kChunk, depth - k);
                   prune::observe(kernel, values, rows, k, count, sums, squares);
                 }
               });
  return GATUN_OK;
}
