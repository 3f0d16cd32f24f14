// Packing the activations: rows of x to tiles that a multiplication reads with broadcasts, in ascending depth.
//
//   int8  scale = amax / 127, code = round(x * (1 / scale)), ties to even; over the row, or over each group of the
//   weights
//         [tile][padded_depth / 4][T][4]; the codes of each piece are summed for the zero points
//   codes the same of rows that are int8 already; -128 or a scale that is not finite makes a scale of NaN
//   fixed (precise mode in integers) three int8 digits a number, the highest first: code = 65536 d0 + 256 d1 + d2 =
//         round(x / scale), d in -128..127, scale the power of two from amax / 8,355,710 on, for each piece
//         [row][padded_depth / 4][3][4]; the digits of each piece are summed for the zero points
//   f32   [tile][padded_depth][T]; a row with NaN or infinity becomes NaN
//   bf16  rows_bf16.h
//
// Padding is 0. A scale below 2^-120 counts as 0, so that its reciprocal stays finite.
// |x * (1 / scale)| <= 127 (1 + 2^-22), so codes are -127..127 and the sum of a piece's codes at most 512 * 127. A code
// differs from x / scale by at most 1/2 + 127 * 2^-22.
// Fixed: x / scale is exact, at most 8,355,711 = 127 * (65536 + 256 + 1), and rounded once: |x - scale * code| is at
// most scale / 2 <= 2^-22.99 amax. A scale is at least 2^-126: below an amax of 2^-104 that is 2^-127.
#pragma once

#include "qmatmul/kernel.h"
#include "qmatmul/tile.h"
#include "simd/elements.h"

