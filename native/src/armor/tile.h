// The ends of y = act(A * (S * (B * x)) + bias) + residual: x of bf16 to f32, which is exact, and sums to y.
#pragma once

#include "armor/kernel.h"
#include "qmatmul/epilogue.h"

namespace gatun::GATUN_ISA {
namespace {

void widen(const uint16_t* x, int64_t row_stride, int64_t rows, int64_t columns, float* to) {
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t k = 0; k < columns; k += kLanes) {
      const int n = columns - k < kLanes ? static_cast<int>(columns - k) : kLanes;
      store_f32_n(to + t * columns + k, load_bf16_n(x + t * row_stride + k, n), n);
    }
  }
}

void finish_product(const Outputs& outputs, int64_t first, int64_t columns, int64_t begin, int64_t end,
                    const float* sums) {
  finish_panel(outputs, 1.0f, nullptr, first, columns, begin, end, sums, columns);
}

constexpr armor::Kernel armor_kernel() { return {widen, finish_product}; }

}  // namespace
}  // namespace gatun::GATUN_ISA
