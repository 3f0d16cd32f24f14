// Which part of the work a block does, and what becomes of q . k: what the kernels share.
#pragma once

#include <cmath>

#include "base/quotient.h"
#include "decode/job.h"
#include "kv_cache/chunk.h"
#include "ptx/number.h"
#include "ptx/warp.h"

namespace gatun::cuda::decode {

inline constexpr uint32_t kInfinityBits = 0x7f800000, kMinusInfinityBits = 0xff800000, kNanBits = 0x7fc00000;

GATUN_DEVICE int64_t length_of(const Job& job, int64_t b, int64_t g) {
  const int64_t length = job.lengths[b * job.params.table_heads + (job.params.table_heads > 1 ? g : 0)];
  return length < 0 ? 0 : length < job.most_keys ? length : job.most_keys;
}

// Blocks of the same keys follow each other, so that the later ones find them in the L2 cache.
struct Part {
  int64_t b, g, item, number;
  int64_t length, first, last;  // keys first .. last - 1
  int row, rows;                // the first one of the tile, and how many
};
GATUN_DEVICE Part part_of_block(const Job& job, int tile_rows) {
  Part part;
  const int64_t index = quotient(block_x(), job.row_tiles), tile = block_x() - index * job.row_tiles;
  part.item = quotient(index, job.parts);
  part.number = index - part.item * job.parts;
  part.b = quotient(part.item, job.k.layout.heads);
  part.g = part.item - part.b * job.k.layout.heads;
  part.length = length_of(job, part.b, part.g);
  part.first = part.number * job.part_keys;
  part.last = part.first + job.part_keys < part.length ? part.first + job.part_keys : part.length;
  part.row = static_cast<int>(tile) * tile_rows;
  part.rows = job.rows - part.row < tile_rows ? job.rows - part.row : tile_rows;
  return part;
}

// Where a key is; a page of -1 if the table has none of the pool.
struct Place {
  int64_t page, row;
};
GATUN_DEVICE Place place_of(const Job& job, const Part& part, int64_t key) {
  const int64_t page_size = job.k.layout.page_size, number = quotient(key, page_size);
  const int64_t head = job.params.table_heads > 1 ? part.g : 0;
  const int64_t page = job.table == nullptr
                           ? part.b
                           : job.table[(part.b * job.params.table_heads + head) * job.params.table_stride + number];
  return {page < 0 || page >= job.k.layout.pages ? -1 : page, key - number * page_size};
}

// A row of q: its query head, query and position among the keys.
struct Query {
  int64_t head, query, position;
};
GATUN_DEVICE Query query_of(const Job& job, const Part& part, int row) {
  const int length = static_cast<int>(job.params.query_length), head = row / length;
  return {part.g * job.ratio + head, row - head * length, row - head * length + part.length - length};
}

GATUN_DEVICE bool sees(const gatun_decode_params& p, int64_t position, int64_t key) {
  if (p.causal != 0 && key > position) return false;
  return p.window_left < 0 || position - key <= p.window_left || key < p.sink_keys;
}

// The keys that some row of the tile may see: first .. last - 1 but for hidden_first .. hidden_last - 1. With logits,
// which are written for hidden keys too, all.
struct Span {
  int64_t first, last, hidden_first, hidden_last;
};
GATUN_DEVICE Span span_of(const Job& job, const Part& part) {
  const gatun_decode_params& p = job.params;
  Span span = {part.first, part.last, part.first, part.first};
  if (job.logits != nullptr) return span;
  const bool one_head = part.row / p.query_length == (part.row + part.rows - 1) / p.query_length;
  const int64_t least = one_head ? part.row % p.query_length : 0;
  const int64_t most = one_head ? least + part.rows - 1 : p.query_length - 1;
  const int64_t end = most + part.length - p.query_length + 1;
  if (p.causal != 0 && end < span.last) span.last = end;
  if (p.window_left >= 0) {
    const int64_t position = least + part.length - p.query_length;
    span.hidden_first = p.sink_keys > part.first ? p.sink_keys : part.first;
    span.hidden_last = position - p.window_left;
    if (span.hidden_last > span.last) span.hidden_last = span.last;
  }
  return span;
}

GATUN_DEVICE float logit_of(const Job& job, float slope, const Query& query, int64_t key, float qk) {
  const gatun_decode_params& p = job.params;
  float logit = p.scale * qk;
  if (p.soft_cap > 0) logit = p.soft_cap * tanhf(logit / p.soft_cap);
  if (slope != 0) logit = logit + slope * static_cast<float>(key - query.position);
  return logit;
}

GATUN_DEVICE float* partial_of(const Job& job, const Part& part) {
  return job.partial + (part.item * job.parts + part.number) * job.rows * (job.v.layout.size + 2);
}

// ---- q -------------------------------------------------------------------------------------------------------------

// Eight channels of a row of q, in each lane of a warp those from 8 * lane() on; zeros beyond the row.
GATUN_DEVICE void load_query(const Job& job, const Part& part, int row, float (&x)[kv_cache::kChannels]) {
  const gatun_decode_params& p = job.params;
  const Query query = query_of(job, part, row);
  const int first = lane() * kv_cache::kChannels;
#pragma unroll
  for (int i = 0; i < kv_cache::kChannels; ++i) x[i] = 0;
  if (first >= job.k.layout.size) return;
  kv_cache::Chunk chunk;
  const int64_t at = part.b * p.q_batch_stride + query.head * p.q_head_stride + query.query * p.q_row_stride + first;
  kv_cache::load_chunk(static_cast<const uint8_t*>(job.q) + at * (p.dtype == GATUN_F32 ? 4 : 2), p.dtype, chunk);
  kv_cache::to_floats(chunk, p.dtype, x);
}

// As multiples of the scale, amax / steps of the warp's row: gatun/decode.h. The scale of a row that is not finite is
// NaN. All lanes take part.
GATUN_DEVICE float round_query(const float (&x)[kv_cache::kChannels], float steps,
                               int32_t (&code)[kv_cache::kChannels]) {
  float amax = 0;
  bool finite = true;
#pragma unroll
  for (int i = 0; i < kv_cache::kChannels; ++i) {
    amax = max_number(amax, absolute(x[i]));
    finite = finite && (as_bits(x[i]) & 0x7fffffff) < kInfinityBits;
  }
  for (int mask = 1; mask < 32; mask *= 2) amax = max_number(amax, shuffle_xor(amax, mask));
  finite = ballot(!finite) == 0;
  const bool any = finite && amax >= kv_cache::power_of_two(-100);
  const float scale = amax / steps, inverse = any ? 1 / scale : 0;
#pragma unroll
  for (int i = 0; i < kv_cache::kChannels; ++i) code[i] = any ? round_to_i32(x[i] * inverse) : 0;
  return finite ? (any ? scale : 0) : as_float(kNanBits);
}
GATUN_DEVICE float query_steps(const Job& job) { return job.params.mode == GATUN_DECODE_INT8 ? 127.0f : 16256.0f; }

}  // namespace gatun::cuda::decode
