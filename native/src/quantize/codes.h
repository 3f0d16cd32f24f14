// Integer codes as template arguments, named as the table of kernels names them.
#pragma once

#include "quantize/blocks.h"

namespace gatun::GATUN_ISA {
namespace {

// Codes of a row are kBits wide; code k of a row begins at bit kBits * k of it. pack makes bytes of 4 * kLanes codes,
// and store puts them where the first of them begins a byte, stream past the caches (vec.h); load takes kLanes codes
// from such a place. Without a zero point the code kZero stands for 0. kMost = 2^kBits - 1 steps are between the
// extremes of the range.
struct i8 {
  static constexpr int kBits = 8, kMost = 255, kZero = 0, kLowest = -127, kHighest = 127;
  static constexpr bool kZeroPoints = false;
  static GATUN_INLINE Bytes pack(I32 a, I32 b, I32 c, I32 d) { return pack_i8(a, b, c, d); }
  static GATUN_INLINE void store(uint8_t* p, Bytes codes) { store_bytes(p, codes); }
  static GATUN_INLINE void stream(uint8_t* p, Bytes codes) { stream_bytes(p, codes); }
  static GATUN_INLINE void store_n(uint8_t* p, Bytes codes, int n) { store_bytes_n(p, codes, n); }
  static GATUN_INLINE I32 load(const uint8_t* p) { return load_i8_i32(reinterpret_cast<const int8_t*>(p)); }
};

struct u8 {
  static constexpr int kBits = 8, kMost = 255, kZero = 0, kLowest = 0, kHighest = 255;
  static constexpr bool kZeroPoints = true;
  static GATUN_INLINE Bytes pack(I32 a, I32 b, I32 c, I32 d) { return pack_u8(a, b, c, d); }
  static GATUN_INLINE void store(uint8_t* p, Bytes codes) { store_bytes(p, codes); }
  static GATUN_INLINE void stream(uint8_t* p, Bytes codes) { stream_bytes(p, codes); }
  static GATUN_INLINE void store_n(uint8_t* p, Bytes codes, int n) { store_bytes_n(p, codes, n); }
  static GATUN_INLINE I32 load(const uint8_t* p) { return load_u8_i32(p); }
};

struct u4 : u8 {
  static constexpr int kBits = 4, kMost = 15, kZero = 8, kHighest = 15;
  static GATUN_INLINE Bytes pack(I32 a, I32 b, I32 c, I32 d) { return min_u8(pack_u8(a, b, c, d), set1_u8(15)); }
  static GATUN_INLINE void store(uint8_t* p, Bytes codes) { store_nibbles(p, codes); }
  static GATUN_INLINE void stream(uint8_t* p, Bytes codes) { stream_nibbles(p, codes); }
  static GATUN_INLINE void store_n(uint8_t* p, Bytes codes, int n) { store_nibbles_n(p, codes, n); }
  static GATUN_INLINE I32 load(const uint8_t* p) { return load_u4_i32(p); }
};

struct u2 : u8 {
  static constexpr int kBits = 2, kMost = 3, kZero = 2, kHighest = 3;
  static GATUN_INLINE Bytes pack(I32 a, I32 b, I32 c, I32 d) { return min_u8(pack_u8(a, b, c, d), set1_u8(3)); }
  static GATUN_INLINE void store(uint8_t* p, Bytes codes) { store_crumbs(p, codes); }
  static GATUN_INLINE void stream(uint8_t* p, Bytes codes) { store_crumbs(p, codes); }  // less than streams take
  static GATUN_INLINE void store_n(uint8_t* p, Bytes codes, int n) { store_crumbs_n(p, codes, n); }
  static GATUN_INLINE I32 load(const uint8_t* p) { return load_u2_i32(p); }
};

}  // namespace
}  // namespace gatun::GATUN_ISA
