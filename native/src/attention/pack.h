// Packing rows of q, k and v into words (scratch.h).
#pragma once

#include "attention/products.h"
#include "attention/scratch.h"
#include "base/dtype.h"
#include "simd/elements.h"
#include "simd/transpose.h"

namespace gatun::GATUN_ISA {
namespace {

using attention::round_up;

GATUN_INLINE int lanes_to(int64_t end, int64_t at) { return end - at < kLanes ? static_cast<int>(end - at) : kLanes; }

GATUN_INLINE int32_t smaller(int64_t a, int64_t b) { return static_cast<int32_t>(a < b ? a : b); }

// A head's rows of q, k or v.
struct Rows {
  const uint8_t* data;
  int64_t stride_bytes;
  const uint8_t* row(int64_t i) const { return data + i * stride_bytes; }
  Rows from(int64_t bytes) const { return {data + bytes, stride_bytes}; }
};

template <class Element>
GATUN_INLINE const typename Element::Type* elements(const uint8_t* row) {
  return reinterpret_cast<const typename Element::Type*>(row);
}

// of(element type), by name of the dtype.
template <class Of>
GATUN_INLINE void with_elements(int32_t dtype, Of of) {
  switch (dtype) {
    case GATUN_BF16:
      return of(bf16());
    case GATUN_F16:
      return of(f16());
    default:
      return of(f32());
  }
}

// [kPanelKeys rows][words] -> [words][kPanelKeys]; rows from `count` on are zeros.
inline void transpose_panel(const uint8_t* rows, int64_t stride_bytes, int count, int64_t words, uint32_t* panel) {
  for (int first = 0; first < attention::kPanelKeys; first += kLanes) {
    for (int64_t w = 0; w < words; w += kLanes) {
      const int n = lanes_to(words, w);
      F32 square[kLanes];
      const auto row = [&](int i) GATUN_INLINE_LAMBDA {
        return reinterpret_cast<const float*>(rows + (first + i) * stride_bytes) + w;
      };
      if (n == kLanes && first + kLanes <= count) {
        for (int i = 0; i < kLanes; ++i) square[i] = load_f32(row(i));
      } else {
        for (int i = 0; i < kLanes; ++i) square[i] = first + i < count ? load_f32_n(row(i), n) : zero_f32();
      }
      transpose(square);
      for (int i = 0; i < n; ++i) {
        store_f32(reinterpret_cast<float*>(panel + (w + i) * attention::kPanelKeys + first), square[i]);
      }
    }
  }
}

// Rows of values of one type, whatever the caller's are: of which words are made.
template <class Own, int32_t kDtype, class OwnWords>
struct RowsOf {
  using Words = OwnWords;
  template <class Element>
  static GATUN_INLINE void convert(const uint8_t* from, int64_t size, int64_t padded, uint8_t* to) {
    for (int64_t i = 0; i < padded; i += kLanes) {
      const int n = i < size ? lanes_to(size, i) : 0;
      Own::store_n(reinterpret_cast<typename Own::Type*>(to) + i, Element::load_n(elements<Element>(from) + i, n),
                   lanes_to(padded, i));
    }
  }
  static bool stored_so(int32_t dtype) { return dtype == kDtype; }
};
using F32Rows = RowsOf<f32, GATUN_F32, F32Words>;
#if defined(__AVX512BF16__)
using Bf16Rows = RowsOf<bf16, GATUN_BF16, Bf16Words>;
#endif

// Rows of `size` values as they lie in memory if they are of the type that words want and need no padding, or else
// copies, with zeros up to `padded` values.
template <class Format>
GATUN_INLINE Rows in_format(int32_t dtype, const Rows& rows, int64_t count, int64_t size, int64_t padded,
                            uint8_t* stage) {
  if (Format::stored_so(dtype) && size == padded) return rows;
  const int64_t bytes = padded * 4 / Format::Words::kValues;
  with_elements(dtype, [&](auto element) {
    for (int64_t i = 0; i < count; ++i) {
      Format::template convert<decltype(element)>(rows.row(i), size, padded, stage + i * bytes);
    }
  });
  return {stage, bytes};
}

// `count` keys of a unit, the rest of the last panel's become zeros.
template <class Format>
inline void pack_keys(int32_t dtype, const Rows& rows, int64_t count, int64_t size, uint8_t* stage, uint32_t* panels) {
  const int64_t words = size / Format::Words::kValues;
  const Rows formatted = in_format<Format>(dtype, rows, count, size, size, stage);
  for (int64_t key = 0; key < count; key += attention::kPanelKeys) {
    const int64_t left = count - key < attention::kPanelKeys ? count - key : attention::kPanelKeys;
    transpose_panel(formatted.row(key), formatted.stride_bytes, static_cast<int>(left), words, panels + key * words);
  }
}

// Columns of `count` rows of v from `column` on into panels [panel][value words][width] of a group, zeros beside and
// below. False if a value is not finite; it becomes 0 then.
struct F32Values {
  using Words = F32Words;
  static bool pack(int32_t dtype, const Rows& rows, int64_t count, int64_t column, int64_t columns, int64_t width,
                   uint8_t*, uint32_t* to) {
    const int64_t end = round_up(count, attention::kPanelKeys);
    F32 poison = zero_f32();
    with_elements(dtype, [&](auto element) {
      using Element = decltype(element);
      for (int64_t key = 0; key < end; ++key, to += width) {
        for (int64_t c = 0; c < width; c += kLanes) {
          F32 x = zero_f32();
          if (key < count && c < columns) {
            x = Element::load_n(elements<Element>(rows.row(key)) + column + c, lanes_to(columns, c));
          }
          poison = add(poison, sub(x, x));
          store_f32(reinterpret_cast<float*>(to + c), x);
        }
      }
    });
    return reduce_add(poison) == 0.0f;
  }
  // Of a packed word, the values that are finite, the others 0.
  static uint32_t finite(uint32_t word) { return (word & 0x7f800000) == 0x7f800000 ? 0 : word; }
  static float rounded(float value) { return value; }
  static float weight(const uint32_t* row, int key) { return reinterpret_cast<const float*>(row)[key]; }
};

#if defined(__AVX512BF16__)
struct Bf16Values {
  using Words = Bf16Words;
  static bool pack(int32_t dtype, const Rows& rows, int64_t count, int64_t column, int64_t columns, int64_t width,
                   uint8_t* stage, uint32_t* to) {
    const Rows from = in_format<Bf16Rows>(dtype, rows.from(column * dtype_bytes(dtype, 1)), count, columns,
                                          round_up(width, 2 * kLanes), stage);
    const int64_t end = round_up(count, attention::kPanelKeys);
    F32 poison = zero_f32();
    const auto check = [&](I32 words) GATUN_INLINE_LAMBDA {
      const F32 high = as_f32(words), low = as_f32(shift_left<16>(words));
      poison = add(poison, add(sub(high, high), sub(low, low)));
    };
    for (int64_t key = 0; key < end; key += 2, to += width) {
      for (int64_t c = 0; c < width; c += 2 * kLanes) {
        const auto row = [&](int64_t k) GATUN_INLINE_LAMBDA {
          return k < count ? load_bytes(from.row(k) + 2 * c) : as_bytes(zero_i32());
        };
        const Bytes a = row(key), b = row(key + 1);
        check(as_lanes(a));
        check(as_lanes(b));
        store_bytes(reinterpret_cast<uint8_t*>(to + c), interleave_first(a, b));
        if (c + kLanes < width) store_bytes(reinterpret_cast<uint8_t*>(to + c + kLanes), interleave_last(a, b));
      }
    }
    return reduce_add(poison) == 0.0f;
  }
  static uint32_t finite(uint32_t word) {
    if ((word & 0x7f80) == 0x7f80) word &= 0xffff0000;
    return (word & 0x7f800000) == 0x7f800000 ? word & 0xffff : word;
  }
  static float rounded(float value) { return bf16_to_f32(f32_to_bf16(value)); }
  static float weight(const uint32_t* row, int key) { return bf16_to_f32(reinterpret_cast<const uint16_t*>(row)[key]); }
};
#endif

}  // namespace
}  // namespace gatun::GATUN_ISA
