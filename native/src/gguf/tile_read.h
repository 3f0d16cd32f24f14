// Reading blocks: values as block.h states them.
//
//   blocks of 256   block.h takes the block apart; groups of codes become floats, kLanes at a time
//   blocks of 32    16 bytes are 32 nibbles: byte j holds elements j and j + 16
//
// Any bytes are legal: codes index tables of 16 by 4 bits, scales are what they are.
// Tails: none, blocks are whole.
// Bound: none, all tiers agree with the reference bit for bit, but for which NaN it is.
#pragma once

#include "gguf/tile_walk.h"

namespace gatun::GATUN_ISA {
namespace {

GATUN_INLINE uint16_t load_u16(const uint8_t* p) {
  uint16_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}

// Elements [k, k + kLanes) of x, past the caches where the whole job does so.
template <class X>
GATUN_INLINE void put_values(typename X::Type* x, bool, F32 values) {
  X::store(x, values);
}
template <>
GATUN_INLINE void put_values<f32>(float* x, bool stream, F32 values) {
  stream ? stream_f32(x, values) : store_f32(x, values);
}

// Whether a store of kLanes values past the caches is possible at x.
GATUN_INLINE bool aligned(const void* x) { return reinterpret_cast<uintptr_t>(x) % (kLanes * sizeof(float)) == 0; }

// The codes of 32 elements, kLanes at a time: nibbles, and where there are fifth bits, those.
template <bool kFives>
struct Nibbles {
  const uint8_t* nibbles;
  uint8_t fifth[kFives ? 32 : 1];

  Nibbles(const uint8_t* fifth_bits, const uint8_t* at) : nibbles(at) {
    if (!kFives) return;
    // Byte j of `spread` is bit j of eight: it is alone in a copy of all of them, and moved to the top by an addition.
    for (int part = 0; part < 4; ++part) {
      const uint64_t alone = fifth_bits[part] * 0x0101010101010101u & 0x8040201008040201u;
      const uint64_t spread = ((alone + 0x7f7f7f7f7f7f7f7fu) >> 7 & 0x0101010101010101u) << 4;
      std::memcpy(fifth + 8 * part, &spread, 8);
    }
  }
  GATUN_INLINE I32 codes(int k) const {
    const I32 bytes = load_u8_i32(nibbles + k % 16);
    const I32 low = k < 16 ? and_i32(bytes, set1_i32(15)) : shift_right<4>(bytes);
    return kFives ? or_i32(low, load_u8_i32(fifth + k)) : low;
  }
};

template <int kZero, bool kFives>
struct ReadSigned {
  static constexpr int kBytes = kFives ? 22 : 18;
  template <class Put>
  static GATUN_INLINE void read(const uint8_t* b, Put put) {
    const F32 d = set1(f16_to_float(load_u16(b)));
    const Nibbles<kFives> nibbles(b + 2, b + (kFives ? 6 : 2));
    for (int k = 0; k < 32; k += kLanes) put(k, mul(d, to_f32(sub_i32(nibbles.codes(k), set1_i32(kZero)))));
  }
};

template <bool kFives>
struct ReadOffset {
  static constexpr int kBytes = kFives ? 24 : 20;
  template <class Put>
  static GATUN_INLINE void read(const uint8_t* b, Put put) {
    const F32 d = set1(f16_to_float(load_u16(b))), m = set1(f16_to_float(load_u16(b + 2)));
    const Nibbles<kFives> nibbles(b + 4, b + (kFives ? 8 : 4));
    for (int k = 0; k < 32; k += kLanes) put(k, add(mul(d, to_f32(nibbles.codes(k))), m));
  }
};

struct ReadBytes {
  static constexpr int kBytes = 34;
  template <class Put>
  static GATUN_INLINE void read(const uint8_t* b, Put put) {
    const F32 d = set1(f16_to_float(load_u16(b)));
    const int8_t* codes = reinterpret_cast<const int8_t*>(b + 2);
    for (int k = 0; k < 32; k += kLanes) put(k, mul(d, to_f32(load_i8_i32(codes + k))));
  }
};

struct ReadIq4 {
  static constexpr int kBytes = 18;
  template <class Put>
  static GATUN_INLINE void read(const uint8_t* b, Put put) {
    const F32 d = set1(f16_to_float(load_u16(b)));
    const Table16 table = load_table16(kIq4.values);
    const Nibbles<false> nibbles(nullptr, b + 2);
    for (int k = 0; k < 32; k += kLanes) put(k, mul(d, lookup_f32(table, nibbles.codes(k))));
  }
};

struct ReadPowers {
  static constexpr int kBytes = 17;
  template <class Put>
  static GATUN_INLINE void read(const uint8_t* b, Put put) {
    constexpr float kDoubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, -0.0f, -1, -2, -3, -4, -6, -8, -12};
    // 2^(e - 128): subnormal for e = 0 and 1; e = 255 stands for NaN
    const int32_t e = b[0];
    const int32_t bits = e < 2 ? 0x200000 << e : e == 255 ? 0x7fc00000 : (e - 1) << 23;
    const F32 scale = as_f32(set1_i32(bits));
    const Table16 table = load_table16(kDoubled);
    const Nibbles<false> nibbles(nullptr, b + 1);
    for (int k = 0; k < 32; k += kLanes) put(k, mul(scale, lookup_f32(table, nibbles.codes(k))));
  }
};

template <class X, class T>
void dequantize_small(const Job& job, int64_t begin, int64_t end) {
  const uint8_t* block = job.blocks + begin * T::kBytes;
  for_each_batch<X, 32, 32>(job, begin, end, [&](typename X::Type* x, int64_t, int64_t count) {
    const bool stream = job.stream && aligned(x);
    for (int64_t b = 0; b < count; ++b, block += T::kBytes, x += 32) {
      T::read(block, [&](int k, F32 values) { put_values<X>(x + k, stream, values); });
    }
    return true;
  });
  if (job.stream) fence_streams();
}

// Blocks of 256.
template <class X, class T>
void dequantize_super(const Job& job, int64_t begin, int64_t end) {
  const gguf::Type& type = *gguf::find_type(T::kType);
  const uint8_t* block = job.blocks + begin * type.bytes;
  const Table16 table = load_table16(kIq4.values);
  gguf::Fields fields;
  for_each_batch<X, 256, 1>(job, begin, end, [&](typename X::Type* x, int64_t, int64_t) {
    const bool stream = job.stream && aligned(x);
    gguf::read_block(type, block, fields);
    const float d = f16_to_float(fields.d), dmin = T::kMins ? f16_to_float(fields.dmin) : 0;
    for (int g = 0; g < 256 / T::kGroup; ++g) {
      const F32 scale = set1(d * static_cast<float>(fields.scales[g]));
      const F32 offset = set1(dmin * static_cast<float>(fields.mins[g]));
      for (int k = g * T::kGroup; k < (g + 1) * T::kGroup; k += kLanes) {
        const I32 codes = load_u8_i32(fields.codes + k);
        const F32 values = T::kTable ? lookup_f32(table, codes) : to_f32(sub_i32(codes, set1_i32(T::kZero)));
        put_values<X>(x + k, stream, T::kMins ? sub(mul(scale, values), offset) : mul(scale, values));
      }
    }
    block += type.bytes;
    return true;
  });
  if (job.stream) fence_streams();
}

}  // namespace
}  // namespace gatun::GATUN_ISA
