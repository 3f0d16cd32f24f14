// Packing the activations: rows of x to tiles that a multiplication reads with broadcasts, in ascending depth.
//
//   int8  scale = amax / 127, code = round(x * (1 / scale)), ties to even; over the row, or over each group of the
//   weights
//         [tile][padded_depth / 4][T][4]; the codes of each piece are summed for the zero points
//   f32   [tile][padded_depth][T]; a row with NaN or infinity becomes NaN
//
// Padding, in depth and in rows, is 0. A scale below 2^-120 counts as 0, so that its reciprocal stays finite.
// |x * (1 / scale)| <= 127 (1 + 2^-22), so codes are -127..127 and the sum of a piece's codes at most 512 * 127. A code
// differs from x / scale by at most 1/2 + 127 * 2^-22.
#pragma once

#include "qmatmul/kernel.h"
#include "simd/elements.h"

namespace gatun::GATUN_ISA {

template <class X>
GATUN_INLINE F32 load_x(const void* row, int64_t k, int n) {
  const typename X::Type* p = static_cast<const typename X::Type*>(row) + k;
  return n == kLanes ? X::load(p) : X::load_n(p, n);
}

GATUN_INLINE int lanes_left(int64_t left) { return left < kLanes ? static_cast<int>(left) : kLanes; }

GATUN_INLINE const void* row_address(const qmatmul::Job& job, int64_t row) {
  return static_cast<const char*>(job.x) + row * job.x_row_stride * (job.x_bf16 ? 2 : 4);
}

struct Range {
  float amax;
  float poison;  // 0, or NaN if a value is NaN or infinite
};

template <class X>
inline Range range_of(const void* row, int64_t begin, int64_t end) {
  F32 amax = zero_f32(), poison = zero_f32();
  for (int64_t k = begin; k < end; k += kLanes) {
    const F32 x = load_x<X>(row, k, lanes_left(end - k));
    amax = max(amax, abs(x));
    poison = add(poison, sub(x, x));
  }
  return {reduce_max(amax), reduce_add(poison)};
}

// Codes of one piece of one row into its place in the tile; returns their sum.
template <class X>
inline int32_t quantize_piece(const void* row, const qmatmul::Piece& piece, float inverse, int tile_rows, int8_t* out) {
  I32 sum = zero_i32();
  for (int k = 0; k < piece.depth; k += kLanes) {
    const int left = piece.valid - k;
    I32 codes = zero_i32();
    if (left > 0) {
      const F32 x = load_x<X>(row, piece.begin + k, lanes_left(left));
      codes = round_to_i32(mul(x, set1(inverse)));
    }
    sum = add_i32(sum, codes);
    int8_t quads[kLanes];
    store_i8(quads, codes);
    for (int q = 0; q < kLanes && k + q < piece.depth; q += 4) {
      std::memcpy(out + static_cast<int64_t>(k + q) * tile_rows, quads + q, 4);
    }
  }
  int32_t parts[kLanes], total = 0;
  store_i32(parts, sum);
  for (const int32_t part : parts) total += part;
  return total;
}

// The scale that is stored, and the factor that makes codes.
struct RowScale {
  float scale, inverse;
};
GATUN_INLINE RowScale row_scale(Range range) {
  const float scale = range.amax / 127.0f;
  if (range.poison != 0.0f) return {range.poison, 0.0f};
  if (scale < 0x1p-120f) return {0.0f, 0.0f};
  return {scale, 1.0f / scale};
}

template <class X>
inline void pack_rows_i8_of(const qmatmul::Job& job, int64_t tile_begin, int64_t tile_end) {
  const int tile_rows = job.tile_rows;
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    int8_t* values = static_cast<int8_t*>(job.values) + tile * tile_rows * job.padded_depth;
    int32_t* sums = job.sums + tile * tile_rows * job.piece_count;
    float* scales = job.scales + tile * tile_rows * (job.group_scales ? job.groups : 1);
    for (int t = 0; t < tile_rows; ++t) {
      const int64_t row = tile * tile_rows + t;
      const bool exists = row < job.rows;
      const void* x = exists ? row_address(job, row) : nullptr;
      const qmatmul::Piece* pieces = job.pieces;
      const int64_t depth =
          job.piece_count == 0 ? 0 : pieces[job.piece_count - 1].begin + pieces[job.piece_count - 1].valid;
      RowScale scale{0.0f, 0.0f};
      if (!job.group_scales) {
        if (exists) scale = row_scale(range_of<X>(x, 0, depth));
        scales[t] = scale.scale;
      }
      for (int64_t p = 0; p < job.piece_count; ++p) {
        const qmatmul::Piece& piece = pieces[p];
        if (job.group_scales && (p == 0 || piece.group != pieces[p - 1].group)) {
          int64_t last = p;
          while (last + 1 < job.piece_count && pieces[last + 1].group == piece.group) ++last;
          const int64_t end = pieces[last].begin + pieces[last].valid;
          if (exists) scale = row_scale(range_of<X>(x, piece.begin, end));
          scales[piece.group * tile_rows + t] = scale.scale;
        }
        // A row of zeros (absent, tiny or not finite): its codes must not touch x, where 0 * inf is NaN.
        int8_t* out = values + piece.x * tile_rows + 4 * t;
        if (scale.inverse == 0.0f) {
          for (int k = 0; k < piece.depth; k += 4) std::memset(out + static_cast<int64_t>(k) * tile_rows, 0, 4);
          sums[p * tile_rows + t] = 0;
        } else {
          sums[p * tile_rows + t] = quantize_piece<X>(x, piece, scale.inverse, tile_rows, out);
        }
      }
    }
  }
}