namespace gatun::GATUN_ISA {

template <class X>
GATUN_INLINE F32 load_x(const void* row, int64_t k, int n) {
  const typename X::Type* p = static_cast<const typename X::Type*>(row) + k;
  return n == kLanes ? X::load(p) : X::load_n(p, n);
}

GATUN_INLINE int lanes_left(int64_t left) { return left < kLanes ? static_cast<int>(left) : kLanes; }

GATUN_INLINE const void* row_address(const qmatmul::Job& job, int64_t row) {
  const int64_t bytes = job.x_dtype == GATUN_F32 ? 4 : job.x_dtype == GATUN_BF16 ? 2 : 1;
  return static_cast<const char*>(job.x) + row * job.x_row_stride * bytes;
}

// The given scale of a row in a group; NaN if it is not finite.
GATUN_INLINE float scale_of_x(const qmatmul::Job& job, int64_t row, int64_t group) {
  if (job.x_scales == nullptr) return 1.0f;
  const float scale = job.x_scales[row * job.x_scales_row_stride + (job.x_scales_groups ? group : 0)];
  return scale + (scale - scale);
}

// Int8 codes as elements of elements.h: NaN for -128, which has no positive twin that a dot of bytes could take.
struct i8_codes {
  using Type = int8_t;
  static GATUN_INLINE F32 value(I32 code) {
    return select_less(to_f32(code), set1(-127.5f), as_f32(set1_i32(0x7fc00000)), to_f32(code));
  }
  static GATUN_INLINE F32 load(const Type* p) { return value(load_i8_i32(p)); }
  static GATUN_INLINE F32 load_n(const Type* p, int n) { return value(load_i8_i32_n(p, n)); }
};
template <class X>
inline constexpr bool kIsCodes = false;
template <>
inline constexpr bool kIsCodes<i8_codes> = true;

// The tile that a row lies in, when tiles have kRows rows.
struct Tile {
  int64_t first_row;
  int rows;
};
template <int kRows>
GATUN_INLINE Tile tile_of(const qmatmul::Job& job, int64_t row) {
  const int64_t first = row - row % kRows, left = job.rows - first;
  return {first, left < kRows ? static_cast<int>(left) : kRows};
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

// The scale that is stored, and the factor that makes codes: 0 makes a row of zeros, tiny or not finite.
struct RowScale {
  float scale, inverse;
};
template <int kDigits>
GATUN_INLINE RowScale row_scale(Range range) {
  if (range.poison != 0.0f) return {range.poison, 0.0f};
  if constexpr (kDigits == 1) {
    const float scale = range.amax / 127.0f;
    return scale < 0x1p-120f ? RowScale{0.0f, 0.0f} : RowScale{scale, 1.0f / scale};
  } else {
    // The next power of two, which fits from 2^-126 to 2^106; no code is beyond 127 * (1 + 256 + 65536) = 8,355,711.
    const float least = range.amax / 8355710.0f;
    uint32_t bits;
    std::memcpy(&bits, &least, sizeof(bits));
    bits = (bits + 0x7fffff) & 0x7f800000;
    float scale;
    std::memcpy(&scale, &bits, sizeof(scale));
    return bits == 0 ? RowScale{0.0f, 0.0f} : RowScale{scale, 1.0f / scale};
  }
}

// Codes of one piece of one row into its place in the tile of T int8 rows, and the sums of each digit.
template <class X, int kDigits>
inline void quantize_piece(const void* row, const qmatmul::Piece& piece, float inverse, int T, int8_t* out,
                           int32_t* sums) {
  I32 sum[kDigits];
  for (I32& s : sum) s = zero_i32();
  for (int k = 0; k < piece.depth; k += kLanes) {
    const int left = piece.valid - k;
    I32 codes = zero_i32();
    if (left > 0 && inverse != 0.0f) {  // where x may be infinite, it must not be touched: 0 * inf is NaN
      const F32 x = load_x<X>(row, piece.begin + k, lanes_left(left));
      codes = round_to_i32(mul(x, set1(inverse)));
    }
    for (int d = kDigits - 1; d >= 0; --d) {
      const I32 higher = d == 0 ? zero_i32() : shift_right<8>(add_i32(codes, set1_i32(128)));
      sum[d] = add_i32(sum[d], sub_i32(codes, mul_i32(higher, set1_i32(256))));
      int8_t quads[kLanes];
      store_i8(quads, codes);
      for (int q = 0; q < kLanes && k + q < piece.depth; q += 4) {
        std::memcpy(out + static_cast<int64_t>(k + q) * T + 4 * d, quads + q, 4);
      }
      codes = higher;
    }
  }
  for (int d = 0; d < kDigits; ++d) {
    int32_t parts[kLanes];
    store_i32(parts, sum[d]);
    sums[d] = 0;
    for (const int32_t part : parts) sums[d] += part;
  }
}

template <class X, int kDigits>
inline void pack_rows_i8_of(const qmatmul::Job& job, int64_t row_begin, int64_t row_end) {
  const qmatmul::Piece* pieces = job.pieces;
  for (int64_t row = row_begin; row < row_end; ++row) {
    const void* x = row_address(job, row);
    const Tile tile = tile_of<tile_rows<kDigits>()>(job, row);
    const int64_t t = row - tile.first_row;
    const int T = tile.rows * kDigits;
    int8_t* values = static_cast<int8_t*>(job.values) + tile.first_row * job.padded_depth * kDigits + 4 * t;
    int32_t* sums = job.sums + tile.first_row * job.piece_count * kDigits + t;
    float* scales = job.scales + tile.first_row * (job.piece_scales ? job.piece_count : 1) + t;
    if (!job.piece_scales) scales[0] = 0.0f;  // of a row without elements
    RowScale scale{0.0f, 0.0f};
    for (int64_t p = 0, scaled = 0; p < job.piece_count; ++p) {
      const qmatmul::Piece& piece = pieces[p];
      if (p == scaled) {  // the next piece that a scale starts at
        do {
          ++scaled;
        } while (scaled < job.piece_count &&
                 (!job.piece_scales || (kDigits == 1 && pieces[scaled].group == piece.group)));
        const Range range = range_of<X>(x, piece.begin, pieces[scaled - 1].begin + pieces[scaled - 1].valid);
        if constexpr (kIsCodes<X>) {
          scale = {scale_of_x(job, row, piece.group) + range.poison, range.poison != 0.0f ? 0.0f : 1.0f};
        } else {
          scale = row_scale<kDigits>(range);
        }
      }
      scales[job.piece_scales ? p * tile.rows : 0] = scale.scale;
      quantize_piece<X, kDigits>(x, piece, scale.inverse, T, values + piece.x * T, sums + p * T);
    }
  }
}

template <int kDigits>
inline void pack_rows_i8(const qmatmul::Job& job, int64_t row_begin, int64_t row_end) {
  if constexpr (kDigits == 1) {
    if (job.x_dtype == GATUN_I8) return pack_rows_i8_of<i8_codes, 1>(job, row_begin, row_end);
  }
  job.x_dtype == GATUN_BF16 ? pack_rows_i8_of<bf16, kDigits>(job, row_begin, row_end)
                            : pack_rows_i8_of<f32, kDigits>(job, row_begin, row_end);
}

template <class X>
inline void pack_rows_f32_of(const qmatmul::Job& job, int64_t row_begin, int64_t row_end) {
  for (int64_t row = row_begin; row < row_end; ++row) {
    const void* x = row_address(job, row);
    const Tile tile = tile_of<qmatmul::kTileRows>(job, row);
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
  job.x_dtype == GATUN_BF16 ? pack_rows_f32_of<bf16>(job, row_begin, row_end)
                            : pack_rows_f32_of<f32>(job, row_begin, row_end);
}

}  // namespace gatun::GATUN_ISA
