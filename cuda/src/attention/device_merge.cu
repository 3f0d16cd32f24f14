// out = wa a + wb b, wa = exp(a_lse - lse), wb = exp(b_lse - lse): a warp for each row, a lane every 32nd element.
//
// With high and low the larger and the smaller lse, the weights are 1 / (1 + exp(low - high)) and that times
// exp(low - high), and lse = high + ln(1 + exp(low - high)). Errors: exp and log1p two units in the last place each,
// three roundings: less than 2^-21 of what is added. Limit: memory, 3 value_size elements and 12 bytes a row.
#include <cmath>

#include "attention/device_merge.h"
#include "attention/device_rows.h"
#include "base/check.h"
#include "ptx/launch.h"
#include "ptx/warp.h"

namespace gatun::cuda::attention {
namespace {

constexpr int kThreads = 128;

GATUN_DEVICE void store_float(void* to, int32_t dtype, int64_t at, float x) {
  if (dtype == GATUN_F32) {
    static_cast<float*>(to)[at] = x;
  } else {
    static_cast<uint16_t*>(to)[at] = dtype == GATUN_F16 ? f32_to_f16(x) : f32_to_bf16(x);
  }
}

GATUN_KERNEL(kThreads, 8)
attention_merge(GATUN_GRID_CONSTANT MergeJob job) {
  const gatun_attention_merge_params& p = job.p;
  const int64_t row = block_x() * (kThreads / 32) + warp();
  if (row >= job.rows) return;
  const int64_t all = quotient(row, p.length), item = quotient(all, p.heads);
  const int64_t head = all - item * p.heads, i = row - all * p.length;
  const int64_t a_at = item * p.a_batch_stride + head * p.a_head_stride + i * p.a_row_stride;
  const int64_t b_at = item * p.b_batch_stride + head * p.b_head_stride + i * p.b_row_stride;
  const int64_t out_at = item * p.out_batch_stride + head * p.out_head_stride + i * p.out_row_stride;

  const float a_lse = job.a_lse[row], b_lse = job.b_lse[row];
  const bool no_a = a_lse == -infinity(), no_b = b_lse == -infinity();
  const float high = a_lse > b_lse ? a_lse : b_lse, low = a_lse > b_lse ? b_lse : a_lse;
  const float ratio = expf(low - high), of_high = 1.0f / (1.0f + ratio), of_low = ratio * of_high;
  const float a_weight = a_lse > b_lse ? of_high : of_low, b_weight = a_lse > b_lse ? of_low : of_high;
  const float lse = no_a ? b_lse : no_b ? a_lse : high + log1pf(ratio);
  for (int64_t c = lane(); c < p.value_size; c += 32) {
    // What no keys gave is not looked at: it may be anything.
    const float a = no_a ? 0.0f : load_float(job.a, p.dtype, a_at + c);
    const float b = no_b ? 0.0f : load_float(job.b, p.dtype, b_at + c);
    store_float(job.out, p.dtype, out_at + c, no_a ? b : no_b ? a : fused(a_weight, a, b_weight * b));
  }
  warp_barrier();  // lse may be a_lse, which all lanes have read
  if (lane() == 0 && job.lse != nullptr) job.lse[row] = lse;
}

}  // namespace

int32_t run_merge(const MergeJob& job, void* stream) {
  return launch("attention_merge_sm80", attention_merge, {blocks_of(job.rows, kThreads / 32), 1, 1, kThreads, 0},
                stream, job);
}

}  // namespace gatun::cuda::attention
