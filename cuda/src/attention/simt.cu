// Any attention, in f32: what has no better kernel, and again the tiles of others where numbers of v that are none have
// met rows that do not see them.
//
//   logit[i][j] = rule(q[i] . k[j])      a thread has one of 32 keys and four of 16 rows
//   sum[i][c]   = sum[i][c] * factor[i] + sum over j of weight[i][j] v[j][c]      a thread has columns c, c + 128
//
// In shared memory: q in words (an f32, or four codes of INT8) [16][words], k [32][words + 4], so that eight lanes that
// load 16 bytes each meet all banks, weights [32][16]. Values are read where they lie: neighbouring threads have
// neighbouring columns. q . k is four sums of a quarter of the depth: its error is at most 2^-24 (head_size / 4 + 3)
// sum |q k|, where half the bound of gatun/attention.h is due to it.
//
// A step of 32 keys: head_size / 4 (5 loads of 16 bytes, 16 fma) and 32 (5 loads, 32 fma) a thread. An SM of sm_90 has
// 128 fma and 128 bytes of shared memory a cycle: loads take longer, and 30 to 40 % of the fma are reached. Emulated
// only.
#include <cmath>
#include <cstdint>

#include "attention/panels.h"
#include "ptx/launch.h"

namespace gatun::cuda::attention {
namespace {

constexpr int kRows = 16, kThreads = 128, kWarpRows = 4, kPanels = 2, kKeys = kPanels * kPanelKeys;
constexpr int kMostColumns = 256, kColumns = kMostColumns / kThreads;  // of v, that a thread has
constexpr int kGap = 4;                                                // words after a row of k

struct Shared {
  Step<kPanels> step;
  float weights[kKeys][kRows];
  uint8_t seen[kKeys][kThreads / 32];  // bit r of byte w: row kWarpRows * w + r sees the key
  float factor[kRows];
  alignas(16) uint32_t words[1];  // of q, then of k
};

constexpr int64_t shared_bytes(int64_t words) {
  return static_cast<int64_t>(sizeof(Shared)) + (kRows * words + kKeys * (words + kGap)) * 4;
}

struct alignas(16) Floats4 {
  float x[4];
};

// Rows of a head as words: of those from `count` on zeros.
template <bool kInt8>
GATUN_DEVICE void load_rows(const Strided& from, int64_t place, int32_t dtype, int words, int count, int rows,
                            int stride, uint32_t* to, const int32_t* keys) {
  for (int i = thread_index(); i < rows * words; i += kThreads) {
    const int row = i / words, word = i - row * words;
    const int64_t index = keys == nullptr ? row : keys[row / kPanelKeys] + row % kPanelKeys;
    uint32_t value = 0;
    if (index < count) {
      const int64_t at = place + index * from.row_stride;
      value = kInt8 ? static_cast<const uint32_t*>(from.data)[at / 4 + word]
                    : as_bits(load_float(from.data, dtype, at + word));
    }
    to[row * stride + word] = value;
  }
}

// Of four rows and one key.
template <bool kInt8>
GATUN_DEVICE void multiply(const uint32_t* q, const uint32_t* k, int words, float (&product)[kWarpRows]) {
  if constexpr (kInt8) {
    int32_t sum[kWarpRows] = {};
    for (int w = 0; w < words; w += 4) {
      const Words4 b = *reinterpret_cast<const Words4*>(k + w);
#pragma unroll
      for (int r = 0; r < kWarpRows; ++r) {
        const Words4 a = *reinterpret_cast<const Words4*>(q + r * words + w);
#pragma unroll
        for (int i = 0; i < 4; ++i) sum[r] = dot_i8x4(a.word[i], b.word[i], sum[r]);
      }
    }
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) product[r] = static_cast<float>(sum[r]);
  } else {
    Floats4 sum[kWarpRows] = {};
    for (int w = 0; w < words; w += 4) {
      const Floats4 b = *reinterpret_cast<const Floats4*>(k + w);
#pragma unroll
      for (int r = 0; r < kWarpRows; ++r) {
        const Floats4 a = *reinterpret_cast<const Floats4*>(q + r * words + w);
#pragma unroll
        for (int i = 0; i < 4; ++i) sum[r].x[i] = fused(a.x[i], b.x[i], sum[r].x[i]);
      }
    }
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) product[r] = (sum[r].x[0] + sum[r].x[1]) + (sum[r].x[2] + sum[r].x[3]);
  }
}

