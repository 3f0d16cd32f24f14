// From a tile's sums to out and lse.
#pragma once

#include "attention/pack.h"

namespace gatun::GATUN_ISA {
namespace {

// What is known of a tile at its end.
struct Ending {
  const attention::Job& job;
  const attention::Head& head;
  const attention::Tile& tile;
  const attention::Scratch& s;
  int64_t value_columns;
  bool has_sums;   // or they count as zeros
  bool of_logits;  // maxima are; or of products without row_scales, row_offsets and the scale

  // Where the tile's first row is in something with these strides.
  int64_t place(int64_t batch_stride, int64_t head_stride, int64_t row_stride) const {
    const int64_t batch_item = job.in.q_offsets != nullptr ? 0 : head.batch_item;
    return batch_item * batch_stride + tile.head * head_stride + (head.first_query + tile.row) * row_stride;
  }
  double sink() const {
    return job.in.sinks == nullptr ? -__builtin_inf() : static_cast<double>(job.in.sinks[tile.head]);
  }
};

// ln(total * exp(top) + exp(sink))
inline double log_sum(double total, double top, double sink) {
  const double own =
      total == 0.0 ? -__builtin_inf() : top + static_cast<double>(__builtin_logf(static_cast<float>(total)));
  if (sink == -__builtin_inf()) return own;
  if (own == -__builtin_inf()) return sink;
  const double high = sink > own ? sink : own, low = sink > own ? own : sink;
  return high + __builtin_log1p(__builtin_exp(low - high));
}

inline void store_row(const gatun_attention_params& p, const float* sums, float factor, void* out, int64_t at) {
  with_elements(p.out_dtype, [&](auto element) {
    using Element = decltype(element);
    typename Element::Type* const to = static_cast<typename Element::Type*>(out) + at;
    for (int64_t c = 0; c < p.value_size; c += kLanes) {
      const int n = lanes_to(p.value_size, c);
      Element::store_n(to + c, sums != nullptr ? mul(load_f32_n(sums + c, n), set1(factor)) : zero_f32(), n);
    }
  });
}

inline void finish_tile(const Ending& end) {
  const attention::Job& job = end.job;
  const gatun_attention_params& p = job.p;
  // Strides of what is not there may be anything.
  const bool has_lse = job.lse != nullptr || job.in.correction != nullptr;
  const int64_t lse_at = has_lse ? end.place(p.lse_batch_stride, p.lse_head_stride, 1) : 0;
  const int64_t out_at = job.out != nullptr ? end.place(p.out_batch_stride, p.out_head_stride, p.out_row_stride) : 0;
  const double sink = end.sink();
  for (int r = 0; r < end.tile.rows; ++r) {
    const double total = static_cast<double>(reduce_add(load_f32(end.s.totals + r * kLanes)));
    // Exponentials are those of logits less `top`.
    double top = static_cast<double>(end.s.maxima[r]);
    if (!end.of_logits) {
      top = static_cast<double>(p.scale) *
            (top * static_cast<double>(end.s.row_scales[r]) + static_cast<double>(end.s.row_offsets[r]));
    }
    if (job.lse != nullptr) job.lse[lse_at + r] = static_cast<float>(log_sum(total, top, sink));
    if (job.out == nullptr) continue;
    const double denominator = job.in.sinks == nullptr ? total : total + __builtin_exp(sink - top);
    double factor = total == 0.0 ? 0.0 : 1.0 / denominator;
    if (job.in.correction != nullptr && total != 0.0) factor *= static_cast<double>(job.in.correction[lse_at + r]);
    store_row(p, end.has_sums ? end.s.sums + r * end.value_columns : nullptr, static_cast<float>(factor), job.out,
              out_at + r * p.out_row_stride);
  }
}

}  // namespace
}  // namespace gatun::GATUN_ISA
