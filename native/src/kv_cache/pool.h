// A pool in memory: where the rows and scales of its slots are.
#pragma once

#include "kv_cache/layout.h"

namespace gatun::kv_cache {

struct Pool {
  gatun_kv_layout layout;  // checked
  uint8_t* pages;
  uint16_t *scales, *zeros;  // null without

  bool scaled() const { return layout.scaling != GATUN_KV_UNSCALED; }
  bool per_channel() const { return layout.scaling == GATUN_KV_PER_CHANNEL; }
  int64_t slots() const { return layout.pages * layout.page_size; }

  // The slot of a token, or -1. Slots were checked; one that another thread has changed since counts as -1 where it
  // does not fit: outside of the pool or, with `groups` of tokens, not where its token is in its group.
  int64_t slot_of(const int64_t* slots_of_tokens, int64_t token, bool groups) const {
    const int64_t slot = __atomic_load_n(slots_of_tokens + token, __ATOMIC_RELAXED);
    if (slot < 0 || slot >= slots()) return -1;
    return groups && slot % layout.group != token % layout.group ? -1 : slot;
  }

  uint8_t* row(int64_t head, int64_t slot) const {
    return pages + slot / layout.page_size * layout.page_stride + head * layout.head_stride +
           slot % layout.page_size * layout.row_stride;
  }
  // Where scales and zeros have those of a slot: scales_of_row(layout) adjacent ones.
  int64_t scale_index(int64_t head, int64_t slot) const {
    const int64_t row = slot % layout.page_size;
    return slot / layout.page_size * layout.scale_page_stride + head * layout.scale_head_stride +
           (per_channel() ? row / layout.group : row) * layout.scale_row_stride;
  }
};

}  // namespace gatun::kv_cache
