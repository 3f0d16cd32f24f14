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

// Of a sum of all of the depth. One that is not finite is NaN, as is that of a row of x with a NaN or infinity.
GATUN_DEVICE void finish_output(const Job& job, int64_t row, int64_t column, float sum) {
  const Finish& f = job.finish;
  if (column < f.column_begin || column >= f.column_end) return;
  if (job.x.scales != nullptr && !job.x.scales_of_groups) sum *= job.x.scales[row];
  sum *= f.factor;
  float v = is_finite(sum) ? sum : as_float(0x7fc00000u);
  if (f.bias != nullptr) v += f.bias[column];
  v = activate(v, f.activation);
  if (f.residual != nullptr) v += load_float(f.residual, f.y_dtype, row * f.residual_row_stride + column);
  const int64_t at = row * f.y_row_stride + column;
  if (f.y_dtype == GATUN_F32) {
    static_cast<float*>(f.y)[at] = v;
  } else {
    static_cast<uint16_t*>(f.y)[at] = f.y_dtype == GATUN_F16 ? f32_to_f16(v) : f32_to_bf16(v);
  }
}

// What a kernel does with the sum of part `part`.
GATUN_DEVICE void put_sum(const Job& job, int64_t part, int64_t row, int64_t column, float sum) {
  if (job.partial == nullptr) {
    finish_output(job, row, column, sum);
  } else {
    job.partial[(part * job.rows + row) * job.padded_columns + column] = sum;
  }
}

}  // namespace gatun::cuda::qmatmul
