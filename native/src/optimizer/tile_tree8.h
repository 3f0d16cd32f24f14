// DYNAMIC8 state where bytes are looked up in registers: new state to codes by the places of dynamic_cells.h.
//
//   v     [ 4 vectors of a block's new state, times 1 / scale ]
//   place the last 16 bits of a sum in f32; low and high bytes of all four vectors side by side
//   codes starts[high] + (low > within[high]); of values with a sign 127 + or - that
//
// Values whose place is that of a threshold are noted in bits, and put right one by one when the block is done: with
// even values one of 256.
#pragma once

#include "optimizer/tile_state.h"
#include "quantize/dynamic_cells.h"

namespace gatun::GATUN_ISA {
namespace {

using quantize::DynamicCells;

class TreeEncoder {
 public:
  TreeEncoder(const Plane&, bool second) : cells_(quantize::dynamic_cells(!second)) {}

  void encode(const float* state, int64_t count, float inverse, uint8_t* to) const {
    cells_.is_signed ? encode<true>(state, count, inverse, to) : encode<false>(state, count, inverse, to);
  }

 private:
  static constexpr int64_t kZero = 127;  // the code of 0 among those with a sign

  template <bool kSigned>
  GATUN_INLINE void encode(const float* state, int64_t count, float inverse, uint8_t* to) const {
    const ByteTable starts = load_byte_table(cells_.starts), first = load_byte_table(cells_.within[0]);
    const ByteTable second = load_byte_table(cells_.within[1]);
    const F32 power = set1(cells_.power), shift = set1(cells_.shift);
    const F32 slope = set1(cells_.slope), offset = set1(cells_.offset);
    uint64_t doubts[optimizer::kMostBlock / kStep], any = 0;
    for (int64_t i = 0; i < count; i += kStep) {
      F32 v[4];
      I32 place[4];
      for (int j = 0; j < 4; ++j) {
        v[j] = mul(load_f32(state + i + j * kLanes), set1(inverse));
        const I32 bits = kSigned ? and_i32(as_i32(v[j]), set1_i32(0x7fffffff)) : as_i32(v[j]);
        const F32 y = as_f32(round_to_i32(fma(to_f32(bits), power, shift)));
        place[j] = as_i32(fma(y, slope, offset));
      }
      Bytes low, high;
      split_words(place, low, high);
      const Bytes least = lookup(first, high);
      Bytes codes = add_where_above(low, least, lookup(starts, high), 1);
      uint64_t doubt = equal_bytes(low, least);
      if (kSigned) {
        const Bytes zero = set1_u8(kZero), above = add_bytes(codes, kZero);
        codes = select_negative(v, subtract_u8(zero, max_u8(codes, set1_u8(1))), above);
      } else {
        const Bytes next = lookup(second, high);
        codes = add_where_above(low, next, codes, 1);
        doubt |= equal_bytes(low, next);
      }
      if (count - i >= kStep) {
        store_bytes(to + i, codes);
      } else {
        store_bytes_n(to + i, codes, static_cast<int>(count - i));
        doubt &= (uint64_t{1} << (count - i)) - 1;
      }
      doubts[i / kStep] = doubt;
      any |= doubt;
    }
    if (any == 0) return;
    for (int64_t i = 0; i < count; i += kStep) {
      for (uint64_t doubt = doubts[i / kStep]; doubt != 0; doubt &= doubt - 1) {
        const int64_t k = i + __builtin_ctzll(doubt);
        settle<kSigned>(state[k] * inverse, to + k);
      }
    }
  }

  // Puts right a code that is too near 0 for v.
  template <bool kSigned>
  GATUN_INLINE void settle(float v, uint8_t* code) const {
    const float* const thresholds = cells_.book->thresholds;  // infinite after the last one
    int64_t c = *code;
    if (kSigned && __builtin_signbit(v)) {
      while (c > 0 && !(v > thresholds[c - 1])) --c;
    } else {
      while (v > thresholds[c]) ++c;
    }
    *code = static_cast<uint8_t>(c);
  }

  const DynamicCells& cells_;
};

using Tree8State = QuantizedState<book8, false, TreeEncoder>;

}  // namespace
}  // namespace gatun::GATUN_ISA
