// out = wa a + wb b, wa = exp(a_lse - lse), wb = exp(b_lse - lse). A lane has pieces of eight elements, or single ones
// where these are not aligned; as many lanes as a row has pieces, up to a warp, share it.
//
// With high and low the larger and the smaller lse, the weights are 1 / (1 + exp(low - high)) and that times
// exp(low - high), and lse = high + ln(1 + exp(low - high)). Errors: exp and log1p two units in the last place each,
// three roundings: less than 2^-21 of what is added. Limit: memory, 3 value_size elements and 12 bytes a row.
#include <cmath>

#include "attention/device_merge.h"
#include "attention/device_rows.h"
#include "base/check.h"
#include "ptx/launch.h"
#include "ptx/memory.h"
#include "ptx/warp.h"

namespace gatun::cuda::attention {
namespace {

constexpr int kThreads = 128;

struct Piece {
  float x[8];
};

// By plain loads, since out may be a or b.
GATUN_DEVICE Piece load_piece(const void* data, int32_t dtype, int64_t at) {
  Piece piece;
  if (dtype == GATUN_F32) {
    const Words4* const from = reinterpret_cast<const Words4*>(static_cast<const float*>(data) + at);
    const Words4 low = from[0], high = from[1];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      piece.x[i] = as_float(low.word[i]);
      piece.x[i + 4] = as_float(high.word[i]);
    }
    return piece;
  }
  const Words4 words = *reinterpret_cast<const Words4*>(static_cast<const uint16_t*>(data) + at);
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const uint16_t half = static_cast<uint16_t>(words.word[i / 2] >> i % 2 * 16);
    piece.x[i] = dtype == GATUN_F16 ? f16_to_f32(half) : bf16_to_f32(half);
  }
  return piece;
}

GATUN_DEVICE void store_piece(void* data, int32_t dtype, int64_t at, const Piece& piece) {
  Words4 words;
  if (dtype == GATUN_F32) {
#pragma unroll
    for (int first = 0; first < 8; first += 4) {
#pragma unroll
      for (int i = 0; i < 4; ++i) words.word[i] = as_bits(piece.x[first + i]);
      store_once(static_cast<float*>(data) + at + first, words);
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float low = piece.x[2 * i], high = piece.x[2 * i + 1];
    words.word[i] = dtype == GATUN_F16 ? pack_f16(low, high) : pack_bf16(low, high);
  }
  store_once(static_cast<uint16_t*>(data) + at, words);
}

GATUN_DEVICE void store_float(void* to, int32_t dtype, int64_t at, float x) {
  if (dtype == GATUN_F32) {
    static_cast<float*>(to)[at] = x;
  } else {
    static_cast<uint16_t*>(to)[at] = dtype == GATUN_F16 ? f32_to_f16(x) : f32_to_bf16(x);
  }
}

GATUN_KERNEL(kThreads, 8)
attention_merge(GATUN_GRID_CONSTANT MergeJob job) {
  const gatun_attention_merge_params& p = job.p;
  const int64_t all_lanes = block_x() * kThreads + thread_index(), own_row = quotient(all_lanes, job.lanes);
  const bool there = own_row < job.rows;  // or nothing is read or written
  const int64_t first = all_lanes - own_row * job.lanes, row = there ? own_row : 0;
  const int64_t end = there ? p.value_size : 0;
  const int64_t all = quotient(row, p.length), item = quotient(all, p.heads);
  const int64_t head = all - item * p.heads, i = row - all * p.length;
  const int64_t a_at = item * p.a_batch_stride + head * p.a_head_stride + i * p.a_row_stride;
  const int64_t b_at = item * p.b_batch_stride + head * p.b_head_stride + i * p.b_row_stride;
  const int64_t out_at = item * p.out_batch_stride + head * p.out_head_stride + i * p.out_row_stride;

  const float a_lse = there ? job.a_lse[row] : 0.0f;
  const float b_lse = there ? job.b_lse[row] : 0.0f;
  const bool no_a = a_lse == -infinity(), no_b = b_lse == -infinity();
  const float high = a_lse > b_lse ? a_lse : b_lse, low = a_lse > b_lse ? b_lse : a_lse;
  const float ratio = expf(low - high), of_high = 1.0f / (1.0f + ratio), of_low = ratio * of_high;
  const float a_weight = a_lse > b_lse ? of_high : of_low, b_weight = a_lse > b_lse ? of_low : of_high;
  const float lse = no_a ? b_lse : no_b ? a_lse : high + log1pf(ratio);
  const auto merged = [&](float x, float y) { return no_a ? y : no_b ? x : fused(a_weight, x, b_weight * y); };
  // What no keys gave is not looked at: it may be anything.
  if (job.wide != 0) {
    for (int64_t c = first * 8; c < end; c += job.lanes * 8) {
      Piece a = {}, b = {};
      if (!no_a) a = load_piece(job.a, p.dtype, a_at + c);
      if (!no_b) b = load_piece(job.b, p.dtype, b_at + c);
#pragma unroll
      for (int x = 0; x < 8; ++x) a.x[x] = merged(a.x[x], b.x[x]);
      store_piece(job.out, p.dtype, out_at + c, a);
    }
  } else {
    for (int64_t c = first; c < end; c += job.lanes) {
      const float a = no_a ? 0.0f : load_float(job.a, p.dtype, a_at + c);
      const float b = no_b ? 0.0f : load_float(job.b, p.dtype, b_at + c);
      store_float(job.out, p.dtype, out_at + c, merged(a, b));
    }
  }
  warp_barrier();  // lse may be a_lse, which all lanes have read
  if (first == 0 && there && job.lse != nullptr) job.lse[row] = lse;
}

// Whether all pieces of eight elements begin at multiples of 16 bytes.
bool is_wide(const MergeJob& job) {
  const gatun_attention_merge_params& p = job.p;
  const uintptr_t bytes = p.dtype == GATUN_F32 ? 4 : 2;
  uintptr_t all =
      reinterpret_cast<uintptr_t>(job.a) | reinterpret_cast<uintptr_t>(job.b) | reinterpret_cast<uintptr_t>(job.out);
  for (const int64_t stride : {p.a_batch_stride, p.a_head_stride, p.a_row_stride, p.b_batch_stride, p.b_head_stride,
                               p.b_row_stride, p.out_batch_stride, p.out_head_stride, p.out_row_stride}) {
    all |= static_cast<uintptr_t>(stride) * bytes;
  }
  return p.value_size % 8 == 0 && all % 16 == 0;
}

}  // namespace

int32_t run_merge(const MergeJob& given, void* stream) {
  MergeJob job = given;
  job.wide = is_wide(job);
  const int64_t pieces = job.wide != 0 ? job.p.value_size / 8 : job.p.value_size;
  job.lanes = 1;
  while (job.lanes < 32 && job.lanes < pieces) job.lanes *= 2;
  return launch("attention_merge_sm80", attention_merge, {blocks_of(job.rows * job.lanes, kThreads), 1, 1, kThreads, 0},
                stream, job);
}

}  // namespace gatun::cuda::attention
