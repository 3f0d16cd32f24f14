// What multiplies queries and keys: how both are packed, and how sums become products.
#pragma once

#include "attention/pack.h"

namespace gatun::GATUN_ISA {
namespace {

template <class Format>
struct FloatKeys {
  using Words = typename Format::Words;

  static void begin_head(const gatun_attention_params&, const Rows&, int64_t, const attention::Scratch&) {}

  static void pack_unit(const gatun_attention_params& p, const Rows& rows, int64_t unit, int64_t count,
                        const attention::Scratch& s) {
    pack_keys<Format>(p.dtype, rows, count, p.head_size, s.stage,
                      s.keys + unit * attention::kUnitKeys * (p.head_size / Words::kValues));
  }

  static void pack_queries(const gatun_attention_params& p, const Rows& rows, const attention::Tile& tile,
                           const attention::Scratch& s) {
    const int64_t words = p.head_size / Words::kValues;
    const Rows formatted = in_format<Format>(p.dtype, rows, tile.rows, p.head_size, p.head_size, s.stage);
    for (int r = 0; r < tile.rows; ++r) {
      __builtin_memcpy(s.q + r * words, formatted.row(r), static_cast<size_t>(words) * 4);
      s.row_scales[r] = 1.0f;
      s.row_offsets[r] = 0.0f;
    }
  }

  static GATUN_INLINE F32 start(const attention::Scratch&, int64_t, int) { return zero_f32(); }
  static GATUN_INLINE F32 finish(const attention::Scratch&, F32 sum, int64_t) { return sum; }
};

// int8: keys less their mean, with a scale for every unit; queries with a scale a row.
struct Int8Keys {
  using Words = I8Words;

  // mean = (sum in ascending order) / count, in f32
  static void begin_head(const gatun_attention_params& p, const Rows& rows, int64_t count,
                         const attention::Scratch& s) {
    for (int64_t c = 0; c < p.head_size; ++c) s.mean[c] = 0;
    with_elements(p.dtype, [&](auto element) {
      using Element = decltype(element);
      for (int64_t key = 0; key < count; ++key) {
        for (int64_t c = 0; c < p.head_size; c += kLanes) {
          const int n = lanes_to(p.head_size, c);
          const F32 x = Element::load_n(elements<Element>(rows.row(key)) + c, n);
          store_f32_n(s.mean + c, add(load_f32_n(s.mean + c, n), x), n);
        }
      }
    });
    for (int64_t c = 0; c < p.head_size; ++c) s.mean[c] /= static_cast<float>(count);
  }

  static void pack_unit(const gatun_attention_params& p, const Rows& rows, int64_t unit, int64_t count,
                        const attention::Scratch& s) {
    float* const values = reinterpret_cast<float*>(s.stage);
    Range range;
    with_elements(p.dtype, [&](auto element) {
      for (int64_t key = 0; key < count; ++key) {
        center<decltype(element)>(rows.row(key), s.mean, p.head_size, values + key * p.head_size, range);
      }
    });
    const Scale scale = range.scale();
    s.key_scales[unit] = scale.scale;
    // Codes take the place of values that were read before.
    const int64_t words = p.head_size / Words::kValues;
    for (int64_t key = 0; key < count; ++key) {
      quantize(values + key * p.head_size, p.head_size, scale.inverse, 0, s.stage + key * p.head_size);
    }
    for (int64_t key = 0; key < count; key += attention::kPanelKeys) {
      const int64_t first = unit * attention::kUnitKeys + key;
      uint32_t* const panel = s.keys + first * words;
      transpose_panel(s.stage + key * p.head_size, p.head_size, smaller(attention::kPanelKeys, count - key), words,
                      panel);
      for (int lane = 0; lane < attention::kPanelKeys; lane += kLanes) {
        I32 sum = zero_i32();
        for (int64_t w = 0; w < words; ++w) {
          sum = I8Words::multiply_add(sum, set1_u8(static_cast<uint8_t>(kI8Bias)),
                                      I8Words::load(panel + w * attention::kPanelKeys + lane));
        }
        store_i32(s.key_excess + first + lane, sub_i32(zero_i32(), sum));
      }
    }
  }

  static void pack_queries(const gatun_attention_params& p, const Rows& rows, const attention::Tile& tile,
                           const attention::Scratch& s) {
    float* const values = reinterpret_cast<float*>(s.stage);
    with_elements(p.dtype, [&](auto element) {
      for (int r = 0; r < tile.rows; ++r) {
        Range range;
        F32Rows::convert<decltype(element)>(rows.row(r), p.head_size, p.head_size, s.stage);
        F32 product = zero_f32();
        for (int64_t c = 0; c < p.head_size; c += kLanes) {
          const int n = lanes_to(p.head_size, c);
          const F32 x = load_f32_n(values + c, n);
          range.add(x);
          product = fma(x, load_f32_n(s.mean + c, n), product);
        }
        const Scale scale = range.scale();
        quantize(values, p.head_size, scale.inverse, kI8Bias, reinterpret_cast<uint8_t*>(s.q) + r * p.head_size);
        s.row_scales[r] = scale.scale;
        s.row_offsets[r] = reduce_add(product);
      }
    });
  }

  static GATUN_INLINE I32 start(const attention::Scratch& s, int64_t panel, int lane) {
    return load_i32(s.key_excess + panel * attention::kPanelKeys + lane);
  }
  static GATUN_INLINE F32 finish(const attention::Scratch& s, I32 sum, int64_t panel) {
    return mul(to_f32(sum), set1(s.key_scales[panel / attention::kUnitPanels]));
  }

 private:
  struct Scale {
    float scale, inverse;
  };
  struct Range {
    F32 amax = zero_f32(), poison = zero_f32();
    GATUN_INLINE void add(F32 x) {
      amax = max(amax, abs(x));
      poison = gatun::GATUN_ISA::add(poison, sub(x, x));
    }
    // As qmatmul quantizes activations: a scale below 2^-120 counts as 0; NaN if a value is not finite.
    GATUN_INLINE Scale scale() const {
      const float bad = reduce_add(poison);
      if (bad != 0.0f) return {bad, 0.0f};
      const float scale = reduce_max(amax) / 127.0f;
      return scale < 0x1p-120f ? Scale{0.0f, 0.0f} : Scale{scale, 1.0f / scale};
    }
  };

  template <class Element>
  static GATUN_INLINE void center(const uint8_t* row, const float* mean, int64_t size, float* to, Range& range) {
    for (int64_t c = 0; c < size; c += kLanes) {
      const int n = lanes_to(size, c);
      const F32 x = sub(Element::load_n(elements<Element>(row) + c, n), load_f32_n(mean + c, n));
      range.add(x);
      store_f32_n(to + c, x, n);
    }
  }

  static GATUN_INLINE void quantize(const float* values, int64_t size, float inverse, int32_t bias, uint8_t* to) {
    for (int64_t c = 0; c < size; c += kLanes) {
      const int n = lanes_to(size, c);
      const I32 code = add_i32(round_to_i32(mul(load_f32_n(values + c, n), set1(inverse))), set1_i32(bias));
      store_i8_n(reinterpret_cast<int8_t*>(to) + c, code, n);
    }
  }
};

}  // namespace
}  // namespace gatun::GATUN_ISA
