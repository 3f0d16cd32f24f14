// The end of a product: y = act(sum * factor + bias) + residual.
//
// Activations keep 2^-18 of their value, or 2^-40: gelu by erfc, and gelu_tanh as v / (1 + exp(-2 u)), since sums with
// 1 would cancel where v is negative.
#pragma once

#include <cmath>
#include <cstdint>

#include "gatun/qmatmul.h"
#include "ptx/number.h"
#include "qmatmul/job.h"
#include "qmatmul/values.h"

namespace gatun::cuda::qmatmul {

GATUN_DEVICE float activate(float v, int32_t activation) {
  if (activation == GATUN_ACTIVATION_NONE) return v;
  if (activation == GATUN_ACTIVATION_RELU) return v > 0 || v != v ? v : 0.0f;
  if (v < -1000.0f) return -0.0f;  // the limit: 0 times infinity is not what is meant
  if (activation == GATUN_ACTIVATION_GELU) return 0.5f * v * erfcf(v * -0.70710678f);
  // sqrt(8 / pi) (v + 0.044715 v^3)
  const float u = activation == GATUN_ACTIVATION_SILU ? v : 1.5957691f * fused(0.044715f * v * v, v, v);
  return v / (1.0f + expf(-u));
}

// Of sums of all of the depth, of kCount rows `step` apart in one column, of which the first `count` are wanted. One
// that is not finite is NaN, as is that of a row of x with a NaN or infinity. What the rows need of memory is asked for
// at once, before anything is written: y may be the residual.
template <int kCount>
GATUN_DEVICE void finish_outputs(const Job& job, int64_t row, int64_t step, int count, int64_t column,
                                 const float (&sum)[kCount]) {
  const Finish& f = job.finish;
  if (column < f.column_begin || column >= f.column_end) return;
  const bool row_scales = job.x.scales != nullptr && !job.x.scales_of_groups;
  const float bias = f.bias != nullptr ? f.bias[column] : -0.0f;
  float scale[kCount], residual[kCount];
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const int64_t own = row + i * step;
    scale[i] = row_scales && i < count ? job.x.scales[own] : 1.0f;
    residual[i] = f.residual != nullptr && i < count
                      ? load_float(f.residual, f.y_dtype, own * f.residual_row_stride + column)
                      : -0.0f;
  }
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    const float all = sum[i] * scale[i] * f.factor;
    const float v = activate((is_finite(all) ? all : as_float(0x7fc00000u)) + bias, f.activation) + residual[i];
    const int64_t at = (row + i * step) * f.y_row_stride + column;
    if (i >= count) continue;
    if (f.y_dtype == GATUN_F32) {
      static_cast<float*>(f.y)[at] = v;
    } else {
      static_cast<uint16_t*>(f.y)[at] = f.y_dtype == GATUN_F16 ? f32_to_f16(v) : f32_to_bf16(v);
    }
  }
}

// What a kernel does with such sums of part `part`.
template <int kCount>
GATUN_DEVICE void put_sums(const Job& job, int64_t part, int64_t row, int64_t step, int count, int64_t column,
                           const float (&sum)[kCount]) {
  if (job.partial == nullptr) return finish_outputs(job, row, step, count, column, sum);
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    if (i < count) job.partial[(part * job.rows + row + i * step) * job.padded_columns + column] = sum[i];
  }
}
GATUN_DEVICE void put_sum(const Job& job, int64_t part, int64_t row, int64_t column, float sum) {
  const float sums[1] = {sum};
  put_sums(job, part, row, 1, 1, column, sums);
}

}  // namespace gatun::cuda::qmatmul
