// State in memory as the rules see it: f32, or codes with a scale a block.
//
// Codes is a format of state; its Raw is what memory has of a lane's four elements. What codes stand for is looked up
// in shared memory, where every word is kCopies times, so that a warp's look-up of any words takes two turns at most:
//
//   bank    0    1   ..   15    16   ..   31
//           [ w_0 16 times    | w_1 16 times  ]     lane l reads word 16 i + l % 16
//
// DYNAMIC8 has 96 KiB of that, which one thread block a multiprocessor fills once; what does not encode, 32 KiB.
// `second` tells the tables of state 2 from those of state 1.
#pragma once

#include <cstdint>

#include "optimizer/device_job.h"
#include "optimizer/places.h"
#include "ptx/memory.h"
#include "ptx/number.h"
#include "ptx/thread.h"
#include "ptx/warp.h"
#include "quantize/small_float.h"

namespace gatun::cuda::optimizer {

inline constexpr int kCopies = 16, kCopiedBytes = kCopies * 4;

GATUN_DEVICE uint32_t word_of(float x) { return as_bits(x); }
GATUN_DEVICE uint32_t word_of(uint32_t x) { return x; }

// Fills copies of `count` words. All threads of the block.
template <class T>
GATUN_DEVICE void fill_table(uint32_t* words, const T* table, int count) {
  for (int i = thread_index(); i < count * kCopies; i += thread_count()) words[i] = word_of(table[i / kCopies]);
}

GATUN_DEVICE uint32_t* table_at(int table) { return reinterpret_cast<uint32_t*>(shared_memory()) + table * kCopies; }

// Looks up words of the lane's copy.
class Copy {
 public:
  // From a shuffle, so that the sum is kept, and not made again for each look-up.
  GATUN_DEVICE Copy()
      : own_(shuffle(shared_address(shared_memory()) + static_cast<uint32_t>(lane() % kCopies * 4), lane())) {}

  // Word `index` of the tables.
  GATUN_DEVICE uint32_t word(int index) const {
    return load_shared(own_ + static_cast<uint32_t>(index * kCopiedBytes));
  }

 private:
  const uint32_t own_;
};

// The scale of a block of new state, and what that is multiplied with to be encoded: 0 for a scale of 0.
struct BlockScale {
  float scale, inverse;
};

struct F32Codes {
  static constexpr bool kQuantized = false;
  static constexpr int kValueBytes = 0, kTableBytes = 0;
  using Raw = Words4;
  struct Tables {
    static Tables make() { return {}; }
  };

  GATUN_DEVICE F32Codes(const Tables&, bool, bool) {}

  static GATUN_DEVICE Raw none() { return {}; }
  static GATUN_DEVICE Raw load(const void* codes, int64_t first) {
    return *reinterpret_cast<const Words4*>(static_cast<const float*>(codes) + first);
  }
  static GATUN_DEVICE void store(void* codes, int64_t first, const Raw& raw) {
    *reinterpret_cast<Words4*>(static_cast<float*>(codes) + first) = raw;
  }
  static GATUN_DEVICE Raw load(const void* codes, int64_t first, int count) {
    Raw raw = {};
#pragma unroll
    for (int i = 0; i < kLaneElements; ++i) {
      if (i < count) raw.word[i] = static_cast<const uint32_t*>(codes)[first + i];
    }
    return raw;
  }
  static GATUN_DEVICE void store(void* codes, int64_t first, int count, const Raw& raw) {
#pragma unroll
    for (int i = 0; i < kLaneElements; ++i) {
      if (i < count) static_cast<uint32_t*>(codes)[first + i] = raw.word[i];
    }
  }

  GATUN_DEVICE float value(const Raw& raw, int i, bool) const { return as_float(raw.word[i]); }
  GATUN_DEVICE float value_at(const void* codes, int64_t index, bool) const {
    return static_cast<const float*>(codes)[index];
  }
};

// What the formats of kBits have in common: how codes lie in memory, and values by code.
template <int kCodeBits>
class QuantizedCodes {
 public:
  static constexpr bool kQuantized = true;
  static constexpr int kBits = kCodeBits, kValues = 1 << kBits;
  using Raw = uint32_t;  // DYNAMIC4: the low half

