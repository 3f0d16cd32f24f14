// Indices of code books as codes: a value v becomes the number of thresholds below it (books.h).
//
// A look-up says where to start, and a binary search over fewer than 2^steps thresholds, usually 1, the rest. 16 values
// and 32 cells fit a few registers; 256:
//
//   v      [ v0 v1 .. ] x 4 vectors of kLanes
//   cell   the formula of Cells, in f32 and i32 lanes, packed to bytes
//   bytes  position = starts[sign][cell]; with step = 2^(steps - 1), .., 2, 1:
//          position += step where thresholds[position + step - 1] < v
#pragma once

#include "quantize/books.h"
#include "quantize/codes.h"
#include "simd/tables.h"

namespace gatun::GATUN_ISA {
namespace {

using quantize::Book;

// Of v from `low` in parts of the distance of `high`: 0 only if v is not above it.
GATUN_INLINE F32 distance(F32 v, F32 low, F32 high) {
  return select_less(low, v, max(div(sub(v, low), sub(high, low)), set1(0x1p-149f)), zero_f32());
}

struct book4 : u4 {
  static constexpr float kLargest = 1;
  static constexpr int kMagnitude = 0;         // no sign
  static constexpr bool kSmallScales = false;  // only F32

  struct Encoder {
    explicit GATUN_INLINE Encoder(const Job& job) : book(*job.book) {}

    // The codes of values in vectors of kLanes; the bits that are kept play no part. kLimited: of any values, otherwise
    // of those that the scale is made of.
    template <bool kLimited>
    GATUN_INLINE Bytes nearest(const F32 (&v)[4], const I32 (&)[4]) const {
      return codes(position<kLimited>(v[0]), position<kLimited>(v[1]), position<kLimited>(v[2]),
                   position<kLimited>(v[3]));
    }
    // The upper of the two neighbours of a value if its distance to the lower one, in parts of theirs, is above the
    // threshold.
    GATUN_INLINE Bytes above(const F32 (&v)[4], const I32 (&)[4], const F32 (&least)[4]) const {
      return codes(above_one(v[0], least[0]), above_one(v[1], least[1]), above_one(v[2], least[2]),
                   above_one(v[3], least[3]));
    }

   private:
    GATUN_INLINE Bytes codes(I32 a, I32 b, I32 c, I32 d) const { return lookup16(map, pack_u8(a, b, c, d)); }

    template <bool kLimited>
    GATUN_INLINE I32 position(F32 v) const {
      F32 cell = fma(v, slope, offset);
      if (kLimited) cell = min(max(cell, zero_f32()), set1(31));
      I32 p = as_i32(lookup_f32(starts, round_to_i32(cell)));
      for (int step = first_step; step > 1; step /= 2) {
        p = add_where_less(lookup_f32(thresholds, add_i32(p, set1_i32(step - 1))), v, p, step);
      }
      return add_where_less(lookup_f32(thresholds, p), v, p, 1);
    }

    GATUN_INLINE I32 above_one(F32 v, F32 threshold) const {
      const Table16 ascending = load_table16(book.ascending);
      const I32 near = position<true>(v);
      v = min(max(v, set1(book.ascending[0])), set1(book.ascending[15]));
      const I32 low = add_where_less(v, lookup_f32(ascending, near), near, -1);
      const F32 at = lookup_f32(ascending, low);
      const F32 next = lookup_f32(ascending, min_i32(add_i32(low, set1_i32(1)), set1_i32(15)));
      return add_where_less(threshold, distance(v, at, next), low, 1);
    }

    const Book& book;
    const F32 slope = set1(book.cells.slope), offset = set1(book.cells.offset);
    const int first_step = 1 << book.steps >> 1;
    const Table32 starts = load_table32(book.starts_of_16);
    const Table16 thresholds = load_table16(book.thresholds);
    const Bytes map = broadcast16(book.codes);
  };

  struct Decoder {
    explicit GATUN_INLINE Decoder(const Job& job) : table(load_table16(job.book->values)) {}

    // What the codes from p on stand for.
    GATUN_INLINE void values(const uint8_t* p, F32 (&out)[4]) const {
      for (int j = 0; j < 4; ++j) out[j] = lookup_f32(table, u4::load(p + j * kLanes / 2));
    }

    const Table16 table;
  };
};

struct book8 : u8 {
  static constexpr float kLargest = 1;
  static constexpr int kMagnitude = 0;         // no sign
  static constexpr bool kSmallScales = false;  // only F32

  struct Encoder {
    explicit GATUN_INLINE Encoder(const Job& job) : book(*job.book) {}

    template <bool kLimited>
    GATUN_INLINE Bytes nearest(const F32 (&v)[4], const I32 (&)[4]) const {
      const Bytes cells = pack_u8(cell(v[0]), cell(v[1]), cell(v[2]), cell(v[3]));
      Bytes position = select_negative(v, lookup(negative, cells), lookup(positive, cells));
      for (int step = first_step; step > 0; step /= 2) {
        F32 threshold[4];
        lookup(thresholds, add_bytes(position, step - 1), threshold);
        position = add_where_less(threshold, v, position, step);
      }
      return position;
    }

    GATUN_INLINE Bytes above(const F32 (&x)[4], const I32 (&signs)[4], const F32 (&least)[4]) const {
      F32 v[4], at[4], next[4], distances[4];
      const Bytes near = nearest<true>(x, signs);
      for (int j = 0; j < 4; ++j) v[j] = min(max(x[j], set1(book.ascending[0])), set1(book.ascending[255]));
      lookup(ascending, near, at);
      const Bytes low = add_where_less(v, at, near, -1);
      lookup(ascending, low, at);
      lookup(ascending, add_bytes(low, 1), next);  // after the last one comes the first, but no v is above that
      for (int j = 0; j < 4; ++j) distances[j] = distance(v[j], at[j], next[j]);
      return add_where_less(least, distances, low, 1);
    }

   private:
    // As in Cells.
    GATUN_INLINE I32 cell(F32 v) const {
      const I32 magnitude = min_i32(and_i32(as_i32(v), set1_i32(0x7fffffff)), most);
      const F32 y = as_f32(round_to_i32(fma(to_f32(magnitude), power, shift)));
      return round_to_i32(fma(y, slope, offset));
    }

    const Book& book;
    const I32 most = set1_i32(book.cells.most);
    const F32 power = set1(book.cells.power), shift = set1(book.cells.shift);
    const F32 slope = set1(book.cells.slope), offset = set1(book.cells.offset);
    const int first_step = 1 << book.steps >> 1;
    const ByteTable positive = load_byte_table(book.starts[0]), negative = load_byte_table(book.starts[1]);
    const FloatTable thresholds = load_float_table(book.thresholds), ascending = load_float_table(book.ascending);
  };

  struct Decoder {
    explicit GATUN_INLINE Decoder(const Job& job) : table(load_float_table(job.book->values)) {}

    GATUN_INLINE void values(const uint8_t* p, F32 (&out)[4]) const { lookup(table, load_bytes(p), out); }

    const FloatTable table;
  };
};

}  // namespace
}  // namespace gatun::GATUN_ISA
