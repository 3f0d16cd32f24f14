// Precise mode: f32 activations times weights that are dequantized to f32 in registers.
//
//   y[m][n] = sum_k x[m][k] * ((w[n][k] - z[n][g]) * sw[n][g] + o[n][g]),   ascending k, one fma each
//
// x: tiles of T rows [depth][T] f32 (rows.h). w, sw, z: a panel of R rows (layout.h). A depth block of the panel (128
// depths, 32 KiB) is dequantized to [depth][R] f32 once for all rows; the tile is that of tile_i8.h with f32 sums, kept
// in registers over the block.
//
// (w - z) is exact, its product with sw plus the offset o is rounded once, then one rounding an fma:
// |y - reference| <= 2^-23 (depth + 8) sum |x w|, the reference using the same dequantized weights. Sums are f32 and
// may overflow to infinity as any f32 sum; scales are at most 2^64, so padding (x = 0) never meets an infinite weight.
// Tails: depth and rows are padded in what we packed; columns beyond y's end are computed and not stored.
// For floats, and for integers on tiers without an instruction for 8-bit dots; the others read x as integers
// (tile_i8.h).
// Measured (AMD EPYC 9004, avx512, one thread, 14336 x 4096, 4 bits in groups of 32; limit 117 GFLOP/s): 128 rows 90 %;
// one row takes 3.6 ms, bound by the six instructions for 16 weights; books of 256 by gathers 19.7 ms, by byte permutes
// (avx512vnni) 6.2 ms (bench/NOTES.md).
#pragma once

#include "qmatmul/epilogue.h"
#include "qmatmul/kernel.h"
#include "qmatmul/rows_bf16.h"
#include "qmatmul/scales.h"
#include "qmatmul/tile.h"
#include "simd/tables.h"
#include "simd/vec.h"

namespace gatun::GATUN_ISA {

using qmatmul::Stored;

// What turns the codes of a piece into weights, for kLanes rows.
struct Dequantizer {
  I32 zero;
  F32 scale;
  F32 offset;
};

GATUN_INLINE Dequantizer dequantizer(const qmatmul::Job& job, const qmatmul::Panel& panel, const qmatmul::Piece& piece,
                                     int32_t row) {
  const ScalesAt at = scales_at(panel, piece);
  return {
      job.offset_kind == qmatmul::OffsetKind::u8 ? load_u8_i32(at.offsets + row) : set1_i32(job.zero_code),
      load_scales(job.scale_kind, at, row),
      job.float_offsets ? load_offsets(job.offset_kind, at, row, panel.rows) : zero_f32(),
  };
}

// What the codes of kLanes rows and 8 depths stand for before zero point and scale, made once for a panel. kRowBytes:
// of a row's codes. value<J>() is that of depth J.
template <Stored kStored>
class Book {  // u4: the nibbles themselves
 public:
  static constexpr int kRowBytes = 4;
  struct Codes {
    Bytes bytes;
    template <int J>
    GATUN_INLINE I32 value() const {
      return nibble_lane < J<4 ? 2 * J : 2 * J - 7>(bytes);
    }
  };
  explicit GATUN_INLINE Book(const qmatmul::Job&) {}
  GATUN_INLINE Codes load(const uint8_t* p, int64_t) const { return {load_bytes(p)}; }
};

struct ByteCodes {
  Bytes first, second;
  template <int J>
  GATUN_INLINE I32 value() const {
    return byte_lane<J % 4>(J < 4 ? first : second);
  }
};

template <>
class Book<Stored::u8> {
 public:
  static constexpr int kRowBytes = 8;
  explicit GATUN_INLINE Book(const qmatmul::Job&) {}
  GATUN_INLINE ByteCodes load(const uint8_t* p, int64_t panel_rows) const {
    return {load_bytes(p), load_bytes(p + 4 * panel_rows)};
  }
};

template <>
class Book<Stored::t4> {
 public:
  static constexpr int kRowBytes = 4;
  explicit GATUN_INLINE Book(const qmatmul::Job& job) : table_(broadcast16(job.table)) {}
  GATUN_INLINE ByteCodes load(const uint8_t* p, int64_t) const {
    const Bytes codes = load_bytes(p);
    return {lookup16(table_, low_nibbles(codes)), lookup16(table_, high_nibbles(codes))};
  }

 private:
  Bytes table_;
};

template <>
class Book<Stored::b4> {
 public:
  static constexpr int kRowBytes = 4;
  struct Codes {
    Table16 table;
    Book<Stored::u4>::Codes codes;
    template <int J>
    GATUN_INLINE F32 value() const {
      return lookup_f32(table, codes.template value<J>());
    }
  };
  explicit GATUN_INLINE Book(const qmatmul::Job& job)
      : table_(load_table16(reinterpret_cast<const float*>(job.table))) {}
  GATUN_INLINE Codes load(const uint8_t* p, int64_t) const { return {table_, {load_bytes(p)}}; }

