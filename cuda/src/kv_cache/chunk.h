// Eight channels of a row, which a thread has in registers: as they lie in memory, and as f32.
#pragma once

#include <cstdint>

#include "base/dtype.h"
#include "gatun/types.h"
#include "kv_cache/rows.h"
#include "ptx/number.h"

namespace gatun::cuda::kv_cache {

inline constexpr int kChannels = 8;

// The bits of eight channels, the first one lowest.
struct Chunk {
  uint32_t word[8];
};

GATUN_DEVICE constexpr int chunk_bytes(int32_t dtype) {
  return dtype == GATUN_F32                          ? 32
         : dtype == GATUN_BF16 || dtype == GATUN_F16 ? 16
         : dtype == GATUN_U4                         ? 4
         : dtype == GATUN_U2                         ? 2
                                                     : 8;
}

// From and to memory that is aligned to its element only, in pieces as large as the address allows.
template <int kWords>
struct alignas(4 * kWords) Words {
  uint32_t word[kWords];
};
template <int kWords, int kBytes>
GATUN_DEVICE void load_words(const uint8_t* from, Chunk& chunk) {
#pragma unroll
  for (int i = 0; i < kBytes / 4; i += kWords) {
    const Words<kWords> words = reinterpret_cast<const Words<kWords>*>(from)[i / kWords];
#pragma unroll
    for (int j = 0; j < kWords; ++j) chunk.word[i + j] = words.word[j];
  }
}
template <class Piece, int kBytes>
GATUN_DEVICE void load_pieces(const uint8_t* from, Chunk& chunk) {
  constexpr int kPiece = static_cast<int>(sizeof(Piece)), kEach = 4 / kPiece;
#pragma unroll
  for (int i = 0; i < kBytes / kPiece; ++i) {
    const uint32_t bits = reinterpret_cast<const Piece*>(from)[i];
    chunk.word[i / kEach] |= bits << i % kEach * 8 * kPiece;
  }
}
template <int kBytes>
GATUN_DEVICE void load_bytes(const uint8_t* from, Chunk& chunk) {
#pragma unroll
  for (int i = 0; i < 8; ++i) chunk.word[i] = 0;
  const uint32_t odd = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(from));
  if constexpr (kBytes >= 16) {
    if (odd % 16 == 0) return load_words<4, kBytes>(from, chunk);
  }
  if constexpr (kBytes >= 8) {
    if (odd % 8 == 0) return load_words<2, kBytes>(from, chunk);
  }
  if constexpr (kBytes >= 4) {
    if (odd % 4 == 0) return load_words<1, kBytes>(from, chunk);
  }
  if (odd % 2 == 0) return load_pieces<uint16_t, kBytes>(from, chunk);
  load_pieces<uint8_t, kBytes>(from, chunk);
}
template <int kWords, int kBytes>
GATUN_DEVICE void store_words(uint8_t* to, const Chunk& chunk) {
#pragma unroll
  for (int i = 0; i < kBytes / 4; i += kWords) {
    Words<kWords> words;
#pragma unroll
    for (int j = 0; j < kWords; ++j) words.word[j] = chunk.word[i + j];
    reinterpret_cast<Words<kWords>*>(to)[i / kWords] = words;
  }
}
template <class Piece, int kBytes>
GATUN_DEVICE void store_pieces(uint8_t* to, const Chunk& chunk) {
  constexpr int kPiece = static_cast<int>(sizeof(Piece)), kEach = 4 / kPiece;
#pragma unroll
  for (int i = 0; i < kBytes / kPiece; ++i) {
    reinterpret_cast<Piece*>(to)[i] = static_cast<Piece>(chunk.word[i / kEach] >> i % kEach * 8 * kPiece);
  }
}
template <int kBytes>
GATUN_DEVICE void store_bytes(uint8_t* to, const Chunk& chunk) {
  const uint32_t odd = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(to));
  if constexpr (kBytes >= 16) {
    if (odd % 16 == 0) return store_words<4, kBytes>(to, chunk);
  }
  if constexpr (kBytes >= 8) {
    if (odd % 8 == 0) return store_words<2, kBytes>(to, chunk);
  }
  if constexpr (kBytes >= 4) {
    if (odd % 4 == 0) return store_words<1, kBytes>(to, chunk);
  }
  if (odd % 2 == 0) return store_pieces<uint16_t, kBytes>(to, chunk);
  store_pieces<uint8_t, kBytes>(to, chunk);
}

