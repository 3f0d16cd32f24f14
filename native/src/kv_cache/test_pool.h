// Pools for tests: formats, arrangements in memory, slots.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "guard_buffer.h"
#include "kv_cache/reference.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::kv_cache {

struct Format {
  int32_t dtype, scaling = GATUN_KV_UNSCALED, zero_point = GATUN_ZERO_NONE;
};
inline constexpr Format kValues[] = {{GATUN_F32}, {GATUN_BF16}, {GATUN_F16}, {GATUN_F8E4M3}, {GATUN_F8E5M2}};
inline constexpr Format kCodes[] = {{GATUN_I8, GATUN_KV_PER_TOKEN},
                                    {GATUN_U4, GATUN_KV_PER_TOKEN},
                                    {GATUN_U2, GATUN_KV_PER_TOKEN},
                                    {GATUN_U4, GATUN_KV_PER_TOKEN, GATUN_ZERO_FLOAT},
                                    {GATUN_U2, GATUN_KV_PER_TOKEN, GATUN_ZERO_FLOAT},
                                    {GATUN_I8, GATUN_KV_PER_CHANNEL},
                                    {GATUN_U4, GATUN_KV_PER_CHANNEL},
                                    {GATUN_U2, GATUN_KV_PER_CHANNEL},
                                    {GATUN_U4, GATUN_KV_PER_CHANNEL, GATUN_ZERO_FLOAT},
                                    {GATUN_U2, GATUN_KV_PER_CHANNEL, GATUN_ZERO_FLOAT}};
inline constexpr int32_t kFloats[] = {GATUN_F32, GATUN_BF16, GATUN_F16};

enum class Order { heads_outside, rows_outside };  // HND, NHD

// `gap` elements (scales) after each row, head and page.
inline gatun_kv_layout make_layout(const Format& format, int64_t size, int64_t group, int64_t heads, int64_t pages,
                                   int64_t page_size, Order order = Order::heads_outside, int64_t gap = 0) {
  gatun_kv_layout l{};
  l.struct_size = sizeof(l);
  l.dtype = format.dtype;
  l.scaling = format.scaling;
  l.zero_point = format.zero_point;
  l.size = size;
  l.group = format.scaling == GATUN_KV_UNSCALED ? 0 : group;
  l.heads = heads;
  l.pages = pages;
  l.page_size = page_size;
  const auto arrange = [&](int64_t rows, int64_t columns, int64_t hole, int64_t* page, int64_t* head, int64_t* row) {
    int64_t* const outer = order == Order::heads_outside ? head : row;
    int64_t* const inner = order == Order::heads_outside ? row : head;
    *inner = columns + hole;
    *outer = (order == Order::heads_outside ? rows : heads) * *inner + hole;
    *page = (order == Order::heads_outside ? heads : rows) * *outer + hole;
  };
  arrange(page_size, row_bytes(l), gap * dtype_bytes(l.dtype, 1), &l.page_stride, &l.head_stride, &l.row_stride);
  if (l.scaling == GATUN_KV_UNSCALED) return l;
  arrange(scale_rows(l), scales_of_row(l), gap, &l.scale_page_stride, &l.scale_head_stride, &l.scale_row_stride);
  return l;
}

inline std::string text(const gatun_kv_layout& l) {
  testing::Message message;
  message << dtype_name(l.dtype) << ", scaling " << l.scaling << ", zero point " << l.zero_point << ", size " << l.size
          << ", group " << l.group << ", " << l.heads << " heads, " << l.pages << " pages of " << l.page_size
          << ", row stride " << l.row_stride;
  return message.GetString();
}

// A pool of random bytes between inaccessible pages; the same ones for the same rng.
class Memory {
 public:
  Memory(const gatun_kv_layout& layout, test::Rng rng, test::Edge edge = test::Edge::back, int64_t offset = 0)
      : rows_(extent(layout.pages, layout.page_stride, layout.heads, layout.head_stride, layout.page_size,
                     layout.row_stride, row_bytes(layout)),
              edge, offset * dtype_bytes(layout.dtype, 1)),
        scales_(scale_extent(layout), edge, offset),
        zeros_(layout.zero_point != GATUN_ZERO_NONE ? scale_extent(layout) : 0, edge, offset),
        scaled_(layout.scaling != GATUN_KV_UNSCALED) {
    for (int64_t i = 0; i < rows_.size(); ++i) rows_[i] = static_cast<uint8_t>(rng.next());
    // Scales and zero points are finite.
    for (int64_t i = 0; i < scales_.size(); ++i) scales_[i] = f32_to_f16(rng.uniform(-2, 2));
    for (int64_t i = 0; i < zeros_.size(); ++i) zeros_[i] = f32_to_f16(rng.uniform(-9, 9));
  }

