// Making the blocks whose bytes ggml's reference quantizers define, 32 elements each:
//
//   Q4_0 Q5_0   extreme = the first x of the largest magnitude (0 if that is 0); d = extreme / -zero, zero = 8 or 16
//               q = min(2 zero - 1, trunc(x * id + (zero + 1/2)))
//   Q4_1 Q5_1   low, high = the least and the largest x; d = (high - low) / highest, m = low, highest = 15 or 31
//               q = min(highest, trunc((x - low) * id + 1/2))
//   Q8_0        d = largest magnitude / 127; q = x * id, rounded to nearest, ties away from zero
//   MXFP4       e = clamp(floor(log2(largest magnitude)) - 2 + 127, 0, 254); q = the first of the nearest values
//
// id = 1 / d, and 0 if d is 0 or 1 / d infinite: d is below 2^-127 then, 0 as binary16, and whatever q is means 0.
// Codes come from id and the d that is not yet rounded to binary16. A product is rounded before a sum: no fma.
//
//   x  [ block 0: 32 ][ block 1 ] .. [ block 15 ]   pass 1: 16 extremes, then scales side by side in vectors
//                                                   pass 2: codes, while x is in the L1 cache
//
// Overflow: |x * id| <= 128 (1 + 2^-20), as d > 2^-128 has 21 bits or more. NaN, infinities and d beyond binary16 end a
// batch before anything is converted to an integer.
// Tails: a batch of fewer blocks takes the missing ones' extremes from its last block, and encodes what there is.
// Bound: none, all tiers agree with the reference bit for bit.
#pragma once

#include "gguf/tile_walk.h"

namespace gatun::GATUN_ISA {
namespace {

constexpr int kSmall = 32;                 // elements of a block
constexpr int kVectors = kSmall / kLanes;  // of a block
constexpr int kBatch = 16;                 // blocks

struct Batch {
  alignas(64) int32_t magnitude[kBatch];  // bits of the largest one
  alignas(64) float extreme[kBatch];      // signed; or the offset
  alignas(64) float range[kBatch];
  alignas(64) float inverse[kBatch];  // id
  alignas(64) uint16_t d[kBatch], m[kBatch];
};

// x of block b of a batch of `count`, or of the last one.
template <class X>
GATUN_INLINE const typename X::Type* small_block(const typename X::Type* x, int64_t b, int64_t count) {
  return x + smaller(b, count - 1) * kSmall;
}

// False if a value is NaN or infinite.
template <class X>
GATUN_INLINE bool find_magnitudes(const typename X::Type* x, int64_t count, Batch& batch) {
  for (int64_t first = 0; first < kBatch; first += kLanes) {
    I32 largest[kLanes];
    for (int l = 0; l < kLanes; ++l) {
      const typename X::Type* block = small_block<X>(x, first + l, count);
      largest[l] = magnitude_bits(X::load(block));
      for (int v = 1; v < kVectors; ++v) {
        largest[l] = max_i32(largest[l], magnitude_bits(X::load(block + v * kLanes)));
      }
    }
    const I32 each = reduce_max_each(largest);
    store_i32(batch.magnitude + first, each);
    if (greater_mask(each, set1_i32(kInfinity - 1)) != 0) return false;
  }
  return true;
}

// The first x of a block whose magnitude has these bits; there is one.
template <class X>
GATUN_INLINE float first_of_magnitude(const typename X::Type* block, int32_t bits) {
  uint32_t found = 0;
  for (int v = 0; v < kVectors; ++v) {
    found |= equal_mask(magnitude_bits(X::load(block + v * kLanes)), set1_i32(bits)) << v * kLanes;
  }
  return to_float(X(), block[__builtin_ctz(found)]);
}

// Stores d and id of lanes [first, first + kLanes). False if a d overflows binary16.
GATUN_INLINE bool set_scales(F32 d, int64_t first, Batch& batch) {
  store_f16(batch.d + first, d);
  store_f32(batch.inverse + first, select_less(set1(0x1p-128f), abs(d), div(set1(1), d), zero_f32()));
  return greater_mask(magnitude_bits(d), set1_i32(kF16Overflow - 1)) == 0;
}

GATUN_INLINE void store_u16(uint8_t* to, uint16_t value) { std::memcpy(to, &value, sizeof(value)); }

// Codes of 4 bits: element j in the low nibble of byte j, element j + 16 in the high one.
GATUN_INLINE void store_nibbles(uint8_t* to, const I32 (&codes)[kVectors]) {
  for (int v = 0; v < kVectors / 2; ++v) {
    store_i8(reinterpret_cast<int8_t*>(to) + v * kLanes, or_i32(codes[v], shift_left<4>(codes[v + kVectors / 2])));
  }
}

// Codes of 5 bits: the fifth ones in 32 bits before the nibbles.
GATUN_INLINE void store_fives(uint8_t* to, I32 (&codes)[kVectors]) {
  uint32_t fifth = 0;
  for (int v = 0; v < kVectors; ++v) {
    fifth |= greater_mask(codes[v], set1_i32(15)) << v * kLanes;
    codes[v] = and_i32(codes[v], set1_i32(15));
  }
  std::memcpy(to, &fifth, sizeof(fifth));
  store_nibbles(to + 4, codes);
}

template <int kHighest>
GATUN_INLINE void store_codes(uint8_t* to, I32 (&codes)[kVectors]) {
  kHighest == 15 ? store_nibbles(to, codes) : store_fives(to, codes);
}

// Q4_0 and Q5_0.
template <int kZero, int kSize>
struct Signed {
  static constexpr int kBytes = kSize;

