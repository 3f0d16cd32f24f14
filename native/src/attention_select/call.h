// A checked call: its numbers, read once, and where its rows are.
#pragma once

#include <algorithm>
#include <vector>

#include "attention_select/arguments.h"
#include "attention_select/sight.h"
#include "attention_select/table.h"
#include "base/check.h"
#include "base/dtype.h"
#include "gemm/gemm.h"

namespace gatun::attention_select {

// A batch item.
struct Item {
  Sight sight;
  int64_t batch;
  int64_t q_first, k_first;  // rows before its own

  int64_t queries() const { return sight.queries; }
  int64_t keys() const { return sight.keys; }
};

class Call {
 public:
  Params p;
  Selection s;
  const Kernel* kernel = nullptr;
  const gemm::Kernel* gemm = nullptr;
  const float* lse = nullptr;
  const float* budgets = nullptr;

  bool ragged() const { return !q_offsets_.empty(); }
  int64_t ratio() const { return p.query_heads / p.kv_heads; }
  int64_t heads() const { return p.batch * p.query_heads; }

  Item item(int64_t b) const {
    if (!ragged()) return {Sight(p, p.query_length, p.kv_length), b, 0, 0};
    const size_t i = static_cast<size_t>(b);
    return {Sight(p, q_offsets_[i + 1] - q_offsets_[i], kv_offsets_[i + 1] - kv_offsets_[i]), b, q_offsets_[i],
            kv_offsets_[i]};
  }
  // Row i of the item in a head.
  const void* q_row(const Item& item, int64_t head, int64_t i) const {
    return q_ +
           bytes(batch_stride(p.q_batch_stride, item) + head * p.q_head_stride + (item.q_first + i) * p.q_row_stride);
  }
  const void* k_row(const Item& item, int64_t kv_head, int64_t j) const {
    return k_ + bytes(batch_stride(p.k_batch_stride, item) + kv_head * p.k_head_stride +
                      (item.k_first + j) * p.k_row_stride);
  }
  const float* lse_row(const Item& item, int64_t head, int64_t i) const {
    return lse + batch_stride(p.lse_batch_stride, item) + head * p.lse_head_stride + item.q_first + i;
  }
  int64_t query_blocks(const Item& item) const { return blocks_of(item.queries(), p.query_block); }
  int64_t key_blocks(const Item& item) const { return blocks_of(item.keys(), p.key_block); }
  // The blocks that a block of queries may see.
  Seen allowed(const Item& item, int64_t block) const {
    return item.sight.of(block * p.query_block, std::min(item.queries(), (block + 1) * p.query_block), p.key_block);
  }
  // A row of scores or maps.
  int64_t map_row(int64_t b, int64_t head, int64_t block) const {
    return ((b * p.query_heads + head) * p.query_blocks + block) * s.key_blocks;
  }

  // Copies of the offsets; null: there are none.
  const int64_t* q_offsets() const { return ragged() ? q_offsets_.data() : nullptr; }
  const int64_t* kv_offsets() const { return ragged() ? kv_offsets_.data() : nullptr; }

  // Reads the arguments, which have been checked but for the values of offsets and budgets; those are checked here, as
  // copied: what the caller's arrays become later does not matter.
  int32_t read(Tier limit, const Arguments& arguments);

 private:
  int64_t bytes(int64_t elements) const { return elements * dtype_bytes(p.dtype, 1); }
  int64_t batch_stride(int64_t stride, const Item& item) const { return ragged() ? 0 : stride * item.batch; }

  const uint8_t *q_ = nullptr, *k_ = nullptr;
  std::vector<int64_t> q_offsets_, kv_offsets_;
  std::vector<float> budgets_;
};

// Everything but what `outputs` holds, which are arrays: they overlap nothing. Fills the call in.
int32_t check_call(Tier limit, const Arguments& arguments, const Uses& uses, const Buffer* outputs, int output_count,
                   Call* call);

}  // namespace gatun::attention_select
