// Integer matrix multiplication: int8 activations times unsigned 4- or 8-bit weights, scaled per group; and precise
// mode, where a row of activations is three int8 rows, the digits of 24-bit fixed point.
//
//   y[m][n] = sx[m] * sum_pieces sw[n][g] * (sum_{k in piece} x[m][k] * w[n][k] - z[n][g] * sum_{k in piece} x[m][k])
//   precise, and with scales per group: sx belongs to row and piece, inside the sum
//   with float offsets o: plus sx[m] * sum_pieces o[n][g] * sum_{k in piece} x[m][k]
//
// x: tiles of T int8 rows [depth / 4][T][4] (rows.h). w, sw, z, o: a panel of R rows (layout.h). Nibbles that index a
// table are looked up in a register that holds it; w is then the table's byte.
//
//              columns of the tile: V vectors of kLanes rows of the panel
//                      w[0]   w[1] .. w[V-1]     one 4-depth quad of kLanes rows each
//   x[0] broadcast4  sum[0][0] ...               each lane of a sum: one output, exact in int32
//   ..
//   x[T-1]           sum[T-1][0] ...
//
// The sums of a piece start from -z * (sum of the row's codes), so they are exact: at most 512 * 255 * 128 < 2^24 (8
// bits) in magnitude, as a digit may be -128. In precise mode T = 3: the digits' sums d0 d1 d2 become
// (256 d0 + d1) * 256 + d2 by two fmas; a partial sum that is rounded is beyond 2^24, so each costs half a unit in the
// last place of about the total. One fma a piece adds the total to the f32 sum; f32 sums are variables of the tile,
// which the compiler keeps in registers as far as they go, [row][64] in memory between tiles. After the dots of a block
// its offsets are added, piece by piece with one fma each. Scales and offsets are decoded once for all rows of a block:
// a switch over their kinds among the dots cost up to half of the time in groups of 32.
//
// All tiles take turns on 512 depths of the panel (a block), which stay in the L1 cache (16 or 32 KiB). Nibbles are
// taken apart in registers for each tile: the shifts and masks run beside the dots, and bytes would take twice the
// cache. The first tile finds the block in memory and goes through it in ascending addresses, so that the processor
// fetches ahead; the other tiles, which leave memory idle, ask for the next block.
//
// Tails: depth is padded in what we packed, a tile has the rows that are left; columns beyond y's end are computed and
// not stored.
// Error: integers exact; one f32 rounding a piece (two with scales per group, four in precise mode) and two at the end:
// |y - exact| <= 2^-23 (2 pieces + 8) sum |terms|; precise: with what rows.h takes from x, to which
// 2^-22.99 sum_pieces max |x| sum |w| is added, for max |x| below 2^-104 as for 2^-104.
// Measured (AMD EPYC 9004, avx512vnni, one thread, 14336 x 4096, 512 rows; limit 473 GOP/s, a third of it in precise
// mode): groups of 32 80 %, groups of 128 88 %, 8 bits per row 91 %; precise 78 % in groups of 32 (bench/NOTES.md).
#pragma once

#include "qmatmul/block.h"
#include "qmatmul/epilogue.h"
#include "qmatmul/kernel.h"
#include "qmatmul/rows.h"
#include "qmatmul/scales.h"
#include "qmatmul/tile.h"
#include "simd/vec.h"

