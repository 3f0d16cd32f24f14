// Packing the activations: rows of x to tiles of windows, piece after piece of the depth:
//
//   [tile of kTileRows rows][window][row][bytes of a window]
//
//   f32   as they are, or rounded to bf16 (tiers without dots of bf16)      bf16   to nearest, ties to even
//   int8  round(x * (1 / scale)), ties to even, scale = amax / 127 of the row, plus kI8Bias
//
// What a piece's last window has beyond the piece is 0. A scale below 2^-120 counts as 0, so that its reciprocal stays
// finite. |x * (1 / scale)| <= 127 (1 + 2^-22), so codes are -127..127.
#pragma once

#include "nm_matmul/kernel.h"
#include "simd/elements.h"

namespace gatun::GATUN_ISA {

// How elements of packed x are stored. kSlots: of a chunk.
struct PackF32 {
  using Type = float;
  static constexpr int kSlots = 1;
  static GATUN_INLINE void store(float* p, F32 x) { store_f32(p, x); }
};
struct PackRoundedF32 : PackF32 {
  static GATUN_INLINE void store(float* p, F32 x) {
    uint16_t rounded[kLanes];
    store_bf16(rounded, x);
    store_f32(p, load_bf16(rounded));
  }
};
struct PackBf16 {
  using Type = uint16_t;
  static constexpr int kSlots = 2;
  static GATUN_INLINE void store(uint16_t* p, F32 x) { store_bf16(p, x); }
};
struct PackI8 {
  using Type = int8_t;
  static constexpr int kSlots = 4;
  static GATUN_INLINE void store(int8_t* p, F32 x) { store_i8(p, add_i32(round_to_i32(x), set1_i32(kI8Bias))); }
};

// Of the lanes that are left in [k, end).
template <class X>
GATUN_INLINE F32 load_row(const typename X::Type* x, int64_t k, int64_t end) {
  return end - k >= kLanes ? X::load(x + k) : end > k ? X::load_n(x + k, static_cast<int>(end - k)) : zero_f32();
}

// The scale of a row, and the factor that makes codes of it: 0 makes a row of zeros, tiny or not finite.
struct CodeScale {
  float scale, inverse;
};
template <class X>
inline CodeScale code_scale(const typename X::Type* x, int64_t depth) {
  F32 amax = zero_f32(), poison = zero_f32();
  for (int64_t k = 0; k < depth; k += kLanes) {
    const F32 part = load_row<X>(x, k, depth);
    amax = max(amax, abs(part));
    poison = add(poison, sub(part, part));
  }
  if (const float nan = reduce_add(poison); nan != 0.0f) return {nan, 0.0f};
  const float scale = reduce_max(amax) / 127.0f;
  return scale < 0x1p-120f ? CodeScale{0.0f, 0.0f} : CodeScale{scale, 1.0f / scale};
}

template <class X, class Packed>
inline void pack_rows_of(const nm_matmul::Job& job, int64_t row_begin, int64_t row_end) {
  constexpr bool kCodes = Packed::kSlots == 4;
  const int64_t depth = job.depth;
  const int window = job.window_bytes / static_cast<int>(sizeof(typename Packed::Type));
  for (int64_t row = row_begin; row < row_end; ++row) {
    const auto* x = static_cast<const typename X::Type*>(job.x) + row * job.x_row_stride;
    const int64_t tile = row - row % nm_matmul::kTileRows;
    const int64_t rows = job.rows - tile < nm_matmul::kTileRows ? job.rows - tile : nm_matmul::kTileRows;
    CodeScale scale{1.0f, 1.0f};
    if constexpr (kCodes) {
      scale = code_scale<X>(x, depth);
      job.scales[row] = scale.scale;
    }
    for (int64_t p = 0; p < job.piece_count; ++p) {
      const nm_matmul::Piece& piece = job.pieces[p];
      const int64_t in_groups = piece.x + static_cast<int64_t>(piece.groups) * job.m;
      const int64_t end = in_groups < depth ? in_groups : depth;
      const int64_t windows = job.windows[p + 1] - job.windows[p];
      auto* out = reinterpret_cast<typename Packed::Type*>(job.values) +
                  (job.windows[p] * job.rows + tile * windows + (row - tile)) * window;
      for (int64_t k = piece.x; k < piece.x + windows * window; k += window) {
        for (int i = 0; i < window; i += kLanes) {
          F32 part = zero_f32();
          // Where x may be infinite, it must not be touched: 0 * inf is NaN.
          if (!kCodes || scale.inverse != 0.0f) part = load_row<X>(x, k + i, end);
          Packed::store(out + i, kCodes ? mul(part, set1(scale.inverse)) : part);
        }
        out += rows * window;
      }
    }
  }
}

template <class Packed>
inline void pack_rows(const nm_matmul::Job& job, int64_t row_begin, int64_t row_end) {
  job.x_dtype == GATUN_BF16 ? pack_rows_of<bf16, Packed>(job, row_begin, row_end)
                            : pack_rows_of<f32, Packed>(job, row_begin, row_end);
}

}  // namespace gatun::GATUN_ISA
