// INT8: the codes of q and k (native/src/attention/reference.h), with the same bits as on the CPU.
//
//   mean[c]  the sum over an item's keys, ascending, by one thread for each column; tiles of 128 keys come through
//            shared memory, where they are asked for while those before are added: about 1000 cycles a tile, not
//            measured
//   k        a block for each unit of 64 keys: amax of k - mean, then the codes
//   q        a warp for each row: amax and q . mean, then the codes
#include <cstdint>

#include "attention/code_blocks.h"
#include "base/check.h"
#include "ptx/launch.h"
#include "ptx/warp.h"

namespace gatun::cuda::attention {
namespace {

constexpr int kThreads = 32 * kRowsOfBlock, kMeanKeys = 128, kBatch = kMeanColumns * kMeanKeys / kThreads;
constexpr float kLargest = 127.0f;

// Of k or v.
GATUN_KERNEL(kThreads, 4)
attention_mean(GATUN_GRID_CONSTANT Job job, Strided rows, int64_t columns, float* means) {
  const Columns own = columns_of_block(job, columns);
  const Item& item = own.item;
  const int64_t place = place_of(job, item.index, item.first_key, own.head, rows) + own.column;
  float* const tiles = reinterpret_cast<float*>(shared_memory());
  const bool inside = own.column < columns;
  float values[kBatch], sum = 0;
  const auto load = [&](int32_t first) {
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int32_t key = first + warp() + i * (kThreads / 32);
      values[i] = inside && key < item.keys ? load_float(rows.data, job.dtype, place + key * rows.row_stride) : 0.0f;
    }
  };
  load(0);
  for (int32_t first = 0; first < item.keys; first += kMeanKeys) {
    float* const tile = tiles + first / kMeanKeys % 2 * (kMeanKeys * kMeanColumns);
#pragma unroll
    for (int i = 0; i < kBatch; ++i) tile[(warp() + i * (kThreads / 32)) * kMeanColumns + lane()] = values[i];
    load(first + kMeanKeys);
    block_barrier();
    if (warp() != 0) continue;
    const int count = smaller(kMeanKeys, item.keys - first);
#pragma unroll 16
    for (int i = 0; i < count; ++i) sum += tile[i * kMeanColumns + lane()];
  }
  if (warp() == 0 && inside) {
    means[(item.index * job.kv_heads + own.head) * columns + own.column] = sum / static_cast<float>(item.keys);
  }
}

GATUN_DEVICE int8_t code_of(float x, const Scale& scale) {
  return scale.inverse == 0 ? int8_t{0} : static_cast<int8_t>(round_to_i32(x * scale.inverse));
}

GATUN_DEVICE float amax_of_warp(float x) {
#pragma unroll
  for (int i = 1; i < 32; i *= 2) x = max_or_nan(x, shuffle_xor(x, i));
  return x;
}

GATUN_KERNEL(kThreads, 4)
attention_quantize_keys(GATUN_GRID_CONSTANT Job job, int8_t* codes, float* scales) {
  Unit unit;
  if (!unit_of_block(job, &unit)) return;
  const Item& item = unit.item;
  const int64_t head = unit.head;
  const int32_t first = unit.first;
  const int count = smaller(kUnitKeys, item.keys - first);
  const int64_t from = place_of(job, item.index, item.first_key, head, job.k) + first * job.k.row_stride;
  const int64_t to = place_of(job, item.index, item.first_key, head, job.codes.k) + first * job.codes.columns;
  const float* const mean = job.codes.mean + (item.index * job.kv_heads + head) * job.head_size;
  const auto centred = [&](int key, int column) {
    return load_float(job.k.data, job.dtype, from + key * job.k.row_stride + column) - mean[column];
  };
  float amax = 0;
  for (int key = warp(); key < count; key += kThreads / 32) {
    for (int column = lane(); column < job.head_size; column += 32) {
      amax = max_or_nan(amax, absolute(centred(key, column)));
    }
  }
  float* const of_warps = reinterpret_cast<float*>(shared_memory());
  amax = amax_of_warp(amax);
  if (lane() == 0) of_warps[warp()] = amax;
  block_barrier();
  for (int i = 0; i < kThreads / 32; ++i) amax = max_or_nan(amax, of_warps[i]);
  const Scale scale = scale_of(amax, kLargest);
  if (thread_index() == 0) scales[unit_of(job, item, head, first)] = scale.scale;
  for (int key = warp(); key < count; key += kThreads / 32) {
    for (int column = lane(); column < job.codes.columns; column += 32) {
      codes[to + key * job.codes.columns + column] =
          column < job.head_size ? code_of(centred(key, column), scale) : int8_t{0};
    }
  }
}

// The rows of all heads in the order of `rows` in memory that has no gaps: of a batch item or, with offsets, of all.
struct RowPlace {
  int64_t item, head, row;
};
GATUN_DEVICE RowPlace row_place(int64_t index, int64_t heads, int64_t length) {
  const int64_t all = quotient(index, length), item = quotient(all, heads);
  return {item, all - item * heads, index - all * length};
}

// The batch item that a row of q is in, of those with offsets; -1 if it is in none.
GATUN_DEVICE int64_t item_of_row(const Job& job, const int64_t* offsets, int64_t row) {
  int64_t low = 0, high = job.batch;
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (offsets[middle] <= row ? low : high) = middle;
  }
  return offsets[low] <= row && row < offsets[low + 1] ? low : -1;
}

