// bf16 mode: activations rounded to bf16 times the bf16 values that codes stand for, looked up in registers.
//
//   y[m][n] = sx[m] * sum_pieces sw[n][g] * sum_{k in piece} x[m][k] * book[w[n][k]]
//   with scales per group: sx belongs to row and piece, inside the sum
//
// x: tiles of T rows [depth / 2][T][2] bf16 (rows_bf16.h). w, sw: a panel of R rows (layout.h). The tile is that of
// tile_i8.h, a lane of a sum one output:
//
//                     w[0]   w[1] .. w[V-1]     one pair of depths of kLanes rows each, by one look-up
//   x[0] broadcast  sum[0][0] ...
//   ..
//   x[T-1]          sum[T-1][0] ...
//
// 4 bits: a word of codes holds the nibbles of depths (0, 4, 1, 5) or (2, 6, 3, 7), the lowest first. A look-up of
// words takes the low bits of each and ignores the others but for one, for which the table is there twice; so after
// shifts by 0, 8, 4 and 12 bits it gives the pairs (0, 2) (1, 3) (4, 6) (5, 7) of all rows. 128 weights cost a load, 3
// shifts and 4 look-ups, which run beside the 4 T dots.
//
// 8 bits: low and high bytes are looked up in 256 bytes each (two look-ups of 128 and a selection, or one look-up and
// the sign where the halves of the book differ in that alone), then joined to words. Codes are put in order before
// that, the even depths of 4 rows before the odd ones, so that joining the first and the last 8 of every 16 bytes gives
// (0, 2) and (1, 3), then (4, 6) and (5, 7). That takes ports that dots want, so with more than kDirectRows rows a
// block of 512 depths is decoded to [depth / 2][R][2] bf16 (64 KiB, in the L2 cache) once for all tiles, of which the
// first asks for the next block's codes.
//
// Every path adds the same dots in the same order, so an output depends on nothing but its row and column.
// Tails: depth is padded in what we packed, with x = 0; a tile has the rows that are left; columns beyond y's end are
// computed and not stored.
// Error: products are exact, each fma of a dot is rounded once, and a piece's fma; subnormals are 0 (simd/vec.h):
// |y - exact| <= 2^-23 (depth / 2 + 2 pieces + 8) sum |terms| and what is flushed: 2^-126 for each term and factor of
// it. Sums are f32 and may overflow to infinity as any f32 sum.
// Measured (AMD EPYC 9004, one thread, 14336 x 4096, on a loaded machine; limit 236 GFLOP/s): NF4 in groups of 64 89 %
// with 512 rows, one row 95 % of a plain read; F8 in groups of 128 89 % and 95 %; other books of 256 one row 77 %
// (bench/NOTES.md).
#pragma once

#include "qmatmul/block.h"
#include "qmatmul/epilogue.h"
#include "qmatmul/kernel.h"
#include "qmatmul/rows_bf16.h"
#include "qmatmul/tile.h"
#include "simd/tables.h"
#include "simd/vec.h"

namespace gatun::GATUN_ISA {

// bf16 words of kLanes rows: the pairs of depths (4 Q, 4 Q + 2) and (4 Q + 1, 4 Q + 3).
struct Pairs {
  Bytes even, odd;
};

// How the weights of kLanes rows are read: quad Q = 0 or 1 of 8 depths, from `start` of a piece on, kDepthBytes further
// for a row and 8 depths. kCodeBytes: the same of the codes.
class BookNibbles {
 public:
  static constexpr int kDepthBytes = 4, kCodeBytes = 4;
  // With up to so many rows, decoding a block first gains nothing.
  static constexpr int64_t kDirectRows = qmatmul::kBlockRows;