GATUN_DEVICE float max_of_warp(float x) {
#pragma unroll
  for (int i = 1; i < 32; i *= 2) x = max_number(x, shuffle_xor(x, i));
  return x;
}
GATUN_DEVICE float sum_of_warp(float x) {
#pragma unroll
  for (int i = 1; i < 32; i *= 2) x += shuffle_xor(x, i);
  return x;
}

GATUN_DEVICE void add_values(const Job& job, const Shared& shared, int64_t place, int32_t keys,
                             float (&sum)[kColumns][kRows]) {
#pragma unroll
  for (int i = 0; i < kColumns; ++i) {
    const int column = thread_index() + i * kThreads;
    if (column >= job.value_size) break;
#pragma unroll
    for (int r = 0; r < kRows; ++r) sum[i][r] *= shared.factor[r];
#pragma unroll 4
    for (int j = 0; j < kKeys; ++j) {
      const int32_t key = shared.step.key[j / kPanelKeys] + j % kPanelKeys;
      if (key >= keys) continue;
      const float v = load_float(job.v.data, job.dtype, place + key * job.v.row_stride + column);
      const bool finite = is_finite(v);  // or it must not meet the weights 0 of rows that do not see it
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
        if (finite || (shared.seen[j][r / kWarpRows] >> r % kWarpRows & 1) != 0) {
          sum[i][r] = fused(shared.weights[j][r], v, sum[i][r]);
        }
      }
    }
  }
}