 private:
  Table16 table_;
};

template <>
class Book<Stored::b8> {
 public:
  static constexpr int kRowBytes = 8;
  struct Codes {
    F32 values[2][4];
    template <int J>
    GATUN_INLINE F32 value() const {
      return values[J / 4][J % 4];
    }
  };
  explicit GATUN_INLINE Book(const qmatmul::Job& job)
      : table_(load_float_table(reinterpret_cast<const float*>(job.table))) {}
  GATUN_INLINE Codes load(const uint8_t* p, int64_t panel_rows) const {
    Codes codes;
    lookup_each4(table_, load_bytes(p), codes.values[0]);
    lookup_each4(table_, load_bytes(p + 4 * panel_rows), codes.values[1]);
    return codes;
  }

 private:
  FloatTable table_;
};

GATUN_INLINE F32 weight(I32 code, const Dequantizer& d) {
  return fma(to_f32(sub_i32(code, d.zero)), d.scale, d.offset);
}
GATUN_INLINE F32 weight(F32 value, const Dequantizer& d) { return mul(value, d.scale); }

// of(J, weights of depth J) for J = 0..7.
template <class Codes, class Of>
GATUN_INLINE void each_depth(const Codes& codes, const Dequantizer& d, Of of) {
  of(0, weight(codes.template value<0>(), d));
  of(1, weight(codes.template value<1>(), d));
  of(2, weight(codes.template value<2>(), d));
  of(3, weight(codes.template value<3>(), d));
  of(4, weight(codes.template value<4>(), d));
  of(5, weight(codes.template value<5>(), d));
  of(6, weight(codes.template value<6>(), d));
  of(7, weight(codes.template value<7>(), d));
}

template <Stored kStored>
GATUN_INLINE const uint8_t* codes_at(const qmatmul::Panel& panel, const qmatmul::Piece& piece, int32_t depth) {
  return panel.base + panel.rows * (piece.codes + depth / 8 * Book<kStored>::kRowBytes);
}

// Depths [begin, end) of a piece, both multiples of 8, to [depth][R].
template <Stored kStored>
inline void dequantize(const qmatmul::Job& job, const Book<kStored>& book, const qmatmul::Panel& panel,
                       const qmatmul::Piece& piece, int32_t begin, int32_t end, float* out) {
  for (int32_t row = 0; row < panel.rows; row += kLanes) {
    const Dequantizer d = dequantizer(job, panel, piece, row);
    for (int32_t k = begin; k < end; k += 8) {
      const auto codes = book.load(codes_at<kStored>(panel, piece, k) + 4 * row, panel.rows);
      float* to = out + (k - begin) * panel.rows + row;
      each_depth(codes, d, [&](int j, F32 w) { store_f32(to + j * panel.rows, w); });
    }
  }
}

// One row of x: weights are used as they are dequantized, in the same order and with the same roundings.
template <Stored kStored, int V>
inline void multiply_row(const qmatmul::Job& job, const Book<kStored>& book, const qmatmul::Panel& panel,
                         const float* x, float* sums) {
  for (int32_t column = 0; column < panel.rows; column += V * kLanes) {
    F32 sum[V];
    for (int v = 0; v < V; ++v) sum[v] = zero_f32();
    for (int64_t p = 0; p < job.piece_count; ++p) {
      const qmatmul::Piece& piece = job.pieces[p];
      const uint8_t* codes = codes_at<kStored>(panel, piece, 0) + 4 * column;
      Dequantizer d[V];
      for (int v = 0; v < V; ++v) d[v] = dequantizer(job, panel, piece, column + v * kLanes);
      for (int32_t k = 0; k < piece.depth; k += 8) {
        const float* x_k = x + piece.x + k;
        for (int v = 0; v < V; ++v) {
          each_depth(book.load(codes + 4 * kLanes * v, panel.rows), d[v],
                     [&](int j, F32 w) { sum[v] = fma(set1(x_k[j]), w, sum[v]); });
        }
        codes += Book<kStored>::kRowBytes * panel.rows;
      }
    }
    for (int v = 0; v < V; ++v) store_f32(sums + column + v * kLanes, sum[v]);
  }
}

template <int T, int V>
GATUN_INLINE void multiply_block(const float* weights, int64_t panel_rows, const float* x, int64_t depth, float* sums) {
  F32 sum[T][V];
  for (int t = 0; t < T; ++t) {
    for (int v = 0; v < V; ++v) sum[t][v] = load_f32(sums + t * qmatmul::kPanelRows + v * kLanes);
  }
  for (int64_t k = 0; k < depth; ++k) {
    F32 w[V];
    for (int v = 0; v < V; ++v) w[v] = load_f32(weights + v * kLanes);
    for (int t = 0; t < T; ++t) {
      const F32 broadcast = set1(x[t]);
      for (int v = 0; v < V; ++v) sum[t][v] = fma(broadcast, w[v], sum[t][v]);
    }
    weights += panel_rows;
    x += T;
  }
  for (int t = 0; t < T; ++t) {
    for (int v = 0; v < V; ++v) store_f32(sums + t * qmatmul::kPanelRows + v * kLanes, sum[t][v]);
  }
}

// Rows [row_begin, row_end) of tiles: block after block of the depth, each dequantized once.
template <Stored kStored, int V>
inline void multiply_tiles(const qmatmul::Job& job, const Book<kStored>& book, const qmatmul::Panel& panel,
                           int64_t row_begin, int64_t row_end, float* weights, float* sums) {
  std::memset(sums, 0, static_cast<size_t>((row_end - row_begin) * qmatmul::kPanelRows * 4));
  // A block: up to qmatmul::kBlockDepth padded depths, from several short pieces or a part of a long one.
  int64_t x_begin = 0;
  int32_t filled = 0;
  for (int64_t p = 0; p < job.piece_count; ++p) {
    const qmatmul::Piece& piece = job.pieces[p];
    for (int32_t k = 0, end; k < piece.depth; k = end) {
      end = piece.depth - k < qmatmul::kBlockDepth - filled ? piece.depth : k + qmatmul::kBlockDepth - filled;
      dequantize(job, book, panel, piece, k, end, weights + filled * panel.rows);
      filled += end - k;
      if (filled < qmatmul::kBlockDepth && (p + 1 < job.piece_count || end < piece.depth)) continue;
      for_each_tile<qmatmul::kTileRows>(row_begin, row_end, [&](auto rows, int64_t row) {
        constexpr int kT = decltype(rows)::value;
        const float* x = static_cast<const float*>(job.values) + row * job.padded_depth + x_begin * kT;
        for (int32_t column = 0; column < panel.rows; column += V * kLanes) {
          multiply_block<kT, V>(weights + column, panel.rows, x, filled,
                                sums + (row - row_begin) * qmatmul::kPanelRows + column);
        }
      });
      x_begin += filled;
      filled = 0;
    }
  }
}

template <Stored kStored, int V>
inline void multiply_panel_f32(const qmatmul::Job& job, const qmatmul::Panel& panel, int64_t row_begin, int64_t row_end,
                               uint8_t* scratch) {
  float* sums = reinterpret_cast<float*>(scratch);
  const Book<kStored> book(job);
  if (row_end - row_begin == 1) {
    multiply_row<kStored, V>(job, book, panel, static_cast<const float*>(job.values) + row_begin * job.padded_depth,
                             sums);
  } else {
    multiply_tiles<kStored, V>(job, book, panel, row_begin, row_end,
                               reinterpret_cast<float*>(scratch + qmatmul::kSumBytes), sums);
  }
  finish(job, panel, row_begin, row_end, sums, job.scales != nullptr);
}

template <Stored kStored>
inline void multiply_f32(const qmatmul::Job& job, const qmatmul::Panel& panel, int64_t row_begin, int64_t row_end,
                         uint8_t* scratch) {
  const auto multiply = panel.rows % (kWideVectors * kLanes) == 0 ? multiply_panel_f32<kStored, kWideVectors>
                                                                  : multiply_panel_f32<kStored, kNarrowVectors>;
  multiply(job, panel, row_begin, row_end, scratch);
}

// The same in bf16 mode: `values` of x are rounded, and so is what codes stand for.
template <Stored kStored>
inline void multiply_rounded(const qmatmul::Job& job, const qmatmul::Panel& panel, int64_t row_begin, int64_t row_end,
                             uint8_t* scratch) {
  float table[kStored == Stored::b4 ? 16 : 256];
  for (int i = 0; i < static_cast<int>(sizeof(table) / sizeof(float)); i += kLanes) {
    store_f32(table + i, round_to_bf16(load_f32(reinterpret_cast<const float*>(job.table) + i)));
  }
  qmatmul::Job rounded = job;
  rounded.table = reinterpret_cast<const uint8_t*>(table);
  multiply_f32<kStored>(rounded, panel, row_begin, row_end, scratch);
}

template <Stored kStored>
constexpr qmatmul::Kernel kernel_f32() {
  return {pack_rows_f32, multiply_f32<kStored>, 4, 0, false, qmatmul::kTileRows, 1 << 17};
}

template <Stored kStored>
constexpr qmatmul::Kernel kernel_rounded() {
  return {pack_rows_rounded, multiply_rounded<kStored>, 4, 0, true, qmatmul::kTileRows, 1 << 17};
}

}  // namespace gatun::GATUN_ISA