inline void pack_rows_i8(const qmatmul::Job& job, int64_t tile_begin, int64_t tile_end) {
  job.x_bf16 ? pack_rows_i8_of<bf16>(job, tile_begin, tile_end) : pack_rows_i8_of<f32>(job, tile_begin, tile_end);
}

template <class X>
inline void pack_rows_f32_of(const qmatmul::Job& job, int64_t tile_begin, int64_t tile_end) {
  const int tile_rows = job.tile_rows;
  for (int64_t tile = tile_begin; tile < tile_end; ++tile) {
    float* values = static_cast<float*>(job.values) + tile * tile_rows * job.padded_depth;
    for (int t = 0; t < tile_rows; ++t) {
      const int64_t row = tile * tile_rows + t;
      const void* x = row < job.rows ? row_address(job, row) : nullptr;
      F32 poison = zero_f32();
      for (int64_t p = 0; p < job.piece_count; ++p) {
        const qmatmul::Piece& piece = job.pieces[p];
        float* out = values + piece.x * tile_rows + t;
        for (int k = 0; k < piece.depth; k += kLanes) {
          const int left = x == nullptr ? 0 : piece.valid - k;
          const F32 part = left > 0 ? load_x<X>(x, piece.begin + k, lanes_left(left)) : zero_f32();
          poison = add(poison, sub(part, part));
          float column[kLanes];
          store_f32(column, part);
          for (int i = 0; i < kLanes && k + i < piece.depth; ++i) {
            out[static_cast<int64_t>(k + i) * tile_rows] = column[i];
          }
        }
      }
      if (const float nan = reduce_add(poison); nan != 0.0f) {
        for (int64_t k = 0; k < job.padded_depth; ++k) values[k * tile_rows + t] = nan;
      }
    }
  }
}

inline void pack_rows_f32(const qmatmul::Job& job, int64_t tile_begin, int64_t tile_end) {
  job.x_bf16 ? pack_rows_f32_of<bf16>(job, tile_begin, tile_end) : pack_rows_f32_of<f32>(job, tile_begin, tile_end);
}

}  // namespace gatun::GATUN_ISA
