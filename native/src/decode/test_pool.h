// A pool of keys or values between guard pages.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "decode/test_spec.h"
#include "kv_cache/layout.h"
#include "rng.h"
#include "tolerance.h"

namespace gatun::decode {

class TestPool {
 public:
  TestPool() = default;

  // Rows, scales and zero points that nobody writes are NaN, codes -128.
  TestPool(const Spec& spec, const Format& format, int64_t size, int64_t pages, int64_t page_size) {
    gatun_kv_layout& l = layout_;
    l.struct_size = sizeof(l);
    l.dtype = format.dtype;
    l.scaling = format.scaling;
    l.zero_point = format.zero_point;
    l.size = size;
    l.group = format.scaling == GATUN_KV_PER_TOKEN && format.group == 0 ? size : format.group;
    l.heads = spec.heads;
    l.pages = pages;
    l.page_size = page_size;
    const bool scaled = l.scaling != GATUN_KV_UNSCALED;
    const int64_t element = dtype_bytes(l.dtype, 1), columns = kv_cache::row_bytes(l) / element;
    const Strides s = attention::strides_of(spec.pool_order, l.heads, page_size, columns);
    l.page_stride = s.batch * element, l.head_stride = s.head * element, l.row_stride = s.row * element;
    const int64_t scale_rows = kv_cache::scale_rows(l), scale_columns = kv_cache::scales_of_row(l);
    const Strides t = attention::strides_of(spec.pool_order, l.heads, scale_rows, scale_columns);
    l.scale_page_stride = t.batch, l.scale_head_stride = t.head, l.scale_row_stride = t.row;
    const int64_t bytes = attention::extent(s, pages, l.heads, page_size, columns) * element;
    const int64_t scales = scaled ? attention::extent(t, pages, l.heads, scale_rows, scale_columns) : 0;
    const std::vector<uint8_t> poison(static_cast<size_t>(bytes), scaled ? 0x80 : 0xff);
    rows_ = std::make_unique<GuardBuffer<uint8_t>>(poison, spec.edge, spec.offset * element);
    const std::vector<uint16_t> nans(static_cast<size_t>(scales), 0xffff), none;
    scales_ = std::make_unique<GuardBuffer<uint16_t>>(nans, spec.edge, spec.offset);
    zeros_ =
        std::make_unique<GuardBuffer<uint16_t>>(l.zero_point != GATUN_ZERO_NONE ? nans : none, spec.edge, spec.offset);
  }

  // A row of numbers around a standard normal, and its scales where it is the first one to have them.
  void write(Rng& rng, int64_t page, int64_t head, int64_t r) {
    if (layout_.scaling == GATUN_KV_UNSCALED) {
      for (int64_t c = 0; c < layout_.size; ++c) set(page, head, r, c, rng.normal());
      return;
    }
    uint8_t* const row = row_at(page, head, r);
    for (int64_t i = 0; i < kv_cache::row_bytes(layout_); ++i) {
      row[i] = static_cast<uint8_t>(layout_.dtype == GATUN_I8 ? rng.integer(-127, 127) : rng.integer(0, 255));
    }
    const bool channels = layout_.scaling == GATUN_KV_PER_CHANNEL;
    if (channels && r % layout_.group != 0) return;
    const float unit = layout_.dtype == GATUN_I8 ? 0x1p-6f : layout_.dtype == GATUN_U4 ? 0.25f : 0.75f;
    for (int64_t i = 0; i < kv_cache::scales_of_row(layout_); ++i) {
      const int64_t at = scale_at(page, head, channels ? r / layout_.group : r, i);
      const float sign = rng.integer(0, 7) == 0 ? -1.0f : 1.0f;
      (*scales_)[at] = f32_to_f16(sign * unit * rng.uniform(0.5f, 2.0f));
      if (zeros_->size() > 0) (*zeros_)[at] = f32_to_f16(rng.normal());
    }
  }

  // An element of values.
  void set(int64_t page, int64_t head, int64_t r, int64_t c, float value) {
    uint8_t* const at = row_at(page, head, r) + c * dtype_bytes(layout_.dtype, 1);
    if (layout_.dtype == GATUN_F8E4M3) {
      *at = f32_to_small<F8E4M3>(value);
    } else if (layout_.dtype == GATUN_F8E5M2) {
      *at = std::isinf(value) ? static_cast<uint8_t>(value < 0 ? 0xfc : 0x7c) : f32_to_small<F8E5M2>(value);
    } else {
      const std::vector<uint8_t> bytes = test::from_floats({value}, layout_.dtype);
      std::copy(bytes.begin(), bytes.end(), at);
    }
  }

  uint8_t* row_at(int64_t page, int64_t head, int64_t r) {
    return rows_->data() + page * layout_.page_stride + head * layout_.head_stride + r * layout_.row_stride;
  }
  int64_t scale_at(int64_t page, int64_t head, int64_t row, int64_t i) const {
    return page * layout_.scale_page_stride + head * layout_.scale_head_stride + row * layout_.scale_row_stride + i;
  }

  void make_read_only() {
    rows_->make_read_only();
    scales_->make_read_only();
    zeros_->make_read_only();
  }

  const gatun_kv_layout& layout() const { return layout_; }
  const void* rows() const { return rows_->data(); }
  uint16_t* scales() const { return scales_->size() > 0 ? scales_->data() : nullptr; }
  uint16_t* zeros() const { return zeros_->size() > 0 ? zeros_->data() : nullptr; }

 private:
  gatun_kv_layout layout_{};
  std::unique_ptr<GuardBuffer<uint8_t>> rows_;
  std::unique_ptr<GuardBuffer<uint16_t>> scales_, zeros_;
};

}  // namespace gatun::decode
