#include "attention_select/products.h"

#include <cstring>

namespace gatun::attention_select {

Memory& thread_memory() {
  thread_local Memory memory;
  return memory;
}

bool Products::take_keys(const Item& item, int64_t kv_head, int64_t stride) {
  item_ = &item;
  stride_ = stride;
  const void* const rows = call_.k_row(item, kv_head, 0);
  const int64_t row_stride = call_.p.k_row_stride;
  if (packed()) {
    const int64_t tiles = blocks_of(key_groups(), kTileGroups);
    uint32_t* const to = get<uint32_t>(thread_memory().keys, tiles * tile_elements());
    if (to == nullptr) return false;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      const int64_t first = tile * kTileGroups * stride;
      call_.kernel->pack_groups(static_cast<const uint16_t*>(rows) + first * row_stride, row_stride, stride,
                                item.keys() - first, depth_, to + tile * tile_elements());
    }
    packed_keys_ = to;
    return true;
  }
  keys_ = static_cast<const float*>(rows);
  keys_stride_ = row_stride;
  if (call_.p.dtype == GATUN_F32) return true;
  float* const wide = get<float>(thread_memory().keys, item.keys() * depth_);
  if (wide == nullptr) return false;
  call_.kernel->widen(rows, row_stride, item.keys(), depth_, wide);
  keys_ = wide;
  keys_stride_ = depth_;
  return true;
}

bool Products::take_queries(int64_t head, int64_t first, int64_t last) {
  first_ = first;
  last_ = last;
  if (packed()) {
    packed_queries_ = static_cast<const uint16_t*>(call_.q_row(*item_, head, 0));
    return true;
  }
  const void* const rows = call_.q_row(*item_, head, first * stride_);
  queries_ = static_cast<const float*>(rows);
  queries_stride_ = call_.p.q_row_stride;
  if (call_.p.dtype == GATUN_F32) return true;
  const int64_t count = std::min(item_->queries(), last * stride_) - first * stride_;
  float* const wide = get<float>(thread_memory().queries, count * depth_);
  if (wide == nullptr) return false;
  call_.kernel->widen(rows, queries_stride_, count, depth_, wide);
  queries_ = wide;
  queries_stride_ = depth_;
  return true;
}

void Products::take_f32(const Item& item, const float* keys) {
  item_ = &item;
  plain_ = true;
  keys_ = keys;
  keys_stride_ = depth_;
}

void Products::take_f32_queries(const float* rows, int64_t first, int64_t last) {
  first_ = first;
  last_ = last;
  queries_ = rows;
  queries_stride_ = depth_;
}

bool Products::multiply(const Seen* seen, float* out, int64_t out_row_stride) const {
  const int64_t groups = key_groups();
  for (int64_t column = 0; column < groups; column += tile()) {
    const int64_t columns = std::min(tile(), groups - column);
    const auto sees = [&](int64_t a) {
      const Seen& row = seen[a - first_];
      return column < row.sinks || (row.end > column && row.begin < column + columns);
    };
    int64_t begin = first_, end = last_;
    while (begin < end && !sees(begin)) ++begin;
    while (begin < end && !sees(end - 1)) --end;
    if (begin == end) continue;
    float* const at = out + (begin - first_) * out_row_stride + column;
    if (packed()) {
      multiply_packed(begin, end, column, columns, at, out_row_stride);
    } else if (!multiply_plain(begin, end, column, columns, at, out_row_stride)) {
      return false;
    }
  }
  return true;
}

void Products::multiply_packed(int64_t begin, int64_t end, int64_t column, int64_t columns, float* out,
                               int64_t stride) const {
  const int64_t whole = std::min(end, item_->queries() / stride_), row_stride = call_.p.q_row_stride;
  GroupProduct product = {
      packed_queries_ + begin * stride_ * row_stride,        row_stride, whole - begin, stride_, 0, depth_,
      packed_keys_ + column / kTileGroups * tile_elements(), out,        stride,        columns};
  call_.kernel->multiply_groups(product);
  if (whole == end) return;
  product.q += product.groups * stride_ * row_stride;
  product.out += product.groups * stride;
  product.groups = 1;
  product.first_phase = stride_ - item_->queries() % stride_;
  call_.kernel->multiply_groups(product);
}

// Phase by phase, onto zeros; the last groups may lack a phase.
bool Products::multiply_plain(int64_t begin, int64_t end, int64_t column, int64_t columns, float* out,
                              int64_t stride) const {
  for (int64_t a = begin; a < end; ++a) {
    std::memset(out + (a - begin) * stride, 0, static_cast<size_t>(columns) * sizeof(float));
  }
  for (int64_t s = 0; s < stride_; ++s) {
    const int64_t phase = stride_ - 1 - s;
    const int64_t rows = std::min(end, blocks_of(std::max<int64_t>(item_->queries() - phase, 0), stride_)) - begin;
    const int64_t keys =
        std::min(column + columns, blocks_of(std::max<int64_t>(item_->keys() - s, 0), stride_)) - column;
    if (rows <= 0 || keys <= 0) continue;
    const gemm::Product product = {queries_ + ((begin - first_) * stride_ + phase) * queries_stride_,
                                   stride_ * queries_stride_,
                                   1,
                                   keys_ + (column * stride_ + s) * keys_stride_,
                                   1,
                                   stride_ * keys_stride_,
                                   out,
                                   stride,
                                   rows,
                                   keys,
                                   depth_,
                                   true};
    if (!gemm::run(*call_.gemm, product)) return false;
  }
  return true;
}

}  // namespace gatun::attention_select