namespace gatun::GATUN_ISA {

// How the weights of kLanes rows are read and multiplied: quad Q = 0 or 1 of 8 depths. kDepthBytes: of a row and 8
// depths.
struct NibbleWeights {
  static constexpr int kDepthBytes = 4;
  static constexpr int kBias = 0;
  explicit GATUN_INLINE NibbleWeights(const qmatmul::Job&) {}
  template <int Q>
  GATUN_INLINE Bytes quad(const uint8_t* p, int64_t) const {
    return Q == 0 ? low_nibbles(load_bytes(p)) : high_nibbles(load_bytes(p));
  }
  static constexpr bool kPaired = kPairedDots;
  static GATUN_INLINE I32 dot(I32 sum, Bytes w, Bytes x) { return dot_u4(sum, w, x); }
  static GATUN_INLINE void prefetch(const uint8_t* p) { prefetch_line(p); }
};

// Nibbles that index a table of 16 bytes.
struct LookupWeights {
  static constexpr int kDepthBytes = 4;
  static constexpr int kBias = kU8Bias;
  explicit GATUN_INLINE LookupWeights(const qmatmul::Job& job) : table(broadcast16(job.table)) {}
  template <int Q>
  GATUN_INLINE U8Weights quad(const uint8_t* p, int64_t) const {
    return prepare_u8(lookup16(table, Q == 0 ? low_nibbles(load_bytes(p)) : high_nibbles(load_bytes(p))));
  }
  static constexpr bool kPaired = false;
  static GATUN_INLINE I32 dot(I32 sum, U8Weights w, Bytes x) { return dot_u8(sum, w, x); }
  static GATUN_INLINE void prefetch(const uint8_t* p) { prefetch_line(p); }
  Bytes table;
};

struct ByteWeights {
  static constexpr int kDepthBytes = 8;
  static constexpr int kBias = kU8Bias;
  explicit GATUN_INLINE ByteWeights(const qmatmul::Job&) {}
  template <int Q>
  GATUN_INLINE U8Weights quad(const uint8_t* p, int64_t panel_rows) const {
    return prepare_u8(load_bytes(p + Q * 4 * panel_rows));
  }
  static constexpr bool kPaired = false;
  static GATUN_INLINE I32 dot(I32 sum, U8Weights w, Bytes x) { return dot_u8(sum, w, x); }
  // A block of bytes fills the L1 cache: the next one would push it out.
  static GATUN_INLINE void prefetch(const uint8_t*) {}
};

// Adds the products of T int8 rows and V vectors of weights, all in quad Q of 8 depths.
template <class Weights, int Q, int T, int V>
GATUN_INLINE void dot_quad(const Weights& weights, const uint8_t* codes, int64_t panel_rows, const int8_t* x,
                           I32 (&sum)[T][V]) {
  decltype(weights.template quad<Q>(codes, panel_rows)) w[V];
  for (int v = 0; v < V; ++v) w[v] = weights.template quad<Q>(codes + 4 * kLanes * v, panel_rows);
  for (int t = 0; t < T; ++t) {
    const Bytes x_quad = broadcast4(x + 4 * (Q * T + t));
    for (int v = 0; v < V; ++v) sum[t][v] = Weights::dot(sum[t][v], w[v], x_quad);
  }
}

// The same in both quads at once.
template <int T, int V>
GATUN_INLINE void dot_both(const NibbleWeights& weights, const uint8_t* codes, const int8_t* x, I32 (&sum)[T][V]) {
  Bytes w0[V], w1[V];
  for (int v = 0; v < V; ++v) {
    w0[v] = weights.quad<0>(codes + 4 * kLanes * v, 0);
    w1[v] = weights.quad<1>(codes + 4 * kLanes * v, 0);
  }
  for (int t = 0; t < T; ++t) {
    const Bytes x0 = broadcast4(x + 4 * t), x1 = broadcast4(x + 4 * (T + t));
    for (int v = 0; v < V; ++v) sum[t][v] = dot_u4(sum[t][v], w0[v], x0, w1[v], x1);
  }
}

// A block of a tile: kRows rows from `row` on, T = kRows * kDigits int8 rows, by V vectors from `column` on.
// sums [kRows][kPanelRows]; with one piece they are only used once and stay in memory, so that the long loop of dots
// has the registers. The `first` tile of a block decodes its
// scales, as the codes come by; the others fetch the next block into the cache. A function of its own, as GCC
// would share registers with what it is inlined into and spill accumulators of the dots.
template <class Weights, int kDigits, int kRows, int V, bool kOnePiece>
__attribute__((noinline)) void multiply_tile(const qmatmul::Job& job, Block& block, int64_t panel_rows, int64_t row,
                                             int64_t column, bool first, float* sums) {
  constexpr int T = kRows * kDigits;
  // A single row's dots would wait for each other: the two quads get sums of their own (integers: any order is exact).
  constexpr int kChains = T == 1 && !Weights::kPaired ? 2 : 1;
  const int64_t x_begin = job.pieces[block.begin].x, piece_begin = row * job.piece_count + block.begin * kRows;
  const int8_t* x = static_cast<const int8_t*>(job.values) + (row * job.padded_depth + x_begin * kRows) * kDigits;
  const int32_t* x_sums = job.sums + piece_begin * kDigits;
  const bool one_scale = kDigits == 1 && !job.piece_scales;  // for the whole depth of a row
  const float* x_scales = job.scales + piece_begin;
  float* scales = block.scales[0] + column;
  const int64_t ahead = first ? 0 : block.bytes;
  sums += column;
  const auto in_memory = [sums](int r, int v) { return sums + r * qmatmul::kPanelRows + v * kLanes; };
  const Weights weights(job);
  F32 y[kRows][V];
  const PieceWeights* last = block.weights + (block.end - block.begin);
  for (const PieceWeights* piece = block.weights; piece != last; ++piece) {
    I32 sum[kChains][T][V];
    for (int v = 0; v < V; ++v) {
      if (job.offset_kind == qmatmul::OffsetKind::u8) {
        const I32 zero = sub_i32(set1_i32(Weights::kBias), load_u8_i32(piece->at.offsets + column + v * kLanes));
        for (int t = 0; t < T; ++t) sum[0][t][v] = mul_i32(zero, set1_i32(x_sums[t]));
      } else {
        for (int t = 0; t < T; ++t) sum[0][t][v] = set1_i32((Weights::kBias - job.zero_code) * x_sums[t]);
      }
      if constexpr (kChains == 2) sum[1][0][v] = zero_i32();
    }
    x_sums += T;

    const uint8_t* codes = piece->codes + 4 * column;
    for (int64_t k = piece->depth; k > 0; k -= 8) {
      if constexpr (Weights::kPaired) {
        dot_both(weights, codes, x, sum[0]);
      } else {
        dot_quad<Weights, 0>(weights, codes, panel_rows, x, sum[0]);
        dot_quad<Weights, 1>(weights, codes, panel_rows, x, sum[kChains - 1]);
      }
      // A tile of one row is mostly the only one, and so the first.
      for (int v = 0; v < V && T > 1; ++v) Weights::prefetch(codes + ahead + 4 * kLanes * v);
      codes += Weights::kDepthBytes * panel_rows;
      x += 8 * T;
    }

    F32 scale[V];
    block_scales<T>(job, piece->at, column, first, scales, scale, block.keep);
    if (!kOnePiece && piece == block.weights) {
      for (int r = 0; r < kRows; ++r) {
        for (int v = 0; v < V; ++v) y[r][v] = load_f32(in_memory(r, v));
      }
    }
    for (int v = 0; v < V; ++v) {
      for (int r = 0; r < kRows; ++r) {
        I32 highest = sum[0][r * kDigits][v];
        if constexpr (kChains == 2) highest = add_i32(highest, sum[1][0][v]);
        F32 total = to_f32(highest);
        for (int d = 1; d < kDigits; ++d) total = fma(total, set1(256.0f), to_f32(sum[0][r * kDigits + d][v]));
        const F32 before = kOnePiece ? load_f32(in_memory(r, v)) : y[r][v];
        const F32 after =
            one_scale ? fma(total, scale[v], before) : fma(mul(total, scale[v]), set1(x_scales[r]), before);
        if constexpr (kOnePiece)
          store_f32(in_memory(r, v), after);
        else
          y[r][v] = after;
      }
    }
    x_scales += kRows;
    scales += qmatmul::kPanelRows;
  }
  if constexpr (!kOnePiece) {
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < V; ++v) store_f32(in_memory(r, v), y[r][v]);
    }
  }
}

