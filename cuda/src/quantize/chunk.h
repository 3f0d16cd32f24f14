// A thread's chunk: where it is, its values, its codes.
//
//   chunk of x    [ v0 .. v3 | v4 .. v7 | v8 .. v11 | v12 .. v15 ]   f32: four loads of 16 bytes; 16 bits: two
//   chunk of codes, kBits each, the first in the lowest bits: kBits / 2 words
//
// Chunks that are shorter, strided, or not aligned go element by element, byte by byte; their values and words are the
// same.
#pragma once

#include <cstdint>

#include "gatun/types.h"
#include "ptx/memory.h"
#include "ptx/number.h"
#include "ptx/warp.h"
#include "quantize/job.h"

namespace gatun::cuda::quantize {

// Types of x. Bits are those of one element in the low bits of a word.
struct F32 {
  static constexpr int kBytes = 4;
  using Stored = uint32_t;
  static GATUN_DEVICE float value(Stored bits) { return as_float(bits); }
  static GATUN_DEVICE void widen(const uint32_t* words, float (&v)[kChunk]) {
#pragma unroll
    for (int i = 0; i < kChunk; ++i) v[i] = as_float(words[i]);
  }
  static GATUN_DEVICE void narrow(const float (&v)[kChunk], uint32_t* words) {
#pragma unroll
    for (int i = 0; i < kChunk; ++i) words[i] = as_bits(v[i]);
  }
};
struct F16 {
  static constexpr int kBytes = 2;
  using Stored = uint16_t;
  static GATUN_DEVICE float value(Stored bits) { return f16_to_f32(bits); }
  static GATUN_DEVICE void widen(const uint32_t* words, float (&v)[kChunk]) {
#pragma unroll
    for (int i = 0; i < kChunk; ++i) v[i] = f16_to_f32(static_cast<uint16_t>(words[i / 2] >> 16 * (i % 2)));
  }
  static GATUN_DEVICE void narrow(const float (&v)[kChunk], uint32_t* words) {
#pragma unroll
    for (int i = 0; i < kChunk; i += 2) words[i / 2] = pack_f16(v[i], v[i + 1]);
  }
};
struct BF16 {
  static constexpr int kBytes = 2;
  using Stored = uint16_t;
  static GATUN_DEVICE float value(Stored bits) { return bf16_to_f32(bits); }
  static GATUN_DEVICE void widen(const uint32_t* words, float (&v)[kChunk]) {
#pragma unroll
    for (int i = 0; i < kChunk; ++i) v[i] = as_float(i % 2 ? words[i / 2] & 0xffff0000u : words[i / 2] << 16);
  }
  static GATUN_DEVICE void narrow(const float (&v)[kChunk], uint32_t* words) {
#pragma unroll
    for (int i = 0; i < kChunk; i += 2) words[i / 2] = pack_bf16(v[i], v[i + 1]);
  }
};

GATUN_DEVICE bool is_aligned(const void* address, int bytes) {
  return (reinterpret_cast<uintptr_t>(address) & static_cast<uintptr_t>(bytes - 1)) == 0;
}

// Where a chunk is.
struct Place {
  int64_t x;      // elements from the first of the matrix
  int64_t codes;  // bytes from the first one
  int64_t block;  // whose scale is that of its values
  int32_t count;  // values; 0 if the thread has none
  int32_t split;  // values from this one on are of block + 1
};

// Elements of x.
template <class X>
struct Words {
  static constexpr int kWords = kChunk * X::kBytes / 4;
  uint32_t word[kWords];

  // What is missing is as the first value.
  GATUN_DEVICE void load(const Job& job, const Place& at) {
    const auto* x = static_cast<const typename X::Stored*>(job.x) + (at.count == 0 ? 0 : at.x);
    if (at.count == kChunk && job.x_column_stride == 1 && is_aligned(x, 16)) {
#pragma unroll
      for (int i = 0; i < kWords; i += 4) {
        const Words4 four = load_near(x + i * 4 / X::kBytes);
#pragma unroll
        for (int j = 0; j < 4; ++j) word[i + j] = four.word[j];
      }
      return;
    }
#pragma unroll
    for (int i = 0; i < kWords; ++i) word[i] = 0;
    if (at.count == 0) return;
    constexpr int kOfWord = 4 / X::kBytes;
    const uint32_t first = x[0];
    // Kept from loops around this: multiples of it, of which all calls would have to keep all.
    const int64_t stride = static_cast<int64_t>(keep_here(static_cast<uint64_t>(job.x_column_stride)));
#pragma unroll
    for (int i = 0; i < kChunk; ++i, x += stride) {
      const uint32_t element = i < at.count ? uint32_t{*x} : first;
      word[i / kOfWord] |= element << (32 / kOfWord) * (i % kOfWord) % 32;
    }
  }

