// DYNAMIC8 state where bytes are looked up in registers: new state to codes by the places of dynamic_cells.h.
//
//   v     [ 4 vectors of a block's new state, times 1 / scale ]
//   place the last 16 bits of a sum in f32; low and high bytes of all four vectors side by side
//   codes starts[high] + (low > within[0][high]) + (low > within[1][high])
//
// A value whose place is that of a threshold, 1 of 250 where values are even, may have a code that is too low by one.
// Of 64 values one is settled always, so that no branch depends on whether there is one; more are rare.
#pragma once

#include "optimizer/tile_state.h"
#include "quantize/dynamic_cells.h"

namespace gatun::GATUN_ISA {
namespace {

using quantize::DynamicCells;

class TreeEncoder {
 public:
  TreeEncoder(const Plane&, bool second) : cells_(quantize::dynamic_cells(!second)) {}

  // As PlainEncoder.
  void encode(const float* state, int64_t count, int64_t block, const float* inverses, uint8_t* to) const {
    cells_.is_signed ? encode_all<true>(state, count, block, inverses, to)
                     : encode_all<false>(state, count, block, inverses, to);
  }

 private:
  template <bool kSigned>
  static GATUN_INLINE F32 curve(F32 v) {
    I32 bits = kSigned ? shift_right<2>(as_i32(v)) : shift_right_logical<2>(as_i32(v));
    if (kSigned) bits = and_i32(bits, set1_i32(-0x60000001));  // one bit of three with the sign
    return as_f32(add_i32(bits, set1_i32(DynamicCells::kKink)));
  }

  template <bool kSigned>
  GATUN_INLINE void encode_all(const float* state, int64_t count, int64_t block, const float* inverses,
                               uint8_t* to) const {
    const ByteTable starts = load_byte_table(cells_.starts);
    const ByteTable first = load_byte_table(cells_.within[0]), second = load_byte_table(cells_.within[1]);
    const F32 slope = set1(cells_.slope), offset = set1(cells_.offset);
    uint64_t doubts[optimizer::kMostBlock / kStep];
    for (int64_t begin = 0; begin < count; begin += block) {
      const F32 inverse = set1(inverses[begin / block]);
      for (int64_t i = begin; i < smaller(begin + block, count); i += kStep) {
        I32 place[4];
        for (int j = 0; j < 4; ++j) {
          const F32 v = mul(load_f32(state + i + j * kLanes), inverse);
          place[j] = as_i32(fma(curve<kSigned>(v), slope, offset));
        }
        Bytes low, high;
        split_words(place, low, high);
        low = min_u8(low, set1_u8(DynamicCells::kLast));
        const Bytes lower = lookup(first, high), upper = lookup(second, high);
        const Bytes codes = increase_where_above(low, upper, increase_where_above(low, lower, lookup(starts, high)));
        uint64_t doubt = equal_bytes(low, lower) | equal_bytes(low, upper);
        if (count - i >= kStep) {
          store_bytes(to + i, codes);
        } else {
          store_bytes_n(to + i, codes, static_cast<int>(count - i));
          doubt &= (uint64_t{1} << (count - i)) - 1;
        }
        doubts[i / kStep] = doubt;
      }
    }
    for (int64_t i = 0; i < count; i += kStep) {
      const uint64_t doubt = doubts[i / kStep], none = doubt == 0;  // then the first: it stays as it is
      int64_t k = i + __builtin_ctzll(doubt | none);
      settle(state[k] * inverses[k / block], to + k);
      for (uint64_t more = doubt & (doubt - 1); __builtin_expect(more != 0, 0); more &= more - 1) {
        k = i + __builtin_ctzll(more);
        settle(state[k] * inverses[k / block], to + k);
      }
    }
  }

  // Puts right a code that may be too low for v.
  GATUN_INLINE void settle(float v, uint8_t* code) const {
    *code = static_cast<uint8_t>(*code + (v > cells_.thresholds[*code]));
  }

  const DynamicCells& cells_;
};

using Tree8State = QuantizedState<book8, false, TreeEncoder>;

}  // namespace
}  // namespace gatun::GATUN_ISA