  template <class X>
  static GATUN_INLINE bool prepare(const typename X::Type* x, int64_t count, Batch& batch) {
    for (int64_t b = 0; b < kBatch; ++b) {
      batch.extreme[b] = first_of_magnitude<X>(small_block<X>(x, b, count), batch.magnitude[b]);
    }
    bool good = true;
    for (int64_t first = 0; first < kBatch; first += kLanes) {
      const F32 extreme = add(load_f32(batch.extreme + first), zero_f32());  // -0 + 0 = 0
      good = set_scales(mul(extreme, set1(-1.0f / kZero)), first, batch) && good;
    }
    return good;
  }

  template <class X>
  static GATUN_INLINE void encode(const typename X::Type* x, const Batch& batch, int64_t b, uint8_t* block) {
    const F32 inverse = set1(batch.inverse[b]), half = set1(kZero + 0.5f);
    I32 codes[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const I32 code = truncate_to_i32(add(mul(X::load(x + v * kLanes), inverse), half));
      codes[v] = min_i32(code, set1_i32(2 * kZero - 1));
    }
    store_u16(block, batch.d[b]);
    store_codes<2 * kZero - 1>(block + 2, codes);
  }
};

// Q4_1 and Q5_1.
template <int kHighest, int kSize>
struct Offset {
  static constexpr int kBytes = kSize;

  template <class X>
  static GATUN_INLINE bool prepare(const typename X::Type* x, int64_t count, Batch& batch) {
    for (int64_t b = 0; b < kBatch; ++b) {
      const typename X::Type* block = small_block<X>(x, b, count);
      F32 low = X::load(block), high = low;
      for (int v = 1; v < kVectors; ++v) {
        const F32 value = X::load(block + v * kLanes);
        low = min(value, low);
        high = max(value, high);
      }
      float least = -reduce_max(sub(zero_f32(), low));
      batch.range[b] = reduce_max(high) - least;
      if (least == 0) least = first_of_magnitude<X>(block, 0);  // the sign of the first zero counts
      batch.extreme[b] = least;
    }
    bool good = true;
    for (int64_t first = 0; first < kBatch; first += kLanes) {
      const F32 range = add(load_f32(batch.range + first), zero_f32());  // -0 + 0 = 0
      good = set_scales(div(range, set1(kHighest)), first, batch) && good;
      const F32 low = load_f32(batch.extreme + first);
      store_f16(batch.m + first, low);
      good = greater_mask(magnitude_bits(low), set1_i32(kF16Overflow - 1)) == 0 && good;
    }
    return good;
  }

