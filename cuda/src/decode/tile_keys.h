// Products of q and 32 keys of a warp's tile: see tiles.h.
#pragma once

#include "decode/tiles_job.h"
#include "ptx/ldmatrix.h"

namespace gatun::cuda::decode {
namespace tiles {

class Keys {
 public:
  // Scales and zero points of the tile's keys, [groups][32] in shared memory; read where there are any.
  GATUN_DEVICE Keys(const TilesJob& tiles, const float* scales, const float* zeros)
      : tiles_(tiles), job_(tiles.job), scales_(scales), zeros_(zeros) {}

  // The keys' rows are in shared memory; products lie as mma.h's d of four runs of eight keys.
  GATUN_DEVICE void multiply(const uint8_t* rows, float (&s)[4][4]) const {
    const bool bf16 = job_.params.dtype == GATUN_BF16;
    switch (form_of(job_.k.layout.dtype)) {
      case Form::bf16:
        return multiply_floats<Form::bf16, true>(rows, s);
      case Form::f16:
        return multiply_floats<Form::f16, false>(rows, s);
      case Form::e4m3:
        return bf16 ? multiply_floats<Form::e4m3, true>(rows, s) : multiply_floats<Form::e4m3, false>(rows, s);
      case Form::e5m2:
        return bf16 ? multiply_floats<Form::e5m2, true>(rows, s) : multiply_floats<Form::e5m2, false>(rows, s);
      case Form::i8:
        return multiply_codes<Form::i8>(rows, s);
      case Form::u4:
        return multiply_codes<Form::u4>(rows, s);
      default:
        return multiply_codes<Form::u2>(rows, s);
    }
  }

 private:
  // The words of a pair of chunks: of keys 16 h .. + 7 the first two, of the eight keys after them the others.
  GATUN_DEVICE void load_keys(const uint8_t* rows, int h, int chunk, uint32_t (&word)[4]) const {
    const int key = 16 * h + lane() / 16 * 8 + lane() % 8;
    load_matrix_x4(word, rows + key * tiles_.k.stride + (chunk + lane() / 8 % 2) * 16);
  }
  GATUN_DEVICE void load_q(int half, int step, uint32_t (&a)[4]) const {
    load_matrix_x4(
        a, shared_memory() + half * tiles_.q_bytes + lane() % 16 * tiles_.q_stride + step * 32 + lane() / 16 * 16);
  }

  template <Form kForm, bool kBf16>
  GATUN_DEVICE void multiply_floats(const uint8_t* rows, float (&s)[4][4]) const {
#pragma unroll
    for (int i = 0; i < 16; ++i) s[i / 4][i % 4] = 0;
    constexpr int kSteps = pair_steps(kForm);
#pragma unroll 2
    for (int pair = 0; pair < tiles_.k.chunks / 2; ++pair) {
      uint32_t word[2][4];
      load_keys(rows, 0, 2 * pair, word[0]);
      load_keys(rows, 1, 2 * pair, word[1]);
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        uint32_t a[4], b[2];
        load_q(0, pair * kSteps + step, a);
#pragma unroll
        for (int n = 0; n < 4; ++n) {
          key_operand<kForm, kBf16>(word[n / 2][n % 2 * 2], word[n / 2][n % 2 * 2 + 1], step, b);
          if (kBf16) {
            mma_bf16(s[n], a, b);
          } else {
            mma_f16(s[n], a, b);
          }
        }
      }
    }
  }

  template <Form kForm>
  GATUN_DEVICE void multiply_codes(const uint8_t* rows, float (&s)[4][4]) const {
    constexpr int kSteps = pair_steps(kForm);
    const bool halves = job_.params.mode == GATUN_DECODE_EXACT;
    const int steps = (static_cast<int>(job_.k.layout.size) + 31) / 32, group_steps = (tiles_.k.group + 31) / 32;
    const float* const row_scales = reinterpret_cast<const float*>(shared_memory() + tiles_.q_bytes * 2);
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      float sum[2][4];
      int32_t high[2][4], low[2][4];
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        sum[i / 4][i % 4] = 0;
        high[i / 4][i % 4] = low[i / 4][i % 4] = 0;
      }
      int group = 0, left = group_steps;
#pragma unroll 1
      for (int pair = 0; pair < tiles_.k.chunks / 2; ++pair) {
        uint32_t word[4];
        load_keys(rows, h, 2 * pair, word);
#pragma unroll
        for (int step = 0; step < kSteps; ++step) {
          if (pair * kSteps + step >= steps) break;
          uint32_t a[4], b[2][2];
          load_q(0, pair * kSteps + step, a);
#pragma unroll
          for (int n = 0; n < 2; ++n) {
            key_operand<kForm, false>(word[2 * n], word[2 * n + 1], step, b[n]);
            mma_i8(high[n], a, b[n]);
          }
          if (halves) {
            load_q(1, pair * kSteps + step, a);
            mma_i8(low[0], a, b[0]);
            mma_i8(low[1], a, b[1]);
          }
          if (--left > 0 && pair * kSteps + step + 1 < steps) continue;
          add_group(h, group++, halves, high, low, sum);
          left = group_steps;
        }
      }
#pragma unroll
      for (int i = 0; i < 8; ++i) s[2 * h + i / 4][i % 4] = sum[i / 4][i % 4] * row_scales[lane() / 4 + i % 4 / 2 * 8];
    }
  }

  // The integers of a group of channels, less what the code of zero adds, times its scales.
  GATUN_DEVICE void add_group(int h, int group, bool halves, int32_t (&high)[2][4], int32_t (&low)[2][4],
                              float (&sum)[2][4]) const {
    const int32_t* const sums_of_q =
        reinterpret_cast<const int32_t*>(shared_memory() + tiles_.q_bytes * 2 + kRowScalesBytes);
    const int lower = job_.k.zeros != nullptr ? 0 : kv_cache::code_of_zero(job_.k.layout.dtype);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int n = i / 4, e = i % 4, row = lane() / 4 + e / 2 * 8;
      const int at = group * kKeys + 16 * h + 8 * n + lane() % 4 * 2 + e % 2;
      const int32_t of_q = sums_of_q[row * 32 + group];
      const int32_t product = (halves ? 128 * high[n][e] + low[n][e] : high[n][e]) - lower * of_q;
      sum[n][e] = fused(static_cast<float>(product), scales_[at], sum[n][e]);
      if (job_.k.zeros != nullptr) sum[n][e] = fused(static_cast<float>(of_q), zeros_[at], sum[n][e]);
      high[n][e] = low[n][e] = 0;
    }
  }

  const TilesJob& tiles_;
  const Job& job_;
  const float *scales_, *zeros_;
};

}  // namespace tiles
}  // namespace gatun::cuda::decode