  explicit GATUN_INLINE BookNibbles(const qmatmul::Job& job) {
    uint16_t words[2 * kLanes];
    for (int i = 0; i < 2 * kLanes; i += kLanes) {
      store_bf16(words + i, load_f32(reinterpret_cast<const float*>(job.table)));
    }
    table_ = load_bytes(reinterpret_cast<const uint8_t*>(words));
  }
  static GATUN_INLINE const uint8_t* start(const PieceWeights& piece, int64_t, int64_t) { return piece.codes; }
  template <int Q>
  GATUN_INLINE Pairs quad(const uint8_t* p, int64_t) const {
    const Bytes codes = load_bytes(p);
    return {lookup_words(table_, Q == 0 ? codes : shift_words<4>(codes)),
            lookup_words(table_, shift_words < Q == 0 ? 8 : 12 > (codes))};
  }

 private:
  Bytes table_;
};

// The bf16 of 256 floats as bytes. Codes of small floats have a sign bit of their own, or no highest bit at all: the
// upper half of their book is the lower one but for the sign.
struct Halves {
  explicit GATUN_INLINE Halves(const qmatmul::Job& job) {
    for (int i = 0; i < 256; i += kLanes) {
      uint16_t words[kLanes];
      store_bf16(words, load_f32(reinterpret_cast<const float*>(job.table) + i));
      for (int j = 0; j < kLanes; ++j) {
        low[i + j] = static_cast<uint8_t>(words[j] & 255);
        high[i + j] = static_cast<uint8_t>(words[j] >> 8);
      }
    }
  }
  // What the highest bit of a code does to the high byte where it does nothing else; -1 where it does more.
  GATUN_INLINE int sign() const {
    const int bit = high[128] ^ high[0];
    int differences = bit & 0x7f;
    for (int i = 0; i < 128; ++i) differences |= (low[i + 128] ^ low[i]) | (high[i + 128] ^ high[i] ^ bit);
    return differences == 0 ? bit : -1;
  }
  uint8_t low[256], high[256];
};

class BookBytes {
 public:
  static constexpr int kDepthBytes = 8, kCodeBytes = 8;
  static constexpr int64_t kDirectRows = 2 * qmatmul::kTileRows;

  explicit GATUN_INLINE BookBytes(const Halves& halves)
      : low_(load_byte_table(halves.low)), high_(load_byte_table(halves.high)) {}
  static GATUN_INLINE const uint8_t* start(const PieceWeights& piece, int64_t, int64_t) { return piece.codes; }
  template <int Q>
  GATUN_INLINE Pairs quad(const uint8_t* p, int64_t panel_rows) const {
    const Bytes codes = evens_first(load_bytes(p + 4 * Q * panel_rows));
    const Bytes low = lookup(low_, codes), high = lookup(high_, codes);
    return {join_first(low, high), join_last(low, high)};
  }

 private:
  ByteTable low_, high_;
};

// With Halves::sign(): half of the look-ups.
class SignedBytes {
 public:
  static constexpr int kDepthBytes = 8, kCodeBytes = 8;
  static constexpr int64_t kDirectRows = 8 * qmatmul::kTileRows;

  explicit GATUN_INLINE SignedBytes(const Halves& halves)
      : low_(load_table128(halves.low)),
        high_(load_table128(halves.high)),
        sign_(set1_i32(static_cast<int32_t>(static_cast<uint32_t>(halves.sign()) * 0x01010101u))) {}
  static GATUN_INLINE const uint8_t* start(const PieceWeights& piece, int64_t, int64_t) { return piece.codes; }
  template <int Q>
  GATUN_INLINE Pairs quad(const uint8_t* p, int64_t panel_rows) const {
    const Bytes codes = evens_first(load_bytes(p + 4 * Q * panel_rows));
    const Bytes low = lookup128(low_, codes), high = flip_bits(lookup128(high_, codes), codes, sign_);
    return {join_first(low, high), join_last(low, high)};
  }

 private:
  Table128 low_, high_;
  Bytes sign_;
};

// A block that decode() has written.
template <class Book>
class Decoded {
 public:
  static constexpr int kDepthBytes = 16, kCodeBytes = Book::kCodeBytes;

  explicit GATUN_INLINE Decoded(const uint8_t* values) : values_(values) {}
  GATUN_INLINE const uint8_t* start(const PieceWeights&, int64_t depth, int64_t panel_rows) const {
    return values_ + 2 * depth * panel_rows;
  }
  template <int Q>
  GATUN_INLINE Pairs quad(const uint8_t* p, int64_t panel_rows) const {
    return {load_bytes(p + 8 * Q * panel_rows), load_bytes(p + (8 * Q + 4) * panel_rows)};
  }

