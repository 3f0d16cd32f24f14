// Decoding in f32, of any format: four rows of q and a part of keys each block, 64 keys at a time.
//
//   logits   eight lanes share a key: eight channels each, 64 channels apart; q lies in shared memory. Sums of eight
//            products of codes are exact integers
//   weights  a warp does a row's exponentials, with the running maximum
//   sums     a thread does eight channels of every 128 / (size / 8)-th key
//
//   shared memory   q [4][256] f32 | its codes [4][256] i32 | logits, then weights [4][64] | factors [4] | the sums of
//                   threads [128][4][8], at the end
//
// PER_CHANNEL keys of a group of tokens have q of their own, q * scale rounded, and a tile ends with the group.
#include "decode/part.h"
#include "decode/select.h"
#include "ptx/launch.h"

namespace gatun::cuda::decode {
namespace {

using kv_cache::Chunk;
using kv_cache::kChannels;

constexpr int kThreads = 128, kRows = 4, kTileKeys = 64, kMostSize = 256, kLanesOfKey = 8;
static_assert(kThreads / 32 == kRows);

struct Shared {
  float q[kRows][kMostSize];
  int32_t code[kRows][kMostSize];
  float scale[kRows], offset[kRows];  // of q's codes; of zero points of channels
  float weight[kRows][kTileKeys];
  float factor[kRows];
};
constexpr int kSumsBytes = kThreads * kRows * kChannels * 4;
constexpr int kSharedBytes = static_cast<int>(sizeof(Shared)) > kSumsBytes ? static_cast<int>(sizeof(Shared))
                                                                           : kSumsBytes;

// The warp's row of q as codes; of keys PER_CHANNEL those of the group with key `key`.
GATUN_DEVICE void round_row(const Job& job, const Part& part, int64_t key, Shared& shared) {
  const gatun_kv_layout& l = job.k.layout;
  const int row = warp(), first = lane() * kChannels;
  float x[kChannels], offset = 0;
#pragma unroll
  for (int i = 0; i < kChannels; ++i) x[i] = shared.q[row][first + i];
  if (l.scaling == GATUN_KV_PER_CHANNEL) {
    const Place place = place_of(job, part, key);
    const bool there = place.page >= 0 && first < l.size;  // a pool without pages has no scales
    const int64_t at = kv_cache::scales_at(job.k, place.page, part.g, place.row) + first;
#pragma unroll
    for (int i = 0; i < kChannels; ++i) {
      if (!there) continue;
      if (job.k.zeros != nullptr) offset = fused(x[i], f16_to_f32(job.k.zeros[at + i]), offset);
      x[i] = x[i] * f16_to_f32(job.k.scales[at + i]);
    }
    for (int mask = 1; mask < 32; mask *= 2) offset = offset + shuffle_xor(offset, mask);
  }
  int32_t code[kChannels];
  const float scale = round_query(x, query_steps(job), code);
#pragma unroll
  for (int i = 0; i < kChannels; ++i) shared.code[row][first + i] = code[i];
  if (lane() == 0) {
    shared.scale[row] = scale;
    shared.offset[row] = offset;
  }
}

// What a lane's channels add to q . k of each row.
GATUN_DEVICE void add_products(const Job& job, const Shared& shared, const uint8_t* row, int64_t scales, int first,
                               float (&sum)[kRows]) {
  const DevicePool& pool = job.k;
  const gatun_kv_layout& l = pool.layout;
  float x[kChannels];
  if (l.scaling == GATUN_KV_UNSCALED) {
    kv_cache::load_values(pool, row, 0, first, x);
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
#pragma unroll
      for (int i = 0; i < kChannels; ++i) sum[r] = fused(shared.q[r][first + i], x[i], sum[r]);
    }
    return;
  }
  Chunk chunk;
  kv_cache::load_chunk(row + first / kChannels * kv_cache::chunk_bytes(l.dtype), l.dtype, chunk);
  kv_cache::to_codes(chunk, l.dtype, pool.zeros != nullptr, x);
  const bool tokens = l.scaling == GATUN_KV_PER_TOKEN;
  const int64_t group = tokens ? kv_cache::group_of(pool, first) : 0;
  const float scale = tokens ? f16_to_f32(pool.scales[scales + group]) : 1.0f;
  const float zero = tokens && pool.zeros != nullptr ? f16_to_f32(pool.zeros[scales + group]) : 0.0f;
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    int32_t product = 0, total = 0;
#pragma unroll
    for (int i = 0; i < kChannels; ++i) {
      product += shared.code[r][first + i] * static_cast<int32_t>(x[i]);
      total += shared.code[r][first + i];
    }
    sum[r] = fused(static_cast<float>(product), scale, sum[r]);
    sum[r] = fused(static_cast<float>(total), zero, sum[r]);
  }
}

