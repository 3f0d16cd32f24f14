// Code types as template arguments, named as the tables of kernels name them.
#pragma once

#include "simd/vec.h"

namespace gatun::GATUN_ISA {
namespace {

// Code types: range, zero code without a zero point, and where the codes of a row begin and lie.
struct i8 {
  static constexpr int kLowest = -127, kHighest = 127, kZero = 0, kBits = 8;
  static GATUN_INLINE I32 load(const uint8_t* row, int64_t k) { return load_n(row, k, kLanes); }
  static GATUN_INLINE I32 load_n(const uint8_t* row, int64_t k, int n) {
    const int8_t* p = reinterpret_cast<const int8_t*>(row) + k;
    return n == kLanes ? load_i8_i32(p) : load_i8_i32_n(p, n);
  }
  static GATUN_INLINE void store(uint8_t* row, int64_t k, I32 codes) { store_n(row, k, codes, kLanes); }
  static GATUN_INLINE void store_n(uint8_t* row, int64_t k, I32 codes, int n) {
    int8_t* p = reinterpret_cast<int8_t*>(row) + k;
    n == kLanes ? store_i8(p, codes) : store_i8_n(p, codes, n);
  }
};

struct u8 : i8 {
  static constexpr int kLowest = 0, kHighest = 255;
  static GATUN_INLINE I32 load(const uint8_t* row, int64_t k) { return load_u8_i32(row + k); }
  static GATUN_INLINE I32 load_n(const uint8_t* row, int64_t k, int n) { return load_u8_i32_n(row + k, n); }
};

struct u4 {
  static constexpr int kLowest = 0, kHighest = 15, kZero = 8, kBits = 4;
  static GATUN_INLINE I32 load(const uint8_t* row, int64_t k) { return load_u4_i32(row + k / 2); }
  static GATUN_INLINE I32 load_n(const uint8_t* row, int64_t k, int n) { return load_u4_i32_n(row + k / 2, n); }
  static GATUN_INLINE void store(uint8_t* row, int64_t k, I32 codes) { store_u4(row + k / 2, codes); }
  static GATUN_INLINE void store_n(uint8_t* row, int64_t k, I32 codes, int n) { store_u4_n(row + k / 2, codes, n); }
};

}  // namespace
}  // namespace gatun::GATUN_ISA