  template <class X>
  static GATUN_INLINE void encode(const typename X::Type* x, const Batch& batch, int64_t b, uint8_t* block) {
    const F32 inverse = set1(batch.inverse[b]), low = set1(batch.extreme[b]), half = set1(0.5f);
    I32 codes[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const F32 steps = mul(sub(X::load(x + v * kLanes), low), inverse);
      codes[v] = min_i32(truncate_to_i32(add(steps, half)), set1_i32(kHighest));
    }
    store_u16(block, batch.d[b]);
    store_u16(block + 2, batch.m[b]);
    store_codes<kHighest>(block + 4, codes);
  }
};

struct Bytes8 {
  static constexpr int kBytes = 34;

  template <class X>
  static GATUN_INLINE bool prepare(const typename X::Type*, int64_t, Batch& batch) {
    bool good = true;
    for (int64_t first = 0; first < kBatch; first += kLanes) {
      F32 magnitude;
      std::memcpy(&magnitude, batch.magnitude + first, sizeof(magnitude));
      good = set_scales(div(magnitude, set1(127)), first, batch) && good;
    }
    return good;
  }

  template <class X>
  static GATUN_INLINE void encode(const typename X::Type* x, const Batch& batch, int64_t b, uint8_t* block) {
    const F32 inverse = set1(batch.inverse[b]);
    // The f32 below 1/2: added to a number just below a half, 1/2 itself would round up to 1.
    const I32 almost_half = as_i32(set1(0x1.fffffep-2f)), sign = set1_i32(INT32_MIN);
    store_u16(block, batch.d[b]);
    for (int v = 0; v < kVectors; ++v) {
      const F32 value = mul(X::load(x + v * kLanes), inverse);
      const F32 away = as_f32(or_i32(and_i32(as_i32(value), sign), almost_half));
      store_i8(reinterpret_cast<int8_t*>(block) + 2 + v * kLanes, truncate_to_i32(add(value, away)));
    }
  }
};

// A value in units of 2^(e - 127) is exact but far below the least threshold; thresholds are midpoints of 0 1/2 1 3/2 2
// 3 4 6, and on one the smaller magnitude wins, as it has the lower index. Negative values that become 0 get code 0.
struct Powers {
  static constexpr int kBytes = 17;

  template <class X>
  static GATUN_INLINE bool prepare(const typename X::Type*, int64_t, Batch&) {
    return true;
  }

  template <class X>
  static GATUN_INLINE void encode(const typename X::Type* x, const Batch& batch, int64_t b, uint8_t* block) {
    // The exponent's bits are floor(log2) + 127, and 0 for subnormals, whose e is 0 as well. At most 252.
    const int32_t exponent = batch.magnitude[b] >> 23, e = exponent > 2 ? exponent - 2 : 0;
    const F32 inverse = as_f32(set1_i32((254 - e) << 23));
    constexpr float kMidpoints[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5};
    block[0] = static_cast<uint8_t>(e);
    I32 codes[kVectors];
    for (int v = 0; v < kVectors; ++v) {
      const F32 value = X::load(x + v * kLanes), steps = mul(abs(value), inverse);
      F32 code = zero_f32();
      for (int i = 0; i < 7; ++i) code = select_less(set1(kMidpoints[i]), steps, set1(static_cast<float>(i + 1)), code);
      const F32 negative = select_less(zero_f32(), code, add(code, set1(8)), code);
      codes[v] = round_to_i32(select_less(value, zero_f32(), negative, code));
    }
    store_nibbles(block + 1, codes);
  }
};

template <class X, class T>
bool quantize_exact(const Job& job, int64_t begin, int64_t end) {
  Output output(job.blocks + begin * T::kBytes, job.stream);
  const bool good =
      for_each_batch<X, kSmall, kBatch>(job, begin, end, [&](const typename X::Type* x, int64_t, int64_t count) {
        Batch batch;
        if (!find_magnitudes<X>(x, count, batch) || !T::template prepare<X>(x, count, batch)) return false;
        for (int64_t b = 0; b < count; ++b, x += kSmall) T::template encode<X>(x, batch, b, output.take(T::kBytes));
        return true;
      });
  output.finish();
  return good;
}

}  // namespace
}  // namespace gatun::GATUN_ISA