GATUN_DEVICE void load_chunk(const uint8_t* from, int32_t dtype, Chunk& chunk) {
  switch (chunk_bytes(dtype)) {
    case 32:
      return load_bytes<32>(from, chunk);
    case 16:
      return load_bytes<16>(from, chunk);
    case 8:
      return load_bytes<8>(from, chunk);
    case 4:
      return load_bytes<4>(from, chunk);
    default:
      return load_bytes<2>(from, chunk);
  }
}
GATUN_DEVICE void store_chunk(uint8_t* to, int32_t dtype, const Chunk& chunk) {
  switch (chunk_bytes(dtype)) {
    case 32:
      return store_bytes<32>(to, chunk);
    case 16:
      return store_bytes<16>(to, chunk);
    case 8:
      return store_bytes<8>(to, chunk);
    case 4:
      return store_bytes<4>(to, chunk);
    default:
      return store_bytes<2>(to, chunk);
  }
}

// The conversions of base/dtype.h, which keep what a NaN says besides.
GATUN_DEVICE float widen_f16(uint32_t half) {
  if ((half & 0x7fff) <= 0x7c00) return f16_to_f32(static_cast<uint16_t>(half));
  return as_float((half & 0x8000) << 16 | 0x7fc00000 | (half & 0x3ff) << 13);
}
GATUN_DEVICE uint32_t narrow_f16(float x) {
  const uint32_t bits = as_bits(x);
  if ((bits & 0x7fffffff) <= 0x7f800000) return f32_to_f16(x);
  return (bits >> 16 & 0x8000) | 0x7e00 | (bits >> 13 & 0x1ff);
}
GATUN_DEVICE uint32_t narrow_bf16(float x) {
  const uint32_t bits = as_bits(x);
  return (bits & 0x7fffffff) <= 0x7f800000 ? f32_to_bf16(x) : bits >> 16 | 0x40;
}

constexpr float power_of_two(int n) {
  float power = 1;
  for (; n > 0; --n) power *= 2;
  for (; n < 0; ++n) power /= 2;
  return power;
}

// A small float's magnitude is moved to where f32 has it: that is the value times 2^(bias - 127), of subnormals too.
template <class Small>
GATUN_DEVICE float widen_small(uint32_t code) {
  const uint32_t magnitude = code & (Small::kSign - 1), sign = (code & Small::kSign) << 24;
  if (magnitude > Small::kHighest) {
    return as_float(sign | (Small::kInfinity && magnitude == Small::kHighest + 1 ? 0x7f800000u : 0x7fc00000u));
  }
  constexpr float kUp = power_of_two(127 - Small::kBias);
  return as_float(sign | magnitude << (23 - Small::kMantissaBits)) * kUp;
}
// Floats from 2^e, or the least normal one, on are 2^(e - m) apart, m = kMantissaBits: the sum with 2^(e - m + 23) has
// its last place there, so that it rounds and its last bits count them.
template <class Small>
GATUN_DEVICE uint32_t narrow_small(float x) {
  constexpr int kM = Small::kMantissaBits, kUnit = 1 << kM, kTop = (Small::kHighest >> kM) - Small::kBias;
  constexpr float kLargest = (kUnit + Small::kHighest % kUnit) * power_of_two(kTop - kM);
  const uint32_t sign = as_bits(x) >> 31 != 0 ? Small::kSign : 0;
  if (x != x) return sign | (Small::kSign - 1);
  const float magnitude = min_number(absolute(x), kLargest);
  const uint32_t power = as_bits(max_number(magnitude, power_of_two(1 - Small::kBias))) & 0x7f800000;
  const uint32_t units = as_bits(fused(as_float(power), power_of_two(23 - kM), magnitude)) & 0x7fffff;
  return sign | (units + ((power >> 23) - (128 - Small::kBias)) * kUnit);
}