  static GATUN_DEVICE Raw none() { return 0; }
  static GATUN_DEVICE Raw load(const void* codes, int64_t first) {
    const uint8_t* const at = static_cast<const uint8_t*>(codes) + first * kBits / 8;
    if constexpr (kBits == 8) return *reinterpret_cast<const uint32_t*>(at);
    return *reinterpret_cast<const uint16_t*>(at);
  }
  static GATUN_DEVICE void store(void* codes, int64_t first, Raw raw) {
    uint8_t* const at = static_cast<uint8_t*>(codes) + first * kBits / 8;
    if constexpr (kBits == 8) {
      *reinterpret_cast<uint32_t*>(at) = raw;
    } else {
      *reinterpret_cast<uint16_t*>(at) = static_cast<uint16_t>(raw);
    }
  }
  static GATUN_DEVICE Raw load(const void* codes, int64_t first, int count) {
    const uint8_t* const at = static_cast<const uint8_t*>(codes) + first * kBits / 8;
    Raw raw = 0;
#pragma unroll
    for (int i = 0; i < kBytes; ++i) {
      if (i < bytes_of(count)) raw |= uint32_t{at[i]} << 8 * i;
    }
    return raw;
  }
  // A byte with one code has zeros in its other half.
  static GATUN_DEVICE void store(void* codes, int64_t first, int count, Raw raw) {
    uint8_t* const at = static_cast<uint8_t*>(codes) + first * kBits / 8;
#pragma unroll
    for (int i = 0; i < kBytes; ++i) {
      const bool half = kBits == 4 && 2 * i + 1 == count;
      if (i < bytes_of(count)) at[i] = static_cast<uint8_t>(raw >> 8 * i & (half ? 0xf0 : 0xff));
    }
  }

 protected:
  // Looked up in the values from word `table` on.
  GATUN_DEVICE float value(Raw raw, int i, int table) const {
    // A byte is picked, as what is shifted and masked is so once more to become an address. Of two codes in a byte the
    // first is in its high half.
    const uint32_t code = kBits == 8 ? pick_bytes(raw, 0, 0x4440u + static_cast<uint32_t>(i)) : raw >> 4 * (i ^ 1) & 15;
    return as_float(copy_.word(table + static_cast<int>(code)));
  }
  GATUN_DEVICE float value_at(const void* codes, int64_t index, int table) const {
    const uint32_t byte = static_cast<const uint8_t*>(codes)[index * kBits / 8];
    return value(byte, kBits == 8 ? 0 : static_cast<int>(index & 1), table);
  }

  static GATUN_DEVICE BlockScale block_scale(float scale) {
    if (scale < as_float((127 - 120) << 23)) return {0, 0};
    return {scale, 1 / scale};
  }

  const Copy copy_;

 private:
  static constexpr int kBytes = kLaneElements * kBits / 8;
  static GATUN_DEVICE int bytes_of(int count) { return kBits == 8 ? count : (count + 1) / 2; }
};

// Indices of code books: DYNAMIC8, DYNAMIC4. Tables: values of state 1, of state 2, entries of state 1, of state 2.
template <int kCodeBits>
class BookCodes : public QuantizedCodes<kCodeBits> {
  using Base = QuantizedCodes<kCodeBits>;

 public:
  using typename Base::Raw;
  static constexpr int kValues = Base::kValues;
  static constexpr int kValueBytes = 2 * kValues * kCopiedBytes;
  static constexpr int kTableBytes = kValueBytes + 2 * kCells * kCopiedBytes;
  struct Tables {
    BookTables<kCodeBits> of_state[2];

    static Tables make() { return {book_tables<kCodeBits>(true), book_tables<kCodeBits>(false)}; }
  };

  GATUN_DEVICE BookCodes(const Tables& tables, bool second, bool encodes) : tables_(tables) {
    for (int state = 0; state < (second ? 2 : 1); ++state) {
      fill_table(table_at(state * kValues), tables.of_state[state].values, kValues);
      if (encodes) fill_table(table_at(2 * kValues + state * kCells), tables.of_state[state].entries, kCells);
    }
    block_barrier();
  }

  GATUN_DEVICE float value(Raw raw, int i, bool second) const { return Base::value(raw, i, second ? kValues : 0); }
  GATUN_DEVICE float value_at(const void* codes, int64_t index, bool second) const {
    return Base::value_at(codes, index, second ? kValues : 0);
  }

  static GATUN_DEVICE BlockScale scale_of(float largest) { return Base::block_scale(largest); }