// Adds to kRows rows what a block's float offsets contribute: the offset times the sum of x, piece by piece. Where a
// row has one scale, minimums that share a super-scale are summed up before it multiplies them; where pieces have
// scales it goes before these, as sums of huge x would overflow. The `first` tile of a block decodes what the others
// find in `offsets`.
template <int kDigits, int kRows>
__attribute__((noinline)) void add_offsets(const qmatmul::Job& job, Block& block, int64_t panel_rows, int64_t row,
                                           bool first, float* sums) {
  const int64_t pieces = block.end - block.begin, piece_begin = row * job.piece_count + block.begin * kRows;
  const int32_t* x_sums = job.sums + piece_begin * kDigits;
  const float* x_scales = job.scales + piece_begin;
  const bool mins = job.offset_kind == qmatmul::OffsetKind::super && !job.piece_scales;  // to be subtracted
  float x[Block::kMost * kRows];
  for (int64_t i = 0; i < pieces * kRows; ++i) {
    float sum = 0;
    for (int d = 0; d < kDigits; ++d) sum = sum * 256.0f + static_cast<float>(x_sums[i * kDigits + d]);
    x[i] = mins ? -sum : sum;
  }
  constexpr bool kKeep = kRows * kDigits > 1;
  const auto offset_of = [&](int64_t piece, int64_t column) {
    const ScalesAt& at = block.weights[piece].at;
    float* kept = block.offsets[piece] + column;
    if (kKeep && !first) return load_f32(kept);
    const F32 offset =
        mins ? to_f32(load_u8_i32(at.offsets + column)) : load_offsets(job.offset_kind, at, column, panel_rows);
    if (kKeep) store_f32(kept, offset);
    return offset;
  };
  for (int64_t column = 0; column < panel_rows; column += kLanes) {
    F32 y[kRows];
    for (int r = 0; r < kRows; ++r) y[r] = load_f32(sums + r * qmatmul::kPanelRows + column);
    for (int64_t piece = 0; piece < pieces;) {
      if (mins) {
        const uint8_t* supers = block.weights[piece].at.supers;
        F32 sum[kRows];
        for (F32& s : sum) s = zero_f32();
        for (; piece < pieces && block.weights[piece].at.supers == supers; ++piece) {
          const F32 offset = offset_of(piece, column);
          for (int r = 0; r < kRows; ++r) sum[r] = fma(set1(x[piece * kRows + r]), offset, sum[r]);
        }
        const F32 super = load_f16_at(supers, panel_rows + column);
        for (int r = 0; r < kRows; ++r) y[r] = fma(super, sum[r], y[r]);
        continue;
      }
      const F32 offset = offset_of(piece, column);
      for (int r = 0; r < kRows; ++r) {
        const F32 sum = set1(x[piece * kRows + r]);
        y[r] =
            job.piece_scales ? fma(mul(sum, offset), set1(x_scales[piece * kRows + r]), y[r]) : fma(sum, offset, y[r]);
      }
      ++piece;
    }
    for (int r = 0; r < kRows; ++r) store_f32(sums + r * qmatmul::kPanelRows + column, y[r]);
  }
}

