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
// Tails: a batch of fewer blocks takes the last one for the missing ones, and stores what there is.
// Bound: none, all tiers agree with the reference bit for bit.
// Measured (AMD EPYC 9004, one core of a busy machine that read 34 GB/s, avx512, f32): Q8_0 28 GB/s of x from memory
// and 34 from the L2 cache, Q4_0 23 and 24. What made either slower is in bench/NOTES.md.
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

// x of a batch. kFull: 16 blocks, otherwise the last one stands for the missing ones.
template <class X, bool kFull>
struct Input {
  const typename X::Type* x;
  int64_t count;

  GATUN_INLINE const typename X::Type* block(int64_t b) const {
    return x + (kFull ? b : smaller(b, count - 1)) * kSmall;
  }
  GATUN_INLINE bool holds(int64_t b) const { return kFull || b < count; }
};

// False if a value is NaN or infinite. Missing blocks are clamped to the last one even where none is missing: known
// addresses would be loaded in any order, all 32 vectors of a batch at once, and the processor's prefetchers, which
// want them to ascend at an even pace, would bring 12 to 20 GB/s from memory instead of 28.
template <class X>
GATUN_INLINE bool find_magnitudes(const typename X::Type* x, int64_t count, Batch& batch) {
  const Input<X, false> input{x, count};
  for (int first = 0; first < kBatch; first += kLanes) {
    I32 largest[kLanes];
    for (int l = 0; l < kLanes; ++l) {
      const typename X::Type* block = input.block(first + l);
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

// The types: bytes of a block and of what comes before fifth bits and codes, bits of a code, scales, one vector of
// codes.

// Q4_0 and Q5_0.
template <int kCodeBits>
struct Signed {
  static constexpr int kBits = kCodeBits, kHeader = 2, kBytes = kBits == 4 ? 18 : 22, kZero = 1 << (kBits - 1);

  template <class Input, class X>
  static GATUN_INLINE bool prepare(const Input& input, Batch& batch, X) {
    for (int64_t b = 0; b < kBatch; ++b) batch.extreme[b] = first_of_magnitude<X>(input.block(b), batch.magnitude[b]);
    bool good = true;
    for (int64_t first = 0; first < kBatch; first += kLanes) {
      const F32 extreme = add(load_f32(batch.extreme + first), zero_f32());  // -0 + 0 = 0
      good = set_scales(mul(extreme, set1(-1.0f / kZero)), first, batch) && good;
    }
    return good;
  }
  static GATUN_INLINE void store_header(const Batch& batch, int64_t b, uint8_t* to) { store_u16(to, batch.d[b]); }
  static GATUN_INLINE I32 code(F32 x, const Batch& batch, int64_t b) {
    const F32 steps = mul(x, set1(batch.inverse[b]));
    return min_i32(truncate_to_i32(add(steps, set1(kZero + 0.5f))), set1_i32(2 * kZero - 1));
  }
};

// Q4_1 and Q5_1.
template <int kCodeBits>
struct Offset {
  static constexpr int kBits = kCodeBits, kHeader = 4, kBytes = kBits == 4 ? 20 : 24, kHighest = (1 << kBits) - 1;

  template <class Input, class X>
  static GATUN_INLINE bool prepare(const Input& input, Batch& batch, X) {
    for (int64_t b = 0; b < kBatch; ++b) {
      const typename X::Type* block = input.block(b);
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
  static GATUN_INLINE void store_header(const Batch& batch, int64_t b, uint8_t* to) {
    store_u16(to, batch.d[b]);
    store_u16(to + 2, batch.m[b]);
  }
  static GATUN_INLINE I32 code(F32 x, const Batch& batch, int64_t b) {
    const F32 steps = mul(sub(x, set1(batch.extreme[b])), set1(batch.inverse[b]));
    return min_i32(truncate_to_i32(add(steps, set1(0.5f))), set1_i32(kHighest));
  }
};

// Q8_0.
struct SignedBytes {
  static constexpr int kBits = 8, kHeader = 2, kBytes = 34;

  template <class Input, class X>
  static GATUN_INLINE bool prepare(const Input&, Batch& batch, X) {
    bool good = true;
    for (int64_t first = 0; first < kBatch; first += kLanes) {
      F32 magnitude;
      std::memcpy(&magnitude, batch.magnitude + first, sizeof(magnitude));
      good = set_scales(div(magnitude, set1(127)), first, batch) && good;
    }
    return good;
  }
  static GATUN_INLINE void store_header(const Batch& batch, int64_t b, uint8_t* to) { store_u16(to, batch.d[b]); }
  static GATUN_INLINE I32 code(F32 x, const Batch& batch, int64_t b) {
    const F32 steps = mul(x, set1(batch.inverse[b]));
    // The f32 below 1/2: added to a number just below a half, 1/2 itself would round up to 1.
    return truncate_to_i32(add(steps, copy_sign(set1(0x1.fffffep-2f), steps)));
  }
};

// MXFP4. A value in units of 2^(e - 127) is exact but far below the least threshold; thresholds are midpoints of 0 1/2
// 1 3/2 2 3 4 6, and on one the smaller magnitude wins, as it has the lower index. Negative values that become 0 get
// code 0.
struct Powers {
  static constexpr int kBits = 4, kHeader = 1, kBytes = 17;

  template <class Input, class X>
  static GATUN_INLINE bool prepare(const Input&, Batch& batch, X) {
    for (int64_t b = 0; b < kBatch; ++b) {
      // The exponent's bits are floor(log2) + 127, and 0 for subnormals, whose e is 0 as well. e is at most 252.
      const int32_t exponent = batch.magnitude[b] >> 23, e = exponent > 2 ? exponent - 2 : 0;
      const int32_t inverse = (254 - e) << 23;
      batch.d[b] = static_cast<uint16_t>(e);
      std::memcpy(&batch.inverse[b], &inverse, sizeof(inverse));
    }
    return true;
  }
  static GATUN_INLINE void store_header(const Batch& batch, int64_t b, uint8_t* to) {
    *to = static_cast<uint8_t>(batch.d[b]);
  }
  static GATUN_INLINE I32 code(F32 x, const Batch& batch, int64_t b) {
    constexpr float kMidpoints[] = {0.25f, 0.75f, 1.25f, 1.75f, 2.5f, 3.5f, 5};
    const F32 steps = mul(abs(x), set1(batch.inverse[b]));
    F32 code = zero_f32();
    for (int i = 0; i < 7; ++i) code = select_less(set1(kMidpoints[i]), steps, set1(static_cast<float>(i + 1)), code);
    const F32 negative = select_less(zero_f32(), code, add(code, set1(8)), code);
    return round_to_i32(select_less(x, zero_f32(), negative, code));
  }
};

// The fifth bits of a block's codes in `fifth`, and what is left of them.
template <int kBits>
GATUN_INLINE I32 without_fifth(I32 codes, int element, uint32_t& fifth) {
  if (kBits != 5) return codes;
  fifth |= greater_mask(codes, set1_i32(15)) << element;
  return and_i32(codes, set1_i32(15));
}

// Codes of 8 bits leave as whole vectors of bytes, each of four vectors of codes: of so many blocks, or so often a
// block.
constexpr int kQuadBlocks = kVectors < 4 ? 4 / kVectors : 1;
constexpr int kBlockQuads = kVectors < 4 ? 1 : kVectors / 4;

// Stores part I and following of a vector of bytes: a block's each, the first one block b.
template <class T, int I, class Input>
GATUN_INLINE void store_parts(Bytes bytes, const Input& input, int64_t b, uint8_t* to) {
  if constexpr (I < kQuadBlocks) {
    if (input.holds(b + I)) store_part<kQuadBlocks, I>(to, bytes);
    store_parts<T, I + 1>(bytes, input, b, to + T::kBytes);
  }
}

template <class X, class T, bool kFull>
GATUN_INLINE void encode_bytes(const Input<X, kFull>& input, const Batch& batch, uint8_t* to) {
  for (int64_t b = 0; b < kBatch && input.holds(b); b += kQuadBlocks, to += kQuadBlocks * T::kBytes) {
    for (int quad = 0; quad < kBlockQuads; ++quad) {
      I32 codes[4];
      for (int i = 0; i < 4; ++i) {
        const int vector = 4 * quad + i, block = vector / kVectors;
        codes[i] = T::code(X::load(input.block(b + block) + vector % kVectors * kLanes), batch, b + block);
      }
      const Bytes bytes = pack_i8(codes[0], codes[1], codes[2], codes[3]);
      store_parts<T, 0>(bytes, input, b, to + T::kHeader + quad * 4 * kLanes);
    }
    for (int block = 0; block < kQuadBlocks && input.holds(b + block); ++block) {
      T::store_header(batch, b + block, to + block * T::kBytes);
    }
  }
}

// Codes of 4 and 5 bits: element j in the low nibble of byte j and j + 16 in the high one, fifth bits before them.
template <class X, class T, bool kFull>
GATUN_INLINE void encode_nibbles(const Input<X, kFull>& input, const Batch& batch, uint8_t* to) {
  constexpr int kCodesAt = T::kHeader + (T::kBits == 5 ? 4 : 0), kHalf = kSmall / 2;
  for (int64_t b = 0; b < kBatch && input.holds(b); ++b, to += T::kBytes) {
    const typename X::Type* x = input.block(b);
    uint32_t fifth = 0;
    T::store_header(batch, b, to);
    for (int k = 0; k < kHalf; k += kLanes) {
      const I32 low = without_fifth<T::kBits>(T::code(X::load(x + k), batch, b), k, fifth);
      const I32 high = without_fifth<T::kBits>(T::code(X::load(x + kHalf + k), batch, b), kHalf + k, fifth);
      store_i8(reinterpret_cast<int8_t*>(to) + kCodesAt + k, or_i32(low, shift_left<4>(high)));
    }
    if (T::kBits == 5) std::memcpy(to + T::kHeader, &fifth, sizeof(fifth));
  }
}

template <class X, class T, bool kFull>
GATUN_INLINE bool encode_batch(const Input<X, kFull>& input, Batch& batch, uint8_t* to) {
  if (!T::prepare(input, batch, X())) return false;
  if constexpr (T::kBits == 8) {
    encode_bytes<X, T>(input, batch, to);
  } else {
    encode_nibbles<X, T>(input, batch, to);
  }
  return true;
}

template <class X, class T>
bool quantize_exact(const Job& job, int64_t begin, int64_t end) {
  Batch batch;
  return for_each_batch<X, kSmall, kBatch>(
      job, begin, end, [&](const typename X::Type* x, int64_t index, int64_t count) {
        uint8_t* const to = job.blocks + index * T::kBytes;
        if (!find_magnitudes<X>(x, count, batch)) return false;
        return count == kBatch ? encode_batch<X, T>(Input<X, true>{x, count}, batch, to)
                               : encode_batch<X, T>(Input<X, false>{x, count}, batch, to);
      });
}

}  // namespace
}  // namespace gatun::GATUN_ISA