  // Stores the values of a chunk, all lanes of a warp together: of two lanes whose chunks lie side by side each stores
  // every other 16 bytes of both, so that one instruction writes whole sectors of 32 bytes.
  GATUN_DEVICE void store(const Job& job, const Place& at) {
    auto* x = static_cast<typename X::Stored*>(job.x) + (at.count == 0 ? 0 : at.x);
    constexpr int kBytes = kChunk * X::kBytes;
    const bool odd = lane() % 2 != 0;
    const uint64_t own = at.count == kChunk && is_aligned(x, 16) ? reinterpret_cast<uintptr_t>(x) : 0;
    const uint64_t other = shuffle_xor(own, 1);
    const bool side_by_side = own != 0 && other != 0 && (odd ? other + kBytes == own : own + kBytes == other);
#pragma unroll
    for (int i = 0; i < kWords; i += 8) {
      Words4 first, second;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const uint32_t given = odd ? word[i + j] : word[i + 4 + j];
        const uint32_t taken = shuffle_xor(given, 1);
        first.word[j] = side_by_side && odd ? taken : word[i + j];
        second.word[j] = side_by_side && !odd ? taken : word[i + 4 + j];
      }
      if (own == 0) continue;
      // Even: own first, then the other's first. Odd: the other's second, then own second.
      uint8_t* const to = reinterpret_cast<uint8_t*>(own) + i * 4;
      store_once(side_by_side && odd ? to - kBytes + 16 : to, first);
      store_once(side_by_side && !odd ? to + kBytes : to + 16, second);
    }
    if (own != 0) return;
    constexpr int kOfWord = 4 / X::kBytes;
#pragma unroll
    for (int i = 0; i < kChunk; ++i) {
      if (i < at.count) {
        x[i] = static_cast<typename X::Stored>(word[i / kOfWord] >> (32 / kOfWord) * (i % kOfWord) % 32);
      }
    }
  }
};

// The lowest `bits` bits of all, as far as they are in word w.
GATUN_DEVICE uint32_t low_bits(int bits, int w) {
  const int here = bits - 32 * w;
  return here >= 32 ? 0xffffffffu : here <= 0 ? 0 : (1u << here) - 1;
}

// Codes.
template <int kBits>
struct CodeWords {
  static constexpr int kWords = kChunk * kBits / 32 > 0 ? kChunk* kBits / 32 : 1;
  uint32_t word[kWords];

  // Code i, whose other bits are 0, where nothing is yet.
  GATUN_DEVICE void put(int i, uint32_t code) {
    const int bit = i * kBits, w = bit / 32, shift = bit % 32;
    word[w] |= code << shift;
    if (shift + kBits > 32) word[w + 1] |= code >> (32 - shift);
  }
  GATUN_DEVICE uint32_t get(int i) const {
    const int bit = i * kBits, w = bit / 32, shift = bit % 32;
    uint32_t code = word[w] >> shift;
    if (shift + kBits > 32) code |= word[w + 1] << (32 - shift);
    return code & ((1u << kBits) - 1);
  }

  // The code after all that were pushed, of kChunk in all.
  GATUN_DEVICE void push(uint32_t code) {
#pragma unroll
    for (int w = 0; w < kWords; ++w) {
      const uint32_t above = w + 1 < kWords ? word[(w + 1) % kWords] : code;
      word[w] = word[w] >> kBits | above << (32 - kBits);
    }
  }

  static GATUN_DEVICE uint8_t* address(const Job& job, const Place& at) {
    return static_cast<uint8_t*>(job.codes) + at.codes;
  }

  // Bits of values beyond `count` become 0.
  GATUN_DEVICE void store(const Job& job, const Place& at) const {
    if (at.count == 0) return;
    uint8_t* const to = address(job, at);
    constexpr int kAlign = kWords == 3 ? 4 : 4 * kWords;
    if (at.count == kChunk && is_aligned(to, kAlign)) {
      if constexpr (kWords == 4) {
        store_once(to, {word[0], word[1], word[2], word[3]});
      } else if constexpr (kWords == 2) {
        *reinterpret_cast<uint64_t*>(to) = uint64_t{word[1]} << 32 | word[0];
      } else {
#pragma unroll
        for (int w = 0; w < kWords; ++w) reinterpret_cast<uint32_t*>(to)[w] = word[w];
      }
      return;
    }
    const int bits = at.count * kBits;
#pragma unroll
    for (int b = 0; b < 4 * kWords; ++b) {
      if (8 * b < bits) to[b] = static_cast<uint8_t>((word[b / 4] & low_bits(bits, b / 4)) >> 8 * (b % 4));
    }
  }

  // Codes that are missing are 0.
  GATUN_DEVICE void load(const Job& job, const Place& at) {
#pragma unroll
    for (int w = 0; w < kWords; ++w) word[w] = 0;
    if (at.count == 0) return;
    const uint8_t* const from = address(job, at);
    constexpr int kAlign = kWords == 3 ? 4 : 4 * kWords;
    if (at.count == kChunk && is_aligned(from, kAlign)) {
      if constexpr (kWords == 4) {
        const Words4 four = load_once(from);
#pragma unroll
        for (int w = 0; w < 4; ++w) word[w] = four.word[w];
      } else if constexpr (kWords == 2) {
        const uint64_t two = *reinterpret_cast<const uint64_t*>(from);
        word[0] = static_cast<uint32_t>(two);
        word[1] = static_cast<uint32_t>(two >> 32);
      } else {
#pragma unroll
        for (int w = 0; w < kWords; ++w) word[w] = reinterpret_cast<const uint32_t*>(from)[w];
      }
      return;
    }
    const int bits = at.count * kBits;
#pragma unroll
    for (int b = 0; b < 4 * kWords; ++b) {
      if (8 * b < bits) word[b / 4] |= uint32_t{from[b]} << 8 * (b % 4);
    }
  }
};

}  // namespace gatun::cuda::quantize