  // The codes of rows of new state.
  GATUN_DEVICE void encode(const float (&s)[kWarpRows][kLaneElements], const BlockScale (&scale)[kWarpRows],
                           bool second, Raw (&codes)[kWarpRows]) const {
    const BookTables<kCodeBits>& tables = tables_.of_state[second];
    uint32_t sum[kWarpRows][kLaneElements], doubts = 0;
#pragma unroll
    for (int j = 0; j < kWarpRows; ++j) {
#pragma unroll
      for (int i = 0; i < kLaneElements; ++i) {
        const uint32_t bits = as_bits(s[j][i] * (4 * scale[j].inverse));
        // Shifted, the sign is three bits, of which one stays; squares have none.
        const uint32_t curved =
            second ? bits >> 2 : static_cast<uint32_t>(static_cast<int32_t>(bits) >> 2) & 0x9fffffffu;
        const uint32_t place = as_bits(fused(as_float(curved), tables.slope, tables.offset));
        const int entries = 2 * kValues + (second ? kCells : 0);
        const int cell = static_cast<int>(shift_right(place, kCellShift)) - (kFirstPlace >> kCellShift);
        sum[j][i] = (place << 2) + this->copy_.word(entries + cell);
      }
      // Where half a word is 0, a subtraction borrows from the bit above it.
#pragma unroll
      for (int i = 0; i < kLaneElements; i += 2) {
        const uint32_t rests = pick_bytes(sum[j][i], sum[j][i + 1], 0x5410);
        doubts |= (rests - 0x00010001u) & ~rests;
      }
    }
    if ((doubts & 0x80008000u) != 0) settle(s, scale, tables.thresholds, sum);
#pragma unroll
    for (int j = 0; j < kWarpRows; ++j) {
      const uint32_t low = pick_bytes(sum[j][0], sum[j][1], 0x0062), high = pick_bytes(sum[j][2], sum[j][3], 0x0062);
      codes[j] = pick_bytes(low, high, 0x5410);
      if constexpr (kCodeBits == 4) codes[j] = pick_bytes(codes[j] << 4 | codes[j] >> 8, 0, 0x4420);
    }
  }

 private:
  // Takes back what was counted of thresholds that are not below the value.
  static GATUN_DEVICE void settle(const float (&s)[kWarpRows][kLaneElements], const BlockScale (&scale)[kWarpRows],
                                  const float* thresholds, uint32_t (&sum)[kWarpRows][kLaneElements]) {
#pragma unroll
    for (int j = 0; j < kWarpRows; ++j) {
#pragma unroll
      for (int i = 0; i < kLaneElements; ++i) {
        if ((sum[j][i] & 0xffff) != 0) continue;
        const float threshold = thresholds[(sum[j][i] >> 16) % kValues - 1];
        if (!(s[j][i] * (4 * scale[j].inverse) > threshold)) sum[j][i] -= 1 << 16;
      }
    }
  }

  const Tables& tables_;
};

using Dynamic8Codes = BookCodes<8>;
using Dynamic4Codes = BookCodes<4>;

// F8E4M3, which quantize's arithmetic encodes.
class F8E4M3Codes : public QuantizedCodes<8> {
  using Floats = quantize::F8E4M3;

 public:
  static constexpr int kValueBytes = kValues * kCopiedBytes, kTableBytes = kValueBytes;
  struct Tables {
    float values[kValues];

    static Tables make() {
      Tables tables;
      for (int code = 0; code < kValues; ++code) {
        tables.values[code] = small_to_f32<gatun::F8E4M3>(static_cast<uint8_t>(code));
      }
      return tables;
    }
  };

  GATUN_DEVICE F8E4M3Codes(const Tables& tables, bool, bool) {
    fill_table(table_at(0), tables.values, kValues);
    block_barrier();
  }

  GATUN_DEVICE float value(Raw raw, int i, bool) const { return QuantizedCodes::value(raw, i, 0); }
  GATUN_DEVICE float value_at(const void* codes, int64_t index, bool) const {
    return QuantizedCodes::value_at(codes, index, 0);
  }

  static GATUN_DEVICE BlockScale scale_of(float largest) { return block_scale(largest / Floats::kLargest); }

  GATUN_DEVICE void encode(const float (&s)[kWarpRows][kLaneElements], const BlockScale (&scale)[kWarpRows], bool,
                           Raw (&codes)[kWarpRows]) const {
#pragma unroll
    for (int j = 0; j < kWarpRows; ++j) {
      const Floats::Coding coding = {scale[j].inverse, scale[j].inverse == 0 ? 0.0f : -0.0f};
      codes[j] = 0;
#pragma unroll
      for (int i = 0; i < kLaneElements; ++i) codes[j] |= Floats::nearest(coding, s[j][i]) << 8 * i;
    }
  }
};

}  // namespace gatun::cuda::optimizer
