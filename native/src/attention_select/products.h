// Products of a head's queries and keys, in groups of `stride` rows (kernel.h), on the calling thread: in bf16 pairs
// where the kernel has them, else in f32. One object a thread at a time; its memory is the thread's.
#pragma once

#include "attention_select/call.h"
#include "base/scratch.h"

namespace gatun::attention_select {

// Memory that a thread keeps between calls.
struct Memory {
  Scratch keys, queries, logits, sums, rows, scores, order;
  Scratch query_means, similar_queries, key_means, similar_keys;  // of all heads
  Scratch map, offsets, blocks;                                   // what a fused call chooses
};
Memory& thread_memory();

// `count` values, or null. A distance of rows of `columns` that are not the same place in the cache.
template <class T>
T* get(Scratch& scratch, int64_t count) {
  return reinterpret_cast<T*>(scratch.get(std::max<int64_t>(count, 1) * static_cast<int64_t>(sizeof(T))));
}
inline int64_t logits_stride(int64_t columns) { return (columns + 63) / 64 * 64 + 16; }

class Products {
 public:
  explicit Products(const Call& call) : call_(call), depth_(call.p.head_size) {}

  // False if there is no memory. The keys of a head; its queries, of groups [first, last).
  [[nodiscard]] bool take_keys(const Item& item, int64_t kv_head, int64_t stride);
  [[nodiscard]] bool take_queries(int64_t head, int64_t first, int64_t last);
  // Instead of them rows of f32: keys of the item and queries [first, last) of it; stride 1.
  void take_f32(const Item& item, const float* keys);
  void take_f32_queries(const float* rows, int64_t first, int64_t last);

  // What queries [first, last) see of the keys, a Seen for each; then their logits out[a - first][c], where some row of
  // the tile sees c, before scale.
  [[nodiscard]] bool multiply(const Seen* seen, float* out, int64_t out_row_stride) const;

  // What group a of queries sees, in groups of keys.
  Seen seen(int64_t a) const {
    return item_->sight.of(a * stride_, std::min(item_->queries(), (a + 1) * stride_), stride_);
  }
  int64_t key_groups() const { return blocks_of(item_->keys(), stride_); }

 private:
  bool packed() const { return !plain_ && call_.kernel->multiply_groups != nullptr; }
  int64_t tile() const { return packed() ? kTileGroups : gemm::kBlockColumns; }
  int64_t tile_elements() const { return stride_ * depth_ / 2 * kTileGroups; }
  void multiply_packed(int64_t begin, int64_t end, int64_t column, int64_t columns, float* out, int64_t stride) const;
  [[nodiscard]] bool multiply_plain(int64_t begin, int64_t end, int64_t column, int64_t columns, float* out,
                                    int64_t stride) const;

  const Call& call_;
  const int64_t depth_;
  const Item* item_ = nullptr;
  int64_t stride_ = 1, first_ = 0, last_ = 0;
  bool plain_ = false;
  const uint32_t* packed_keys_ = nullptr;
  const uint16_t* packed_queries_ = nullptr;          // row 0 of the head
  const float *keys_ = nullptr, *queries_ = nullptr;  // row 0 of the head; the first row of the taken ones
  int64_t keys_stride_ = 0, queries_stride_ = 0;
};

}  // namespace gatun::attention_select
