// Packing the activations: rows of x to tiles that a multiplication reads with broadcasts, in ascending depth.
//
//   int8  scale = amax / 127, code = round(x * (1 / scale)), ties to even; over the row, or over each group of the
//   weights
//         [tile][padded_depth / 4][T][4]; the codes of each piece are summed for the zero points
//   f32   [tile][padded_depth][T]; a row with NaN or infinity becomes NaN
//
// Padding is 0. A scale below 2^-120 counts as 0, so that its reciprocal stays finite.
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

// The tile that a row lies in.
struct Tile {
  int64_t first_row;
  int rows;
};
GATUN_INLINE Tile tile_of(const qmatmul::Job& job, int64_t row) {
  const int64_t first = row - row % qmatmul::kTileRows, left = job.rows - first;
  return {first, left < qmatmul::kTileRows ? static_cast<int>(left) : qmatmul::kTileRows};
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
inline void pack_rows_i8_of(const qmatmul::Job& job, int64_t row_begin, int64_t row_end) {
  const qmatmul::Piece* pieces = job.pieces;
  for (int64_t row = row_begin; row < row_end; ++row) {
    const void* x = row_address(job, row);
    const Tile tile = tile_of(job, row);
    const int64_t t = row - tile.first_row;
    int8_t* values = static_cast<int8_t*>(job.values) + tile.first_row * job.padded_depth + 4 * t;
    int32_t* sums = job.sums + tile.first_row * job.piece_count + t;
    float* scales = job.scales + tile.first_row * (job.piece_scales ? job.piece_count : 1) + t;
    if (!job.piece_scales) scales[0] = 0.0f;  // of a row without elements
    RowScale scale{0.0f, 0.0f};
    for (int64_t p = 0, scaled = 0; p < job.piece_count; ++p) {
      const qmatmul::Piece& piece = pieces[p];
      if (p == scaled) {  // the next piece that a scale starts at
        while (scaled < job.piece_count && (!job.piece_scales || pieces[scaled].group == piece.group)) ++scaled;
        scale = row_scale(range_of<X>(x, piece.begin, pieces[scaled - 1].begin + pieces[scaled - 1].valid));
      }
      scales[job.piece_scales ? p * tile.rows : 0] = scale.scale;
      // A row of zeros (tiny or not finite): its codes must not touch x, where 0 * inf is NaN.
      int8_t* out = values + piece.x * tile.rows;
      if (scale.inverse == 0.0f) {
        for (int k = 0; k < piece.depth; k += 4) std::memset(out + static_cast<int64_t>(k) * tile.rows, 0, 4);
        sums[p * tile.rows] = 0;
      } else {
        sums[p * tile.rows] = quantize_piece<X>(x, piece, scale.inverse, tile.rows, out);
      }
    }
  }
}

inline void pack_rows_i8(const qmatmul::Job& job, int64_t row_begin, int64_t row_end) {
  job.x_bf16 ? pack_rows_i8_of<bf16>(job, row_begin, row_end) : pack_rows_i8_of<f32>(job, row_begin, row_end);
}

template <class X>
inline void pack_rows_f32_of(const qmatmul::Job& job, int64_t row_begin, int64_t row_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    const void* x = row_address(job, row);
    const Tile tile = tile_of(job, row);
    float* values = static_cast<float*>(job.values) + tile.first_row * job.padded_depth + (row - tile.first_row);
    F32 poison = zero_f32();
    for (int64_t p = 0; p < job.piece_count; ++p) {
      const qmatmul::Piece& piece = job.pieces[p];
      float* out = values + piece.x * tile.rows;
      for (int k = 0; k < piece.depth; k += kLanes) {
        const int left = piece.valid - k;
        const F32 part = left > 0 ? load_x<X>(x, piece.begin + k, lanes_left(left)) : zero_f32();
        poison = add(poison, sub(part, part));
        float column[kLanes];
        store_f32(column, part);
        for (int i = 0; i < kLanes && k + i < piece.depth; ++i) {
          out[static_cast<int64_t>(k + i) * tile.rows] = column[i];
        }
      }
    }
    if (const float nan = reduce_add(poison); nan != 0.0f) {
      for (int64_t k = 0; k < job.padded_depth; ++k) values[k * tile.rows] = nan;
    }
  }
}

inline void pack_rows_f32(const qmatmul::Job& job, int64_t row_begin, int64_t row_end) {
  job.x_bf16 ? pack_rows_f32_of<bf16>(job, row_begin, row_end) : pack_rows_f32_of<f32>(job, row_begin, row_end);
}

}  // namespace gatun::GATUN_ISA