// Of a dtype of values.
GATUN_DEVICE void to_floats(const Chunk& chunk, int32_t dtype, float (&x)[kChannels]) {
#pragma unroll
  for (int i = 0; i < kChannels; ++i) {
    const uint32_t half = chunk.word[i / 2] >> i % 2 * 16 & 0xffff, byte = chunk.word[i / 4] >> i % 4 * 8 & 0xff;
    x[i] = dtype == GATUN_F32      ? as_float(chunk.word[i])
           : dtype == GATUN_BF16   ? bf16_to_f32(static_cast<uint16_t>(half))
           : dtype == GATUN_F16    ? widen_f16(half)
           : dtype == GATUN_F8E4M3 ? widen_small<gatun::F8E4M3>(byte)
                                   : widen_small<gatun::F8E5M2>(byte);
  }
}
GATUN_DEVICE void to_chunk(const float (&x)[kChannels], int32_t dtype, Chunk& chunk) {
#pragma unroll
  for (int i = 0; i < 8; ++i) chunk.word[i] = 0;
#pragma unroll
  for (int i = 0; i < kChannels; ++i) {
    if (dtype == GATUN_F32) {
      chunk.word[i] = as_bits(x[i]);
    } else if (dtype == GATUN_BF16 || dtype == GATUN_F16) {
      chunk.word[i / 2] |= (dtype == GATUN_BF16 ? narrow_bf16(x[i]) : narrow_f16(x[i])) << i % 2 * 16;
    } else {
      chunk.word[i / 4] |=
          (dtype == GATUN_F8E4M3 ? narrow_small<gatun::F8E4M3>(x[i]) : narrow_small<gatun::F8E5M2>(x[i])) << i % 4 * 8;
    }
  }
}

// The code of 0 without zero points.
GATUN_DEVICE constexpr int code_of_zero(int32_t dtype) { return dtype == GATUN_U4 ? 8 : dtype == GATUN_U2 ? 2 : 0; }

// Codes as what a scale multiplies.
GATUN_DEVICE void to_codes(const Chunk& chunk, int32_t dtype, bool zeros, float (&x)[kChannels]) {
  const int lower = zeros ? 0 : code_of_zero(dtype);
#pragma unroll
  for (int i = 0; i < kChannels; ++i) {
    const int code = dtype == GATUN_I8   ? static_cast<int8_t>(chunk.word[i / 4] >> i % 4 * 8 & 0xff)
                     : dtype == GATUN_U4 ? static_cast<int>(chunk.word[0] >> 4 * i & 15)
                                         : static_cast<int>(chunk.word[0] >> 2 * i & 3);
    x[i] = static_cast<float>(code - lower);
  }
}

// Where a pool has what belongs to a row of a page.
GATUN_DEVICE uint8_t* row_at(const DevicePool& pool, int64_t page, int64_t head, int64_t row) {
  const gatun_kv_layout& l = pool.layout;
  return pool.rows + page * l.page_stride + head * l.head_stride + row * l.row_stride;
}
GATUN_DEVICE int64_t scales_at(const DevicePool& pool, int64_t page, int64_t head, int64_t row) {
  const gatun_kv_layout& l = pool.layout;
  const int64_t t = l.scaling == GATUN_KV_PER_CHANNEL ? row / l.group : row;
  return page * l.scale_page_stride + head * l.scale_head_stride + t * l.scale_row_stride;
}

// The group of a channel, of scales of tokens. Groups are multiples of a chunk, or the row.
GATUN_DEVICE int group_of(const DevicePool& pool, int channel) { return channel * pool.division >> 16; }

// Channels first .. first + 7 of a row of codes or values as f32, with rounding of each step. `scales` is where the
// row's begin.
GATUN_DEVICE void load_values(const DevicePool& pool, const uint8_t* row, int64_t scales, int first,
                              float (&x)[kChannels]) {
  const gatun_kv_layout& l = pool.layout;
  Chunk chunk;
  load_chunk(row + first / kChannels * chunk_bytes(l.dtype), l.dtype, chunk);
  if (l.scaling == GATUN_KV_UNSCALED) return to_floats(chunk, l.dtype, x);
  const bool zeros = pool.zeros != nullptr;
  to_codes(chunk, l.dtype, zeros, x);
  if (l.scaling == GATUN_KV_PER_TOKEN) {
    const int64_t at = scales + group_of(pool, first);
    const float scale = f16_to_f32(pool.scales[at]), zero = zeros ? f16_to_f32(pool.zeros[at]) : 0;
#pragma unroll
    for (int i = 0; i < kChannels; ++i) {
      x[i] = x[i] * scale;
      if (zeros) x[i] = x[i] + zero;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kChannels; ++i) {
    const int64_t at = scales + first + i;
    x[i] = x[i] * f16_to_f32(pool.scales[at]);
    if (zeros) x[i] = x[i] + f16_to_f32(pool.zeros[at]);
  }
}

}  // namespace gatun::cuda::kv_cache
