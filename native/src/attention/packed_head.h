// A head of k and v: its rows, and what of them is packed (pack.h), unit by unit.
#pragma once

#include "attention/keys.h"
#include "attention/rows_ahead.h"
#include "attention/seen.h"

namespace gatun::GATUN_ISA {
namespace {

template <class Keys, class Values>
class PackedHead {
  using Sizes = attention::ScratchSizes;

 public:
  static Sizes sizes(const gatun_attention_params& p, int64_t kv_length) {
    return Sizes(p, kv_length, Keys::Words::kValues, Values::Words::kValues);
  }

  PackedHead(const attention::Job& job, const attention::Head& head, uint8_t* memory)
      : job_(job), p_(job.p), head_(head), sizes_(sizes(p_, head.kv_length)), s_(sizes_, p_, memory) {
    element_ = dtype_bytes(p_.dtype, 1);
    keys_ = rows_of(job.in.k, {p_.k_batch_stride, p_.k_head_stride, p_.k_row_stride}, head.first_key, head.kv_head);
    values_ = rows_of(job.in.v, {p_.v_batch_stride, p_.v_head_stride, p_.v_row_stride}, head.first_key, head.kv_head);
  }

  void begin_head() {
    __builtin_memset(s_.units, 0, static_cast<size_t>(sizes_.units));
    Keys::begin_head(p_, keys_, head_.kv_length, s_);
  }

 protected:
  Rows queries_of(const attention::Tile& tile) const {
    return rows_of(job_.in.q, {p_.q_batch_stride, p_.q_head_stride, p_.q_row_stride}, head_.first_query + tile.row,
                   tile.head);
  }

  // Where columns of a group of v begin, and how wide the group is.
  uint32_t* group(int64_t column) const { return s_.values + column * sizes_.panels * sizes_.value_words; }
  int64_t width(int64_t column) const { return smaller(attention::kGroupColumns, sizes_.value_columns - column); }

  // What of the units of a chunk is not packed yet.
  void pack(const Chunk& chunk) {
    for (int i = 0; i < chunk.count; ++i) {
      const int64_t unit = chunk.panel[i] / attention::kUnitPanels;
      if (s_.units[unit] == 0) pack_unit(unit);
    }
  }
  // Rows of what a chunk will pack.
  void add_unpacked(const Chunk& chunk, RowsAhead& rows) const {
    int64_t last = -1;
    for (int i = 0; i < chunk.count; ++i) {
      const int64_t unit = chunk.panel[i] / attention::kUnitPanels, first = unit * attention::kUnitKeys;
      if (unit == last || s_.units[unit] != 0) continue;
      last = unit;
      const int32_t count = smaller(attention::kUnitKeys, head_.kv_length - first);
      rows.add(keys_.from(first * keys_.stride_bytes), count, p_.head_size * element_);
      if (job_.out != nullptr) {
        rows.add(values_.from(first * values_.stride_bytes), count, p_.value_size * element_);
      }
    }
  }

  float element_of(const uint8_t* row, int64_t c) const {
    if (p_.dtype == GATUN_F32) return reinterpret_cast<const float*>(row)[c];
    const uint16_t bits = reinterpret_cast<const uint16_t*>(row)[c];
    return p_.dtype == GATUN_BF16 ? bf16_to_f32(bits) : f16_to_f32(bits);
  }

  const attention::Job& job_;
  const gatun_attention_params& p_;
  const attention::Head& head_;
  const Sizes sizes_;
  const attention::Scratch s_;
  int64_t element_;  // bytes
  Rows keys_{}, values_{};

 private:
  struct Strides {
    int64_t batch, head, row;
  };
  // A head's rows from `first` on.
  Rows rows_of(const void* data, const Strides& strides, int64_t first, int64_t head) const {
    if (data == nullptr) return {};  // of no rows, or not asked for
    const int64_t batch_item = job_.in.q_offsets != nullptr ? 0 : head_.batch_item;
    const int64_t at = batch_item * strides.batch + head * strides.head + first * strides.row;
    return {static_cast<const uint8_t*>(data) + at * element_, strides.row * element_};
  }

  __attribute__((noinline)) void pack_unit(int64_t unit) {
    s_.units[unit] = attention::kPacked;
    const int64_t first = unit * attention::kUnitKeys, count = smaller(attention::kUnitKeys, head_.kv_length - first);
    Keys::pack_unit(p_, {keys_.row(first), keys_.stride_bytes}, unit, count, s_);
    if (job_.out == nullptr) return;
    const Rows rows{values_.row(first), values_.stride_bytes};
    for (int64_t c = 0; c < sizes_.value_columns; c += attention::kGroupColumns) {
      const int64_t w = width(c), words = attention::kUnitPanels * sizes_.value_words * w;
      uint32_t* const to = group(c) + unit * words;
      if (!Values::pack(p_.dtype, rows, count, c, smaller(w, p_.value_size - c), w, s_.stage, to)) {
        s_.units[unit] |= attention::kNotFinite;
        for (int64_t i = 0; i < words; ++i) to[i] = Values::finite(to[i]);
      }
    }
  }
};

}  // namespace
}  // namespace gatun::GATUN_ISA
