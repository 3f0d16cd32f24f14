// Reading the packed weights (layout.h): a unit of 8 slots of kLanes columns, chunk by chunk, as the elements that a
// multiplication takes.
//
//   PackF32   one slot a lane: f32, f16, bf16 widened, or (code - zero point) * scale of i8 and u4
//   PackBf16  two slots a lane: bf16
//   PackI8    four slots a lane: i8, or u4 minus its zero point, which is in -15..15
#pragma once

#include "nm_matmul/kernel.h"
#include "nm_matmul/rows.h"
#include "simd/elements.h"

namespace gatun::GATUN_ISA {

// Where a reader is: kLanes columns from `column` on of a panel of R.
struct Columns {
  const uint8_t* panel;
  int32_t of;  // R
  int32_t column;
};

GATUN_INLINE F32 load_scales(const nm_matmul::Job& job, const nm_matmul::Piece& piece, const Columns& at) {
  const uint8_t* scales = at.panel + piece.scales * at.of;
  return job.scale_dtype == GATUN_F16 ? load_f16(reinterpret_cast<const uint16_t*>(scales) + at.column)
                                      : load_f32(reinterpret_cast<const float*>(scales) + at.column);
}
GATUN_INLINE I32 load_zeros(const nm_matmul::Job& job, const nm_matmul::Piece& piece, const Columns& at) {
  return job.zero_points ? load_u8_i32(at.panel + piece.zeros * at.of + at.column) : set1_i32(8);
}

// All readers: of(job, piece, at), then chunk<C>(values, at) of a unit; `values` is the address of the panel's unit
// behind its indices.
template <class Float>
struct FloatValues {
  using Packed = PackF32;
  static GATUN_INLINE FloatValues of(const nm_matmul::Job&, const nm_matmul::Piece&, const Columns&) { return {}; }
  template <int C>
  GATUN_INLINE F32 chunk(const uint8_t* values, const Columns& at) const {
    return Float::load(reinterpret_cast<const typename Float::Type*>(values) + C * at.of + at.column);
  }
};

struct WidenedBf16Values {
  using Packed = PackF32;
  static GATUN_INLINE WidenedBf16Values of(const nm_matmul::Job&, const nm_matmul::Piece&, const Columns&) {
    return {};
  }
  template <int C>
  GATUN_INLINE F32 chunk(const uint8_t* values, const Columns& at) const {
    const I32 pairs = load_i32(reinterpret_cast<const int32_t*>(values) + C / 2 * at.of + at.column);
    return as_f32(C % 2 == 0 ? shift_left<16>(pairs) : and_i32(pairs, set1_i32(-65536)));
  }
};

template <bool kNibbles>
struct DequantizedValues {
  using Packed = PackF32;
  static GATUN_INLINE DequantizedValues of(const nm_matmul::Job& job, const nm_matmul::Piece& piece,
                                           const Columns& at) {
    return {load_scales(job, piece, at), kNibbles ? load_zeros(job, piece, at) : zero_i32()};
  }
  template <int C>
  GATUN_INLINE F32 chunk(const uint8_t* values, const Columns& at) const {
    constexpr int kQuad = C / 4, kByte = C % 4;
    I32 code;
    if constexpr (kNibbles) {
      const I32 bytes = as_lanes(load_bytes(values + 4 * at.column));
      code = sub_i32(and_i32(shift_right_logical<8 * kByte + 4 * kQuad>(bytes), set1_i32(15)), zeros);
    } else {
      const I32 bytes = as_lanes(load_bytes(values + 4 * (kQuad * at.of + at.column)));
      code = shift_right<24>(shift_left<24 - 8 * kByte>(bytes));
    }
    return mul(to_f32(code), scales);
  }
  F32 scales;
  I32 zeros;
};

struct PairValues {
  using Packed = PackBf16;
  static GATUN_INLINE PairValues of(const nm_matmul::Job&, const nm_matmul::Piece&, const Columns&) { return {}; }
  template <int C>
  GATUN_INLINE Bytes chunk(const uint8_t* values, const Columns& at) const {
    return load_bytes(values + 4 * (C * at.of + at.column));
  }
};

template <bool kNibbles>
struct CodeValues {
  using Packed = PackI8;
  static GATUN_INLINE CodeValues of(const nm_matmul::Job& job, const nm_matmul::Piece& piece, const Columns& at) {
    return {as_bytes(kNibbles ? mul_i32(load_zeros(job, piece, at), set1_i32(0x01010101)) : zero_i32())};
  }
  template <int C>
  GATUN_INLINE Bytes chunk(const uint8_t* values, const Columns& at) const {
    if constexpr (!kNibbles) return load_bytes(values + 4 * (C * at.of + at.column));
    const Bytes both = load_bytes(values + 4 * at.column);
    return sub_bytes(C == 0 ? low_nibbles(both) : high_nibbles(both), zeros);
  }
  Bytes zeros;
};

// Indices of a unit's 8 slots; none where kBits is 0.
template <int kBits>
struct UnitIndices {
  static GATUN_INLINE UnitIndices of(const uint8_t* unit, const Columns& at) {
    UnitIndices indices;
    if constexpr (kBits == 0) {
      indices.words[0] = zero_i32();
    } else if constexpr (kBits == 2) {
      indices.words[0] = load_u16_i32(reinterpret_cast<const uint16_t*>(unit) + at.column);
    } else {
      const int32_t* p = reinterpret_cast<const int32_t*>(unit) + at.column;
      indices.words[0] = load_i32(p);
      if constexpr (kBits == 8) indices.words[1] = load_i32(p + at.of);
    }
    return indices;
  }
  I32 words[kBits == 8 ? 2 : 1];
};

// The places of chunk C of a unit within its window: base + index, which are the bits of both, as bases are multiples
// of m. Stored dense there are none.
template <class Packed, int kBits, int C>
GATUN_INLINE Bytes places(const UnitIndices<kBits>& unit, uint32_t base) {
  if constexpr (kBits == 0) return as_bytes(unit.words[0]);
  constexpr int kMask = kBits == 2 ? 3 : kBits == 4 ? 15 : 31;
  constexpr int kFirst = C * Packed::kSlots;  // slot of the unit
  const I32 bases = set1_i32(static_cast<int32_t>(base));
  const I32 word = unit.words[kBits == 8 ? kFirst / 4 : 0];
  constexpr int kShift = kBits * kFirst % 32;
  if constexpr (Packed::kSlots == 4) {
    const I32 fields = as_lanes(spread_bytes<kBits, C>(word));
    return as_bytes(and_or_i32(fields, set1_i32(kMask * 0x01010101), bases));
  } else if constexpr (Packed::kSlots == 2) {
    const I32 fields = shift_right_logical<kShift>(word);
    const I32 pair = select_bits(set1_i32(0xffff), fields, shift_left<16 - kBits>(fields));
    return as_bytes(and_or_i32(pair, set1_i32(kMask * 0x00010001), bases));
  } else {
    return as_bytes(and_or_i32(shift_right_logical<kShift>(word), set1_i32(kMask), bases));
  }
}

}  // namespace gatun::GATUN_ISA
