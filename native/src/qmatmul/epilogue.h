// From f32 sums to y: y = act(sum * factor * row scale + bias) + residual, for the columns that the caller asked for.
#pragma once

#include "qmatmul/kernel.h"
#include "simd/elements.h"
#include "simd/math.h"

namespace gatun::GATUN_ISA {

GATUN_INLINE F32 activate(F32 x, int32_t activation) {
  switch (activation) {
    case GATUN_ACTIVATION_RELU:
      return max(zero_f32(), x);
    case GATUN_ACTIVATION_GELU:
      return gelu(x);
    case GATUN_ACTIVATION_GELU_TANH:
      return gelu_tanh(x);
    case GATUN_ACTIVATION_SILU:
      return silu(x);
    default:
      return x;
  }
}

template <class Y>
inline void finish_row(const Outputs& outputs, int64_t row, float factor, float scale, const float* sums,
                       int64_t first_column, int64_t begin, int64_t end) {
  using Element = typename Y::Type;
  Element* y = static_cast<Element*>(outputs.y) + row * outputs.y_row_stride;
  const Element* residual = outputs.residual == nullptr
                                ? nullptr
                                : static_cast<const Element*>(outputs.residual) + row * outputs.residual_row_stride;
  for (int64_t n = begin; n < end; n += kLanes) {
    const int count = end - n < kLanes ? static_cast<int>(end - n) : kLanes;
    const F32 bias = outputs.bias != nullptr ? load_f32_n(outputs.bias + n, count) : zero_f32();
    const F32 sum = mul(load_f32_n(sums + (n - first_column), count), set1(factor));
    F32 v = fma(sum, set1(scale), bias);
    v = activate(v, outputs.activation);
    if (residual != nullptr) v = add(v, Y::load_n(residual + n, count));
    Y::store_n(y + n, v, count);
  }
}

// Rows [row_begin, row_end) of a panel of `columns` columns of y; sums [row_end - row_begin][sums_stride].
inline void finish_panel(const Outputs& outputs, float factor, const float* row_scales, int64_t first_column,
                         int64_t columns, int64_t row_begin, int64_t row_end, const float* sums, int64_t sums_stride) {
  const int64_t panel_end = first_column + columns;
  const int64_t begin = outputs.column_begin > first_column ? outputs.column_begin : first_column;
  const int64_t end = outputs.column_end < panel_end ? outputs.column_end : panel_end;
  for (int64_t row = row_begin; row < row_end; ++row, sums += sums_stride) {
    const float scale = row_scales != nullptr ? row_scales[row] : 1.0f;
    outputs.y_bf16 ? finish_row<bf16>(outputs, row, factor, scale, sums, first_column, begin, end)
                   : finish_row<f32>(outputs, row, factor, scale, sums, first_column, begin, end);
  }
}

inline void finish(const qmatmul::Job& job, const qmatmul::Panel& panel, int64_t row_begin, int64_t row_end,
                   const float* sums, bool row_scales) {
  finish_panel(job, job.factor, row_scales ? job.scales : nullptr, panel.first_column, panel.rows, row_begin, row_end,
               sums, qmatmul::kPanelRows);
}

}  // namespace gatun::GATUN_ISA
