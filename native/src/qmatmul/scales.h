// The scales and offsets of kLanes rows of a panel in one piece, whatever their kind (layout.h). Kinds are told apart
// at run time, once a piece and vector: that is rare enough, and kernels stay few.
//
// A super-scale is an f16, which has 11 significant bits, and what it multiplies has at most 8: the product is exact.
#pragma once

#include "qmatmul/kernel.h"
#include "simd/vec.h"

namespace gatun::GATUN_ISA {

// Where they lie: row 0 of the panel.
struct ScalesAt {
  const uint8_t* scales;
  const uint8_t* offsets;
  const uint8_t* supers;
};

GATUN_INLINE ScalesAt scales_at(const qmatmul::Panel& panel, const qmatmul::Piece& piece) {
  return {panel.base + piece.scales * panel.rows, panel.base + piece.offsets * panel.rows,
          panel.base + piece.supers * panel.rows};
}

GATUN_INLINE F32 load_f16_at(const uint8_t* p, int64_t index) {
  return load_f16(reinterpret_cast<const uint16_t*>(p) + index);
}

// 2^(e - 127): the exponent's bits, but for e = 0, which is the subnormal 2^-127.
GATUN_INLINE F32 e8m0_to_f32(I32 e) { return as_f32(max_i32(shift_left<23>(e), set1_i32(0x00400000))); }

// Exponent and mantissa lie 2^120 too low as f32's, subnormals as well.
GATUN_INLINE F32 f8e4m3_to_f32(I32 code) {
  const I32 magnitude = shift_left<20>(and_i32(code, set1_i32(0x7f)));
  const I32 sign = shift_left<24>(and_i32(code, set1_i32(0x80)));
  return mul(as_f32(or_i32(magnitude, sign)), set1(0x1p120f));
}

// Of rows [row, row + kLanes).
template <qmatmul::ScaleKind kKind>
GATUN_INLINE F32 load_scales(const ScalesAt& at, int64_t row) {
  using qmatmul::ScaleKind;
  if constexpr (kKind == ScaleKind::f32) return load_f32(reinterpret_cast<const float*>(at.scales) + row);
  if constexpr (kKind == ScaleKind::f16) return load_f16_at(at.scales, row);
  if constexpr (kKind == ScaleKind::e8m0) return e8m0_to_f32(load_u8_i32(at.scales + row));
  if constexpr (kKind == ScaleKind::f8e4m3) return f8e4m3_to_f32(load_u8_i32(at.scales + row));
  if constexpr (kKind == ScaleKind::super) {
    const I32 sub = load_i8_i32(reinterpret_cast<const int8_t*>(at.scales) + row);
    return mul(load_f16_at(at.supers, row), to_f32(sub));
  }
}

template <qmatmul::ScaleKind kKind>
struct KindOfScale {
  static constexpr qmatmul::ScaleKind value = kKind;
};

// of(KindOfScale<kind>()), the usual kinds first.
template <class Of>
GATUN_INLINE void with_scales(qmatmul::ScaleKind kind, Of of) {
  using qmatmul::ScaleKind;
  if (kind == ScaleKind::f16) {
    of(KindOfScale<ScaleKind::f16>());
  } else if (kind == ScaleKind::f32) {
    of(KindOfScale<ScaleKind::f32>());
  } else if (kind == ScaleKind::super) {
    of(KindOfScale<ScaleKind::super>());
  } else if (kind == ScaleKind::e8m0) {
    of(KindOfScale<ScaleKind::e8m0>());
  } else {
    of(KindOfScale<ScaleKind::f8e4m3>());
  }
}

// The same of a kind that is known at run time.
GATUN_INLINE F32 load_scales(qmatmul::ScaleKind kind, const ScalesAt& at, int64_t row) {
  F32 scales;
  with_scales(kind, [&](auto of) { scales = load_scales<decltype(of)::value>(at, row); });
  return scales;
}

// Of a kind with is_float(kind).
GATUN_INLINE F32 load_offsets(qmatmul::OffsetKind kind, const ScalesAt& at, int64_t row, int64_t panel_rows) {
  using qmatmul::OffsetKind;
  if (kind == OffsetKind::super) {
    const F32 mins = mul(load_f16_at(at.supers, panel_rows + row), to_f32(load_u8_i32(at.offsets + row)));
    return sub(zero_f32(), mins);
  }
  if (kind == OffsetKind::f16) return load_f16_at(at.offsets, row);
  return load_f32(reinterpret_cast<const float*>(at.offsets) + row);
}

}  // namespace gatun::GATUN_ISA