// A warp for each of `rows` rows.
GATUN_KERNEL(kThreads, 4)
attention_quantize_queries(GATUN_GRID_CONSTANT Job job, int8_t* codes, float* scales, float* offsets, int64_t rows) {
  const int64_t index = block_x() * kRowsOfBlock + warp();
  if (index >= rows) return;
  const RowPlace place = row_place(index, job.query_heads, job.query_length);
  const int64_t item = job.in.q_offsets == nullptr ? place.item : item_of_row(job, job.in.q_offsets, place.row);
  if (item < 0) return;
  const int64_t from = place.item * job.q.batch_stride + place.head * job.q.head_stride + place.row * job.q.row_stride;
  const float* const mean = job.codes.mean + (item * job.kv_heads + quotient(place.head, job.group)) * job.head_size;
  float amax = 0, product = 0;
  for (int column = lane(); column < job.head_size; column += 32) {
    const float x = load_float(job.q.data, job.dtype, from + column);
    amax = max_or_nan(amax, absolute(x));
    product = fused(x, mean[column], product);
  }
#pragma unroll
  for (int i = 1; i < 32; i *= 2) product += shuffle_xor(product, i);
  const Scale scale = scale_of(amax_of_warp(amax), kLargest);
  if (lane() == 0) {
    scales[index] = scale.scale;
    offsets[index] = product;
  }
  for (int column = lane(); column < job.codes.columns; column += 32) {
    codes[index * job.codes.columns + column] =
        column < job.head_size ? code_of(load_float(job.q.data, job.dtype, from + column), scale) : int8_t{0};
  }
}

// A warp for each of `rows` rows of v.
GATUN_KERNEL(kThreads, 4)
attention_round_values(GATUN_GRID_CONSTANT Job job, uint16_t* to, int64_t rows) {
  const int64_t index = block_x() * kRowsOfBlock + warp();
  if (index >= rows) return;
  const RowPlace place = row_place(index, job.kv_heads, job.kv_length);
  const int64_t from = place.item * job.v.batch_stride + place.head * job.v.head_stride + place.row * job.v.row_stride;
  for (int column = lane(); column < job.value_size; column += 32) {
    to[index * job.value_size + column] = f32_to_bf16(load_float(job.v.data, job.dtype, from + column));
  }
}

}  // namespace

int32_t run_means(const Job& job, const Strided& rows, int64_t columns, const float* means, void* stream) {
  return launch(
      "attention_mean_sm80", attention_mean,
      {job.batch * job.kv_heads * blocks_of(columns, kMeanColumns), 1, 1, kThreads, 2 * kMeanColumns * kMeanKeys * 4},
      stream, job, rows, columns, const_cast<float*>(means));
}

int32_t run_quantize(const Job& job, bool values, void* stream) {
  const int64_t items = job.in.q_offsets == nullptr ? job.batch : 1;
  const auto writable = [](const void* data) { return const_cast<void*>(data); };
  GATUN_TRY(run_means(job, job.k, job.head_size, job.codes.mean, stream));
  GATUN_TRY(launch("attention_quantize_keys_sm80", attention_quantize_keys,
                   {items * job.kv_heads * job.codes.k_units, 1, 1, kThreads, kThreads / 32 * 4}, stream, job,
                   static_cast<int8_t*>(writable(job.codes.k.data)), const_cast<float*>(job.codes.k_scales)));
  const auto blocks = [](int64_t rows) { return blocks_of(rows, kRowsOfBlock); };
  const int64_t q_rows = items * job.query_heads * job.query_length;
  GATUN_TRY(launch("attention_quantize_queries_sm80", attention_quantize_queries, {blocks(q_rows), 1, 1, kThreads, 0},
                   stream, job, static_cast<int8_t*>(writable(job.codes.q.data)),
                   const_cast<float*>(job.codes.q_scales), const_cast<float*>(job.codes.q_offsets), q_rows));
  if (!values) return GATUN_OK;
  const int64_t v_rows = items * job.kv_heads * job.kv_length;
  return launch("attention_round_values_sm80", attention_round_values, {blocks(v_rows), 1, 1, kThreads, 0}, stream, job,
                static_cast<uint16_t*>(writable(job.values.data)), v_rows);
}

}  // namespace gatun::cuda::attention