 private:
  const uint8_t* values_;
};

// The codes of a block as bf16 [depth / 2][R][2], in the order of Pairs.
template <class Book>
inline void decode(const Book& book, const Block& block, int64_t panel_rows, uint8_t* out) {
  for (int64_t i = 0; i < block.end - block.begin; ++i) {
    const uint8_t* codes = block.weights[i].codes;
    for (int64_t k = 0; k < block.weights[i].depth; k += 8) {
      for (int64_t row = 0; row < panel_rows; row += kLanes) {
        const Pairs first = book.template quad<0>(codes + 4 * row, panel_rows);
        const Pairs second = book.template quad<1>(codes + 4 * row, panel_rows);
        store_bytes(out + 4 * row, first.even);
        store_bytes(out + 4 * (panel_rows + row), first.odd);
        store_bytes(out + 4 * (2 * panel_rows + row), second.even);
        store_bytes(out + 4 * (3 * panel_rows + row), second.odd);
      }
      codes += Book::kDepthBytes * panel_rows;
      out += Decoded<Book>::kDepthBytes * panel_rows;
    }
  }
}

// Adds the products of T rows and V vectors of weights, all in quad Q of 8 depths.
template <int Q, class Weights, int T, int V>
GATUN_INLINE void dot_pairs(const Weights& weights, const uint8_t* codes, int64_t panel_rows, const uint16_t* x,
                            F32 (&sum)[T][V]) {
  Pairs w[V];
  for (int v = 0; v < V; ++v) w[v] = weights.template quad<Q>(codes + 4 * kLanes * v, panel_rows);
  const auto pair_of_x = [x](int t, int odd) {
    return broadcast4(reinterpret_cast<const int8_t*>(x + 2 * ((2 * Q + odd) * T + t)));
  };
  for (int t = 0; t < T; ++t) {
    const Bytes even = pair_of_x(t, 0);
    for (int v = 0; v < V; ++v) sum[t][v] = dot_bf16(sum[t][v], w[v].even, even);
  }
  for (int t = 0; t < T; ++t) {
    const Bytes odd = pair_of_x(t, 1);
    for (int v = 0; v < V; ++v) sum[t][v] = dot_bf16(sum[t][v], w[v].odd, odd);
  }
}

// A block of a tile: T rows from `row` on by V vectors from `column` on. sums [T][kPanelRows] stay in memory: pieces
// are long enough, and the dots need the registers. Fetches the codes `ahead` bytes after the block's into the cache,
// if that is not 0. A function of its own for the sake of registers, as in tile_i8.h.
template <class Weights, int T, int V>
__attribute__((noinline)) void multiply_tile_bf16(const qmatmul::Job& job, const Weights& weights_in_memory,
                                                  Block& block, int64_t panel_rows, int64_t row, int64_t column,
                                                  bool first, int64_t ahead, float* sums) {
  const Weights weights = weights_in_memory;
  const int64_t x_begin = job.pieces[block.begin].x;
  const uint16_t* x = static_cast<const uint16_t*>(job.values) + row * job.padded_depth + x_begin * T;
  const bool piece_scales = job.piece_scales;
  const float* x_scales = job.scales + row * job.piece_count + block.begin * T;
  float* scales = block.scales[0] + column;
  sums += column;
  int64_t depth = 0;
  const PieceWeights* last = block.weights + (block.end - block.begin);
  for (const PieceWeights* piece = block.weights; piece != last; ++piece) {
    F32 sum[T][V];
    for (int t = 0; t < T; ++t) {
      for (int v = 0; v < V; ++v) sum[t][v] = zero_f32();
    }
    const uint8_t* codes = weights.start(*piece, depth, panel_rows) + 4 * column;
    const uint8_t* next = piece->codes + ahead + 4 * column;
    for (int64_t k = piece->depth; k > 0; k -= 8) {
      dot_pairs<0>(weights, codes, panel_rows, x, sum);
      dot_pairs<1>(weights, codes, panel_rows, x, sum);
      if (ahead != 0) {
        for (int q = 0; q < Weights::kCodeBytes; q += 4) {
          for (int v = 0; v < V; ++v) prefetch_line(next + q * panel_rows + 4 * kLanes * v);
        }
        next += Weights::kCodeBytes * panel_rows;
      }
      codes += Weights::kDepthBytes * panel_rows;
      x += 8 * T;
    }
    F32 scale[V];
    block_scales<T>(job, piece->at, column, first, scales, scale);
    for (int v = 0; v < V; ++v) {
      for (int t = 0; t < T; ++t) {
        float* y = sums + t * qmatmul::kPanelRows + v * kLanes;
        const F32 before = load_f32(y);
        store_f32(y, piece_scales ? fma(mul(sum[t][v], scale[v]), set1(x_scales[t]), before)
                                  : fma(sum[t][v], scale[v], before));
      }
    }
    scales += qmatmul::kPanelRows;
    x_scales += T;
    depth += piece->depth;
  }
}

template <class Book>
inline void multiply_book(const qmatmul::Job& job, const qmatmul::Panel& panel, int64_t row_begin, int64_t row_end,
                          uint8_t* scratch, const Book& book) {
  float* sums = reinterpret_cast<float*>(scratch);
  std::memset(sums, 0, static_cast<size_t>((row_end - row_begin) * qmatmul::kPanelRows * 4));
  const Decoded<Book> decoded(scratch + qmatmul::kSumBytes);
  constexpr bool kDecodes = Book::kDirectRows < qmatmul::kBlockRows;
  const bool direct = !kDecodes || row_end - row_begin <= Book::kDirectRows;
  Block block;
  for (block.end = 0; block.end < job.piece_count;) {
    fill_block(job, panel, block.end, block);
    if (!direct) decode(book, block, panel.rows, scratch + qmatmul::kSumBytes);
    for_each_tile<qmatmul::kTileRows>(row_begin, row_end, [&](auto rows, int64_t row) {
      constexpr int T = decltype(rows)::value;
      // Whoever has read this block from memory leaves the next one to others: the first tile, or decode().
      const bool first = row == row_begin;
      const int64_t ahead = first == direct ? 0 : block.bytes;
      float* row_sums = sums + (row - row_begin) * qmatmul::kPanelRows;
      for_each_width(panel.rows, [&](auto vectors, int64_t column) {
        constexpr int V = decltype(vectors)::value;
        if (direct) {
          multiply_tile_bf16<Book, T, V>(job, book, block, panel.rows, row, column, first, ahead, row_sums);
        } else if constexpr (kDecodes) {
          multiply_tile_bf16<Decoded<Book>, T, V>(job, decoded, block, panel.rows, row, column, first, ahead, row_sums);
        }
      });
    });
  }
  finish(job, panel, row_begin, row_end, sums, !job.piece_scales);
}

inline void multiply_nibbles(const qmatmul::Job& job, const qmatmul::Panel& panel, int64_t row_begin, int64_t row_end,
                             uint8_t* scratch) {
  multiply_book(job, panel, row_begin, row_end, scratch, BookNibbles(job));
}

inline void multiply_bytes(const qmatmul::Job& job, const qmatmul::Panel& panel, int64_t row_begin, int64_t row_end,
                           uint8_t* scratch) {
  const Halves halves(job);
  if (halves.sign() < 0) {
    multiply_book(job, panel, row_begin, row_end, scratch, BookBytes(halves));
  } else {
    multiply_book(job, panel, row_begin, row_end, scratch, SignedBytes(halves));
  }
}

inline constexpr qmatmul::Kernel kNibblesBf16 = {pack_rows_bf16, multiply_nibbles,   2,      0,
                                                 true,           qmatmul::kTileRows, 1 << 20};
inline constexpr qmatmul::Kernel kBytesBf16 = {pack_rows_bf16, multiply_bytes, 2, 0, true, qmatmul::kTileRows, 1 << 19};

}  // namespace gatun::GATUN_ISA