template <class Weights, int kDigits>
inline void multiply_i8(const qmatmul::Job& job, const qmatmul::Panel& panel, int64_t row_begin, int64_t row_end,
                        uint8_t* scratch) {
  float* sums = reinterpret_cast<float*>(scratch);
  std::memset(sums, 0, static_cast<size_t>((row_end - row_begin) * qmatmul::kPanelRows * 4));
  Block block;
  block.keep = row_end - row_begin > 2 * qmatmul::kTileRows;
  for (block.end = 0; block.end < job.piece_count;) {
    fill_block(job, panel, block.end, block);
    for_each_tile<tile_rows<kDigits>()>(row_begin, row_end, [&](auto rows, int64_t row) {
      constexpr int kRows = decltype(rows)::value;
      // The first tile reads its block from memory, as fast as that goes; the others have time for the next block.
      const bool first = row == row_begin;
      float* row_sums = sums + (row - row_begin) * qmatmul::kPanelRows;
      for_each_width(panel.rows, [&](auto vectors, int64_t column) {
        constexpr int kV = decltype(vectors)::value;
        const auto multiply = kV == kWideVectors && block.end - block.begin == 1 ? multiply_tile < Weights, kDigits,
                   kRows, kV, kV == kWideVectors > : multiply_tile<Weights, kDigits, kRows, kV, false>;
        multiply(job, block, panel.rows, row, column, first, row_sums);
      });
      if (job.float_offsets) add_offsets<kDigits, kRows>(job, block, panel.rows, row, first, row_sums);
    });
  }
  finish(job, panel, row_begin, row_end, sums, !job.piece_scales);
}

template <class Weights, int kDigits>
constexpr qmatmul::Kernel kernel_i8() {
  return {pack_rows_i8<kDigits>, multiply_i8<Weights, kDigits>,   kDigits, kDigits, true,
          tile_rows<kDigits>(),  kDigits == 1 ? 1 << 20 : 1 << 19};
}

}  // namespace gatun::GATUN_ISA