// Up to kRows rows, all in one row of the mask.
template <bool kInt8>
GATUN_DEVICE void attend(const Job& job, const Tile& tile) {
  Shared& shared = *reinterpret_cast<Shared*>(shared_memory());
  const Strided &q_rows = kInt8 ? job.codes.q : job.q, &k_rows = kInt8 ? job.codes.k : job.k;
  const int words = kInt8 ? static_cast<int>(job.codes.columns / 4) : job.head_size, stride = words + kGap;
  uint32_t* const q = shared.words;
  uint32_t* const k = q + kRows * words;
  const Item& item = tile.item;
  const int64_t q_place = place_of(job, item.index, item.first_query, tile.head, q_rows) + tile.row * q_rows.row_stride;
  const int64_t k_place = place_of(job, item.index, item.first_key, tile.kv_head, k_rows);
  const int64_t v_place = place_of(job, item.index, item.first_key, tile.kv_head, job.v);
  load_rows<kInt8>(q_rows, q_place, job.dtype, words, tile.rows, kRows, words, q, nullptr);

  const int first_row = warp() * kWarpRows;  // of the four of a warp
  const float slope = slope_of(job, tile.head);
  PanelSource source(job, tile);
  float top[kWarpRows], total[kWarpRows] = {}, sum[kColumns][kRows] = {};
#pragma unroll
  for (int r = 0; r < kWarpRows; ++r) top[r] = -infinity();
#pragma unroll 1
  while (true) {
    block_barrier();  // nobody reads the step before
    if (warp() == 0) source.fill(job, &shared.step);
    block_barrier();
    if (shared.step.count == 0) break;
    load_rows<kInt8>(k_rows, k_place, job.dtype, words, item.keys, kKeys, stride, k, shared.step.key);
    block_barrier();

    float logit[kWarpRows];
    multiply<kInt8>(q + first_row * words, k + lane() * stride, words, logit);
    const int panel = lane() / kPanelKeys;
    const int32_t key = shared.step.key[panel] + lane() % kPanelKeys;
    uint8_t seen_by_rows = 0;
#pragma unroll
    for (int r = 0; r < kWarpRows; ++r) {
      const int32_t row = tile.row + first_row + r;
      const MaskedRow masked(job, tile, row);
      const bool seen =
          first_row + r < tile.rows && (masked.bits(job, shared.step, panel) >> lane() % kPanelKeys & 1) != 0;
      if (kInt8 && seen) {
        const int64_t q_row = code_row(job, tile) + row;
        const float scale = job.codes.q_scales[q_row] * job.codes.k_scales[unit_of(job, item, tile.kv_head, key)];
        logit[r] = fused(logit[r], scale, job.codes.q_offsets[q_row]);
      }
      logit[r] = seen ? logit_of(job.rule, slope, logit[r], key - position_of(item, row)) : -infinity();
      seen_by_rows = static_cast<uint8_t>(seen_by_rows | seen << r);
      const float now = max_number(top[r], max_of_warp(logit[r])), from = now == -infinity() ? 0.0f : now;
      const float weight = exp2_fast(logit[r] - from), factor = exp2_fast(top[r] - from);
      total[r] = fused(total[r], factor, sum_of_warp(weight));
      top[r] = now;
      shared.weights[lane()][first_row + r] = weight;
      if (lane() == 0) shared.factor[first_row + r] = factor;
    }
    shared.seen[lane()][warp()] = seen_by_rows;
    block_barrier();
    if (job.out != nullptr) add_values(job, shared, v_place, item.keys, sum);
  }

#pragma unroll
  for (int r = 0; r < kWarpRows; ++r) {
    if (lane() != 0 || first_row + r >= tile.rows) continue;
    const int64_t lse_at = lse_place(job, tile) + first_row + r;
    const RowEnd end = end_row(job, tile.head, lse_at, top[r], total[r]);
    shared.factor[first_row + r] = end.factor * end.correction;
    if (job.lse != nullptr) job.lse[lse_at] = end.lse;
  }
  block_barrier();
  if (job.out == nullptr) return;
  const int64_t out_at = out_place(job, tile);
#pragma unroll
  for (int i = 0; i < kColumns; ++i) {
    const int column = thread_index() + i * kThreads;
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      if (column < job.value_size && r < tile.rows) {
        store_out(job, out_at + r * job.out_row_stride + column, sum[i][r] * shared.factor[r]);
      }
    }
  }
}

// The tile of a block, sixteen rows at a time; with `again` only if it is spoiled.
template <bool kInt8>
GATUN_KERNEL(kThreads, 2)
attention_simt(GATUN_GRID_CONSTANT Job job, int32_t again) {
  Tile tile;
  if (!tile_of_block(job, &tile) || (again != 0 && job.spoiled[block_x()] == 0)) return;
  const int32_t end = tile.row + tile.rows;
  for (; tile.row < end; tile.row += kRows) {
    tile.rows = smaller(kRows, end - tile.row);
    attend<kInt8>(job, tile);
    block_barrier();  // the next rows take the place of these
  }
}

int32_t run_rows(const char* name, const Job& job, bool again, void* stream) {
  const bool int8 = job.codes.columns > 0;
  const int64_t bytes = shared_bytes(int8 ? job.codes.columns / 4 : job.head_size);
  return launch(name, int8 ? attention_simt<true> : attention_simt<false>, {job.blocks, 1, 1, kThreads, bytes}, stream,
                job, again);
}

}  // namespace

int32_t run_attention_f32_simt_sm80(const Job& job, void* stream) {
  return run_rows("attention_f32_simt_sm80", job, false, stream);
}

int32_t run_again(const Job& job, void* stream) { return run_rows("attention_again_sm80", job, true, stream); }

}  // namespace gatun::cuda::attention