  uint8_t* rows() { return rows_.data(); }
  uint16_t* scales() { return scaled_ ? scales_.data() : nullptr; }
  uint16_t* zeros() { return zeros_.size() > 0 ? zeros_.data() : nullptr; }
  Pool pool(const gatun_kv_layout& layout) { return {layout, rows(), scales(), zeros()}; }
  void make_read_only() {
    rows_.make_read_only();
    scales_.make_read_only();
    zeros_.make_read_only();
  }

  static ::testing::AssertionResult same(const Memory& a, const Memory& b) {
    if (auto rows = test::identical(a.rows_.copy(), b.rows_.copy()); !rows) return rows << " (rows)";
    if (auto scales = test::identical(a.scales_.copy(), b.scales_.copy()); !scales) return scales << " (scales)";
    return test::identical(a.zeros_.copy(), b.zeros_.copy()) << " (zeros)";
  }

 private:
  static int64_t extent(int64_t pages, int64_t page, int64_t heads, int64_t head, int64_t rows, int64_t row,
                        int64_t columns) {
    if (pages == 0 || heads == 0 || rows == 0) return 0;
    return (pages - 1) * page + (heads - 1) * head + (rows - 1) * row + columns;
  }
  static int64_t scale_extent(const gatun_kv_layout& l) {
    return extent(l.pages, l.scale_page_stride, l.heads, l.scale_head_stride, scale_rows(l), l.scale_row_stride,
                  scales_of_row(l));
  }

  test::GuardBuffer<uint8_t> rows_;
  test::GuardBuffer<uint16_t> scales_, zeros_;
  bool scaled_;
};

// Units of a pool's slots that stay together: groups where scales are those of channels, or single ones.
inline int64_t unit_of(const gatun_kv_layout& l) { return l.scaling == GATUN_KV_PER_CHANNEL ? l.group : 1; }

// Distinct slots for up to `tokens` tokens, whole groups of them, in any order; some are left out.
inline std::vector<int64_t> any_slots(test::Rng& rng, const gatun_kv_layout& l, int64_t tokens, bool leave_out) {
  const int64_t unit = unit_of(l), units = l.pages * l.page_size / unit;
  std::vector<int64_t> order(static_cast<size_t>(units));
  std::iota(order.begin(), order.end(), 0);
  for (int64_t i = units - 1; i > 0; --i) {
    std::swap(order[static_cast<size_t>(i)], order[static_cast<size_t>(rng.integer(0, i))]);
  }
  std::vector<int64_t> slots;
  for (const int64_t index : order) {
    if (static_cast<int64_t>(slots.size()) + unit > tokens) break;
    const bool out = leave_out && rng.integer(0, 4) == 0;
    for (int64_t i = 0; i < unit; ++i) slots.push_back(out ? -1 : index * unit + i);
  }
  return slots;
}

inline gatun_kv_rows_params make_params(const gatun_kv_layout& l, int32_t dtype, int64_t tokens,
                                        Order order = Order::heads_outside, int64_t gap = 0) {
  gatun_kv_rows_params p{};
  p.struct_size = sizeof(p);
  p.dtype = dtype;
  p.threads = 1;
  p.tokens = tokens;
  const bool outside = order == Order::heads_outside;
  p.x_row_stride = outside ? l.size + gap : l.heads * (l.size + gap) + gap;
  p.x_head_stride = outside ? tokens * p.x_row_stride + gap : l.size + gap;
  return p;
}

inline int64_t x_extent(const gatun_kv_rows_params& p, const gatun_kv_layout& l) {
  if (p.tokens == 0 || l.heads == 0) return 0;
  return (l.heads - 1) * p.x_head_stride + (p.tokens - 1) * p.x_row_stride + l.size;
}

}  // namespace gatun::kv_cache
