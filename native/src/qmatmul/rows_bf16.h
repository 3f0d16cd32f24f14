// Packing the activations of bf16 mode: x rounded to bf16, to nearest, ties to even; f8 is exact.
//
//   bf16  [tile][padded_depth / 2][T][2]: every 8 depths are the pairs (0, 2) (1, 3) (4, 6) (5, 7), as tile_bf16.h gets
//         weights from words of codes
//   f32   [tile][padded_depth][T]: the rounded values, for tiers without bf16 dots
//
// Scales of x are applied to a row's results, where it has one, or to the sums of pieces; in the f32 form those of
// pieces multiply the values, which costs them one rounding. A row with NaN or infinity in its rounded values or its
// scales has a scale of NaN.
#pragma once

#include "qmatmul/rows.h"

namespace gatun::GATUN_ISA {

// F8 codes as elements of elements.h: NaN where the code is NaN or infinite.
template <int kMantissaBits, int kBias, int kHighest>
struct F8 {
  using Type = uint8_t;
  static GATUN_INLINE F32 value(I32 code) {
    // As the bits of an f32 the magnitude is 2^(127 - bias) too low, subnormals as well.
    const I32 magnitude = and_i32(code, set1_i32(0x7f)), sign = shift_left<24>(and_i32(code, set1_i32(0x80)));
    const F32 low = as_f32(or_i32(shift_left<23 - kMantissaBits>(magnitude), sign));
    const F32 exact = mul(low, as_f32(set1_i32((254 - kBias) << 23)));
    return select_less(set1(kHighest + 0.5f), to_f32(magnitude), as_f32(set1_i32(0x7fc00000)), exact);
  }
  static GATUN_INLINE F32 load(const Type* p) { return value(load_u8_i32(p)); }
  static GATUN_INLINE F32 load_n(const Type* p, int n) { return value(load_u8_i32_n(p, n)); }
};
using f8e4m3 = F8<3, 7, 0x7e>;
using f8e5m2 = F8<2, 15, 0x7b>;

// of(element type of x).
template <class Of>
GATUN_INLINE void with_type_of_x(const qmatmul::Job& job, Of of) {
  switch (job.x_dtype) {
    case GATUN_BF16:
      return of(bf16());
    case GATUN_F8E4M3:
      return of(f8e4m3());
    case GATUN_F8E5M2:
      return of(f8e5m2());
    default:
      return of(f32());
  }
}

// kLanes values of a piece from its depth k on, rounded; `poison` becomes NaN if one is not finite.
template <class X>
GATUN_INLINE F32 load_rounded(const void* row, const qmatmul::Piece& piece, int k, F32* poison) {
  const int left = piece.valid - k;
  if (left <= 0) return zero_f32();
  const F32 x = load_x<X>(row, piece.begin + k, lanes_left(left)), rounded = round_to_bf16(x);
  *poison = add(*poison, add(sub(x, x), sub(rounded, rounded)));
  return rounded;
}

GATUN_INLINE float scale_of_row(const qmatmul::Job& job, int64_t row) {
  return job.piece_count == 0 ? 1.0f : scale_of_x(job, row, 0);
}

template <class X>
inline void pack_row_bf16(const qmatmul::Job& job, int64_t row) {
  const void* x = row_address(job, row);
  const Tile tile = tile_of<qmatmul::kTileRows>(job, row);
  const int64_t t = row - tile.first_row;
  uint16_t* values = static_cast<uint16_t*>(job.values) + tile.first_row * job.padded_depth + 2 * t;
  float* scales = job.scales + tile.first_row * (job.piece_scales ? job.piece_count : 1) + t;
  F32 poison = zero_f32();
  for (int64_t p = 0; p < job.piece_count; ++p) {
    const qmatmul::Piece& piece = job.pieces[p];
    uint16_t* out = values + piece.x * tile.rows;
    for (int k = 0; k < piece.depth; k += kLanes) {
      uint16_t part[kLanes];
      store_bf16(part, load_rounded<X>(x, piece, k, &poison));
      for (int i = 0; i < kLanes && k + i < piece.depth; i += 2, out += 2 * tile.rows) {
        const int first = i / 4 * 4 + i % 4 / 2;
        out[0] = part[first];
        out[1] = part[first + 2];
      }
    }
    if (job.piece_scales) scales[p * tile.rows] = scale_of_x(job, row, piece.group) + reduce_add(poison);
  }
  if (!job.piece_scales) scales[0] = scale_of_row(job, row) + reduce_add(poison);
}

template <class X>
inline void pack_row_rounded(const qmatmul::Job& job, int64_t row) {
  const void* x = row_address(job, row);
  const Tile tile = tile_of<qmatmul::kTileRows>(job, row);
  float* values = static_cast<float*>(job.values) + tile.first_row * job.padded_depth + (row - tile.first_row);
  F32 poison = zero_f32();
  for (int64_t p = 0; p < job.piece_count; ++p) {
    const qmatmul::Piece& piece = job.pieces[p];
    const F32 scale = set1(job.piece_scales ? scale_of_x(job, row, piece.group) : 1.0f);
    poison = add(poison, sub(scale, scale));
    float* out = values + piece.x * tile.rows;
    for (int k = 0; k < piece.depth; k += kLanes) {
      float part[kLanes];
      store_f32(part, mul(load_rounded<X>(x, piece, k, &poison), scale));
      for (int i = 0; i < kLanes && k + i < piece.depth; ++i, out += tile.rows) *out = part[i];
    }
  }
  job.scales[row] = (job.piece_scales ? 1.0f : scale_of_row(job, row)) + reduce_add(poison);
}

inline void pack_rows_bf16(const qmatmul::Job& job, int64_t row_begin, int64_t row_end) {
  with_type_of_x(job, [&](auto x) {
    for (int64_t row = row_begin; row < row_end; ++row) pack_row_bf16<decltype(x)>(job, row);
  });
}

inline void pack_rows_rounded(const qmatmul::Job& job, int64_t row_begin, int64_t row_end) {
  with_type_of_x(job, [&](auto x) {
    for (int64_t row = row_begin; row < row_end; ++row) pack_row_rounded<decltype(x)>(job, row);
  });
}

}  // namespace gatun::GATUN_ISA