GATUN_KERNEL(kThreads, 3) decode(GATUN_GRID_CONSTANT Job job) {
  const gatun_decode_params& p = job.params;
  const gatun_kv_layout& l = job.k.layout;
  const Part part = part_of_block(job, kRows);
  if (part.first >= part.last) return;
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  {
    float x[kChannels];
    const bool there = warp() < part.rows;
    load_query(job, part, part.row + (there ? warp() : 0), x);
#pragma unroll
    for (int i = 0; i < kChannels; ++i) shared.q[warp()][lane() * kChannels + i] = there ? x[i] : 0.0f;
    warp_barrier();
  }
  const bool codes = l.scaling != GATUN_KV_UNSCALED, channels = l.scaling == GATUN_KV_PER_CHANNEL;
  if (codes && !channels) round_row(job, part, 0, shared);

  const int of_row = lane() % kLanesOfKey, size = static_cast<int>(l.size);
  const bool finishes = of_row < part.rows;  // logits of this row
  const Query query = query_of(job, part, part.row + (finishes ? of_row : 0));
  const float slope = job.slopes != nullptr ? job.slopes[query.head] : 0;

  const int value_size = static_cast<int>(job.v.layout.size), chunks = value_size / kChannels;
  const int slots = chunks > 0 ? kThreads / chunks : 0, slot = chunks > 0 ? thread_index() / chunks : 0;
  const int value_channel = chunks > 0 ? thread_index() % chunks * kChannels : 0;
  float sum[kRows][kChannels];
#pragma unroll
  for (int i = 0; i < kRows * kChannels; ++i) sum[i / kChannels][i % kChannels] = 0;
  float maximum = as_float(kMinusInfinityBits), total = 0;  // of the warp's row

  const Span span = span_of(job, part);
  int64_t next = 0, group = -1;
  for (int64_t first = span.first; first < span.last; first = next) {
    if (first >= span.hidden_first && first < span.hidden_last) {
      next = span.hidden_last;
      continue;
    }
    next = first + kTileKeys < span.last ? first + kTileKeys : span.last;
    block_barrier();
    if (channels) {
      const int64_t own = quotient(first, l.group);
      if (next > (own + 1) * l.group) next = (own + 1) * l.group;
      if (own != group) round_row(job, part, first, shared);
      group = own;
      block_barrier();
    }
    const int count = static_cast<int>(next - first);
    for (int j = thread_index() / kLanesOfKey; j < (count + 15) / 16 * 16; j += kThreads / kLanesOfKey) {
      const int64_t key = first + j;
      const Place place = j < count ? place_of(job, part, key) : Place{-1, 0};
      float product[kRows];
#pragma unroll
      for (int r = 0; r < kRows; ++r) product[r] = 0;
      if (place.page >= 0) {
        const uint8_t* const row = kv_cache::row_at(job.k, place.page, part.g, place.row);
        const int64_t scales = kv_cache::scales_at(job.k, place.page, part.g, place.row);
        for (int c = of_row * kChannels; c < size; c += kLanesOfKey * kChannels) {
          add_products(job, shared, row, scales, c, product);
        }
      }
      float own = 0;
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        for (int mask = 1; mask < kLanesOfKey; mask *= 2) product[r] = product[r] + shuffle_xor(product[r], mask);
        if (r == of_row) own = product[r];
      }
      if (of_row >= kRows || j >= count) continue;
      if (codes) own = fused(own, shared.scale[of_row], shared.offset[of_row]);
      const bool seen = finishes && place.page >= 0 && sees(p, query.position, key);
      const float logit = seen ? logit_of(job, slope, query, key, own) : as_float(kMinusInfinityBits);
      shared.weight[of_row][j] = logit;
      if (finishes && job.logits != nullptr) {
        job.logits[part.b * p.logits_batch_stride + query.head * p.logits_head_stride +
                   query.query * p.logits_row_stride + key] = logit;
      }
    }
    block_barrier();
    {
      float* const weights = shared.weight[warp()];
      float largest = maximum, sum_of_tile = 0;
      for (int j = lane(); j < count; j += 32) largest = max_number(largest, weights[j]);
      for (int mask = 1; mask < 32; mask *= 2) largest = max_number(largest, shuffle_xor(largest, mask));
      const float base = largest == as_float(kMinusInfinityBits) ? 0 : largest;  // -infinity less itself is no number
      for (int j = lane(); j < count; j += 32) {
        weights[j] = expf(weights[j] - base);
        sum_of_tile += weights[j];
      }
      for (int mask = 1; mask < 32; mask *= 2) sum_of_tile += shuffle_xor(sum_of_tile, mask);
      const float factor = expf(maximum - base);
      total = fused(total, factor, sum_of_tile);
      maximum = largest;
      if (lane() == 0) shared.factor[warp()] = factor;
    }
    block_barrier();
    if (chunks == 0 || slot >= slots) continue;
#pragma unroll
    for (int i = 0; i < kRows * kChannels; ++i) {
      sum[i / kChannels][i % kChannels] = sum[i / kChannels][i % kChannels] * shared.factor[i / kChannels];
    }
    for (int j = slot; j < count; j += slots) {
      const Place place = place_of(job, part, first + j);
      if (place.page < 0) continue;
      float x[kChannels];
      kv_cache::load_values(job.v, kv_cache::row_at(job.v, place.page, part.g, place.row),
                            kv_cache::scales_at(job.v, place.page, part.g, place.row), value_channel, x);
#pragma unroll
      for (int i = 0; i < kRows * kChannels; ++i) {
        sum[i / kChannels][i % kChannels] =
            fused(shared.weight[i / kChannels][j], x[i % kChannels], sum[i / kChannels][i % kChannels]);
      }
    }
  }

  float* const partial = partial_of(job, part);
  if (lane() == 0 && warp() < part.rows) {
    partial[part.row + warp()] = maximum;
    partial[job.rows + part.row + warp()] = total;
  }
  if (chunks == 0) return;
  block_barrier();
  float* const sums = reinterpret_cast<float*>(shared_memory());
  if (slot < slots) {
#pragma unroll
    for (int i = 0; i < kRows * kChannels; ++i) {
      sums[(slot * kRows + i / kChannels) * value_size + value_channel + i % kChannels] =
          sum[i / kChannels][i % kChannels];
    }
  }
  block_barrier();
  for (int i = thread_index(); i < part.rows * value_size; i += kThreads) {
    float all = 0;
    for (int s = 0; s < slots; ++s) all += sums[s * kRows * value_size + i];
    partial[2 * job.rows + part.row * value_size + i] = all;
  }
}

}  // namespace

int32_t run_decode_f32_m4n64_sm80(const Job& job, void* stream) {
  return launch("decode_f32_m4n64_sm80", decode, {job.blocks(), 1, 1, kThreads, kSharedBytes}, stream, job);
}

}  // namespace gatun::cuda::decode
