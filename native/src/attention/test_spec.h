// What a problem of attention is like.
#pragma once

#include <cmath>
#include <optional>
#include <sstream>

#include "attention/reference.h"
#include "attention/test_mask.h"
#include "base/dtype.h"
#include "guard_buffer.h"
#include "tolerance.h"

namespace gatun::attention {

using test::Edge;
using test::GuardBuffer;
using test::Rng;

// Element types and modes.
struct Kind {
  int32_t dtype, out_dtype, mode;
};
inline constexpr Kind kKinds[] = {{GATUN_F32, GATUN_F32, GATUN_ATTENTION_EXACT},
                                  {GATUN_BF16, GATUN_BF16, GATUN_ATTENTION_EXACT},
                                  {GATUN_F16, GATUN_F16, GATUN_ATTENTION_EXACT},
                                  {GATUN_BF16, GATUN_F32, GATUN_ATTENTION_INT8}};
inline constexpr Kind kOtherKinds[] = {{GATUN_BF16, GATUN_F32, GATUN_ATTENTION_EXACT},
                                       {GATUN_F16, GATUN_F32, GATUN_ATTENTION_EXACT},
                                       {GATUN_F32, GATUN_F32, GATUN_ATTENTION_INT8},
                                       {GATUN_F16, GATUN_F16, GATUN_ATTENTION_INT8},
                                       {GATUN_BF16, GATUN_BF16, GATUN_ATTENTION_INT8}};

// Of a tensor's axes in memory: heads outside rows or inside; gaps after rows, heads and batch items, which hold NaN.
// Of inputs alone: all heads and items are the same one; all rows are.
enum class Order { hnd, nhd, gaps, one_head, one_row };
inline constexpr Order kOrders[] = {Order::hnd, Order::nhd, Order::gaps};

struct Spec {
  int32_t dtype = GATUN_F32, out_dtype = GATUN_F32, mode = GATUN_ATTENTION_EXACT;
  int64_t query_length = 0, kv_length = 0;
  int64_t head_size = 64, value_size = 64;
  int64_t batch = 1, query_heads = 1, kv_heads = 1;
  Order q_order = Order::hnd, kv_order = Order::hnd, out_order = Order::hnd;
  bool causal = false;
  int64_t window_left = -1, window_right = -1, sink_keys = 0;
  std::optional<float> scale;  // or 1 / sqrt(head_size)
  float soft_cap = 0;
  bool slopes = false, sinks = false, correction = false;
  bool values = true, lse = true;              // which outputs
  std::vector<int64_t> q_offsets, kv_offsets;  // ragged; the lengths above are at least the last ones
  MaskKind mask = MaskKind::none;
  int64_t query_block = 64, key_block = 64;
  bool mask_batch = true, mask_heads = true;  // one for each; or for all
  int64_t spare_query_blocks = 0;
  Edge edge = Edge::back;
  int64_t offset = 0;  // of all buffers, in elements
  int32_t threads = 1;
  double rounded = 0;  // by how much exponentials may be off beside the bound, which devices round in F16, too
};

inline Spec spec_of(const Kind& kind, int64_t query_length, int64_t kv_length) {
  Spec spec;
  spec.dtype = kind.dtype;
  spec.out_dtype = kind.out_dtype;
  spec.mode = kind.mode;
  spec.query_length = query_length;
  spec.kv_length = kv_length;
  return spec;
}

inline float scale_of(const Spec& s) { return s.scale.value_or(1 / std::sqrt(static_cast<float>(s.head_size))); }

inline std::string describe(const Spec& s) {
  std::ostringstream text;
  text << dtype_name(s.dtype) << " to " << dtype_name(s.out_dtype)
       << (s.mode == GATUN_ATTENTION_INT8       ? " INT8"
           : s.mode == GATUN_ATTENTION_INT8_FP8 ? " INT8_FP8"
                                                : "")
       << ", batch " << s.batch << ", heads " << s.query_heads << " of " << s.kv_heads << ", length " << s.query_length
       << " x " << s.kv_length << ", sizes " << s.head_size << ", " << s.value_size << ", orders "
       << static_cast<int>(s.q_order) << static_cast<int>(s.kv_order) << static_cast<int>(s.out_order)
       << (s.causal ? ", causal" : "") << ", windows " << s.window_left << ", " << s.window_right << ", sink keys "
       << s.sink_keys << ", scale " << scale_of(s) << ", cap " << s.soft_cap << (s.slopes ? ", slopes" : "")
       << (s.sinks ? ", sinks" : "") << (s.correction ? ", correction" : "") << (s.q_offsets.empty() ? "" : ", ragged")
       << ", " << mask_name(s.mask) << " of " << s.query_block << " x " << s.key_block << ", " << s.threads
       << " threads";
  return text.str();
}

struct Strides {
  int64_t batch, head, row;
};

inline Strides strides_of(Order order, int64_t heads, int64_t rows, int64_t columns) {
  if (order == Order::one_row) return {0, 0, 0};
  if (order == Order::one_head) return {0, 0, columns};
  if (order == Order::nhd) return {rows * heads * columns, columns, heads * columns};
  const int64_t gap = order == Order::gaps ? 3 : 0;
  const int64_t row = columns + gap, head = rows * row + 2 * gap;
  return {heads * head + gap, head, row};
}

// From the first to past the last element.
inline int64_t extent(const Strides& s, int64_t batch, int64_t heads, int64_t rows, int64_t columns) {
  if (batch == 0 || heads == 0 || rows == 0) return 0;
  return (batch - 1) * s.batch + (heads - 1) * s.head + (rows - 1) * s.row + columns;
}

// The largest parts of the bounds that were used, for each kind of kernel: printed in the end.
struct Used {
  double out = 0, lse = 0;
};
inline Used used[4];
inline Used& used_of(const Spec& s) {
  return used[s.mode == GATUN_ATTENTION_INT8 ? 3 : s.dtype == GATUN_F32 ? 0 : s.dtype == GATUN_BF16 ? 1 : 2];
}

}  // namespace gatun::attention
